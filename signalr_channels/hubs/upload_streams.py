"""
Upload streams: items that a client sends while a hub method runs, which reads them from an async iterator.

Source: reference sections 4.6, 5.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from signalr_channels.exceptions import ArgumentBindingError, ConnectionClosed, HubException
from signalr_channels.hubs.binding import BoundMethod
from signalr_channels.hubs.completions import generic_text, refuse
from signalr_channels.hubs.methods import HubMethod
from signalr_channels.protocols.messages import Completion, Invocation, StreamInvocation, StreamItem

if TYPE_CHECKING:
    from signalr_channels.hubs.session import HubSession

__all__ = ["UploadStream", "close_uploads", "end_upload", "merge_uploads", "open_uploads", "take_item"]

logger = logging.getLogger("signalr_channels.hubs")


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
        self._readers: set[asyncio.Future[None]] = set()
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
        self._wake_readers()
        return True

    def end(self, error: Exception | None = None) -> None:
        """No item follows. ``error`` is raised in the reader after the items before it."""
        if self._end is None:
            self._end = error if error is not None else StopAsyncIteration()
            self._wake_readers()

    def abandon(self) -> None:
        """Nobody reads any more: drop what is there and what follows."""
        self._end = ConnectionClosed("The stream's invocation has ended.")
        self._items.clear()
        self._wake_readers()
        self._make_room()

    def __aiter__(self) -> UploadStream:
        return self

    async def __anext__(self) -> Any:
        while not self._items:
            if self._end is not None:
                raise self._end
            wake = asyncio.get_running_loop().create_future()
            self._readers.add(wake)  # hub code may share the work among several tasks
            try:
                await wake
            finally:
                self._readers.discard(wake)
        item = self._items.popleft()
        self._make_room()
        return item

    def _make_room(self) -> None:
        if self._was_full:
            self._was_full = False
            self._on_room()

    def _wake_readers(self) -> None:
        for wake in self._readers:
            if not wake.done():
                wake.set_result(None)


def open_uploads(session: HubSession, message: Invocation | StreamInvocation, bound: BoundMethod) -> list[UploadStream] | None:
    """
    Open the streams that a call announces.

    Returns:
        One for each upload parameter of the method, in order; ``None`` if their number is wrong, which the client was told.
    """
    method = bound.method
    given, wanted = len(message.stream_ids), len(method.item_types)
    if given != wanted:
        text = f"{generic_text(method)} HubException: Client sent {given} stream(s), Hub method expects {wanted}."
        refuse(session, message.invocation_id, text)
        return None
    if session.uploads is None:
        session.uploads = {}
    opened = []
    capacity = session.dispatcher.options.STREAM_BUFFER_CAPACITY
    for stream_id, decode in zip(message.stream_ids, bound.item_decoders, strict=True):
        upload = UploadStream(decode, capacity, session.go_on)
        if (other := session.uploads.get(stream_id)) is not None:
            # The new one gets the items, as in .NET, where the reader of the other one waits for ever.
            other.end(HubException(f"Stream ID '{stream_id}' was used again."))
        session.uploads[stream_id] = upload
        opened.append(upload)
    return opened


def merge_uploads(method: HubMethod, arguments: Sequence[Any], uploads: Sequence[UploadStream]) -> list[Any]:
    """Arguments and upload streams in the order of the method's parameters."""
    plain, streams = iter(arguments), iter(uploads)
    merged = []
    for parameter in method.parameters:
        source = streams if parameter.is_upload else plain
        merged.append(next(source, parameter.default))
    merged.extend(plain)  # a Progress, which is no parameter that clients fill
    return merged


def close_uploads(session: HubSession, stream_ids: Sequence[str], uploads: Sequence[UploadStream]) -> None:
    """The call has ended: nobody reads its streams any more."""
    for stream_id, upload in zip(stream_ids, uploads, strict=False):
        if session.uploads is not None and session.uploads.get(stream_id) is upload:
            del session.uploads[stream_id]
        upload.abandon()


def take_item(session: HubSession, message: StreamItem) -> bool:
    """Take an item from the client. False: its stream has no room for it."""
    upload = None if session.uploads is None else session.uploads.get(message.invocation_id)
    if upload is None:
        logger.debug("%s: an item for an unknown stream was ignored", session.connection.connection_id)
        return True
    return upload.offer(message.item, detailed_errors=session.dispatcher.options.ENABLE_DETAILED_ERRORS)


def end_upload(session: HubSession, message: Completion) -> bool:
    """The client ends one of its streams. False: it is none of them."""
    upload = None if session.uploads is None else session.uploads.get(message.invocation_id)
    if upload is None:
        return False
    upload.end(HubException(message.error) if message.error is not None else None)
    return True
