"""
The row of this server process, and what becomes of the rows of others that fell silent.

::

    (no row) --first renewal--> alive --stop()--> stopped
                                alive --silent for PROCESS_LEASE, claimed by a sweep--> stopped, its connections ended as process_lost
                                  ^----------- it was only late: renewal ------------------'  they are open again
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import Q, Value
from django.db.models.functions import Greatest

from signalr_channels.conf import get_settings
from signalr_channels.history import CHUNK, chunks, clean_text, event_row, new_process
from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEvent, LifetimeEventKind
from signalr_channels.models import Connection, ServerProcess, lease_start
from signalr_channels.models import LifetimeEvent as EventRow
from signalr_channels.protocols.endings import CloseReason

__all__ = ["ProcessLease", "sweep", "sweep_strays"]


class ProcessLease:
    """
    The heartbeat of this server process.

    Attributes:
        name: ``host:pid:random``, as in ``LifetimeEvent.process``.
    """

    def __init__(self, name: str) -> None:
        self.name = clean_text(name, 255)
        self._open: set[str] = set()
        self._renewed_at: datetime.datetime | None = None
        self._steady_since: datetime.datetime | None = None
        self._strays_swept = False

    def note(self, events: Iterable[LifetimeEvent]) -> None:
        """Remember which connections are open here, for the case that a sweep ends them by mistake."""
        for event in events:
            if event.kind in (LifetimeEventKind.CONNECTED, LifetimeEventKind.RECONNECTED):
                self._open.add(event.connection.connection_id)
            elif event.kind is LifetimeEventKind.DISCONNECTED:
                self._open.discard(event.connection.connection_id)

    def renew(self, now: datetime.datetime, dropped: int) -> list[LifetimeEvent]:
        """
        Say that this process lives, and sweep those that do not.

        Sweeping waits until this process itself was seen for a whole ``PROCESS_LEASE`` without a gap: after an outage of the
        database everybody looks lost, and whoever is back first must not end the connections of the rest.

        Returns:
            What was written besides: connections that were ended, or are open again.
        """
        lease = datetime.timedelta(seconds=get_settings().PROCESS_LEASE)
        rows = ServerProcess.objects.filter(name=self.name, stopped_at=None)
        events = [] if rows.update(last_seen_at=now, dropped_events=dropped) else self._begin(now, dropped)
        if self._renewed_at is None or now - self._renewed_at > lease:
            self._steady_since = now
        self._renewed_at = now
        if self._steady_since is not None and now - self._steady_since >= lease:
            events += sweep(now)
            if not self._strays_swept:
                events += sweep_strays(now)
                self._strays_swept = True
        return events

    def stop(self, now: datetime.datetime, dropped: int) -> list[LifetimeEvent]:
        """Mark this process stopped and end what it left open. Returns the ends."""
        rows = ServerProcess.objects.filter(name=self.name, stopped_at=None)
        with transaction.atomic(using=rows.db):
            process = rows.first()
            if process is None or not rows.update(stopped_at=now, last_seen_at=now, dropped_events=dropped):
                return []
            process.last_seen_at = now
            return end_connections(process, now, CloseReason.SERVER_SHUTDOWN, "The server process stopped.")

    def _begin(self, now: datetime.datetime, dropped: int) -> list[LifetimeEvent]:
        """Write the row for the first time, or take it back from a sweep."""
        rows = ServerProcess.objects.filter(name=self.name)
        with transaction.atomic(using=rows.db):
            process = rows.first()
            if process is None:
                process = new_process(self.name, now)
                process.dropped_events = dropped
                process.save(using=rows.db)
                return []
            silent_since = process.last_seen_at
            rows.update(stopped_at=None, last_seen_at=now, dropped_events=dropped)
            detail = (
                f"The server process was thought lost from {moment(silent_since)} to {moment(now)} and was not: "
                "the connection had stayed open."
            )
            return reopen_connections(process, self._open, now, detail)


def sweep(now: datetime.datetime) -> list[LifetimeEvent]:
    """
    End the connections of server processes that were silent for ``PROCESS_LEASE``.

    Each process is claimed by a conditional update in the transaction that ends its connections, so of two sweepers one does it.

    Returns:
        The ``disconnected`` events that were written.
    """
    events: list[LifetimeEvent] = []
    for process in ServerProcess.objects.silent(now):
        claim = ServerProcess.objects.filter(pk=process.pk, stopped_at=None, last_seen_at__lt=lease_start(now))
        with transaction.atomic(using=claim.db):
            if claim.update(stopped_at=now):
                detail = f"No sign of life from server process {process.name} since {moment(process.last_seen_at)}."
                events += end_connections(process, now, CloseReason.PROCESS_LOST, detail)
    return events


def sweep_strays(now: datetime.datetime) -> list[LifetimeEvent]:
    """
    End open connections whose server process stopped or was deleted more than ``PROCESS_LEASE`` ago.

    They are what an event leaves that arrives after its process was written off. There are few: each is claimed by itself.

    Returns:
        The ``disconnected`` events that were written.
    """
    gone = Q(process__stopped_at__lt=lease_start(now)) | Q(process=None, last_seen_at__lt=lease_start(now))
    rows = Connection.objects.filter(gone, closed_at=None).select_related("process")
    end = {
        "closed_at": now,
        "close_reason": CloseReason.PROCESS_LOST.value,
        "close_detail": "Its server process is gone.",
        "stop_called": False,
        "allows_reconnect": True,
    }
    events = []
    with transaction.atomic(using=rows.db):
        for row in rows:
            if Connection.objects.filter(pk=row.pk, closed_at=None).update(**end):
                name = row.process.name if row.process else ""
                events.append(lost_event(row, name, now, CloseReason.PROCESS_LOST, "Its server process is gone."))
        write_events(events)
    return events


def end_connections(process: ServerProcess, now: datetime.datetime, reason: CloseReason, detail: str) -> list[LifetimeEvent]:
    """End the open connections of a process, as of the time it was last seen. Runs in the caller's transaction."""
    rows = list(Connection.objects.filter(process=process, closed_at=None).order_by("pk"))
    for chunk in chunks(rows):
        Connection.objects.filter(pk__in=[row.pk for row in chunk], closed_at=None).update(
            closed_at=Greatest("opened_at", Value(process.last_seen_at)),
            close_reason=reason.value,
            close_detail=clean_text(detail, 500),
            stop_called=False,
            allows_reconnect=True,
        )
    events = [lost_event(row, process.name, now, reason, detail) for row in rows]
    write_events(events)
    return events


def reopen_connections(process: ServerProcess, ids: set[str], now: datetime.datetime, detail: str) -> list[LifetimeEvent]:
    """Take back the end of connections that a sweep thought lost. Runs in the caller's transaction."""
    lost = Connection.objects.filter(process=process, close_reason=CloseReason.PROCESS_LOST.value)
    rows = [row for row in lost if row.connection_id in ids]
    for chunk in chunks(rows):
        Connection.objects.filter(pk__in=[row.pk for row in chunk]).update(
            closed_at=None, close_reason="", close_detail="", stop_called=None, allows_reconnect=None
        )
    events = [
        LifetimeEvent(kind=LifetimeEventKind.RECONNECTED, connection=connection_info(row), process=process.name, detail=detail, time=now)
        for row in rows
    ]
    write_events(events)
    return events


def lost_event(row: Connection, process: str, now: datetime.datetime, reason: CloseReason, detail: str) -> LifetimeEvent:
    """The end of a connection that nobody was left to report."""
    return LifetimeEvent(
        kind=LifetimeEventKind.DISCONNECTED,
        connection=connection_info(row),
        process=process,
        reason=reason,
        detail=detail,
        stop_called=False,
        allows_reconnect=True,
        time=now,
    )


def connection_info(row: Connection) -> ConnectionInfo:
    """What a row knows of its connection."""
    same = {field.name for field in dataclasses.fields(ConnectionInfo)} - {"user_pk", "user_identifier"}
    columns = {name: getattr(row, name) for name in same}
    return ConnectionInfo(**columns, user_pk=row.user_id, user_identifier=row.user_identifier or None)


def write_events(events: Sequence[LifetimeEvent]) -> None:
    """Insert events of our own making."""
    EventRow.objects.bulk_create([event_row(event) for event in events], batch_size=CHUNK, ignore_conflicts=True)


def moment(time: datetime.datetime) -> str:
    """A time in UTC, to the second, for a sentence."""
    return f"{time.astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
