"""Messages to many clients, written to all their sockets in one go."""

from __future__ import annotations

import os
from typing import Protocol

from signalr_channels.protocols.base import EncodedMessage

__all__ = ["MANY", "Burst", "DirectWay"]

MANY = 16
"""Receivers from which on a burst is worth its while."""


class DirectWay(Protocol):
    """A way to one client that never waits. A transport may have one as its ``direct``."""

    def write(self, message: EncodedMessage) -> bool:
        """Write a message, unless something stands in the way."""

    def join(self, burst: Burst, message: EncodedMessage) -> bool:
        """Let a message be written with a burst, unless something stands in the way: bytes that wait, or a socket about to close."""

    def write_rest(self, data: bytes) -> None:
        """Write what the socket did not take, through the event loop."""


class Burst:
    """
    Sockets, and what is to be written to each.

    First every connection is asked, then all sockets are written to, with nothing in between. That saves the event loop's bookkeeping for
    each write, and a reader on the same machine, such as a proxy, is not put to sleep and woken up again between two messages. Together
    they are a quarter of a broadcast's cost.

    Between the two steps the caller may run nothing that waits: an event loop closes a socket in a later turn than the one in which it says
    that it will, so a socket that joined is the same one when it is written to.
    """

    __slots__ = ("_data", "_sockets", "_ways")

    def __init__(self) -> None:
        self._sockets: list[int] = []
        self._data: list[bytes] = []
        self._ways: list[DirectWay] = []

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, socket: int, data: bytes, way: DirectWay) -> None:
        """
        Have something written to a socket, once.

        Args:
            socket: Its file descriptor, non-blocking.
            data: What to write.
            way: To its client, for what the socket does not take.
        """
        self._sockets.append(socket)
        self._data.append(data)
        self._ways.append(way)

    def write(self) -> None:
        """Write to all sockets. One that is full or gone keeps no other from its message."""
        messages, ways, position = self._data, self._ways, 0
        written = map(os.write, self._sockets, messages)
        while position < len(ways):
            try:
                for count in written:
                    data = messages[position]
                    if count != len(data):
                        ways[position].write_rest(data[count:])
                    position += 1
            except OSError:  # full, or gone: the event loop waits for room, or finds out what is the matter
                ways[position].write_rest(messages[position])
                position += 1
