"""Pages show the history of their connection, and are told when there is more of it."""

from typing import Any

from django.dispatch import receiver

from demo_project.lifetime.hubs import LifetimeFeedHub
from demo_project.lifetime.models import Callback
from signalr_channels import get_hub_context
from signalr_channels.hubs.lifetime import LifetimeEvent
from signalr_channels.signals import lifetime_event


@receiver(lifetime_event)
def tell_page(event: LifetimeEvent, **kwargs: Any) -> None:
    callback = Callback.objects.of_connection(event.connection.connection_id).first()
    if callback is not None:
        get_hub_context(LifetimeFeedHub).clients.group(str(callback.visit)).send("historyChanged")
