"""One live connection: an engine and a transport, and all that can end them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from signalr_channels.connections.burst import Burst
from signalr_channels.connections.outbox import NORMAL_CLOSURE, Outbox
from signalr_channels.connections.transports import Transport
from signalr_channels.exceptions import SlowConnection
from signalr_channels.protocols.base import Data, EncodedMessage, HubProtocol
from signalr_channels.protocols.core.engine import ConnectionFailed, CoreEngine, EngineState, Event
from signalr_channels.protocols.core.replay import Replay
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.protocols.messages import Completion, HubMessage, Ping, SequenceMessage

__all__ = ["Connection"]

logger = logging.getLogger("signalr_channels.connections")

PING = Ping()
OPEN = EngineState.OPEN
LONGEST_TURN = 64 * 1024
"""Bytes that answers to one client may have in one turn of the event loop."""
LONGEST_HOLD = 0.1
"""
Seconds that messages wait after the handshake under stateful reconnect, unless the client says something first.

@microsoft/signalr 10.0 counts nothing that arrives together with the handshake response; it pings once it counts.
"""


class Connection(Outbox):
    """
    One logical connection.

    Writing never waits (see :class:`~signalr_channels.connections.outbox.Outbox`); a queue that overflows ends its own connection and
    delays no other.

    Attributes:
        connection_id: The public id.
        user_identifier: What ``clients.user(…)`` addresses, or ``None``.
        hub_protocol: The encoding, once hands are shaken.
        disconnect: Why it ended, once it has.
        groups: Names of the groups it is in; kept by the lifetime manager.
        detached_at: When its transport was lost, while it waits for another one.
    """

    __slots__ = (
        "__weakref__",
        "_is_holding",
        "_reading_held",
        "_send_timeout",
        "detached_at",
        "engine",
        "groups",
        "hub_protocol",
        "on_end",
        "user_identifier",
    )

    def __init__(
        self,
        *,
        connection_id: str,
        engine: CoreEngine,
        transport: Transport,
        clock: Callable[[], float],
        user_identifier: str | None = None,
        maximum_buffered_bytes: int = 1024 * 1024,
        send_timeout: float = 10.0,
    ) -> None:
        """
        Args:
            connection_id: The public id.
            engine: Its protocol state.
            transport: Where to write.
            clock: Gives the time in seconds, the same as the engine's.
            user_identifier: See the class.
            maximum_buffered_bytes: How much may wait for a client that does not read.
            send_timeout: Seconds one write may take.
        """
        super().__init__(connection_id=connection_id, transport=transport, clock=clock, maximum_buffered_bytes=maximum_buffered_bytes)
        self.engine = engine
        self.user_identifier = user_identifier
        self.hub_protocol: HubProtocol | None = None
        self.groups: set[str] | None = None
        self.on_end: Callable[[], None] | None = None
        self.detached_at: float | None = None
        self._send_timeout = send_timeout
        self._is_holding = False
        self._reading_held = False

    # Incoming

    def receive(self, data: Data) -> list[Event]:
        """Hand a chunk to the engine, write what it answers, and give what it understood."""
        engine = self.engine
        engine.receive_data(data, self.clock())
        events = engine.events_received()
        if self.hub_protocol is not None and engine.replay is None and engine.state is OPEN:
            return events
        if self.hub_protocol is None:
            self.hub_protocol = engine.hub_protocol
            self._is_holding = engine.replay is not None
            self.flush()
            self.uncork()  # clients want the handshake response by itself
            self._look_for_direct_way()
            if self._is_holding:
                asyncio.get_running_loop().call_later(LONGEST_HOLD, self._release)
        elif engine.replay is not None:
            self._is_holding = False
            self._write_replayable(engine.replay)  # an acknowledgement may have made room
            if not engine.replay.is_full:
                self._caught_up()
        if engine.state is EngineState.CLOSED and events and isinstance(events[-1], ConnectionFailed):
            self._ended_by_engine(events[-1])
        return events

    def receive_eof(self, reason: CloseReason, exception: Exception | None = None) -> None:
        """The transport is gone; ``reason`` counts unless the connection had ended before, or ended inside a message."""
        self._stop_writing()  # not every server ends a blocked write by itself
        self.engine.receive_eof()
        for event in self.engine.events_received():
            if isinstance(event, ConnectionFailed):
                exception = exception or event.exception
        self._end(Disconnect(reason=reason, stop_called=reason is CloseReason.CLIENT_CLOSED, exception=exception, allows_reconnect=True))

    def hold_reading(self, held: bool) -> None:
        """Say that what the client sends is not being processed, so its silence does not count."""
        self._reading_held = held
        if not held:
            self.engine.restart_client_timeout(self.clock())

    # Outgoing

    def detach(self) -> None:
        """The transport was lost; with stateful reconnect the connection waits for another one."""
        self.detached_at = self.clock()
        self._stop_writing()

    def attach(self, transport: Transport) -> None:
        """Go on with another transport: first what the client may have missed, in one message, then the rest."""
        if self._writer is not None:
            self.transport.abort()  # a Close would wait behind the write under way
        elif not self._transport_gone:
            self._close_transport()
        self._stop_writing()
        self.transport = transport
        self.detached_at = None
        self._transport_gone = False
        self.engine.discard_partial_message()
        replay, protocol = self.engine.replay, self.hub_protocol
        if replay is None or protocol is None:
            return
        sequence_id, fillers, missed = replay.restart()
        start = protocol.encode(SequenceMessage(sequence_id=sequence_id)) + fillers * protocol.encode(Completion(invocation_id="0"))
        data = start + b"".join(message.data for message in missed)
        self._write_now(EncodedMessage(data, protocol.transfer_format, is_tracked=False))
        self._write_replayable(replay)

    @property
    def is_stateful(self) -> bool:
        """Whether the connection survives the loss of its transport."""
        return self.engine.replay is not None

    def _release(self) -> None:
        """Send what was held back after the handshake."""
        self._is_holding = False
        if self.engine.replay is not None:
            self._write_replayable(self.engine.replay)

    def send(self, message: HubMessage) -> None:
        """
        Encode a message and write it. Nothing happens once the connection has ended.

        Raises:
            LocalProtocolError: The message cannot be encoded.
        """
        engine, protocol = self.engine, self.hub_protocol
        if engine.state is OPEN:
            if protocol is None or engine.replay is not None:
                self._write(engine.encode(message))
            else:
                self._write_now(EncodedMessage(protocol.encode(message), protocol.transfer_format))

    def enqueue(self, message: EncodedMessage, burst: Burst | None = None) -> None:
        """
        Write a message that was encoded for several connections. Nothing happens once the connection has ended.

        Args:
            message: The message.
            burst: With which it may be written, where that is possible at once.
        """
        direct = self._direct
        if direct is not None and self._corked is None and ((burst is not None and direct.join(burst, message)) or direct.write(message)):
            return
        if self.engine.state is OPEN:
            self._write(message)

    def _look_for_direct_way(self) -> None:
        """Let broadcasts go straight to the transport, while it is open and nothing waits in front of them."""
        is_open = self.engine.state is OPEN and self.engine.replay is None
        free = self._writer is None and not self._transport_gone
        self._direct = getattr(self.transport, "direct", None) if is_open and free else None

    def flush(self) -> None:
        """Write what the engine has to say."""
        for message in self.engine.data_to_send():
            self._write(message)

    def _write(self, message: EncodedMessage) -> None:
        replay = self.engine.replay
        if replay is None or not message.is_tracked:
            self._write_now(message)
            return
        replay.add(message)
        if replay.pending_bytes > self._maximum_buffered_bytes:
            self._give_up(f"Over {self._maximum_buffered_bytes} bytes (MAXIMUM_BUFFERED_BYTES) waited for an acknowledgement.")
            return
        self._write_replayable(replay)

    def _write_replayable(self, replay: Replay) -> None:
        if self.detached_at is None and not self._is_holding:
            for message in replay.take_sendable():
                self._write_now(message)

    @property
    def is_congested(self) -> bool:
        """Whether the client reads, or acknowledges, more slowly than we write."""
        replay = self.engine.replay
        return self._writer is not None or (replay is not None and replay.is_full)

    @property
    def has_room(self) -> bool:
        """
        Whether more answers may be written now.

        Not while the client reads too slowly, nor after a lot was written in one turn of the loop: event loops notice only between turns
        that a client does not read. :meth:`start_turn` makes room again.
        """
        if self._writer is not None or self._turn_bytes > LONGEST_TURN:
            return False
        replay = self.engine.replay
        return replay is None or not replay.is_full

    async def drain(self) -> None:
        """Wait until the client has caught up, or the connection ended."""
        while self.is_congested and not self.is_closed and (self.is_stateful or not self._transport_gone):
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def end_input(self) -> None:
        """The client wants to end it while its transport is up: it is told Close, and may come back."""
        if self.disconnect is None:
            self.engine.close(allow_reconnect=True)
            self._finish(Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True, allows_reconnect=True), NORMAL_CLOSURE)

    # Time

    def tick(self, now: float) -> None:
        """Do what is due: a ping, a timeout, a client that is too slow. Called by the heartbeat."""
        if self._writer is not None and now - self._write_started > self._send_timeout:
            self._give_up(f"One write took longer than {self._send_timeout:g} s (TRANSPORT_SEND_TIMEOUT).")
            return
        if self._closed_at is not None:
            return
        engine = self.engine
        if self._reading_held:
            engine.restart_client_timeout(now)
        if engine.next_deadline() > now:
            return
        is_ping_due = engine.tick(now)
        if engine.replay is not None:
            self.flush()
        if is_ping_due:
            if self._writer is None:  # a write under way is a sign of life by itself
                self._write_now(self._ping_message())
            return
        for event in engine.events_received():
            if isinstance(event, ConnectionFailed):
                self._ended_by_engine(event)

    def _ping_message(self) -> EncodedMessage:
        protocol = self.hub_protocol
        assert protocol is not None
        if (ping := _pings.get(protocol.name)) is None:
            ping = _pings[protocol.name] = EncodedMessage(protocol.encode(PING), protocol.transfer_format, is_tracked=False)
        return ping

    # Endings

    def close(
        self,
        reason: CloseReason,
        *,
        error: str | None = None,
        exception: Exception | None = None,
        allow_reconnect: bool = False,
        code: int = NORMAL_CLOSURE,
    ) -> None:
        """End the connection with a Close message; the client may come back if ``allow_reconnect``."""
        if self.disconnect is None:
            self.engine.close(error=error, allow_reconnect=allow_reconnect)
            self._finish(Disconnect(reason=reason, stop_called=False, exception=exception, allows_reconnect=allow_reconnect), code)

    def drop(self, reason: CloseReason, *, code: int) -> None:
        """End the connection with a Close frame alone, after which a client with stateful reconnect comes back by itself."""
        if self.disconnect is None:
            self.engine.state = EngineState.CLOSED
            self._finish(Disconnect(reason=reason, stop_called=False, allows_reconnect=True), code)

    def answer_close(self, exception: Exception | None) -> None:
        """End the connection because the client said Close."""
        if self.disconnect is None:
            self.engine.close()
            self._finish(Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True, exception=exception), NORMAL_CLOSURE)

    def fail(self, reason: CloseReason, exception: Exception, *, allow_reconnect: bool = True) -> None:
        """End the connection because of a fault, and tell the client."""
        if self.disconnect is None:
            self.engine.fail(reason, exception, allow_reconnect=allow_reconnect)
            for event in self.engine.events_received():
                if isinstance(event, ConnectionFailed):
                    self._ended_by_engine(event)

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self.disconnect is not None

    @property
    def closed_at(self) -> float | None:
        """When we ended it, on the connection's clock; ``None`` while open or if the client ended it."""
        return self._closed_at

    def _ended_by_engine(self, event: ConnectionFailed) -> None:
        self._finish(
            Disconnect(reason=event.reason, stop_called=False, exception=event.exception, allows_reconnect=event.allows_reconnect),
            NORMAL_CLOSURE,
        )

    def _finish(self, disconnect: Disconnect, code: int) -> None:
        self._closed_at = self.clock()
        self._direct = None
        self._close_code = code
        if (replay := self.engine.replay) is not None and self.detached_at is None:
            for message in replay.take_rest():  # what was sent before a Close comes before it, also after the handshake
                self._write_now(message)
        self.flush()
        self.uncork()
        if self._writer is None:
            self._close_transport()
        self._end(disconnect)

    def _give_up(self, text: str) -> None:
        logger.warning("%s: %s", self.connection_id, text)
        self.engine.state = EngineState.CLOSED
        self.transport.abort()
        self._stop_writing()
        self._closed_at = self.clock()
        self._end(Disconnect(reason=CloseReason.SLOW_CONSUMER, stop_called=False, exception=SlowConnection(text), allows_reconnect=True))

    def _end(self, disconnect: Disconnect) -> None:
        if self.disconnect is None:
            self.disconnect = disconnect
            self._caught_up()
            if self.on_end is not None:
                self.on_end()


_pings: dict[str, EncodedMessage] = {}
