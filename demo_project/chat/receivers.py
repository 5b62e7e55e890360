"""What becomes of people whose server process was killed: nobody is left there to call ``on_disconnected``."""

from typing import Any

from django.dispatch import receiver

from demo_project.chat.hubs import ChatHub
from demo_project.chat.models import Presence
from signalr_channels import get_hub_context
from signalr_channels.signals import lifetime_event


@receiver(lifetime_event)
def lay_ghosts(**kwargs: Any) -> None:
    """
    Whenever a connection begins or ends, see whether others ended without a word.

    A lost server process is noticed by the others after ``PROCESS_LEASE``, and each of its connections gets its event. Receivers run in
    the thread that writes the history, so sync code is at home here.
    """
    for ghost in Presence.objects.ghosts():
        person = ghost.person
        deleted, _ = ghost.delete()
        if deleted:  # not by another process, nor by a hub that was only slow
            clients = get_hub_context(ChatHub).clients
            clients.group(ghost.room).send("personLeft", person)
            clients.all.send("roomsChanged")
