"""
One classic connection: an engine, and the transport attached now, if one is.

A lost transport does not end it. The client comes back with another one and says what it has; only when it stays away for
``DISCONNECT_TIMEOUT`` and a little more is the connection over.

State: ``ATTACHED <-> DETACHED``, and either ``-> ENDED``.

Source: reference sections 4.1, 4.7, 4.8, 7.2; ``TransportHeartbeat.cs``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from signalr_channels.connections.burst import Burst
from signalr_channels.connections.transports import Resume, step
from signalr_channels.connections.turns import EndOfTurn
from signalr_channels.exceptions import ConnectionClosed, SlowConnection
from signalr_channels.protocols.base import EncodedMessage, HubProtocol
from signalr_channels.protocols.classic.engine import MESSAGES_PER_FRAME, MESSAGES_PER_POLL, ClassicEngine, encode_farewell
from signalr_channels.protocols.endings import CloseReason, Disconnect

__all__ = ["ClassicConnection", "ClassicOptions", "ClassicTransport"]

logger = logging.getLogger("signalr_channels.connections")

STREAM_THRESHOLD = 5.0
"""Seconds on top of ``DISCONNECT_TIMEOUT`` for a connection whose stream was lost."""
LONGEST_BACKLOG = 64
"""Messages that may collect in one turn of the event loop before they are written."""
TICK_SLACK = 0.5
"""Half the heartbeat's interval: what is due before the next beat comes closer to its time now than then."""


class ClassicOptions(Protocol):
    """The settings a connection reads; see :class:`signalr_channels.conf.ClassicSettings`."""

    @property
    def KEEP_ALIVE(self) -> float | None: ...  # noqa: D102, N802
    @property
    def DISCONNECT_TIMEOUT(self) -> float: ...  # noqa: D102, N802
    @property
    def CONNECTION_TIMEOUT(self) -> float: ...  # noqa: D102, N802
    @property
    def LONG_POLL_DELAY(self) -> float: ...  # noqa: D102, N802


class ClassicTransport(Protocol):
    """One way to a client."""

    name: str
    """``webSockets``, ``serverSentEvents``, ``foreverFrame`` or ``longPolling``."""
    is_poll: bool
    """Whether it takes one frame and is over."""
    is_ascii: bool
    """Whether its frames have to be ASCII: the .NET client 2.4 decodes UTF-8 per network read over HTTP."""

    @property
    def join(self) -> Callable[[Burst, bytes], bool] | None:
        """Lets one frame be written with a burst, or says ``False``. Not every transport has it."""

    def write(self, frame: bytes) -> Awaitable[None]:
        """Write one frame; suspends while the client does not read. Raises :exc:`OSError` or :exc:`RuntimeError` when it is gone."""

    def keep_alive(self) -> Awaitable[None]:
        """Write a sign of life."""

    def close(self) -> Awaitable[None]:
        """End it politely."""

    def abort(self) -> None:
        """Cut it at once."""


class ClassicConnection:
    """
    One logical connection of a classic client.

    Attributes:
        connection_id: The public id.
        engine: Its messages.
        transport: The transport that is attached, or was last; ``None`` before the first.
        user_identifier: What ``clients.user(…)`` addresses, or ``None``.
        hub_protocol: The encoding, for hub code to know.
        disconnect: Why it ended, once it has.
        detached_at: When its transport was lost, on the connection's clock; ``None`` while one is attached.
        last_received: When the client was last heard of, on the connection's clock.
        is_final: Whether the client is refused when it comes back after the end.
        on_end: Called at the end.
        on_loss: Called with how many messages the client missed for good.
    """

    __slots__ = (
        "__weakref__",
        "_attached",
        "_attached_at",
        "_end_of_turn",
        "_endings",
        "_is_scheduled",
        "_keep_alive_at",
        "_lost_by",
        "_maximum_buffered_bytes",
        "_options",
        "_replies",
        "_reply_bytes",
        "_reported_loss",
        "_send_timeout",
        "_write_started",
        "_writer",
        "clock",
        "connection_id",
        "detached_at",
        "disconnect",
        "engine",
        "hub_protocol",
        "is_final",
        "last_received",
        "on_end",
        "on_loss",
        "transport",
        "user_identifier",
    )

    def __init__(
        self,
        *,
        connection_id: str,
        engine: ClassicEngine,
        hub_protocol: HubProtocol,
        options: ClassicOptions,
        clock: Callable[[], float],
        user_identifier: str | None = None,
        maximum_buffered_bytes: int = 1024 * 1024,
        send_timeout: float = 10.0,
        end_of_turn: EndOfTurn | None = None,
    ) -> None:
        """
        Args:
            connection_id: The public id.
            engine: Its messages.
            hub_protocol: See the class.
            options: Its times.
            clock: Gives the time in seconds.
            user_identifier: See the class.
            maximum_buffered_bytes: How many bytes of answers may wait for a client that does not read.
            send_timeout: Seconds one write may take.
            end_of_turn: Shared by the connections of an event loop.
        """
        now = clock()
        self.connection_id = connection_id
        self.engine = engine
        self.hub_protocol = hub_protocol
        self.clock = clock
        self.user_identifier = user_identifier
        self.transport: ClassicTransport | None = None
        self.disconnect: Disconnect | None = None
        self.detached_at: float | None = now
        self.last_received = now
        self.is_final = True
        self.on_end: Callable[[], None] | None = None
        self.on_loss: Callable[[int], None] | None = None
        self._options = options
        self._maximum_buffered_bytes = maximum_buffered_bytes
        self._send_timeout = send_timeout
        self._attached: ClassicTransport | None = None
        self._attached_at = self._keep_alive_at = now
        self._lost_by: CloseReason | None = None
        self._endings: set[asyncio.Task[None]] | None = None
        self._replies: deque[bytes] | None = None
        self._reply_bytes = 0
        self._reported_loss = 0
        self._is_scheduled = False
        self._end_of_turn = EndOfTurn() if end_of_turn is None else end_of_turn
        self._writer: asyncio.Task[None] | None = None
        self._write_started = 0.0

    # Transports

    @property
    def attached(self) -> ClassicTransport | None:
        """The transport that is attached now."""
        return self._attached

    def attach(self, transport: ClassicTransport, *, cursor: str | None, groups_token: str | None, init: bool) -> None:
        """
        Go on with another transport; the one before it is ended.

        Args:
            transport: The new one, ready to be written to.
            cursor: What the client had last.
            groups_token: What the client holds.
            init: Whether it begins with the init frame.

        Raises:
            ConnectionClosed: The connection has ended meanwhile.
            InvalidCursor: The cursor begins as ours do, and is none.
        """
        if self.disconnect is not None:
            raise ConnectionClosed(f"Connection '{self.connection_id}' has ended.")
        self._let_go(self.engine.frame(limit=0, is_ascii=True) if self._is_polled else None)
        self.engine.resume(cursor, groups_token, init=init)
        self.transport = self._attached = transport
        self._attached_at = self._keep_alive_at = self.last_received = self.clock()
        self.detached_at = self._lost_by = None
        self._replies = None
        self.pump()

    def lose_transport(self, transport: ClassicTransport, reason: CloseReason = CloseReason.CLIENT_GONE) -> None:
        """A transport is over, by the client's doing or the network's. The connection waits for another one."""
        if self._attached is transport:
            self._stop_writing()
            self._attached = None
            self.detached_at = self.clock()
            self._lost_by = None if transport.is_poll else reason

    def _let_go(self, last_frame: bytes | None, *, cut: bool = False) -> None:
        """End the transport that is attached, from our side."""
        transport, self._attached = self._attached, None
        if transport is None:
            return
        self.detached_at = self.clock()
        was_blocked = self._writer is not None
        self._stop_writing()
        if cut or was_blocked:
            transport.abort()
            return
        try:
            rest = step(_say_goodbye(transport, last_frame))
        except (OSError, RuntimeError) as error:
            logger.debug("%s: a transport could not be ended: %r", self.connection_id, error)
            return
        if rest is not None:  # beside the writing to the next transport
            self._endings = self._endings or set()
            task = asyncio.get_running_loop().create_task(self._finish_goodbye(transport, rest))
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def _finish_goodbye(self, transport: ClassicTransport, rest: Resume) -> None:
        try:
            await asyncio.wait_for(_as_coroutine(rest), self._send_timeout)
        except (OSError, RuntimeError, asyncio.TimeoutError) as error:
            logger.debug("%s: a transport could not be ended: %r", self.connection_id, error)
            transport.abort()

    # Outgoing

    def enqueue(self, message: EncodedMessage) -> None:
        """Send a message of a hub. It waits for a transport while there is none. Nothing happens once the connection has ended."""
        if self.disconnect is not None:
            return
        engine = self.engine
        is_free = self._writer is None and self._attached is not None
        if is_free and engine.backlog and (engine.backlog >= LONGEST_BACKLOG or not engine.fits(message)):
            self.pump()  # what collects in one turn of the event loop is not to fall out of the buffer
        if not engine.add(message) and self._writer is not None:
            self._give_up()
        else:
            self._schedule()

    def announce_groups(self, token: str) -> None:
        """The client is to hold another groups token."""
        if self.disconnect is None:
            self.engine.groups_token = token
            self._schedule()

    def reply(self, data: bytes, via: ClassicTransport | None) -> None:
        """
        Answer a call on the socket it came by, after what the call has sent. The answer is lost with the socket, as in the reference:
        the JavaScript client begins to count its calls anew.
        """
        if via is None or via is not self._attached:
            logger.debug("%s: an answer was dropped; the socket of its call is gone", self.connection_id)
            return
        if self._replies is None:
            self._replies = deque()
        self._replies.append(data)
        self._reply_bytes += len(data)
        if self._reply_bytes > self._maximum_buffered_bytes and self._writer is not None:
            self._give_up()
        else:
            self.pump()

    @property
    def is_congested(self) -> bool:
        """Whether the client reads more slowly than we write."""
        return self._writer is not None

    def _schedule(self) -> None:
        """Write at the end of this turn of the event loop, so that what is sent in one turn shares frames."""
        if not self._is_scheduled and self._attached is not None:
            self._is_scheduled = True
            self._end_of_turn.add(self)

    def pump(self, burst: Burst | None = None) -> None:
        """
        Write what there is to write.

        Args:
            burst: With which the last frame may be written.
        """
        self._is_scheduled = False
        self._report_loss()
        while self._writer is None and (transport := self._attached) is not None:
            if self.engine.has_frame:
                frame = self._next_frame(transport)
            elif self._replies:
                frame = self._replies.popleft()
                self._reply_bytes -= len(frame)
            else:
                return
            if burst is not None and self._join(burst, transport, frame):
                return
            self._step(transport, transport.write(frame))
            if transport.is_poll:
                self.lose_transport(transport)

    def _join(self, burst: Burst, transport: ClassicTransport, frame: bytes) -> bool:
        """Have a frame written with a burst, if nothing is to follow it."""
        if transport.join is None or self._replies or self.engine.has_frame:
            return False
        return transport.join(burst, frame)

    def _next_frame(self, transport: ClassicTransport) -> bytes:
        if not transport.is_poll:
            return self.engine.frame(limit=MESSAGES_PER_FRAME, is_ascii=transport.is_ascii)
        return self.engine.frame(limit=MESSAGES_PER_POLL, is_ascii=True, poll_delay=self._options.LONG_POLL_DELAY)

    def _step(self, transport: ClassicTransport, awaitable: Awaitable[None]) -> None:
        """Write without a task, if the client reads."""
        try:
            rest = step(awaitable)
        except (OSError, RuntimeError) as error:
            logger.debug("%s: writing failed: %r", self.connection_id, error)
            self.lose_transport(transport)
            return
        if rest is not None:
            self._write_started = self.clock()
            self._writer = asyncio.get_running_loop().create_task(self._write_rest(transport, rest))

    async def _write_rest(self, transport: ClassicTransport, rest: Resume) -> None:
        try:
            await rest
        except (OSError, RuntimeError) as error:
            logger.debug("%s: writing failed: %r", self.connection_id, error)
            self.lose_transport(transport)
        if self._writer is asyncio.current_task():
            self._writer = None
            self.pump()

    def _stop_writing(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None and writer is not asyncio.current_task():
            writer.cancel()
        self._replies = None
        self._reply_bytes = 0

    def _report_loss(self) -> None:
        lost = self.engine.lost - self._reported_loss
        if lost:
            self._reported_loss = self.engine.lost
            logger.warning("%s: %d messages were lost: the client was away for more than the buffer holds", self.connection_id, lost)
            if self.on_loss is not None:
                self.on_loss(lost)

    # Time

    def tick(self, now: float) -> None:
        """Do what is due: a sign of life, a timeout, a client that is too slow. Called by the heartbeat."""
        if self.disconnect is not None:
            return
        options, transport = self._options, self._attached
        if transport is None:
            if self.detached_at is not None and now - self.detached_at >= options.DISCONNECT_TIMEOUT + self._threshold:
                self._time_out()
            return
        keep_alive = options.KEEP_ALIVE
        if self._writer is not None:
            if now - self._write_started > self._send_timeout:
                logger.warning("%s: one write took longer than %g s (TRANSPORT_SEND_TIMEOUT)", self.connection_id, self._send_timeout)
                self._let_go(None, cut=True)
                self._lost_by = CloseReason.SLOW_CONSUMER
        elif (keep_alive is None or transport.is_poll) and now - self._attached_at >= options.CONNECTION_TIMEOUT - TICK_SLACK:
            self._let_go(self.engine.frame(limit=0, is_ascii=True, poll_delay=options.LONG_POLL_DELAY) if transport.is_poll else None)
        elif keep_alive is not None and now - self._keep_alive_at >= keep_alive - TICK_SLACK:
            self._keep_alive_at = now
            self._step(transport, transport.keep_alive())

    @property
    def _threshold(self) -> float:
        is_poll = self.transport is not None and self.transport.is_poll
        return self._options.LONG_POLL_DELAY if is_poll else STREAM_THRESHOLD

    def _time_out(self) -> None:
        is_poll = self.transport is not None and self.transport.is_poll
        reason = self._lost_by or (CloseReason.POLL_TIMEOUT if is_poll else CloseReason.CLIENT_GONE)
        self._end(Disconnect(reason=reason, stop_called=False))

    # Endings

    def stop(self) -> None:
        """The client ends it."""
        if self.disconnect is None:
            self._let_go(self.engine.frame(limit=0, is_ascii=True) if self._is_polled else None)
            self._end(Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True))

    def close(
        self,
        reason: CloseReason,
        *,
        error: str | None = None,
        exception: Exception | None = None,
        allow_reconnect: bool = False,
        code: int = 1000,
    ) -> None:
        """
        End the connection. Unless the client may come back, it is told to stop.

        Args:
            reason: Why.
            error: What the client's error event says.
            exception: What hub code is told.
            allow_reconnect: Whether the client may come back with the same token.
            code: There is one for classic clients.
        """
        if self.disconnect is None:
            self.is_final = not allow_reconnect
            if allow_reconnect:
                self._let_go_for_another()
            else:
                self.pump()  # what was sent before
                # A poll that has just been answered is followed by another, which is refused.
                self._let_go(encode_farewell(None if error is None else json.dumps(error).encode()))
            self._end(Disconnect(reason=reason, stop_called=False, exception=exception, allows_reconnect=allow_reconnect))

    def shut_down(self) -> None:
        """The server stops. The client comes back to another process, or to this one when it runs again."""
        if self.disconnect is None:
            self.is_final = False
            self._let_go_for_another()
            self._end(Disconnect(reason=CloseReason.SERVER_SHUTDOWN, stop_called=False, allows_reconnect=True))

    def _let_go_for_another(self) -> None:
        """End the transport after what was sent before, so that the client comes back with ``/reconnect``."""
        if self._is_polled:
            self._let_go(self.engine.frame(limit=MESSAGES_PER_POLL, is_ascii=True, terminate=True))
        else:
            self.pump()
            self._let_go(None)

    @property
    def _is_polled(self) -> bool:
        """Whether a poll waits."""
        return self._attached is not None and self._attached.is_poll

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self.disconnect is not None

    def _give_up(self) -> None:
        text = f"More than the buffer holds waited for a client that does not read ({self.engine.lost} messages are lost)."
        logger.warning("%s: %s See MESSAGE_BUFFER_SIZE and MAXIMUM_BUFFERED_BYTES.", self.connection_id, text)
        self._let_go(None, cut=True)
        self._end(Disconnect(reason=CloseReason.SLOW_CONSUMER, stop_called=False, exception=SlowConnection(text)))

    def _end(self, disconnect: Disconnect) -> None:
        if self.disconnect is None:
            self._report_loss()
            self.disconnect = disconnect
            if self.on_end is not None:
                self.on_end()


async def _say_goodbye(transport: ClassicTransport, last_frame: bytes | None) -> None:
    if last_frame is not None:
        await transport.write(last_frame)
    if not transport.is_poll:
        await transport.close()


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable
