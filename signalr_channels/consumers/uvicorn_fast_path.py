"""
A shorter way in and out on uvicorn.

**Out.** ASGI's ``send`` makes a new frame for every receiver of a broadcast. Where uvicorn's sans-I/O protocol serves the web socket, a
message is framed once and the bytes are written to each connection's transport: half the cost.

**In.** ASGI's ``receive`` takes every message through a queue and a task switch. Here a message is handed over where uvicorn has put it
together, in the loop's own callback.

These are uvicorn's internals, so everything used is looked at first, and at the first thing that is not as expected the ordinary way is
taken. So it is whenever the client does not read, the connection is closing, or compression was agreed on. ``UVICORN_FAST_PATH`` turns
it off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from signalr_channels.protocols.base import Data, EncodedMessage, TransferFormat

__all__ = ["FastPath", "find_fast_path"]

TEXT, BINARY = 0x81, 0x82
"""First byte of a frame that is a whole message."""
PROTOCOL = ("uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol")


class FastPath:
    """One web socket's way around ASGI."""

    __slots__ = ("_is_writable", "_protocol", "_write")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._is_writable: Callable[[], bool] = protocol.writable.is_set
        self._write: Callable[[bytes], None] = protocol.transport.write

    def write(self, message: EncodedMessage) -> bool:
        """Write one message as one frame, if uvicorn itself would do so now without waiting."""
        protocol = self._protocol
        if not self._is_writable() or protocol.close_sent or protocol.disconnected:
            return False
        data = message.wire
        if data is None:
            data = message.wire = frame(message.data, is_text=message.transfer_format is TransferFormat.TEXT)
        self._write(data)
        return True

    def read_into(self, take: Callable[[Data], None]) -> None:
        """
        Hand every message to ``take`` as it comes, instead of to ``receive``.

        ``take`` runs in a callback of the loop, outside any task. Text that is not UTF-8 goes uvicorn's own way, which refuses it.
        """
        protocol = self._protocol
        ordinary = protocol.send_receive_event_to_app

        def deliver() -> None:
            frames = protocol.frames
            if protocol.close_sent or not protocol.queue.empty():
                ordinary()
                return
            raw: bytes = frames[0] if len(frames) == 1 else b"".join(frames)
            data: Data = raw
            if protocol.curr_msg_data_type == "text":
                try:
                    data = str(raw, "utf-8")
                except UnicodeDecodeError:
                    ordinary()
                    return
            protocol.frames = []
            take(data)

        protocol.send_receive_event_to_app = deliver

    def pause_reading(self) -> None:
        """Read no more for now."""
        if not self._protocol.read_paused:
            self._protocol.read_paused = True
            self._protocol.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._protocol.read_paused and self._protocol.queue.empty():
            self._protocol.read_paused = False
            self._protocol.transport.resume_reading()


def find_fast_path(send: Any) -> FastPath | None:
    """The fast path behind an ASGI ``send``, or ``None`` where there is none. Ask after the web socket was accepted."""
    protocol: Any = getattr(send, "__self__", None)
    cls = type(protocol)
    if (cls.__module__, cls.__name__) != PROTOCOL:
        return None
    try:
        fits = (
            isinstance(protocol.writable, asyncio.Event)
            and protocol.close_sent is False
            and protocol.disconnected is False
            and protocol.handshake_complete is True
            and protocol.initial_response is None
            and not protocol.conn.extensions
            and isinstance(protocol.queue, asyncio.Queue)
            and isinstance(protocol.frames, list)
            and protocol.curr_msg_data_type in ("text", "bytes")
            and isinstance(protocol.read_paused, bool)
            and callable(protocol.send_receive_event_to_app)
            and callable(protocol.transport.write)
            and callable(protocol.transport.pause_reading)
            and callable(protocol.transport.resume_reading)
        )
    except AttributeError:
        return None
    return FastPath(protocol) if fits else None


def frame(data: bytes, *, is_text: bool) -> bytes:
    """
    One whole, unmasked frame.

    The websockets library makes the same one in four times the time; a test compares them.

    Source: RFC 6455, section 5.2.
    """
    size = len(data)
    first = TEXT if is_text else BINARY
    if size < 126:
        return bytes((first, size)) + data
    if size < 65536:
        return bytes((first, 126, size >> 8, size & 0xFF)) + data
    return bytes((first, 127)) + size.to_bytes(8, "big") + data
