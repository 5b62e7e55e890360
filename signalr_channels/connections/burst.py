"""A message to many clients, written to all their sockets in one go."""

from __future__ import annotations

import os
from itertools import repeat
from typing import Protocol

from signalr_channels.protocols.base import EncodedMessage

__all__ = ["MANY", "Burst", "DirectWay"]

MANY = 16
"""Receivers from which on a burst is worth its while."""


class DirectWay(Protocol):
    """A way to one client that never waits. A transport may have one as its ``direct``."""

    def write(self, message: EncodedMessage) -> bool:
        """Write a message, unless something stands in the way."""

    def join(self, burst: Burst) -> bool:
        """Let the socket be written to with a burst, unless something stands in the way: bytes that wait, or a socket about to close."""

    def framed(self, message: EncodedMessage) -> bytes:
        """What goes over the wire, the same for all that join one burst."""

    def write_rest(self, data: bytes) -> None:
        """Write what the socket did not take, through the event loop."""


class Burst:
    """
    One message and the sockets it is to be written to.

    First every connection is asked, then all sockets are written to, with nothing in between. That saves the event loop's bookkeeping for
    each write, and a reader on the same machine, such as a proxy, is not put to sleep and woken up again between two messages. Together
    they are a quarter of a broadcast's cost.

    Between the two steps the caller may run nothing that waits: an event loop closes a socket in a later turn than the one in which it says
    that it will, so a socket that joined is the same one when it is written to.
    """

    __slots__ = ("_message", "_sockets", "_ways")

    def __init__(self, message: EncodedMessage) -> None:
        self._message = message
        self._sockets: list[int] = []
        self._ways: list[DirectWay] = []

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, socket: int, way: DirectWay) -> None:
        """
        Have a socket written to.

        Args:
            socket: Its file descriptor, non-blocking.
            way: To its client, for what the socket does not take.
        """
        self._sockets.append(socket)
        self._ways.append(way)

    def write(self) -> None:
        """Write to all sockets. One that is full or gone keeps no other from its message."""
        ways = self._ways
        if not ways:
            return
        data = ways[0].framed(self._message)
        size, position = len(data), 0
        written = map(os.write, self._sockets, repeat(data))
        while position < len(ways):
            try:
                for count in written:
                    position += 1
                    if count != size:
                        ways[position - 1].write_rest(data[count:])
            except OSError:  # full, or gone: the event loop waits for room, or finds out what is the matter
                ways[position].write_rest(data)
                position += 1
