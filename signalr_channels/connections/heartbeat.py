"""One ticking task per process: pings, timeouts, grace periods."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

__all__ = ["Heartbeat"]

logger = logging.getLogger("signalr_channels.connections")


LATE = 3.0
"""Seconds after its time at which a beat is so late that the process must have stood still."""


class Heartbeat:
    """
    Calls every listener once per ``interval`` seconds with the time on ``clock``.

    A listener that raises is logged and called again; the others are not affected.
    """

    def __init__(self, clock: Callable[[], float], interval: float = 1.0) -> None:
        self._clock = clock
        self._interval = interval
        self._listeners: list[Callable[[float], None]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, listener: Callable[[float], None]) -> None:
        """Call this from now on."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Tick in a task of the running loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="signalr heartbeat")

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def tick(self, now: float) -> None:
        """One beat."""
        for listener in self._listeners:
            try:
                listener(now)
            except Exception:
                logger.exception("A heartbeat listener failed")

    async def _run(self) -> None:
        """
        Beat. After the loop stood still one beat is left out: what clients said meanwhile is read first, and they are not taken for silent.

        uvloop runs what is due before it looks at sockets.
        """
        time, was_late = asyncio.get_running_loop().time, False
        while True:
            due = time() + self._interval
            await asyncio.sleep(self._interval)
            was_late = not was_late and time() - due > LATE
            if not was_late:
                self.tick(self._clock())
