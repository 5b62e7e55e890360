"""
Connections without a hub: bytes both ways over any transport.

::

    class EchoConnection(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None:
            async for data in connection:
                await connection.asend(data)
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from signalr_channels.connections.connection import Connection
from signalr_channels.exceptions import ConnectionClosed
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.endings import cancel_calls
from signalr_channels.protocols.base import Data, EncodedMessage, TransferFormat
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.raw import DataReceived

__all__ = ["ConnectionHandler", "HandlerSession", "RawConnection"]

logger = logging.getLogger("signalr_channels.hubs")


class RawConnection:
    """
    One connection, as a handler sees it: an async iterator over the chunks that come, and ``asend``.

    Chunks are cut as the transport cut them; text arrives as UTF-8.
    """

    def __init__(self, session: HandlerSession) -> None:
        self._session = session

    @property
    def context(self) -> HubCallerContext:
        """Who is at the other end."""
        return self._session.context

    def __aiter__(self) -> RawConnection:
        return self

    async def __anext__(self) -> bytes:
        data = await self._session.next_chunk()
        if data is None:
            raise StopAsyncIteration
        return data

    async def asend(self, data: bytes, *, binary: bool = False) -> None:
        """Send one chunk, as text (UTF-8) or binary. Waits while the client does not read; does nothing once it has gone."""
        connection = self._session.connection
        connection.enqueue(EncodedMessage(data, TransferFormat.BINARY if binary else TransferFormat.TEXT, is_tracked=False))
        if connection.is_congested:
            await connection.drain()


class ConnectionHandler:
    """Derive from this and map it with ``map_connection_handler``. The connection ends when ``on_connected`` returns."""

    settings: ClassVar[Mapping[str, Any]] = {}
    permission_classes: ClassVar[Sequence[Any] | None] = None

    async def on_connected(self, connection: RawConnection) -> None:
        """Serve one connection to its end."""
        raise TypeError(f"{type(self).__qualname__} has no on_connected()")


class HandlerSession:
    """The counterpart of :class:`HubSession` for a connection without a hub."""

    def __init__(
        self,
        handler: type[ConnectionHandler],
        connection: Connection,
        context: HubCallerContext,
        *,
        buffer_size: int,
        on_connecting: Callable[[], None],
    ) -> None:
        """
        Args:
            handler: The handler class.
            connection: The connection.
            context: Who is at the other end.
            buffer_size: Bytes that may wait for the handler before the transport is read no further.
            on_connecting: Called before the handler starts.
        """
        self.connection = connection
        self.context = context
        self._buffer_size = buffer_size
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._readers: set[asyncio.Future[None]] = set()
        self._room: asyncio.Future[None] | None = None
        on_connecting()
        self._task = asyncio.get_running_loop().create_task(self._run(handler))

    def receive(self, data: Data) -> None:
        """Take a chunk from the transport."""
        for event in self.connection.receive(data):
            if isinstance(event, DataReceived):
                self._chunks.append(event.data)
                self._size += len(event.data)
        self._wake_readers()

    @property
    def is_congested(self) -> bool:
        """Whether the transport should not be read for now."""
        return self._size > self._buffer_size

    async def wait_ready(self) -> None:
        """Return when the transport may be read again."""
        while self.is_congested and not self.connection.is_closed:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    async def next_chunk(self) -> bytes | None:
        """The next chunk, or ``None`` after the end."""
        while not self._chunks:
            if self.connection.is_closed:
                return None
            wake = asyncio.get_running_loop().create_future()
            self._readers.add(wake)
            try:
                await wake
            finally:
                self._readers.discard(wake)
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        _release(self._room)
        return chunk

    def _wake_readers(self) -> None:
        for wake in self._readers:
            _release(wake)

    async def _run(self, handler: type[ConnectionHandler]) -> None:
        try:
            await handler().on_connected(RawConnection(self))
        except Exception as error:
            logger.error("%s: %s failed", self.connection.connection_id, handler.__qualname__, exc_info=error)
            self.connection.close(CloseReason.HUB_ERROR, exception=error, code=1011)
        except asyncio.CancelledError:  # of something it waited for, or ours when the process stops
            self.connection.close(CloseReason.HUB_ERROR, exception=ConnectionClosed("on_connected was cancelled."), code=1011)
            raise
        else:
            self.connection.close(CloseReason.CLOSED_BY_APP)

    async def finish(self) -> None:
        """Let the handler see the end."""
        self.context.mark_aborted()
        self._wake_readers()
        _release(self._room)
        await asyncio.wait([self._task])

    @property
    def has_calls(self) -> bool:
        """Whether the handler still runs."""
        return not self._task.done()

    async def cancel_calls(self) -> None:
        """Cancel the handler, when the server process stops."""
        await cancel_calls([self._task], self.connection.connection_id)


def _release(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
