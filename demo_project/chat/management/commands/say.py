"""``manage.py say lobby "Lunch is ready"``: speak in a room from a process of its own."""

import argparse
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from demo_project.chat.hubs import ChatHub
from demo_project.chat.layer import reaches_other_processes
from demo_project.chat.models import Presence, check_room_name
from signalr_channels import get_hub_context
from signalr_channels.exceptions import BackplaneUnavailable


class Command(BaseCommand):
    help = "Say something in a room. Server processes are reached through the channel layer, so REDIS_URL must be set, here and there."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("room", help="Where, such as lobby.")
        parser.add_argument("text", help="What.")
        parser.add_argument("--name", default="manage.py say", help="Who says it. Default: manage.py say.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not reaches_other_processes():
            raise CommandError(
                "The channel layer is in memory, and cannot reach another process. "
                "Set REDIS_URL, such as redis://127.0.0.1:6379/0, for the server and for this command."
            )
        room = options["room"]
        try:
            check_room_name(room)
            get_hub_context(ChatHub).clients.group(room).send("messageReceived", options["name"], options["text"])
        except ValidationError as error:
            raise CommandError(error.message) from error
        except BackplaneUnavailable as error:
            raise CommandError(f"{error} Is Redis running where REDIS_URL says?") from error
        self.stdout.write(f"Said in {room}, where there are {Presence.objects.filter(room=room).count()} connections.")
