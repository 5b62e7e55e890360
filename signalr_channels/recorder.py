"""
The way of lifetime events into the database, off the fast path.

``record()`` only appends to a bounded queue. One writer thread per process takes batches from it and writes them on its own database
connection, so it works alike in ASGI and WSGI processes and in management commands, and takes part in nobody's transaction.

Tests of applications that look at the history use a recorder that writes at once, in the thread and transaction of the test::

    with use_recorder(Recorder(synchronous=True)) as recorder:
        ...                                   # the hub runs
        await recorder.aflush()               # only after events from an event loop, where the ORM may not be used

Other tests best switch the history off: ``SIGNALR = {"HISTORY": False}``. Signals are sent nevertheless.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, ProgrammingError, close_old_connections, connections
from django.utils import timezone

from signalr_channels.conf import get_settings
from signalr_channels.history import write_batch
from signalr_channels.hubs.lifetime import LifetimeEvent
from signalr_channels.processes import ProcessLease
from signalr_channels.signals import lifetime_event

__all__ = ["Recorder", "announce", "get_recorder", "use_recorder"]

logger = logging.getLogger("signalr_channels.history")

FIRST_RETRY, LONGEST_RETRY, RETRY_WHILE_STOPPING = 0.1, 30.0, 0.25
"""Seconds before a failed write is tried again; the first is doubled each time."""

EXIT_TIMEOUT = 3.0
"""Seconds the end of the Python process waits for the history."""

DATABASE_AWAY = (OperationalError, InterfaceError, ProgrammingError)
"""Errors that pass, the last one when the migrations are run. Anything else is the fault of a row."""


class Recorder:
    """
    Writes lifetime events, last-seen times and the heartbeat of this process.

    All methods may be called from any thread. ``flush()`` and ``stop()`` wait, and have twins to await.

    Args:
        synchronous: Write in the calling thread instead of a writer thread. For tests. On an event loop ``record()`` then only
            queues, and ``aflush()`` writes.
        now: Gives the time.
    """

    def __init__(self, *, synchronous: bool = False, now: Callable[[], datetime.datetime] = timezone.now) -> None:
        self.synchronous = synchronous
        self._now = now
        self._reset()
        _recorders.add(self)

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
        self._draining = threading.RLock()
        self._is_draining = False

    @property
    def process_name(self) -> str | None:
        """The name given to ``start()``, until ``stop()``."""
        return self._lease.name if self._lease else None

    @property
    def dropped(self) -> int:
        """How many events were lost because the queue was full or the database refused them."""
        return self._dropped

    def start(self, process_name: str) -> None:
        """Write a row for this server process and keep it alive. ``process_name`` is ``host:pid:random``."""
        with self._condition:
            if self.process_name != process_name:
                self._lease = ProcessLease(process_name)
                self._beat_at = 0.0
                self._wake()
        self._write_if_synchronous()

    def record(self, event: LifetimeEvent) -> None:
        """Queue an event, or count it as dropped. Never waits and never raises, so it can serve as ``LifetimeObserver``."""
        try:
            settings = get_settings()
            with self._condition:
                if len(self._events) >= settings.HISTORY_QUEUE_SIZE:
                    self._dropped += 1
                    self._dropped_in_burst += 1
                    is_first_loss = self._dropped_in_burst == 1
                else:
                    is_first_loss = False
                    self._events.append(event)
                    self._accepted += 1
                    if len(self._events) == 1:
                        self._waiting_since = time.monotonic()
                    if len(self._events) in (1, settings.HISTORY_BATCH_SIZE):
                        self._wake()
            if is_first_loss:
                logger.error("HISTORY_QUEUE_SIZE=%d is reached: lifetime events are dropped.", settings.HISTORY_QUEUE_SIZE)
            self._write_if_synchronous()
        except Exception:
            logger.exception("The lifetime event %r could not be recorded.", event)

    def touch(self, last_seen: Mapping[str, datetime.datetime]) -> None:
        """
        Note when clients were last heard of; written with the next heartbeat. Never waits.

        Args:
            last_seen: Connection id -> time.
        """
        with self._condition:
            self._touches.update(last_seen)
            self._touched += 1
            if self._thread is None:
                self._wake()

    def flush(self, timeout: float | None = 5.0) -> bool:
        """
        Wait until everything so far is written, and its signals are sent.

        Args:
            timeout: Seconds to wait at most; ``None`` waits for ever.

        Returns:
            False if it was not in time (everything stays queued then), or if a receiver of the signal asks.

        Raises:
            django.db.Error: The write failed, and the recorder is synchronous.
        """
        if self.synchronous:
            return self._drain()
        with self._condition:
            accepted, touched = self._accepted, self._touched

            def is_written() -> bool:
                return self._settled >= accepted and self._touches_settled >= touched

            if is_written() or self._thread is threading.current_thread():
                return is_written()
            self._hurry = True
            self._wake()
            return self._condition.wait_for(is_written, timeout)

    async def aflush(self, timeout: float | None = 5.0) -> bool:
        """:meth:`flush` for an event loop."""
        return await sync_to_async(self.flush, thread_sensitive=self.synchronous)(timeout)

    def stop(self, timeout: float = 5.0) -> bool:
        """
        Write everything, mark the process stopped and end the writer thread.

        An event that comes later is written nevertheless, by a new thread.

        Args:
            timeout: Seconds to try. What is not written by then counts as dropped, and is logged.

        Returns:
            Whether everything was written.
        """
        if self.synchronous:
            is_written = self._drain()
            self._end_lease()
            return is_written
        with self._condition:
            if self._thread is None and self._is_idle():
                return True
            self._stop_by = time.monotonic() + timeout
            self._retry_at = 0.0
            dropped = self._dropped
            self._wake()
            thread = self._thread
        if thread is not None:
            thread.join(timeout + RETRY_WHILE_STOPPING)
        return (thread is None or not thread.is_alive()) and self._dropped == dropped

    async def astop(self, timeout: float = 5.0) -> bool:
        """:meth:`stop` for an event loop."""
        return await sync_to_async(self.stop, thread_sensitive=self.synchronous)(timeout)

    def _wake(self) -> None:
        """Wake the writer thread, or start it. The condition is held."""
        if self._thread is None and not self.synchronous:
            self._thread = threading.Thread(target=self._run, name="signalr-history", daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _is_idle(self) -> bool:
        """Whether nothing is left to write and no process to keep alive. The condition is held."""
        return not (self._events or self._batch or self._touches or self._lease)

    # The writer thread

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
            logger.error("The history cannot be written, %d events wait: %s", waiting, error, exc_info=error if is_bug else None)

    # Without a thread

    def _write_if_synchronous(self) -> None:
        """Write at once, unless this is an event loop, where the ORM may not be used."""
        if self.synchronous and not is_on_event_loop():
            self._drain()

    def _drain(self) -> bool:
        """Write everything in this thread. False if a receiver of the signal asks, whose own caller goes on with it."""
        with self._draining:
            if self._is_draining:
                return False
            self._is_draining = self._hurry = True
            try:
                while self._events or self._batch or self._touches or time.monotonic() >= self._beat_at:
                    self._write()
            finally:
                self._batch = []
                self._is_draining = False
        return True


def is_on_event_loop() -> bool:
    """Whether this thread runs an event loop at the moment."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def announce(events: Iterable[LifetimeEvent]) -> None:
    """Send ``lifetime_event`` for each; Django logs what a receiver raises."""
    for event in events:
        lifetime_event.send_robust(sender=LifetimeEvent, event=event)


# One recorder per process

_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()
_lock = threading.Lock()
_recorder: Recorder | None = None


def get_recorder() -> Recorder:
    """The recorder of this process, made when first asked for. It writes what is left when the process ends."""
    global _recorder
    with _lock:
        if _recorder is None:
            _recorder = Recorder()
            atexit.register(_recorder.stop, EXIT_TIMEOUT)
        return _recorder


@contextlib.contextmanager
def use_recorder(recorder: Recorder) -> Iterator[Recorder]:
    """Let ``get_recorder()`` answer with another one, for a test."""
    global _recorder
    with _lock:
        before, _recorder = _recorder, recorder
    try:
        yield recorder
    finally:
        recorder.stop()
        with _lock:
            _recorder = before


def _begin_anew_after_fork() -> None:
    """A child has no writer thread; events of its parent are the parent's to write."""
    global _lock
    _lock = threading.Lock()
    for recorder in list(_recorders):
        recorder._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_after_fork)
