"""Who is in which room. It is in the database because that is what all server processes share."""

from dataclasses import dataclass

from django.core.validators import RegexValidator
from django.db import models

ROOM_NAME = RegexValidator(
    r"\A[\w-]{1,30}\Z", "The name of a room has 1 to 30 letters, digits, hyphens and underscores.", code="invalid_room"
)


@dataclass(frozen=True)
class Person:
    """Someone in a room, as pages see them."""

    id: str
    """The connection id: someone with two tabs is there twice."""
    name: str
    is_user: bool
    """Whether the name is that of a login. Anyone may take the others."""


@dataclass(frozen=True)
class Room:
    """A room and how many are in it."""

    name: str
    people: int


class PresenceQuerySet(models.QuerySet["Presence"]):
    async def apeople(self) -> list[Person]:
        """Those who are here, whoever came first on top."""
        return [presence.person async for presence in self.order_by("pk")]

    async def arooms(self) -> list[Room]:
        """Rooms that have somebody in them, the fullest first."""
        counts = self.values("room").annotate(people=models.Count("pk")).order_by("-people", "room")
        return [Room(row["room"], row["people"]) async for row in counts]


class Presence(models.Model):
    """One connection in one room. Made and deleted by the hub."""

    connection_id = models.CharField(max_length=64)
    room = models.CharField(max_length=30, db_index=True, validators=[ROOM_NAME])
    name = models.CharField(max_length=150)
    is_user = models.BooleanField(default=False)
    since = models.DateTimeField(auto_now_add=True)

    objects = PresenceQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "presence"
        constraints = [models.UniqueConstraint(fields=["connection_id", "room"], name="once_in_a_room")]

    def __str__(self) -> str:
        return f"{self.name} in {self.room}"

    @property
    def person(self) -> Person:
        """What pages are told."""
        return Person(self.connection_id, self.name, self.is_user)
