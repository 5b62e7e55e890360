"""
A shorter way in and out on uvicorn.

**Out.** ASGI's ``send`` makes a new frame for every receiver of a broadcast. Where uvicorn's sans-I/O protocol serves the web socket, a
message is framed once and the bytes are written to each connection's transport: half the cost. Where uvloop serves it, without TLS, a
broadcast goes to the sockets in one burst, past the transports that have nothing to write and are not closing, a quarter less again.

**In.** ASGI's ``receive`` takes every message through a queue and a task switch. Here a message is handed over where uvicorn has put it
together, in the loop's own callback. A message that arrives as one whole frame, as nearly all do, is taken out of the network's chunk
here; the websockets library takes several times as long. Everything else, from half a frame to a Close, goes the library's way.

These are internals of uvicorn and websockets, so everything used is looked at first, and at the first thing that is not as expected the
ordinary way is taken. So it is whenever the client does not read, the connection is closing, or compression was agreed on.
``UVICORN_FAST_PATH`` turns it off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from signalr_channels.connections.burst import Burst
from signalr_channels.protocols.base import Data, EncodedMessage, TransferFormat

try:
    from websockets.frames import apply_mask  # type: ignore[attr-defined]
    from websockets.protocol import State
    from websockets.streams import StreamReader
except ImportError:  # another server than uvicorn
    BETWEEN_FRAMES = OPEN = None
else:
    BETWEEN_FRAMES = StreamReader.at_eof.__code__
    """Where the library's parser waits when it has no part of a frame."""
    OPEN = State.OPEN

__all__ = ["FastPath", "find_fast_path"]

TEXT, BINARY = 0x81, 0x82
"""First byte of a frame that is a whole message."""
MASKED = 0x80
"""Added to the length in the second byte of a client's frame."""
LENGTH_IN_TWO_BYTES = 126
"""A length that says: see the next two bytes."""
SHORT_HEADER, LONG_HEADER = 6, 8
"""Bytes in front of a client's message: two, or four with the length in two bytes, and the mask in four."""
LONGEST_FRAME = 65535
"""Bytes whose number fits there."""
SHORT_FRAMES = tuple(tuple(bytes((first, size)) for size in range(LENGTH_IN_TWO_BYTES)) for first in (BINARY, TEXT))
"""Headers of our own short frames, binary and text, by length."""
TEXT_FORMAT = TransferFormat.TEXT
UVLOOP_TRANSPORTS = {("uvloop.loop", "TCPTransport"), ("uvloop.loop", "UnixTransport")}
"""Those whose bytes go over the socket as they are, and that close it in a later turn than the one in which they are told to."""
UVICORN_PROTOCOL = ("uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol")


class Reader(Protocol):
    """Who is handed what arrives. Called in a callback of the loop, outside any task."""

    def take(self, messages: Sequence[Data]) -> None:
        """Messages, in their order."""

    def flush(self) -> None:
        """Nothing more came in this chunk from the network."""


class FastPath:
    """
    One web socket's way around ASGI.

    It stays for as long as the connection does, so it is one object without closures: what the garbage collector walks through for each
    connection costs more than making it.
    """

    __slots__ = ("_is_between_frames", "_longest", "_protocol", "_reader", "_socket", "_transport", "_writable")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._writable: asyncio.Event = protocol.writable
        self._transport = protocol.transport
        self._socket = find_socket(protocol.transport)
        self._reader: Reader | None = None
        self._is_between_frames = False
        self._longest = protocol.config.ws_max_size or LONGEST_FRAME

    def write(self, message: EncodedMessage) -> bool:
        """Write one message as one frame, if uvicorn itself would do so now without waiting."""
        protocol = self._protocol
        if not self._writable.is_set() or protocol.close_sent or protocol.disconnected:
            return False
        self._transport.write(message.wire or self._framed(message))
        return True

    def join(self, burst: Burst, message: EncodedMessage) -> bool:
        """
        Let a message be written with a burst, if it is next in line.

        uvicorn closes the transport with each Close that it sends of itself; behind one of ours a connection writes nothing.
        """
        transport = self._transport
        if self._socket is None or transport.get_write_buffer_size() or transport.is_closing():
            return False
        burst.add(self._socket, message.wire or self._framed(message), self)
        return True

    def _framed(self, message: EncodedMessage) -> bytes:
        """The message as one frame."""
        data = message.wire
        if data is None:
            data = message.wire = frame(message.data, is_text=message.transfer_format is TEXT_FORMAT)
        return data

    def write_rest(self, data: bytes) -> None:
        """Write what the socket did not take."""
        self._transport.write(data)

    def read_into(self, reader: Reader) -> None:
        """
        Hand every message to ``reader`` as it comes, instead of to ``receive``.

        Text that is not UTF-8 goes uvicorn's own way, which refuses it.
        """
        self._reader = reader
        protocol = self._protocol
        protocol.send_receive_event_to_app = self._deliver
        protocol.data_received = self._receive
        self._transport.set_protocol(protocol)  # event loops remember the method
        # uvicorn and the library keep both, and read them no more. The scope has the headers of the request.
        for handshake in (protocol.request, protocol.response):
            handshake.headers.clear()

    def pause_reading(self) -> bool:
        """Read no more for now. False: so it is already."""
        if self._protocol.read_paused:
            return False
        self._protocol.read_paused = True
        self._transport.pause_reading()
        return True

    def resume_reading(self) -> None:
        """Read on."""
        if self._protocol.read_paused and self._protocol.queue.empty():
            self._protocol.read_paused = False
            self._transport.resume_reading()

    def _deliver(self) -> None:
        """Take the place of uvicorn's hand-over of a message that the library has put together."""
        protocol, reader = self._protocol, self._reader
        assert reader is not None
        if protocol.close_sent or not protocol.queue.empty():
            type(protocol).send_receive_event_to_app(protocol)
            return
        frames = protocol.frames
        raw: bytes = frames[0] if len(frames) == 1 else b"".join(frames)
        data: Data = raw
        if protocol.curr_msg_data_type == "text":
            try:
                data = str(raw, "utf-8")
            except UnicodeDecodeError:
                type(protocol).send_receive_event_to_app(protocol)
                return
        protocol.frames = []
        reader.take((data,))

    def _receive(self, data: bytes) -> None:
        """Take the place of uvicorn's ``data_received``: whole frames go to the reader, from the first other one on all to the library."""
        protocol, reader, conn = self._protocol, self._reader, self._protocol.conn
        assert reader is not None
        position = 0
        is_open = protocol.queue.empty() and not protocol.close_sent and conn.state is OPEN
        if is_open and (self._is_between_frames or is_between_frames(conn)):
            self._is_between_frames = True
            messages, position = cut_frames(data, self._longest)
            if messages:
                reader.take(messages)
        if position < len(data):
            self._is_between_frames = False
            type(protocol).data_received(protocol, data[position:] if position else data)
        reader.flush()


def find_fast_path(send: Any) -> FastPath | None:
    """The fast path behind an ASGI ``send``, or ``None`` where there is none. Ask after the web socket was accepted."""
    protocol: Any = getattr(send, "__self__", None)
    cls = type(protocol)
    if (cls.__module__, cls.__name__) != UVICORN_PROTOCOL:
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
            and callable(protocol.data_received)
            and isinstance(protocol.config.ws_max_size, (int, type(None)))
            and protocol.transport.get_protocol() is protocol
            and callable(protocol.transport.write)
            and callable(protocol.transport.pause_reading)
            and callable(protocol.transport.resume_reading)
            and callable(protocol.request.headers.clear)
            and callable(protocol.response.headers.clear)
        )
    except AttributeError:
        return None
    return FastPath(protocol) if fits else None


def find_socket(transport: Any) -> int | None:
    """The file descriptor that a burst may write to, or ``None`` if the transport is not one of those we know."""
    cls = type(transport)
    if (cls.__module__, cls.__name__) not in UVLOOP_TRANSPORTS:
        return None
    descriptor: int = transport.get_extra_info("socket").fileno()
    return descriptor


def is_between_frames(conn: Any) -> bool:
    """Whether the library holds no part of a frame or of a message."""
    waits_in = getattr(conn, "parser", None)
    while (inner := getattr(waits_in, "gi_yieldfrom", None)) is not None:
        waits_in = inner
    return getattr(waits_in, "gi_code", "") is BETWEEN_FRAMES and getattr(conn, "current_size", 0) is None


def cut_frames(data: bytes, longest: int) -> tuple[list[Data], int]:
    """
    Take whole messages, of one frame each, off the beginning of a chunk from a client.

    Args:
        data: The chunk; it begins with a frame.
        longest: Bytes a message may have.

    Returns:
        The messages, and where the first frame begins that is anything else.

    Source: RFC 6455, section 5.2.
    """
    messages: list[Data] = []
    position, size = 0, len(data)
    while size - position >= SHORT_HEADER:
        first, length, start = data[position], data[position + 1] - MASKED, position + SHORT_HEADER
        if length == LENGTH_IN_TWO_BYTES and size - position >= LONG_HEADER:
            length, start = data[position + 2] << 8 | data[position + 3], position + LONG_HEADER
        elif not 0 <= length < LENGTH_IN_TWO_BYTES:
            break
        end = start + length
        if end > size or length > longest or (first != TEXT and first != BINARY):
            break
        message = apply_mask(data[start:end], data[start - 4 : start])
        try:
            messages.append(str(message, "utf-8") if first == TEXT else message)
        except UnicodeDecodeError:
            break
        position = end
    return messages, position


def frame(data: bytes, *, is_text: bool) -> bytes:
    """
    One whole, unmasked frame.

    The websockets library makes the same one in four times the time; a test compares them.

    Source: RFC 6455, section 5.2.
    """
    size = len(data)
    if size < LENGTH_IN_TWO_BYTES:
        return SHORT_FRAMES[is_text][size] + data
    first = TEXT if is_text else BINARY
    if size <= LONGEST_FRAME:
        return bytes((first, 126, size >> 8, size & 0xFF)) + data
    return bytes((first, 127)) + size.to_bytes(8, "big") + data
