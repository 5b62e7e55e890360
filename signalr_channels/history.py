"""
Lifetime events -> rows, a batch at a time.

The number of queries of a batch does not depend on how many events it holds (only on how many fit into one statement of the
database). Writing a batch twice leaves the rows of writing it once, so that a batch can be repeated when it is not known whether the
first attempt arrived.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections, transaction
from django.utils import timezone

from signalr_channels import models
from signalr_channels.conf import get_settings
from signalr_channels.history_rows import Columns, insert_new
from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEvent, LifetimeEventKind
from signalr_channels.protocols.endings import CloseReason

__all__ = ["CHUNK", "chunks", "clean_text", "event_row", "write_batch"]

CHUNK = 400
"""Rows named in one statement: below the 999 parameters of an old SQLite, also where a row takes two."""
NAME_LENGTH = 255
"""Of ``ServerProcess.name``."""

T = TypeVar("T")

# Control characters, what turns the direction of text around, line separators, and halves of a surrogate pair, which no database takes.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SECRET = re.compile(r"((?:access_token|connectionToken)=|bearer\s+(?=\S{20}))[^\s&#\"']+", re.IGNORECASE)
PID = re.compile("[0-9]{1,10}")


def clean_text(text: str | None, length: int) -> str:
    r"""
    Make text from outside fit for a column and for a page.

    Control characters become visible escapes such as ``\x1b``, the value of an access token or connection token is left out, and
    what is longer than ``length`` characters ends with an ellipsis.
    """
    if not text:
        return ""
    if len(text) <= length and text.isascii() and text.isprintable() and "=" not in text and " " not in text:
        return text  # ids, names and addresses, as nearly all is
    # Cut before the secrets go, a little late: a token cut in half would no longer look like one, and its half would stay.
    shown = SECRET.sub(r"\1[left out]", text[: length + 8192])
    shown = UNPRINTABLE.sub(lambda match: escape(match[0]), shown[: length + 1])
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def escape(character: str) -> str:
    r"""``\x1b`` or ``\u202e``."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def column(model: type[Connection | EventRow], name: str, text: str | None) -> str:
    """:func:`clean_text` to the length of a column."""
    return clean_text(text, LENGTHS[model][name])


Connection = models.Connection
EventRow = models.LifetimeEvent
LENGTHS: Mapping[type, Mapping[str, int]] = {
    model: {field.attname: field.max_length for field in model._meta.concrete_fields if field.max_length is not None}
    for model in (Connection, EventRow)
}


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterable[list[T]]:
    """Cut into lists of at most ``size``."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def stored_time(time: datetime.datetime) -> datetime.datetime:
    """The time as the database takes it: with a time zone under ``USE_TZ``, else without one, in that of the site."""
    if timezone.is_aware(time) == settings.USE_TZ:
        return time
    return timezone.make_aware(time) if settings.USE_TZ else timezone.make_naive(time)


def event_row(event: LifetimeEvent) -> EventRow:
    """The row of an event."""
    return EventRow(**event_columns(event))


def event_columns(event: LifetimeEvent) -> Columns:
    """The columns of an event, every text cut to its length."""
    info = event.connection
    return {
        "event_id": column(EventRow, "event_id", event.event_id),
        "kind": event.kind.value,
        "time": stored_time(event.time),
        "connection_id": column(Connection, "connection_id", info.connection_id),
        "hub": column(EventRow, "hub", info.hub),
        "path": column(EventRow, "path", info.path),
        "transport": column(EventRow, "transport", info.transport),
        "reason": "" if event.reason is None else event.reason.value,
        "detail": column(EventRow, "detail", event.detail),
        "process": column(EventRow, "process", event.process),
        "user_identifier": column(EventRow, "user_identifier", info.user_identifier),
        "remote_address": column(EventRow, "remote_address", info.remote_address),
        "user_agent": column(EventRow, "user_agent", info.user_agent),
        "origin": column(EventRow, "origin", info.origin),
    }


@dataclass(slots=True)
class Change:
    """What the events of one batch say about one connection."""

    first: LifetimeEvent
    """The first of them."""
    connected: LifetimeEvent | None = None
    """The last one: after its end, a classic connection may begin again under its id."""
    reconnected: LifetimeEvent | None = None
    """The last one since."""
    disconnected: LifetimeEvent | None = None
    """The end, if the connection did not come back after it."""

    @property
    def began(self) -> LifetimeEvent | None:
        """The event that says most recently that the connection lives."""
        return self.reconnected or self.connected

    @property
    def where(self) -> LifetimeEvent:
        """The event that says most recently over what the connection runs."""
        return self.began or self.first


def fold(events: Iterable[LifetimeEvent]) -> dict[str, Change]:
    """Put together what happened to each connection. Refusals and mere negotiations say nothing about one."""
    changes: dict[str, Change] = {}
    for event in events:
        key = column(Connection, "connection_id", event.connection.connection_id)
        if not key or event.kind in (LifetimeEventKind.NEGOTIATED, LifetimeEventKind.REJECTED):
            continue
        change = changes.setdefault(key, Change(event))
        if event.kind is LifetimeEventKind.CONNECTED:
            change.connected, change.reconnected, change.disconnected = event, None, None
        elif event.kind is LifetimeEventKind.RECONNECTED:
            change.reconnected, change.disconnected = event, None
        elif change.disconnected is None or change.disconnected.reason is CloseReason.PROCESS_LOST:
            change.disconnected = event
    return changes


def write_batch(events: Sequence[LifetimeEvent], touches: Mapping[str, datetime.datetime]) -> None:
    """
    Write events and last-seen times in one transaction.

    Args:
        events: In the order in which they happened.
        touches: Connection id -> when the client was last heard of.

    Raises:
        django.db.Error: Nothing was written.
    """
    with transaction.atomic(using=get_settings().DATABASE):
        if changes := fold(events):
            write_connections(changes)
        if events:
            insert_new(EventRow, [event_columns(event) for event in events], get_settings().DATABASE)
        write_touches(touches)


def write_touches(touches: Mapping[str, datetime.datetime]) -> None:
    """
    Set ``last_seen_at``, to the second.

    Clients heard of in the same second share a statement: one that names a time for each costs several times as much in Python.
    """
    seconds: dict[datetime.datetime, list[str]] = {}
    for key, time in touches.items():
        seconds.setdefault(stored_time(time).replace(microsecond=0), []).append(key)
    for time, keys in seconds.items():
        for chunk in chunks(keys):
            Connection.objects.filter(connection_id__in=chunk, last_seen_at__lt=time).update(last_seen_at=time)


def write_connections(changes: Mapping[str, Change]) -> None:
    """Insert the connections that are new and bring the others up to date."""
    processes = process_ids({event.process: event for change in changes.values() for event in (change.where, change.disconnected) if event})
    rows: dict[str, Connection] = {}
    for chunk in chunks(key for key, change in changes.items() if change.connected is None):
        rows.update((row.connection_id, row) for row in Connection.objects.filter(connection_id__in=chunk))

    new: dict[str, Columns] = {}
    for key, change in changes.items():
        if key not in rows:  # also where "connected" was dropped: better a connection without its beginning than none
            process, opened_at = processes[change.where.process], stored_time(change.first.time)
            ending = end_columns(change.disconnected) if change.disconnected else {}
            new[key] = {"connection_id": key, "process_id": process, "opened_at": opened_at, **where_columns(change.where), **ending}
    insert_new(Connection, list(new.values()), get_settings().DATABASE)
    rows.update((row.connection_id, row) for row in rows_of_others(new))

    moved, ended = [], []
    for key, row in rows.items():
        change = changes[key]
        if change.began and goes_on(row, change, processes[change.began.process]):
            row.process_id = processes[change.began.process]
            for name, value in where_columns(change.began).items():
                setattr(row, name, value)
            set_end(row, None)
            moved.append(row)
        if change.disconnected and end_counts(row, change.disconnected, processes[change.disconnected.process]):
            set_end(row, change.disconnected)
            ended.append(row)
    update_rows(moved, ["process", *WHERE_FIELDS, *END_FIELDS])
    update_rows(ended, END_FIELDS)


def rows_of_others(new: Mapping[str, Columns]) -> Iterable[Connection]:
    """
    The rows that stood in the way of new ones: of an earlier life of the connection, or of another process that was faster.

    Looked for after the insert, so that no row slips in between. What this batch has just inserted, or a first attempt of it, is left out.

    Args:
        new: Connection id -> columns of the row.
    """
    if not new:
        return
    own = {columns["process_id"] for columns in new.values()} - {None}
    earliest = min(columns["opened_at"] for columns in new.values())
    for chunk in chunks(new):
        yield from Connection.objects.filter(connection_id__in=chunk).exclude(process_id__in=own, opened_at__gte=earliest)


def update_rows(rows: Sequence[Connection], fields: Sequence[str]) -> None:
    """
    Write columns of rows that were just read.

    As an upsert where the database has it: ``bulk_update`` costs several times as much in Python.
    """
    features = connections[Connection.objects.db].features
    if not features.supports_update_conflicts:
        Connection.objects.bulk_update(rows, fields, batch_size=CHUNK)
    elif rows:
        target = ["connection_id"] if features.supports_update_conflicts_with_target else None
        Connection.objects.bulk_create(rows, update_conflicts=True, update_fields=fields, unique_fields=target)


WHERE_TEXTS = ("hub", "path", "user_identifier", "transport", "hub_protocol", "remote_address", "user_agent", "origin")
WHERE_FIELDS = (*WHERE_TEXTS, "user", "last_seen_at")
END_FIELDS = ("closed_at", "close_reason", "close_detail", "stop_called", "allows_reconnect")


def where_columns(event: LifetimeEvent) -> Columns:
    """The columns that say over what a connection runs, and whose it is."""
    info = event.connection
    columns: Columns = {name: column(Connection, name, getattr(info, name)) for name in WHERE_TEXTS}
    return {**columns, "user_id": user_pk(info), "last_seen_at": stored_time(event.time)}


def user_pk(info: ConnectionInfo) -> Any:
    """The user's primary key, or ``None`` where it is no key of the site's user model."""
    try:
        return None if info.user_pk is None else get_user_model()._meta.pk.to_python(info.user_pk)
    except ValidationError:
        return None


def set_end(row: Connection, event: LifetimeEvent | None) -> None:
    """Write an end into a row, or take it away."""
    for name, value in end_columns(event).items():
        setattr(row, name, value)


def end_columns(event: LifetimeEvent | None) -> Columns:
    """The columns of an end, or of none."""
    return {
        "closed_at": stored_time(event.time) if event else None,
        "close_reason": event.reason.value if event and event.reason else "",
        "close_detail": column(Connection, "close_detail", event.detail) if event else "",
        "stop_called": event.stop_called if event else None,
        "allows_reconnect": event.allows_reconnect if event else None,
    }


def goes_on(row: Connection, change: Change, process: int | None) -> bool:
    """
    Whether a connection that has a row goes on in the process whose events these are.

    Processes write when they can, so events of another one may be old news. Its clock says so, but only where nothing better does:
    what has ended elsewhere and lives here goes on here, even if this clock is behind.
    """
    assert change.began is not None
    if row.process_id in (None, process) or (row.closed_at is not None and change.disconnected is None):
        return True
    return stored_time(change.began.time) >= row.last_seen_at


def end_counts(row: Connection, event: LifetimeEvent, process: int | None) -> bool:
    """
    Whether this is the end of the connection.

    What ended stays ended as it did, but a process that was thought lost knows better. And where the connection lives in another
    process by now, its end in this one is the end of an earlier life.
    """
    if row.closed_at is not None and row.close_reason != CloseReason.PROCESS_LOST.value:
        return False
    return row.process_id in (None, process)


def process_ids(events: Mapping[str, LifetimeEvent]) -> dict[str, int | None]:
    """
    The primary keys of server processes.

    A process that has no row gets one, last seen when its event happened: if no heartbeat follows, it counts as lost.

    Args:
        events: Name of the process -> one event of it.
    """
    rows = models.ServerProcess.objects
    names = {name: clean_text(name, NAME_LENGTH) for name in events}
    wanted = set(names.values()) - {""}
    known: dict[str, int] = dict(rows.filter(name__in=wanted).values_list("name", "pk"))
    if wanted - known.keys():
        rows.bulk_create(
            [new_process(name, stored_time(event.time)) for name, event in events.items() if names[name] in wanted - known.keys()],
            ignore_conflicts=True,
        )
        known.update(rows.filter(name__in=wanted - known.keys()).values_list("name", "pk"))
    return {name: known.get(clean) for name, clean in names.items()}


def new_process(name: str, time: datetime.datetime) -> models.ServerProcess:
    """A row for a process that was first seen at ``time``; host and pid are read from ``host:pid:random``."""
    parts = name.rsplit(":", 2)
    pid = int(parts[1]) if len(parts) == 3 and PID.fullmatch(parts[1]) else 0
    return models.ServerProcess(
        name=clean_text(name, NAME_LENGTH), host=clean_text(parts[0], NAME_LENGTH), pid=pid, started_at=time, last_seen_at=time
    )
