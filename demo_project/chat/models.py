"""Who is in which room. It is in the database because that is what all server processes share."""

from dataclasses import dataclass
from datetime import timedelta

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from signalr_channels.models import Connection

LONGEST_ROOM_NAME = 30
HISTORY_DELAY = timedelta(seconds=5)
"""How long it may take until the history knows."""
check_room_name = RegexValidator(
    rf"\A[\w-]{{1,{LONGEST_ROOM_NAME}}}\Z", f"The name of a room has 1 to {LONGEST_ROOM_NAME} letters, digits, hyphens and underscores."
)


@dataclass(frozen=True)
class Person:
    """Someone in a room, as pages see them."""

    id: str
    """The connection id: someone with two tabs is there twice."""
    name: str
    is_user: bool
    """Whether the name is that of a login. Anyone may take the others."""
    is_classic: bool
    """Whether they came with the client of ASP.NET SignalR 2."""


@dataclass(frozen=True)
class Room:
    """A room, and how many are in it."""

    name: str
    people: int


class PresenceQuerySet(models.QuerySet["Presence"]):
    def ghosts(self) -> "PresenceQuerySet":
        """
        Those whose server process was killed, so that nobody deleted them: their connection ended, or never got into the history.

        A classic connection that ended with its process may have come back to another one since. The hub notes that in ``seen_at`` at
        once; the history is written a little later. And the end of a lost process is dated back to its last sign of life.
        """
        now = timezone.now()
        connection = Connection.objects.filter(connection_id=OuterRef("connection_id"))
        ended_since = Exists(connection.ended().filter(closed_at__gte=OuterRef("seen_at")))
        has_ended = Exists(connection.ended()) & Q(seen_at__lt=now - HISTORY_DELAY)
        is_unknown = ~Q(Exists(connection)) & Q(seen_at__lt=now - timedelta(minutes=1))
        return self.filter(Q(ended_since) | has_ended | is_unknown)

    async def apeople(self) -> list[Person]:
        """Those who are here, in the order they came."""
        return [presence.person async for presence in self.order_by("pk")]

    async def arooms(self) -> list[Room]:
        """Rooms that have somebody in them, the fullest first."""
        counts = self.values("room").annotate(people=models.Count("pk")).order_by("-people", "room")
        return [Room(row["room"], row["people"]) async for row in counts]


class Presence(models.Model):
    """One connection in one room; written by the hub."""

    connection_id = models.CharField(max_length=64)
    room = models.CharField(max_length=LONGEST_ROOM_NAME, db_index=True)
    name = models.CharField(max_length=150)
    is_user = models.BooleanField("logged in", default=False)
    is_classic = models.BooleanField("classic client", default=False)
    since = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(auto_now=True)
    """When the connection last joined, or came back."""

    objects = PresenceQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "presence"
        constraints = (models.UniqueConstraint(fields=["connection_id", "room"], name="once_in_a_room"),)

    def __str__(self) -> str:
        return f"{self.name} in {self.room}"

    @property
    def person(self) -> Person:
        """What pages are told."""
        return Person(self.connection_id, self.name, self.is_user, self.is_classic)
