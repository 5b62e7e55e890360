from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("demo_project.chat.urls")),
    path("admin/", admin.site.urls),
]
