"""What is kept of a connection before its transport opens, and after it has closed."""

from __future__ import annotations

import asyncio

from signalr_channels.connections.long_polling import LongPollingTransport

__all__ = ["LingeringPolls", "ParkedData"]


class ParkedData:
    """
    What was posted before the transport request came.

    Attributes:
        since: When the first of it came, on the caller's clock.
        opened: Done when the transport is there.
    """

    __slots__ = ("_chunks", "opened", "since", "size")

    def __init__(self, now: float) -> None:
        self.since = now
        self.size = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chunks: list[bytes] = []

    def add(self, data: bytes) -> None:
        """Keep a chunk."""
        self._chunks.append(data)
        self.size += len(data)

    def take(self) -> bytes:
        """Give it all, in order."""
        data, self._chunks, self.size = b"".join(self._chunks), [], 0
        if not self.opened.done():
            self.opened.set_result(None)
        return data


class LingeringPolls:
    """
    A long-polling transport whose connection has ended, with data or a last 204 still to fetch.

    Attributes:
        since: When the connection ended, on the caller's clock.
    """

    __slots__ = ("since", "transport")

    def __init__(self, transport: LongPollingTransport, now: float) -> None:
        self.transport = transport
        self.since = now
