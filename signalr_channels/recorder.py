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
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping

from asgiref.sync import sync_to_async
from django.utils import timezone

from signalr_channels.conf import get_settings
from signalr_channels.history_writer import RETRY_WHILE_STOPPING, HistoryWriter, logger
from signalr_channels.hubs.lifetime import LifetimeEvent
from signalr_channels.processes import ProcessLease

__all__ = ["Recorder", "get_recorder", "use_recorder"]

EXIT_TIMEOUT = 3.0
"""Seconds the end of the Python process waits for the history."""


class Recorder(HistoryWriter):
    """
    Writes lifetime events, last-seen times and the heartbeat of this process.

    All methods may be called from any thread. ``flush()`` and ``stop()`` wait, and have twins to await.

    Args:
        synchronous: Write in the calling thread instead of a writer thread. For tests. On an event loop ``record()`` then only
            queues, and ``aflush()`` writes.
        now: Gives the time.
    """

    def __init__(self, *, synchronous: bool = False, now: Callable[[], datetime.datetime] = timezone.now) -> None:
        super().__init__(synchronous=synchronous, now=now)
        _recorders.add(self)

    def _reset(self) -> None:
        """Begin empty, without anybody who writes."""
        super()._reset()
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
        if not (recorder.synchronous and is_on_event_loop()):  # there the ORM may not be used; aflush() was the caller's to await
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
