"""The part of a server process that serves hubs, for tests: on a clock that is moved by hand, in the thread and transaction of the test."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEventKind
from signalr_channels.recorder import get_recorder
from signalr_channels.runtime import Runtime, install_runtime

__all__ = ["ManualClock", "RuntimeForTests", "acquire_runtime"]

T = TypeVar("T")

TICK = 1.0
"""Seconds between two beats of the heartbeat, as in a server."""


class ManualClock:
    """
    Time that passes when it is told to.

    Attributes:
        now: Seconds since the clock was made.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._on_tick: Callable[[float], None] | None = None

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now

    def drive(self, on_tick: Callable[[float], None]) -> None:
        """Call this with the time at every tick."""
        self._on_tick = on_tick

    def advance(self, seconds: float) -> None:
        """Let time pass. The heartbeat beats once a second, as in a server, and at the end."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + TICK, end)
            if self._on_tick is not None:
                self._on_tick(self.now)


class RuntimeForTests(Runtime):
    """
    Serves hubs in one event loop, without tasks, threads, signals and other processes.

    Plain ``def`` code runs where Django's own sync code does, so that it sees the test's transaction. Nothing is written to the
    history, unless the test has put a recorder in place that writes at once (``use_recorder(Recorder(synchronous=True))``).

    Attributes:
        manual_clock: The clock.
        users: How many test clients use it; the last one stops it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.manual_clock = ManualClock()
        self.users = 0
        super().__init__(loop, clock=self.manual_clock, is_alone=True)

    def start(self) -> None:
        """Let the clock drive what has to do with connections."""
        for listener in (self._tick_connections, self.store.expire, self._expire_absent, self._expire_tokens):
            self._heartbeat.add(listener)
        self.manual_clock.drive(self._heartbeat.tick)

    async def run_sync(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run a plain ``def`` in the thread of the test's transaction, whose database connections stay open."""
        return await sync_to_async(function, thread_sensitive=True)(*args)

    def record(self, kind: LifetimeEventKind, info: ConnectionInfo, **more: Any) -> None:
        """Write a lifetime event if that does not take a thread."""
        if get_recorder().synchronous:
            super().record(kind, info, **more)

    async def flush_history(self) -> None:
        """Let events be written that came on the event loop."""
        if (recorder := get_recorder()).synchronous:
            await recorder.aflush()

    async def _stop_history(self) -> None:
        await self.flush_history()

    async def release(self) -> None:
        """One test client less."""
        self.users -= 1
        if self.users == 0:
            _in_use.pop(self.loop, None)
            await self.stop()


_in_use: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, RuntimeForTests] = weakref.WeakKeyDictionary()


def acquire_runtime() -> RuntimeForTests:
    """
    The runtime that all test clients of the running loop share; :meth:`RuntimeForTests.release` it.

    Raises:
        WrongContext: A server serves hubs in this loop.
    """
    loop = asyncio.get_running_loop()
    runtime = _in_use.get(loop)
    if runtime is None:
        runtime = RuntimeForTests(loop)
        install_runtime(runtime)
        _in_use[loop] = runtime
        runtime.start()
    runtime.users += 1
    return runtime
