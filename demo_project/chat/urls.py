from django.urls import path

from demo_project.chat import views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("announce/", views.announce, name="announce"),
]
