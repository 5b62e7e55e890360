"""The Django app: discovers hubs and plugs the edge into the rooms below."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

__all__ = ["SignalRChannelsConfig"]


class SignalRChannelsConfig(AppConfig):
    """``INSTALLED_APPS = [..., "signalr_channels"]``."""

    name = "signalr_channels"
    verbose_name = "SignalR"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import ``hubs.py`` of every installed app, and register the system checks."""
        from signalr_channels import checks  # noqa: F401 - registers them
        from signalr_channels.hubs.hub_context import set_reach_provider
        from signalr_channels.runtime import reach_for

        set_reach_provider(reach_for)
        autodiscover_modules("hubs")
