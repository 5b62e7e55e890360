"""
The history: which connections are open, which there were, why they ended, and which server processes carry them.

Rows are written by :mod:`signalr_channels.recorder` and read by the admin. No column holds a token.
The managers read and write the database ``SIGNALR["DATABASE"]``, unless ``using()`` says otherwise.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from signalr_channels.conf import get_settings

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Connection", "LifetimeEvent", "ServerProcess", "forget_user", "lease_start"]

M = TypeVar("M", bound=models.Model)


def lease_start(now: datetime.datetime | None = None) -> datetime.datetime:
    """The oldest time at which a process must have been seen to count as living: ``now`` less ``PROCESS_LEASE``."""
    return (now or timezone.now()) - datetime.timedelta(seconds=get_settings().PROCESS_LEASE)


def forget_user(collector: Any, field: Any, sub_objs: Any, using: str) -> None:
    """
    Clear ``Connection.user`` when the user is deleted, if users and the history share a database.

    Plain ``SET_NULL`` looks for the history next to the user, and fails where ``DATABASE`` keeps it elsewhere. There the id stays
    behind, points to nobody, and ``user_identifier`` says who it was, as it does after ``SET_NULL``.
    """
    if using == get_settings().DATABASE:
        models.SET_NULL(collector, field, sub_objs, using)


# As on SET_NULL: without it the rows are loaded before this function is asked.
forget_user.lazy_sub_objs = True  # type: ignore[attr-defined]


class HistoryManager(models.Manager[M]):
    """A manager of the database ``SIGNALR["DATABASE"]``."""

    _db: str | None

    def get_queryset(self) -> models.QuerySet[M]:
        """All rows, in the configured database unless ``db_manager()`` named another."""
        queryset = super().get_queryset()
        return queryset if self._db else queryset.using(get_settings().DATABASE)


class ServerProcessQuerySet(models.QuerySet["ServerProcess"]):
    """Rows of server processes."""

    def alive(self, now: datetime.datetime | None = None) -> Self:
        """Those seen within ``PROCESS_LEASE`` and not stopped."""
        return self.filter(stopped_at=None, last_seen_at__gte=lease_start(now))

    def silent(self, now: datetime.datetime | None = None) -> Self:
        """Those that neither stopped nor were seen within ``PROCESS_LEASE``."""
        return self.filter(stopped_at=None, last_seen_at__lt=lease_start(now))


class ServerProcess(models.Model):
    """
    One process that carries connections.

    Its heartbeat is the only thing written for an idle connection: a process that is silent for ``PROCESS_LEASE`` takes its
    connections out of the live list at once, and a sweep writes down their end.
    """

    name = models.CharField(_("name"), max_length=255, unique=True)
    """``host:pid:random``."""
    host = models.CharField(_("host"), max_length=255, blank=True)
    pid = models.PositiveBigIntegerField(_("process id"), default=0)
    started_at = models.DateTimeField(_("started"))
    last_seen_at = models.DateTimeField(_("last seen"))
    stopped_at = models.DateTimeField(_("stopped"), null=True, blank=True)
    """``None`` while it runs."""
    dropped_events = models.PositiveBigIntegerField(_("dropped events"), default=0)
    """Lifetime events this process could not write: ``HISTORY_QUEUE_SIZE`` was reached, or the database refused them."""

    objects = HistoryManager.from_queryset(ServerProcessQuerySet)()

    class Meta:
        verbose_name = _("server process")
        verbose_name_plural = _("server processes")
        default_permissions = ("view",)
        indexes = (models.Index(fields=["stopped_at", "last_seen_at"], name="signalr_process_seen"),)

    def __str__(self) -> str:
        return self.name

    @property
    def is_alive(self) -> bool:
        """Whether it was seen within ``PROCESS_LEASE`` and did not stop."""
        return self.stopped_at is None and self.last_seen_at >= lease_start()


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """Rows of connections."""

    def live(self, now: datetime.datetime | None = None) -> Self:
        """Those that are open, on a server process that is alive."""
        return self.filter(closed_at=None, process__stopped_at=None, process__last_seen_at__gte=lease_start(now))

    def ended(self) -> Self:
        """
        Those whose end is written down.

        For at most a heartbeat and a ``PROCESS_LEASE``, connections of a lost process are neither live nor ended.
        """
        return self.filter(closed_at__isnull=False)


class Connection(models.Model):
    """One connection, from the moment hands were shaken."""

    connection_id = models.CharField(_("connection id"), max_length=64, unique=True)
    """The public id; never the connection token."""
    hub = models.CharField(_("hub"), max_length=255)
    path = models.CharField(_("path"), max_length=255, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, forget_user, null=True, blank=True, db_constraint=False, related_name="+", verbose_name=_("user")
    )
    user_identifier = models.CharField(_("user identifier"), max_length=255, blank=True, db_index=True)
    """What ``clients.user(…)`` addresses; stays when the user is deleted."""
    transport = models.CharField(_("transport"), max_length=32, blank=True)
    hub_protocol = models.CharField(_("hub protocol"), max_length=32, blank=True)
    remote_address = models.CharField(_("remote address"), max_length=128, blank=True, db_index=True)
    user_agent = models.CharField(_("user agent"), max_length=256, blank=True)
    origin = models.CharField(_("origin"), max_length=256, blank=True)
    process = models.ForeignKey(
        ServerProcess, models.SET_NULL, null=True, blank=True, db_index=False, related_name="connections", verbose_name=_("server process")
    )
    """The process that carries it now, or carried it last."""
    opened_at = models.DateTimeField(_("opened"))
    last_seen_at = models.DateTimeField(_("last seen"))
    """When the client was last heard of, as far as it was written down."""
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True, db_index=True)
    """``None`` while it is open."""
    close_reason = models.CharField(_("reason"), max_length=32, blank=True)
    """A value of :class:`~signalr_channels.protocols.endings.CloseReason`."""
    close_detail = models.CharField(_("detail"), max_length=500, blank=True)
    stop_called = models.BooleanField(_("ended by the client on purpose"), null=True, blank=True)
    allows_reconnect = models.BooleanField(_("was told that it may come back"), null=True, blank=True)

    objects = HistoryManager.from_queryset(ConnectionQuerySet)()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        default_permissions = ("view", "delete")
        permissions = (("disconnect_connection", "Can disconnect connection"),)
        indexes = (
            models.Index(fields=["process", "closed_at"], name="signalr_connection_process"),
            models.Index(fields=["hub", "id"], name="signalr_connection_hub"),
            models.Index(fields=["transport", "id"], name="signalr_connection_transport"),
            models.Index(fields=["close_reason", "id"], name="signalr_connection_reason"),
        )

    def __str__(self) -> str:
        return self.connection_id

    @property
    def is_live(self) -> bool:
        """Whether it is open, on a server process that is alive."""
        return self.closed_at is None and self.process is not None and self.process.is_alive


class LifetimeEvent(models.Model):
    """
    One line in the life of a connection, or a refusal to begin one.

    ``connection_id`` is the public id as text, and at the same time what joins the event to its :class:`Connection`. It needs no
    such row: a connection that was only negotiated, or rejected, has none, and ``""`` stands for a refusal before there was an id.
    ``event.connection`` then raises ``Connection.DoesNotExist``, or is ``None`` after ``select_related("connection")``.
    """

    event_id = models.CharField(_("event id"), max_length=64, unique=True)
    kind = models.CharField(_("kind"), max_length=16)
    """A value of :class:`~signalr_channels.hubs.lifetime.LifetimeEventKind`."""
    time = models.DateTimeField(_("time"), db_index=True)
    connection = models.ForeignKey(
        Connection,
        models.CASCADE,
        to_field="connection_id",
        db_constraint=False,
        null=True,
        blank=True,
        related_name="lifetime_events",
        verbose_name=_("connection"),
    )
    connection_id: str
    """The column of ``connection``. For lookups such as ``startswith`` write ``connection__connection_id``; it needs no join."""
    hub = models.CharField(_("hub"), max_length=255, blank=True)
    path = models.CharField(_("path"), max_length=255, blank=True)
    transport = models.CharField(_("transport"), max_length=32, blank=True)
    reason = models.CharField(_("reason"), max_length=32, blank=True)
    """A value of :class:`~signalr_channels.protocols.endings.CloseReason`, for ``disconnected`` and ``rejected``."""
    detail = models.CharField(_("detail"), max_length=500, blank=True)
    process = models.CharField(_("server process"), max_length=255, blank=True)
    """Name of the process, as text: it outlives the :class:`ServerProcess` row."""
    user_identifier = models.CharField(_("user identifier"), max_length=255, blank=True, db_index=True)
    remote_address = models.CharField(_("remote address"), max_length=128, blank=True, db_index=True)
    user_agent = models.CharField(_("user agent"), max_length=256, blank=True)
    """Kept here too, because a refused client has no connection to look it up in."""
    origin = models.CharField(_("origin"), max_length=256, blank=True)

    objects = HistoryManager["LifetimeEvent"]()

    class Meta:
        verbose_name = _("lifetime event")
        verbose_name_plural = _("lifetime events")
        default_permissions = ("view", "delete")
        indexes = (
            models.Index(fields=["kind", "id"], name="signalr_event_kind"),
            models.Index(fields=["reason", "id"], name="signalr_event_reason"),
            models.Index(fields=["hub", "id"], name="signalr_event_hub"),
            models.Index(fields=["transport", "id"], name="signalr_event_transport"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.connection_id or '-'}"
