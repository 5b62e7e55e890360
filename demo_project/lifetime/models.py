"""What the hub was told. It is in the database because the process that was told may be killed from the page."""

import datetime
from dataclasses import dataclass

from django.db import models
from django.utils import timezone

KEPT_FOR = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Told:
    """One callback, as pages see it."""

    number: int
    """Grows with every callback of the site."""
    name: str
    time: datetime.datetime
    connection_id: str
    process: int
    """The process id of the server."""
    transport: str
    reason: str
    """Of ``on_disconnected``; else empty."""
    stop_called: bool | None


class CallbackQuerySet(models.QuerySet["Callback"]):
    def of_connection(self, connection_id: str) -> "CallbackQuerySet":
        return self.filter(connection_id=connection_id)

    def old(self) -> "CallbackQuerySet":
        """Those that nobody looks at any more."""
        return self.filter(time__lt=timezone.now() - KEPT_FOR)

    async def atold(self) -> list[Told]:
        """What a page is told, the oldest first."""
        return [callback.told async for callback in self.order_by("pk")]

    def newest_connection(self) -> str | None:
        """The connection id that was heard of last."""
        return self.order_by("-pk").values_list("connection_id", flat=True).first()


class Callback(models.Model):
    """One call of ``on_connected``, ``on_reconnected`` or ``on_disconnected``; written by the hub."""

    visit = models.UUIDField(db_index=True)
    """Made up by the page when it is opened; its classic client sends it along with every request."""
    name = models.CharField(max_length=20)
    time = models.DateTimeField(default=timezone.now)
    connection_id = models.CharField(max_length=64, db_index=True)
    process = models.PositiveBigIntegerField("process id")
    transport = models.CharField(max_length=32, blank=True)
    reason = models.CharField(max_length=32, blank=True)
    stop_called = models.BooleanField(null=True, blank=True)

    objects = CallbackQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} of {self.connection_id}"

    @property
    def told(self) -> Told:
        """What pages are told."""
        return Told(
            number=self.pk,
            name=self.name,
            time=self.time,
            connection_id=self.connection_id,
            process=self.process,
            transport=self.transport,
            reason=self.reason,
            stop_called=self.stop_called,
        )
