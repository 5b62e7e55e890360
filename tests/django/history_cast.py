"""What the tests of the history share: a maker of lifetime events, and a database file of its own for the writer thread."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEvent, LifetimeEventKind
from signalr_channels.models import Connection, ServerProcess
from signalr_channels.models import LifetimeEvent as EventRow
from signalr_channels.protocols.endings import CloseReason

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
PROCESS = "web-1:4711:abcdef"
INFO = {
    "hub": "chat.hubs.ChatHub",
    "path": "/chat",
    "transport": "webSockets",
    "hub_protocol": "json",
    "user_identifier": "ada",
    "remote_address": "203.0.113.7:50000",
    "user_agent": "Mozilla/5.0",
    "origin": "https://app.example.com",
}


def event(
    kind: str, connection_id: str = "c1", *, process: str = PROCESS, time: Any = NOON, info: Any = None, **more: Any
) -> LifetimeEvent:
    """A lifetime event of a connection like any other."""
    connection = ConnectionInfo(connection_id=connection_id, **{**INFO, **(info or {})})
    return LifetimeEvent(kind=LifetimeEventKind(kind), connection=connection, process=process, time=time, **more)


def end(connection_id: str = "c1", reason: CloseReason = CloseReason.CLIENT_GONE, **more: Any) -> LifetimeEvent:
    """The end of it."""
    return event("disconnected", connection_id, reason=reason, stop_called=False, allows_reconnect=False, **more)


def later(seconds: float) -> datetime.datetime:
    """So many seconds after noon."""
    return NOON + datetime.timedelta(seconds=seconds)


@contextlib.contextmanager
def history_database(directory: Path, *, for_threads: bool = False) -> Iterator[str]:
    """
    A database file for the history alone: it has no table of users.

    The writer thread needs one, since another thread's connection cannot see into the transaction of a test. For that, the test may
    not be marked ``django_db``: Django's test case lets threads only into the databases it set up.
    """
    alias = "history_file"
    options = {**connections.settings["default"], "ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "history.sqlite3")}
    options["OPTIONS"] = {}
    if for_threads:
        connections.settings[alias] = options
    connections[alias] = DatabaseWrapper(options, alias)
    try:
        with connections[alias].schema_editor() as editor:
            for model in (ServerProcess, Connection, EventRow):
                editor.create_model(model)
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        connections.settings.pop(alias, None)
