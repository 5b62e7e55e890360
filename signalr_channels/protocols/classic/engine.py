"""
The engine of one classic connection: numbered messages in, envelopes out.

Messages stay in a buffer after they were sent, so that a transport that was lost can be followed by another one: it says with a cursor what
the client has, and gets the rest. An envelope carries up to a number of messages, the cursor behind them, and what else is to be said.

Source: reference sections 4.1, 5.1, 8.1; ``PersistentResponse.cs``.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from itertools import islice

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.base import EncodedMessage
from signalr_channels.protocols.classic.hub_messages import to_ascii

__all__ = ["ClassicEngine", "InvalidCursor", "encode_farewell"]

MESSAGES_PER_FRAME = 10
MESSAGES_PER_POLL = 250
"""How many messages the reference puts into one frame of a stream, and into the answer to a poll."""
CURSOR = re.compile("[0-9A-F]{1,12}")


class InvalidCursor(RemoteProtocolError):
    """A cursor of this connection that was changed on its way."""


class ClassicEngine:
    """
    One connection's protocol state.

    Attributes:
        lost: How many messages fell out of the buffer before the client had them.
        groups_token: What the client is to hold; ``""`` before the first group.
    """

    __slots__ = (
        "_buffer",
        "_buffered_bytes",
        "_client_groups_token",
        "_counted",
        "_end",
        "_epoch",
        "_is_fresh",
        "_is_init_due",
        "_maximum_bytes",
        "_maximum_messages",
        "_position",
        "_start_of_frame",
        "groups_token",
        "lost",
    )

    def __init__(self, *, maximum_messages: int = 1000, maximum_bytes: int = 1024 * 1024, epoch: str | None = None) -> None:
        """
        Args:
            maximum_messages: How many messages are kept for a client that comes back.
            maximum_bytes: How many bytes of them; the newest message is kept whatever its length.
            epoch: Start of all cursors; it tells them from those of another life of the connection.
        """
        self.lost = 0
        self.groups_token = ""
        self._epoch = epoch or secrets.token_hex(4).upper()
        self._start_of_frame = b'{"C":"%b-' % self._epoch.encode()
        self._maximum_messages = maximum_messages
        self._maximum_bytes = maximum_bytes
        self._buffer: deque[EncodedMessage] = deque()
        self._buffered_bytes = 0
        self._end = 0
        """Number of the next message."""
        self._position = 0
        """Number of the first message that the transport attached now was not given."""
        self._client_groups_token = ""
        self._is_fresh = True
        self._is_init_due = False
        self._counted = (0, 0)
        """Numbers of the messages that count as lost: from the first to before the second."""

    # In

    def add(self, message: EncodedMessage) -> bool:
        """
        Take a message for the client.

        Returns:
            False if an older one was lost: it fell out of the buffer before the transport was given it.
        """
        self._buffer.append(message)
        self._end += 1
        self._buffered_bytes += len(message.data)
        while len(self._buffer) > self._maximum_messages or (self._buffered_bytes > self._maximum_bytes and len(self._buffer) > 1):
            self._buffered_bytes -= len(self._buffer.popleft().data)
        start = self._end - len(self._buffer)
        if self._position >= start:
            return True
        self._count_lost(self._position, start)
        self._position = start
        return False

    def _count_lost(self, first: int, end: int) -> None:
        """Count messages that the client will not get, each once."""
        counted_first, counted_end = self._counted
        if counted_first == counted_end:
            counted_first = counted_end = first
        self.lost += max(0, counted_first - first) + max(0, end - max(first, counted_end))
        self._counted = (min(first, counted_first), max(end, counted_end))

    def fits(self, message: EncodedMessage) -> bool:
        """Whether the buffer takes another message without letting one go that the transport was not given."""
        size, backlog = len(message.data), self.backlog
        if backlog >= self._maximum_messages:
            return False
        if self._buffered_bytes + size <= self._maximum_bytes:
            return True
        return size + sum(len(waiting.data) for waiting in islice(reversed(self._buffer), backlog)) <= self._maximum_bytes

    def resume(self, cursor: str | None, groups_token: str | None, *, init: bool) -> None:
        """
        Begin with another transport.

        Args:
            cursor: What the client had last. Without one, or with one of another life, it begins with what comes from now on; the first
                transport of all begins with what is there.
            groups_token: What the client holds.
            init: Whether the transport begins with the init frame.

        Raises:
            InvalidCursor: The cursor begins as ours do, and is none.
        """
        self._is_init_due = init
        self._client_groups_token = groups_token or ""
        if not self._is_fresh:
            self._position = self._end
        self._is_fresh = False
        epoch, _, number = (cursor or "").partition("-")
        if epoch != self._epoch:
            return
        if CURSOR.fullmatch(number) is None:
            raise InvalidCursor("Invalid cursor.")
        start = self._end - len(self._buffer)
        position = min(int(number, 16), self._end)
        if position < start:
            self._count_lost(position, start)
        self._position = max(position, start)

    # Out

    @property
    def backlog(self) -> int:
        """How many messages the transport was not given yet."""
        return self._end - self._position

    @property
    def has_frame(self) -> bool:
        """Whether there is something to say."""
        return self._is_init_due or self._position < self._end or self._owes_groups_token

    @property
    def _owes_groups_token(self) -> bool:
        return self.groups_token != self._client_groups_token and self.groups_token != ""

    def _frame_of_one(self, is_ascii: bool) -> bytes:
        """The frame of nearly every message."""
        self._position += 1
        message = self._buffer[-1]
        return b'%b%X","M":[%b]}' % (self._start_of_frame, self._position, _ascii(message) if is_ascii else message.data)

    def frame(self, *, limit: int = MESSAGES_PER_FRAME, is_ascii: bool = False, poll_delay: float = 0.0, terminate: bool = False) -> bytes:
        """
        The next envelope, with no messages if there are none.

        Args:
            limit: How many messages it may carry.
            is_ascii: Whether characters outside ASCII are escaped.
            poll_delay: Seconds to wait before the next poll, for the client to know.
            terminate: Whether the client of a poll is told that the server stops.
        """
        is_plain = not (self._is_init_due or terminate or poll_delay or self._owes_groups_token)
        if is_plain and limit and self._position == self._end - 1:
            return self._frame_of_one(is_ascii)
        start = self._end - len(self._buffer)
        first = self._position - start
        messages = list(islice(self._buffer, first, first + limit))
        self._position += len(messages)
        parts = [b'%b%X"' % (self._start_of_frame, self._position)]
        if self._is_init_due:
            self._is_init_due = False
            parts.append(b',"S":1')
        if terminate:
            parts.append(b',"T":1')
        if self._owes_groups_token:
            self._client_groups_token = self.groups_token
            parts.append(f',"G":"{self.groups_token}"'.encode())
        if poll_delay:
            parts.append(b',"L":%d' % round(poll_delay * 1000))
        texts = [_ascii(message) if is_ascii else message.data for message in messages]
        return b"".join((*parts, b',"M":[', b",".join(texts), b"]}"))


def _ascii(message: EncodedMessage) -> bytes:
    """The message with escapes, made by the first receiver that needs it."""
    if message.frame is None:
        message.frame = to_ascii(message.data)
    data: bytes = message.frame
    return data


def encode_farewell(error: bytes | None) -> bytes:
    """
    The last envelope of a client that is not to come back.

    Clients from 2.4 on obey ``E``, those up to 2.1 ``D``.

    Args:
        error: The reason as JSON text in ASCII.

    Source: reference section 7.4.
    """
    return b'{"D":1,"E":' + (error or b'"The connection was closed by the server."') + b',"M":[]}'
