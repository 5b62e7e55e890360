"""Upload streams: items a client sends while a hub method runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from signalr_channels.exceptions import ArgumentBindingError, ConnectionClosed, HubException

__all__ = ["UploadStream"]


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
