"""
The four transports of classic clients: how a frame is written to each.

Source: reference section 4; ``ServerSentEventsTransport.cs``, ``ForeverFrameTransport.cs``, ``LongPollingTransport.cs``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from signalr_channels.connections.burst import Burst
from signalr_channels.connections.transports import DONE
from signalr_channels.consumers.websocket import WebSocketTransport
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.classic import forever_frame
from signalr_channels.protocols.classic.requests import jsonp
from signalr_channels.responses import abort_network

__all__ = ["ClassicEventStream", "ClassicForeverFrame", "ClassicPoll", "ClassicSocket"]

Send = Callable[[Any], Awaitable[None]]
TEXT = TransferFormat.TEXT
EMPTY = b"{}"


class ClassicSocket:
    """A web socket."""

    name = "webSockets"
    is_poll = False
    is_ascii = False
    __slots__ = ("_socket", "fast_path")

    def __init__(self, socket: WebSocketTransport) -> None:
        self._socket = socket
        self.fast_path = socket.direct

    def write(self, frame: bytes) -> Awaitable[None]:
        """Send one text message."""
        return self._socket.write(EncodedMessage(frame, TEXT, is_tracked=False))

    def join(self, burst: Burst, frame: bytes) -> bool:
        """Let one text message be written with a burst, if there is a direct way and nothing stands in it."""
        return self.fast_path is not None and self.fast_path.join(burst, EncodedMessage(frame, TEXT, is_tracked=False))

    def keep_alive(self) -> Awaitable[None]:
        """Send an empty object."""
        return self.write(EMPTY)

    def close(self) -> Awaitable[None]:
        """Send a Close frame, 1000."""
        return self._socket.close(code=1000)

    def abort(self) -> None:
        """Cut the TCP connection."""
        self._socket.abort()


class _Stream:
    """An answer that goes on until somebody ends it."""

    name = ""
    is_poll = False
    is_ascii = True
    join = None
    __slots__ = ("_send", "ended")

    def __init__(self, send: Send) -> None:
        """
        Args:
            send: Of ASGI; the head of the answer was sent.
        """
        self._send = send
        self.ended = asyncio.Event()

    def frame(self, envelope: bytes) -> bytes:
        """The bytes of a frame."""
        raise AssertionError("abstract")

    def write(self, frame: bytes) -> Awaitable[None]:
        """Send one frame."""
        return self._send({"type": "http.response.body", "body": self.frame(frame), "more_body": True})

    def keep_alive(self) -> Awaitable[None]:
        """Send an empty object."""
        return self.write(EMPTY)

    def close(self) -> Awaitable[None]:
        """End the answer."""
        self.ended.set()
        return self._send({"type": "http.response.body", "body": b""})

    def abort(self) -> None:
        """Cut the TCP connection, where the server lets us reach it."""
        self.ended.set()
        abort_network(self._send)


class ClassicEventStream(_Stream):
    """Server-sent events."""

    name = "serverSentEvents"
    __slots__ = ()

    def frame(self, envelope: bytes) -> bytes:
        """One event."""
        return b"data: " + envelope + b"\n\n"


class ClassicForeverFrame(_Stream):
    """A document in a frame of the page that never ends; each frame is a script in it."""

    name = "foreverFrame"
    __slots__ = ()

    def frame(self, envelope: bytes) -> bytes:
        """One script element."""
        return forever_frame.encode_frame(envelope)

    def keep_alive(self) -> Awaitable[None]:
        """Send a script with an empty object."""
        return self._send({"type": "http.response.body", "body": forever_frame.KEEP_ALIVE, "more_body": True})


class ClassicPoll:
    """
    One poll: it takes one frame, and spaces in front of it as signs of life.

    What is written waits here until the request's own task sends it.
    """

    name = "longPolling"
    is_poll = True
    is_ascii = True
    join = None
    __slots__ = ("_callback", "_chunks", "_wake", "is_over")

    def __init__(self, callback: str = "") -> None:
        """
        Args:
            callback: Function name of a JSONP request.
        """
        self._callback = callback
        self._chunks: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None
        self.is_over = False

    def write(self, frame: bytes) -> Awaitable[None]:
        """Answer with this frame."""
        self._put(jsonp(self._callback, frame) if self._callback else frame)
        return self.close()

    def keep_alive(self) -> Awaitable[None]:
        """A space, which JSON may begin with. A script under JSONP gets none, as in the reference."""
        if not self._callback:
            self._put(b" ")
        return DONE

    def close(self) -> Awaitable[None]:
        """Answer with what there is."""
        self.is_over = True
        self._put(b"")
        return DONE

    def abort(self) -> None:
        """End it."""
        self.close()

    def _put(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def next_chunk(self) -> bytes:
        """What is to be sent next; when it is the last, :attr:`is_over`."""
        while not self._chunks and not self.is_over:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data
