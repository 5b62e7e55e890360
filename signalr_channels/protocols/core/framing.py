"""
Cutting a stream of bytes into messages: JSON text ends in 0x1E, MessagePack starts with its length.

Source: HubProtocol.md, "JSON Encoding" and "MessagePack (MsgPack) Encoding".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from signalr_channels.exceptions import MessageTooBig, RemoteProtocolError
from signalr_channels.protocols.base import Data

__all__ = ["LengthPrefixSplitter", "SeparatorSplitter", "encode_length_prefix", "read_length_prefix"]

SEPARATOR = "\x1e"
SEPARATOR_BYTE = b"\x1e"
LONGEST_PREFIX = 5
LARGEST_BODY = 2**31 - 1
BITS_PER_BYTE = 7
MORE_FOLLOWS = 0x80
SHORT_PREFIXES = [bytes((length,)) for length in range(MORE_FOLLOWS)]
LAST_BYTE_MAXIMUM = LARGEST_BODY >> (BITS_PER_BYTE * (LONGEST_PREFIX - 1))

Buffer = Union[bytes, bytearray, memoryview]


class SeparatorSplitter:
    """
    Cuts at 0x1E. One per connection.

    Text stays text where a chunk holds whole messages, which is nearly always. The limit counts encoded bytes, separator included.

    Attributes:
        error: Why nothing more can be read, or ``None``.
    """

    __slots__ = ("_limit", "_pending", "error")

    def __init__(self, maximum_message_size: int | None) -> None:
        self.error: RemoteProtocolError | None = None
        self._limit = maximum_message_size
        self._pending = bytearray()

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete message are held."""
        return len(self._pending)

    def discard_pending(self) -> None:
        """Forget the incomplete rest."""
        self._pending.clear()

    def feed(self, data: Data) -> Sequence[Data]:
        """Take a chunk; give the complete messages in order, without their separators. Look at ``error`` afterwards."""
        if type(data) is str and not self._pending:
            frames = data.split(SEPARATOR)
            # ASCII text has as many bytes as characters, and a chunk within the limit holds no message over it.
            if not frames[-1] and (self._limit is None or (len(data) <= self._limit and data.isascii())) and self.error is None:
                frames.pop()
                return frames
        return self._feed_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)

    def _feed_bytes(self, data: bytes) -> Sequence[Data]:
        if self.error is not None:
            return ()
        *frames, rest = data.split(SEPARATOR_BYTE)
        if self._pending and frames:
            frames[0] = bytes(self._pending) + frames[0]
            self._pending.clear()
        limit = self._limit
        if limit is not None:
            for index, frame in enumerate(frames):
                if len(frame) >= limit:
                    return self._fail(frames[:index], limit)
            if len(self._pending) + len(rest) > limit:
                return self._fail(frames, limit)
        self._pending += rest
        return frames

    def _fail(self, frames: Sequence[Data], limit: int) -> Sequence[Data]:
        self.error = MessageTooBig(limit)
        self._pending.clear()
        return frames


class LengthPrefixSplitter:
    """
    Cuts behind each announced length. One per connection.

    The limit looks at bytes received, prefix included: a message that only announces to be long is waited for.

    Attributes:
        error: Why nothing more can be read, or ``None``.
    """

    __slots__ = ("_limit", "_pending", "error")

    def __init__(self, maximum_message_size: int | None) -> None:
        self.error: RemoteProtocolError | None = None
        self._limit = maximum_message_size
        self._pending = bytearray()

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete message are held."""
        return len(self._pending)

    def discard_pending(self) -> None:
        """Forget the incomplete rest."""
        self._pending.clear()

    def feed(self, data: Data) -> Sequence[Data]:
        """Take a chunk; give the complete messages in order, without their prefixes. Look at ``error`` afterwards."""
        if self.error is not None:
            return ()
        is_short = type(data) is bytes and 0 < len(data) <= MORE_FOLLOWS and data[0] == len(data) - 1 and not self._pending
        if is_short and (self._limit is None or len(data) <= self._limit):
            return (data[1:],)  # one message, as most chunks are
        chunk = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        if not self._pending:
            frames, consumed = self._cut(chunk)
            if self.error is None and consumed < len(chunk):
                self._pending += chunk[consumed:]
        else:
            self._pending += chunk
            frames, consumed = self._cut(self._pending)
            if consumed:
                del self._pending[:consumed]
        if self.error is not None:
            self._pending.clear()
        return frames

    def _cut(self, buffer: Buffer) -> tuple[list[bytes], int]:
        """``(messages, bytes consumed)``; sets ``error`` where it cannot go on."""
        frames: list[bytes] = []
        limit, position, end = self._limit, 0, len(buffer)
        while position < end:
            try:
                prefix = read_length_prefix(buffer[position : position + LONGEST_PREFIX])
            except RemoteProtocolError as error:
                self.error = error
                break
            size = end - position if prefix is None else prefix[0] + prefix[1]
            if limit is not None and min(size, end - position) > limit:
                self.error = MessageTooBig(limit)
                break
            if prefix is None or size > end - position:
                break
            frames.append(bytes(buffer[position + prefix[1] : position + size]))
            position += size
        return frames, position


def encode_length_prefix(length: int) -> bytes:
    """
    Write the VarInt in front of a binary message: 7 bits a byte, lowest first, the high bit says that more follow.

    Args:
        length: Bytes of the body, up to 2,147,483,647.
    """
    if length < MORE_FOLLOWS:
        return SHORT_PREFIXES[length]
    prefix = bytearray()
    while length >= MORE_FOLLOWS:
        prefix.append(length & 0x7F | MORE_FOLLOWS)
        length >>= BITS_PER_BYTE
    prefix.append(length)
    return bytes(prefix)


def read_length_prefix(buffer: Buffer) -> tuple[int, int] | None:
    """
    Read the VarInt in front of a binary message.

    Args:
        buffer: Unread bytes, ``[length][body][length][body]…``. At most 5 are looked at. Longer prefixes than necessary are legal.

    Returns:
        ``(body_length, prefix_length)`` in bytes, or ``None`` while the prefix is incomplete.

    Raises:
        RemoteProtocolError: The prefix exceeds 5 bytes or announces more than 2,147,483,647.

    Source: HubProtocol.md, "Binary encoding", "VarInt".
    """
    value = 0
    for index, byte in enumerate(buffer[:LONGEST_PREFIX]):
        if index == LONGEST_PREFIX - 1 and byte > LAST_BYTE_MAXIMUM:
            raise RemoteProtocolError("Messages over 2GB in size are not supported.", kind="FormatException")
        value |= (byte & 0x7F) << (BITS_PER_BYTE * index)
        if byte < MORE_FOLLOWS:
            return value, index + 1
    return None
