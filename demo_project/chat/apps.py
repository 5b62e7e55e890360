from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "demo_project.chat"
    default_auto_field = "django.db.models.BigAutoField"
