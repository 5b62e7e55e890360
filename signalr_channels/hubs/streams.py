"""Streams in both directions: items a hub method sends while it runs, and items a client sends meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import msgspec

from signalr_channels.connections.connection import Connection
from signalr_channels.connections.transports import Primed
from signalr_channels.exceptions import ArgumentBindingError, ConnectionClosed, HubException
from signalr_channels.protocols.messages import StreamItem

__all__ = ["NextOrFlush", "UploadStream", "send_items"]


class NextOrFlush:
    """Awaits the next item of a stream; if that takes time, what the connection has to say is written first."""

    __slots__ = ("_connection", "_iterator")

    def __init__(self, connection: Connection, iterator: AsyncIterator[Any]) -> None:
        self._connection = connection
        self._iterator = iterator

    def __await__(self) -> Generator[Any, Any, Any]:
        step = self._iterator.__anext__().__await__()
        try:
            future = next(step)
        except StopIteration as stop:
            return stop.value
        self._connection.uncork()
        return (yield from Primed(step, future))


async def send_items(connection: Connection, invocation_id: str, iterator: AsyncIterator[Any]) -> None:
    """
    Send the items of a stream as they come, those that come at once together.

    Returns when there are no more, or the connection has ended. Waits while the client does not read.

    Raises:
        LocalProtocolError: An item cannot be encoded.
        Exception: What the stream raises.
    """
    next_item = NextOrFlush(connection, iterator)
    try:
        while not connection.is_closed:
            connection.cork()
            try:
                item = await next_item
            except StopAsyncIteration:
                return
            connection.cork()
            connection.send(StreamItem(invocation_id=invocation_id, item=item))
            if not connection.has_room:
                connection.uncork()
                if connection.is_congested:
                    await connection.drain()
                else:
                    await asyncio.sleep(0)  # the event loop notices only between turns that a client does not read
                    connection.start_turn()
    finally:
        connection.uncork()


class UploadStream:
    """
    An async iterator over what a client sends.

    It holds at most ``capacity`` items; when it is full, :meth:`offer` says so and the connection is read no further.
    """

    def __init__(self, decode: Callable[[msgspec.Raw], Any], capacity: int, on_room: Callable[[], None]) -> None:
        """
        Args:
            decode: Converts an item; raises :exc:`ArgumentBindingError`.
            capacity: How many items may wait.
            on_room: Called when a full stream has room again.
        """
        self._decode = decode
        self._capacity = capacity
        self._on_room = on_room
        self._items: deque[Any] = deque()
        self._end: Exception | None = None
        self._wake: asyncio.Future[None] | None = None
        self._was_full = False

    def offer(self, item: msgspec.Raw, *, detailed_errors: bool) -> bool:
        """Take an item. False while there is no room for it; an item that cannot be converted ends the stream."""
        if self._end is not None:
            return True
        if len(self._items) >= self._capacity:
            self._was_full = True
            return False
        try:
            self._items.append(self._decode(item))
        except ArgumentBindingError as error:
            detail = f" {error.kind}: {error.text}" if detailed_errors else ""
            self.end(HubException(f"Failed to bind Stream message.{detail}"))
        self._wake_reader()
        return True

    def end(self, error: Exception | None = None) -> None:
        """No item follows. ``error`` is raised in the reader after the items before it."""
        if self._end is None:
            self._end = error if error is not None else StopAsyncIteration()
            self._wake_reader()

    def abandon(self) -> None:
        """Nobody reads any more: drop what is there and what follows."""
        self._end = ConnectionClosed("The stream's invocation has ended.")
        self._items.clear()
        self._make_room()

    def __aiter__(self) -> UploadStream:
        return self

    async def __anext__(self) -> Any:
        while not self._items:
            if self._end is not None:
                raise self._end
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        item = self._items.popleft()
        self._make_room()
        return item

    def _make_room(self) -> None:
        if self._was_full:
            self._was_full = False
            self._on_room()

    def _wake_reader(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
