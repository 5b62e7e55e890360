"""
The thread that writes the history: it takes batches from a queue, and keeps them while the database is away.

:class:`HistoryWriter` is the half of :class:`~signalr_channels.recorder.Recorder` that uses the database.
"""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, ProgrammingError, close_old_connections, connections

from signalr_channels.conf import get_settings
from signalr_channels.history import write_batch
from signalr_channels.hubs.lifetime import LifetimeEvent
from signalr_channels.processes import ProcessLease
from signalr_channels.signals import announce

__all__ = ["RETRY_WHILE_STOPPING", "HistoryWriter", "logger"]

logger = logging.getLogger("signalr_channels.history")

FIRST_RETRY, LONGEST_RETRY, RETRY_WHILE_STOPPING = 0.1, 30.0, 0.25
"""Seconds before a failed write is tried again; the first is doubled each time."""

DATABASE_AWAY = (OperationalError, InterfaceError, ProgrammingError)
"""Errors that pass, the last one when the migrations are run. Anything else is the fault of a row."""
OUR_TABLES = "signalr_channels_"
MISSING = ("no such ", "has no column", "not exist", "n't exist", "unknown column")
"""Words of SQLite, PostgreSQL, MySQL and Oracle for a table or a column that is not there."""


class HistoryWriter:
    """
    A queue of lifetime events, and the thread that empties it.

    The thread starts with the first thing to write, and ends when it is told to stop.

    Args:
        synchronous: There is no thread; somebody calls ``_write()``.
        now: Gives the time.
    """

    def __init__(self, *, synchronous: bool, now: Callable[[], datetime.datetime]) -> None:
        self.synchronous = synchronous
        self._now = now
        self._reset()

    def _reset(self) -> None:
        """Begin empty: at first, and in the child after a fork, where the writer thread and its connection do not exist."""
        self._condition = threading.Condition()
        """Guards what follows. Held for moments only, never while the database is used."""
        self._thread: threading.Thread | None = None
        self._lease: ProcessLease | None = None
        self._events: deque[LifetimeEvent] = deque()
        self._batch: list[LifetimeEvent] = []
        """Taken from the queue and not known to be written."""
        self._touches: dict[str, datetime.datetime] = {}
        self._accepted = self._settled = 0
        """How many events were ever queued, and how many of them were written or given up."""
        self._touched = self._touches_settled = 0
        """The same for calls of ``touch()``."""
        self._dropped = self._dropped_in_burst = 0
        self._waiting_since = self._beat_at = self._retry_at = 0.0
        self._pause = 0.0
        """Seconds between attempts while the database is away, else 0."""
        self._hurry = False
        self._stop_by: float | None = None

    def _wake(self) -> None:
        """Wake the writer thread, or start it. The condition is held."""
        if self._thread is None and not self.synchronous:
            self._thread = threading.Thread(target=self._run, name="signalr-history", daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _is_idle(self) -> bool:
        """Whether nothing is left to write and no process to keep alive. The condition is held."""
        return not (self._events or self._batch or self._touches or self._lease)

    def _run(self) -> None:
        """Write when there is something to write, until told to stop."""
        try:
            while self._wait():
                close_old_connections()
                try:
                    self._write()
                except Exception as error:  # an outage or a bug: neither may end the thread, and the events wait
                    self._failed(error)
                close_old_connections()
        finally:
            connections.close_all()
            with self._condition:
                if self._thread is threading.current_thread():  # a bug ended it: the next event starts another
                    self._thread = None

    def _wait(self) -> bool:
        """Wait until something is due. False when the thread is to end."""
        with self._condition:
            while (delay := self._delay()) is None or delay > 0:
                self._condition.wait(delay)
            if self._stop_by is None:
                return True
            if not self._is_idle() and time.monotonic() < self._stop_by:
                return True
            lost = len(self._batch) + len(self._events)
            self._batch = []
            self._events.clear()
            self._touches.clear()
            self._settled += lost
            self._dropped += lost
            # In the same breath as the decision to end, so that the next event starts a new thread.
            self._thread = self._lease = self._stop_by = None
            self._pause = 0.0
            self._condition.notify_all()
        if lost:
            logger.error("%d lifetime events were dropped: they could not be written before the process stopped.", lost)
        return False

    def _delay(self) -> float | None:
        """Seconds until something is due, or ``None`` while nothing is. The condition is held."""
        now = time.monotonic()
        if self._pause:
            return self._retry_at - now
        if self._hurry or self._stop_by is not None:
            return 0.0
        due = []
        if self._lease or self._touches:
            due.append(self._beat_at)
        if self._events:
            settings = get_settings()
            is_full = len(self._events) >= settings.HISTORY_BATCH_SIZE
            due.append(now if is_full else self._waiting_since + settings.HISTORY_FLUSH_INTERVAL)
        return min(due) - now if due else None

    def _write(self) -> None:
        """
        Write one batch, and the heartbeat when it is due.

        Raises:
            django.db.Error: The database is away. The batch is kept.
        """
        settings = get_settings()
        touches: dict[str, datetime.datetime] = {}
        with self._condition:
            is_beat = time.monotonic() >= self._beat_at
            while self._events and len(self._batch) < settings.HISTORY_BATCH_SIZE:
                self._batch.append(self._events.popleft())
            touched = self._touches_settled
            # Not before the connections they are about.
            if not self._events and (is_beat or self._hurry or self._stop_by is not None):
                touched = self._touched
                touches, self._touches = self._touches, touches
        if is_beat:
            if self._lease and settings.HISTORY:
                announce(self._lease.renew(self._now(), self._dropped))
            self._beat_at = time.monotonic() + settings.PROCESS_HEARTBEAT_INTERVAL
        written = self._save(self._batch, touches)
        if self._lease:
            self._lease.note(written)
        announce(written)
        self._settle(touched)

    def _save(self, events: Sequence[LifetimeEvent], touches: Mapping[str, datetime.datetime]) -> Sequence[LifetimeEvent]:
        """Write to the database. Where it refuses a row, the batch is halved until only that row is left out. Returns the rest."""
        if not get_settings().HISTORY or not (events or touches):
            return events
        try:
            write_batch(events, touches)
        except DATABASE_AWAY:
            raise
        except Exception:
            if self.synchronous:
                raise
            if len(events) > 1:
                middle = len(events) // 2
                return [*self._save(events[:middle], {}), *self._save(events[middle:], {})]
            logger.exception("The database refused %s.", events[0] if events else "last-seen times")
            with self._condition:
                self._dropped += len(events)
            return []
        return events

    def _settle(self, touched: int) -> None:
        """Note that the batch is dealt with, and tell those who wait for it."""
        with self._condition:
            self._settled += len(self._batch)
            self._batch = []
            self._touches_settled = touched
            self._waiting_since = time.monotonic()
            burst = 0
            if not self._events:
                burst, self._dropped_in_burst = self._dropped_in_burst, 0
                self._hurry = self._hurry and bool(self._touches)
            was_away, self._pause = self._pause > 0, 0.0
            is_last = self._stop_by is not None and not self._events and not self._touches
            self._condition.notify_all()
        if was_away:
            logger.warning("The history is written again.")
        if burst:
            logger.error("%d lifetime events were dropped while the history queue was full.", burst)
        if is_last:
            self._end_lease()

    def _end_lease(self) -> None:
        """Mark this process stopped."""
        if self._lease and get_settings().HISTORY:
            announce(self._lease.stop(self._now(), self._dropped))
        self._lease = None

    def _failed(self, error: Exception) -> None:
        """Wait longer after each failure, and log the first. Last-seen times are let go: there are fresh ones soon."""
        with self._condition:
            is_first = not self._pause
            self._pause = min(self._pause * 2 or FIRST_RETRY, LONGEST_RETRY)
            if self._stop_by is not None:
                self._pause = min(self._pause, RETRY_WHILE_STOPPING)
            self._retry_at = time.monotonic() + self._pause
            self._touches.clear()
            waiting = len(self._batch) + len(self._events)
        if is_first:
            is_bug = not isinstance(error, DATABASE_AWAY)
            text = f"{error}{_advice(error)}"
            logger.error("The history cannot be written, %d events wait: %s", waiting, text, exc_info=error if is_bug else None)


def _advice(error: Exception) -> str:
    """What to do, where tables of ours are missing; servers, unlike ``runserver``, say nothing of migrations that were not run."""
    text = str(error).lower()
    if not isinstance(error, (OperationalError, ProgrammingError)) or OUR_TABLES not in text or not any(word in text for word in MISSING):
        return ""
    alias = get_settings().DATABASE
    return f" (run `manage.py migrate{'' if alias == DEFAULT_DB_ALIAS else f' --database {alias}'}`)"
