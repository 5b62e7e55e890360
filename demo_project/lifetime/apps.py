"""The lifetime page as a Django app."""

from django.apps import AppConfig


class LifetimeConfig(AppConfig):
    name = "demo_project.lifetime"
    verbose_name = "Lifetime"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from demo_project.lifetime import receivers  # noqa: F401 - registers them
