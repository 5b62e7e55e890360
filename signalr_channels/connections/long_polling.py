"""A transport that keeps what is written until the client comes to fetch it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable

import msgspec

from signalr_channels.connections.transports import DONE
from signalr_channels.protocols.base import EncodedMessage

__all__ = ["LongPollingTransport", "Poll", "PollOutcome"]


class PollOutcome(enum.Enum):
    """How a poll ended."""

    DATA = "data"
    EMPTY = "empty"
    """Nothing came in time; the client polls again."""
    OVER = "over"
    """The connection has ended, or a newer poll took over; this client is to stop."""


class Poll(msgspec.Struct, frozen=True):
    """The answer to a poll."""

    outcome: PollOutcome
    data: bytes = b""


class LongPollingTransport:
    """
    The server's half of long polling.

    Attributes:
        idle_since: When the last poll was answered, on the caller's clock; ``None`` while one waits.
        is_closed: Whether nothing is written any more.
    """

    name = "longPolling"

    def __init__(self, buffer_size: int, now: float) -> None:
        """
        Args:
            buffer_size: Bytes that may wait before writers do.
            now: The time on the caller's clock.
        """
        self.idle_since: float | None = now
        self.is_closed = False
        self._buffer_size = buffer_size
        self._chunks: list[bytes] = []
        self._size = 0
        self._poll: asyncio.Future[bool] | None = None
        self._room: asyncio.Future[None] | None = None

    # What the connection does

    def write(self, message: EncodedMessage) -> Awaitable[None]:
        """Keep a message for the next poll. Awaiting takes time while there is more than fits."""
        self._chunks.append(message.data)
        self._size += len(message.data)
        self._wake()
        return self._wait_for_room() if self._size > self._buffer_size else DONE

    def close(self, *, code: int) -> Awaitable[None]:
        """Let the next polls fetch what is there, then end."""
        self.is_closed = True
        self._wake()
        return DONE

    def abort(self) -> None:
        """Drop what is there, and end."""
        self._take()
        self.is_closed = True
        self._wake()

    async def _wait_for_room(self) -> None:
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()
        await self._room

    # What the client does

    async def poll(self, timeout: float) -> Poll:
        """
        Wait for data, the end, or ``timeout`` seconds. A newer poll ends this one.

        If the task is cancelled, what is there stays for the next poll.
        """
        self.supersede()
        if not self._chunks and not self.is_closed:
            waiting = self._poll = asyncio.get_running_loop().create_future()
            try:
                # Not wait_for(): before Python 3.12 it swallows a cancellation that comes together with the data.
                done, _ = await asyncio.wait([waiting], timeout=timeout)
            finally:
                if self._poll is waiting:
                    self._poll = None
            if not done:
                return Poll(PollOutcome.EMPTY)
            if waiting.result():
                return Poll(PollOutcome.OVER)
        data = self._take()
        return Poll(PollOutcome.DATA, data) if data else Poll(PollOutcome.OVER)

    def put_back(self, poll: Poll) -> None:
        """The client of a poll that was answered is not there any more: keep what it was to get for the next one."""
        if poll.data:
            self._chunks.insert(0, poll.data)
            self._size += len(poll.data)
            self._wake()

    def supersede(self) -> None:
        """End the poll under way, if there is one."""
        waiting, self._poll = self._poll, None
        if waiting is not None and not waiting.done():
            waiting.set_result(True)

    @property
    def has_poll(self) -> bool:
        """Whether a client waits."""
        return self._poll is not None

    def _take(self) -> bytes:
        data, self._chunks, self._size = b"".join(self._chunks), [], 0
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None
        return data

    def _wake(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(False)
