"""What happens to people whose server process was killed: nobody is left there to run ``on_disconnected``."""

from typing import Any

from django.dispatch import receiver

from demo_project.chat.hubs import ChatHub
from demo_project.chat.models import Presence
from signalr_channels import CloseReason, get_hub_context
from signalr_channels.signals import lifetime_event


@receiver(lifetime_event)
def forget_the_lost(event: Any, **kwargs: Any) -> None:
    """Runs in the server process that noticed, in the thread that writes the history."""
    if event.reason is not CloseReason.PROCESS_LOST:
        return
    clients = get_hub_context(ChatHub).clients
    for presence in Presence.objects.filter(connection_id=event.connection.connection_id):
        presence.delete()
        clients.group(presence.room).send("personLeft", presence.person)
        clients.all.send("roomsChanged")
