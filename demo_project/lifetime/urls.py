from django.urls import path

from demo_project.lifetime import views

urlpatterns = [
    path("", views.page, name="lifetime"),
    path("kill/", views.kill, name="lifetime-kill"),
    path("<uuid:visit>/history/", views.history, name="lifetime-history"),
    path("<uuid:visit>/say/", views.say, name="lifetime-say"),
    path("<uuid:visit>/close/", views.close, name="lifetime-close"),
    path("<uuid:visit>/cut/", views.fail, {"how": "cut"}, name="lifetime-cut"),
    path("<uuid:visit>/hold/", views.fail, {"how": "hold"}, name="lifetime-hold"),
]
