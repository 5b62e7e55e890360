"""What a connection writes to its transport, and what waits until the client reads on."""

from __future__ import annotations

import abc
import asyncio
import logging
from collections import deque
from collections.abc import Callable

from signalr_channels.connections.burst import DirectWay
from signalr_channels.connections.transports import DONE, Resume, Transport
from signalr_channels.protocols.base import EncodedMessage
from signalr_channels.protocols.endings import Disconnect

__all__ = ["LONGEST_JOINED", "NORMAL_CLOSURE", "Outbox"]

logger = logging.getLogger("signalr_channels.connections")

NORMAL_CLOSURE = 1000
LONGEST_JOINED = 16 * 1024
"""Bytes of messages that are written together."""


class Outbox(abc.ABC):
    """
    The outgoing half of a connection.

    Writing never waits: a frame goes out at once if the client reads, else into a queue of ``maximum_buffered_bytes``.
    It is a base class and no part, because each message of a broadcast comes by here.
    """

    __slots__ = (
        "_close_code",
        "_closed_at",
        "_corked",
        "_corked_bytes",
        "_direct",
        "_drained",
        "_maximum_buffered_bytes",
        "_transport_gone",
        "_turn_bytes",
        "_waiting",
        "_waiting_bytes",
        "_write_started",
        "_writer",
        "clock",
        "connection_id",
        "disconnect",
        "on_drained",
        "transport",
    )

    def __init__(self, *, connection_id: str, transport: Transport, clock: Callable[[], float], maximum_buffered_bytes: int) -> None:
        self.connection_id = connection_id
        self.transport = transport
        self.clock = clock
        self.disconnect: Disconnect | None = None
        self.on_drained: Callable[[], None] | None = None
        self._maximum_buffered_bytes = maximum_buffered_bytes
        self._writer: asyncio.Task[None] | None = None
        self._waiting: deque[EncodedMessage] | None = None
        self._waiting_bytes = 0
        self._write_started = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._closed_at: float | None = None
        self._close_code = NORMAL_CLOSURE
        self._corked: list[EncodedMessage] | None = None
        self._corked_bytes = 0
        self._turn_bytes = 0
        self._direct: DirectWay | None = None
        self._transport_gone = False

    @abc.abstractmethod
    def _give_up(self, text: str) -> None:
        """End the connection: too much waits for its client."""

    @abc.abstractmethod
    def _look_for_direct_way(self) -> None:
        """Let broadcasts go straight to the transport again, if nothing else stands in the way."""

    def _write_now(self, message: EncodedMessage) -> None:
        size = len(message.data)
        self._turn_bytes += size
        if self._corked is None:
            self._put(message)
            return
        self._corked.append(message)
        self._corked_bytes += size
        if self._corked_bytes > LONGEST_JOINED:
            self.uncork()
            self.cork()

    def start_turn(self) -> None:
        """The event loop has had a turn."""
        self._turn_bytes = 0

    def _put(self, message: EncodedMessage) -> None:
        """Give a message to the transport, or let it wait behind the ones before it."""
        if self._writer is not None:
            self._queue(message)
            return
        if self._transport_gone:
            return
        try:
            # The same as transports.step(), written out: this is the inner loop of a broadcast.
            awaitable = self.transport.write(message)
            if awaitable is DONE:
                return
            iterator = awaitable.__await__()
            future = next(iterator)
        except StopIteration:
            return
        except (OSError, RuntimeError) as error:
            self._lose_transport(error)
            return
        self._write_started = self.clock()
        self._direct = None
        self._writer = asyncio.get_running_loop().create_task(self._write_rest(Resume(iterator, future)))

    def cork(self) -> None:
        """Collect what is written, until :meth:`uncork`. Only around code that does not wait."""
        if self._corked is None:
            self._corked = []

    def uncork(self) -> None:
        """Write what was collected, short messages together: one frame costs less than several."""
        messages, self._corked = self._corked, None
        if not messages:
            return
        self._corked_bytes = 0
        if len(messages) == 1:
            self._put(messages[0])
        elif len(messages[-1].data) > LONGEST_JOINED:
            self._put(_join(messages[:-1]))
            self._put(messages[-1])
        else:
            self._put(_join(messages))

    def _queue(self, message: EncodedMessage) -> None:
        size = len(message.data)
        if self._waiting is None:
            self._waiting = deque()
        if self._waiting_bytes + size > self._maximum_buffered_bytes:
            self._give_up(f"Over {self._maximum_buffered_bytes} bytes (MAXIMUM_BUFFERED_BYTES) waited for a client that does not read.")
            return
        self._waiting.append(message)
        self._waiting_bytes += size

    async def _write_rest(self, first: Resume) -> None:
        """Finish a write that suspended, then what queued up behind it."""
        try:
            await first
            while self._waiting:
                message = self._waiting.popleft()
                self._waiting_bytes -= len(message.data)
                self._write_started = self.clock()
                await self.transport.write(message)
        except (OSError, RuntimeError) as error:
            self._lose_transport(error)
        finally:
            if self._writer is asyncio.current_task():  # else another transport has taken over
                self._writing_ended()
        if self._closed_at is not None:
            self._close_transport()

    def _writing_ended(self) -> None:
        self._writer = None
        self._waiting = None
        self._waiting_bytes = 0
        self._caught_up()
        self._look_for_direct_way()

    def _stop_writing(self) -> None:
        """
        Write no more to this transport, not even what was collected for it.

        The task of a write under way may not have begun, so it cannot be left to clean up by itself.
        """
        self._transport_gone = True
        self._direct = self._corked = None
        self._corked_bytes = 0
        if self._writer is not None:
            self._writer.cancel()
            self._writing_ended()

    def _caught_up(self) -> None:
        """The client has read, or acknowledged: whoever waited for that goes on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        if self.on_drained is not None:
            asyncio.get_running_loop().call_soon(self._tell_drained)

    def _tell_drained(self) -> None:
        on_drained, self.on_drained = self.on_drained, None
        if on_drained is not None and self.disconnect is None:
            on_drained()

    def _close_transport(self) -> None:
        self.uncork()
        if self._transport_gone:
            return
        self._transport_gone = True
        self._direct = None
        self._write_started = self.clock()
        try:
            iterator = self.transport.close(code=self._close_code).__await__()
            future = next(iterator)
        except StopIteration:
            return
        except Exception as error:  # whatever a server thinks of it, the connection is over
            logger.debug("%s: the transport could not be closed: %r", self.connection_id, error)
            return
        self._writer = asyncio.get_running_loop().create_task(self._write_rest(Resume(iterator, future)))

    def _lose_transport(self, error: Exception) -> None:
        # The transport's own end of file follows and ends the connection; until then nothing is written.
        logger.debug("%s: writing failed: %r", self.connection_id, error)
        self._transport_gone = True
        self._direct = None


def _join(messages: list[EncodedMessage]) -> EncodedMessage:
    if len(messages) == 1:
        return messages[0]
    return EncodedMessage(b"".join(message.data for message in messages), messages[0].transfer_format, is_tracked=False)
