"""Writing at the end of a turn of the event loop, for all connections in one callback."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from signalr_channels.connections.burst import MANY, Burst

__all__ = ["EndOfTurn", "Pump"]

logger = logging.getLogger("signalr_channels.connections")


class Pump(Protocol):
    """A connection with something to write."""

    connection_id: str

    def pump(self, burst: Burst | None = None) -> None:
        """
        Write it.

        Args:
            burst: With which the last frame may be written.
        """


class EndOfTurn:
    """
    The connections of one event loop that write when the turn ends, so that what is sent to each in one turn shares frames.

    One callback serves them all: one each would be a thousand objects for the garbage collector to look at in every broadcast.
    """

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: list[Pump] = []

    def add(self, pump: Pump) -> None:
        """Let a connection write when the turn ends."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._write)
        self._due.append(pump)

    def _write(self) -> None:
        due, self._due = self._due, []
        burst = Burst() if len(due) >= MANY else None
        for pump in due:
            try:
                pump.pump(burst)
            except Exception:  # whatever is wrong with one, the others are to be written to
                logger.exception("%s: writing failed", pump.connection_id)
        if burst is not None:
            burst.write()
