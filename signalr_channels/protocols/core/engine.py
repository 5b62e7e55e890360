"""
The engine of one core connection: bytes in, messages out, and the other way round.

It never raises on what a peer sends: the fault becomes a :class:`ConnectionFailed` to read, and an answer to send.
Times are seconds on the caller's clock.

State: ``HANDSHAKE -> OPEN -> CLOSED``, or ``HANDSHAKE -> CLOSED``.

Source: HubProtocol.md; ``HubConnectionContext.cs``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from typing import Union

import msgspec

from signalr_channels.exceptions import HandshakeError, LocalProtocolError, MessageTooBig, RemoteProtocolError
from signalr_channels.protocols.base import Data, EncodedMessage, HubProtocol, MessageSplitter, TransferFormat
from signalr_channels.protocols.core.handshake import (
    HANDSHAKE_CANCELED,
    check_handshake,
    encode_handshake_response,
    parse_handshake_request,
)
from signalr_channels.protocols.core.replay import Replay
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import Ack, Close, HubMessage, Invocation, Ping, SequenceMessage

__all__ = ["ConnectionFailed", "CoreEngine", "EngineState", "Event", "HandshakeCompleted"]

SEPARATOR = b"\x1e"
ALL_FORMATS = frozenset(TransferFormat)
NEVER = float("inf")
STATEFUL_VERSION = 2


class EngineState(enum.Enum):
    """Where a connection stands."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"


OPEN = EngineState.OPEN


class HandshakeCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """Hands were shaken; the response is ready to send."""

    hub_protocol: HubProtocol
    version: int


class ConnectionFailed(msgspec.Struct, frozen=True, kw_only=True):
    """
    The connection is over.

    After a fault in a message the engine reads no more, but stays open until :meth:`CoreEngine.fail` is called with this, so that what
    came before can still be answered. In all other cases it is closed already, and what the client should be told is ready to send.
    """

    reason: CloseReason
    exception: Exception | None
    allows_reconnect: bool = False


Event = Union[HubMessage, HandshakeCompleted, ConnectionFailed]


class CoreEngine:
    """
    One connection's protocol state.

    ``receive_data`` and ``tick`` feed it; ``events_received``, ``data_to_send`` and ``next_deadline`` tell what to do.
    """

    __slots__ = (
        "_buffer",
        "_client_timeout",
        "_detailed_errors",
        "_events",
        "_handshake_deadline",
        "_hub_protocols",
        "_ignores_input",
        "_keep_alive",
        "_last_ping",
        "_last_received",
        "_maximum_message_size",
        "_outgoing",
        "_ping_received",
        "_splitter",
        "_stateful_buffer_size",
        "_transfer_formats",
        "hub_protocol",
        "replay",
        "state",
    )

    def __init__(
        self,
        *,
        hub_protocols: Sequence[HubProtocol],
        maximum_message_size: int | None = 32 * 1024,
        keep_alive_interval: float | None = 15.0,
        client_timeout_interval: float = 30.0,
        handshake_timeout: float = 15.0,
        detailed_errors: bool = False,
        transfer_formats: Collection[TransferFormat] = ALL_FORMATS,
        stateful_buffer_size: int | None = None,
        now: float = 0.0,
    ) -> None:
        """
        Args:
            hub_protocols: The encodings a client may choose from.
            maximum_message_size: Bytes of one message, framing included; ``None`` is no limit.
            keep_alive_interval: Seconds between pings; ``None`` sends none.
            client_timeout_interval: Seconds of silence after which a client that has pinged counts as lost.
            handshake_timeout: Seconds the client may take for its handshake request.
            detailed_errors: Whether the client is told the detail of a fault.
            transfer_formats: What the transport can carry.
            stateful_buffer_size: Bytes to keep for stateful reconnect; ``None`` where it was not agreed on.
            now: The time on the caller's clock.
        """
        self.state = EngineState.HANDSHAKE
        self.hub_protocol: HubProtocol | None = None
        self._hub_protocols = hub_protocols
        self._maximum_message_size = maximum_message_size
        self._keep_alive = keep_alive_interval
        self._client_timeout = client_timeout_interval
        self._detailed_errors = detailed_errors
        self._transfer_formats = transfer_formats
        self._stateful_buffer_size = stateful_buffer_size
        self.replay: Replay | None = None
        self._handshake_deadline = now + handshake_timeout
        self._last_ping = now
        self._last_received = now
        self._ping_received = False
        self._ignores_input = False
        self._buffer = b""
        self._splitter: MessageSplitter | None = None
        self._events: list[Event] | None = None
        self._outgoing: list[EncodedMessage] | None = None

    # Incoming

    def receive_data(self, data: Data, now: float) -> None:
        """Take a chunk from the transport, of any size. What arrives after the end is dropped."""
        if self.state is OPEN:
            self._last_received = now
            if not self._ignores_input:
                self._receive_messages(data)
        elif self.state is EngineState.HANDSHAKE:
            self._receive_handshake(data, now)

    def receive_eof(self) -> None:
        """The client will send no more. Half a message is a fault, which only the hub hears of."""
        if self.state is EngineState.OPEN:
            assert self._splitter is not None
            if self._splitter.pending and not self._ignores_input:
                error = RemoteProtocolError("Connection terminated while reading a message.")
                self._end(ConnectionFailed(reason=CloseReason.CLIENT_GONE, exception=error))
        self.state = EngineState.CLOSED

    def events_received(self) -> list[Event]:
        """What happened since the last call, in order."""
        events, self._events = self._events, None
        return [] if events is None else events

    def _happened(self, event: Event) -> None:
        if self._events is None:  # idle connections are many, and hold no empty lists
            self._events = []
        self._events.append(event)

    def _receive_messages(self, data: Data) -> None:
        splitter, protocol, replay = self._splitter, self.hub_protocol, self.replay
        assert splitter is not None and protocol is not None
        events: list[Event] = []
        try:
            for frame in splitter.feed(data):
                message = protocol.parse(frame)
                kind = type(message)
                if kind is Invocation and replay is None:  # as nearly all
                    events.append(message)  # type: ignore[arg-type]
                elif message is None:  # a type nobody knows: skipped, where the reference stalls
                    continue
                elif kind is Ping:
                    self._ping_received = True
                elif replay is None or self._counts(message, replay):
                    events.append(message)
                    if kind is Close:  # what follows a Close is ignored
                        self._ignores_input = True
                        return
            if splitter.error is not None:
                raise splitter.error
        except RemoteProtocolError as error:
            reason = CloseReason.MESSAGE_TOO_BIG if isinstance(error, MessageTooBig) else CloseReason.PROTOCOL_ERROR
            self._ignores_input = True
            events.append(ConnectionFailed(reason=reason, exception=error, allows_reconnect=True))
        finally:
            if self._events is None:
                self._events = events
            else:
                self._events += events

    def _counts(self, message: HubMessage, replay: Replay) -> bool:
        """Do the bookkeeping of stateful reconnect; whether the message is to be handed on."""
        if type(message) is Ack:
            replay.acknowledge(message.sequence_id)
            return False
        if type(message) is SequenceMessage:
            replay.rewind(message.sequence_id)
            return False
        return type(message) is Close or replay.accept()

    def discard_partial_message(self) -> None:
        """Forget half a message of a lost transport; the replay brings it whole. Half a handshake request is kept."""
        if self._splitter is not None:
            self._splitter.discard_pending()

    def _receive_handshake(self, data: Data, now: float) -> None:
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        self._buffer += data
        limit = self._maximum_message_size
        end = self._buffer.find(SEPARATOR)
        if limit is not None and (end if end >= 0 else len(self._buffer)) >= limit + (end < 0):
            self._refuse_handshake(HandshakeError(HANDSHAKE_CANCELED), CloseReason.MESSAGE_TOO_BIG)
            return
        if end < 0:
            return
        request, rest, self._buffer = self._buffer[:end], self._buffer[end + 1 :], b""
        try:
            parsed = parse_handshake_request(request)
            protocol = check_handshake(parsed, self._hub_protocols, self._transfer_formats)
        except HandshakeError as error:
            self._refuse_handshake(error, CloseReason.HANDSHAKE_ERROR)
            return
        self.hub_protocol = protocol
        self._splitter = protocol.splitter(limit)
        self.state = EngineState.OPEN
        self._last_ping = self._last_received = now
        if self._stateful_buffer_size is not None and parsed.version >= STATEFUL_VERSION:
            self.replay = Replay(self._stateful_buffer_size)
        self._say(EncodedMessage(encode_handshake_response(), protocol.transfer_format, is_tracked=False))
        self._happened(HandshakeCompleted(hub_protocol=protocol, version=parsed.version))
        if rest:
            self._receive_messages(rest)

    def _refuse_handshake(self, error: HandshakeError, reason: CloseReason) -> None:
        text = str(error) if self._detailed_errors else error.reply
        self._say(EncodedMessage(encode_handshake_response(text), TransferFormat.TEXT, is_tracked=False))
        self._end(ConnectionFailed(reason=reason, exception=error))

    # Outgoing

    def encode(self, message: HubMessage) -> EncodedMessage:
        """
        Encode a message for sending.

        Raises:
            LocalProtocolError: The connection is not open, or a value cannot be encoded.
        """
        protocol = self.hub_protocol
        if self.state is not OPEN or protocol is None:
            raise LocalProtocolError(f"Cannot send while the connection is {self.state.value}.", kind="InvalidOperationException")
        return EncodedMessage(protocol.encode(message), protocol.transfer_format)

    def send(self, message: HubMessage) -> None:
        """
        Encode a message, to be had from :meth:`data_to_send`.

        Raises:
            LocalProtocolError: The connection is not open, or a value cannot be encoded.
        """
        self._say(self.encode(message))

    def send_untracked(self, message: HubMessage) -> None:
        """Encode a message that stateful reconnect does not count."""
        protocol = self.hub_protocol
        assert protocol is not None
        self._say(EncodedMessage(protocol.encode(message), protocol.transfer_format, is_tracked=False))

    def data_to_send(self) -> list[EncodedMessage]:
        """What to hand to the transport, in order."""
        outgoing, self._outgoing = self._outgoing, None
        return [] if outgoing is None else outgoing

    def _say(self, message: EncodedMessage) -> None:
        if self._outgoing is None:
            self._outgoing = []
        self._outgoing.append(message)

    # Endings

    def close(self, *, error: str | None = None, allow_reconnect: bool = False) -> None:
        """End the connection with a Close message. Before the handshake there is nothing to say."""
        if self.hub_protocol is not None and self.state is not EngineState.CLOSED:
            self._write_close(error, allow_reconnect)
        self.state = EngineState.CLOSED

    def fail(self, reason: CloseReason, error: Exception, *, allow_reconnect: bool = True) -> None:
        """End the connection with an error that the client is told about (in detail only with detailed errors)."""
        if self.state is EngineState.CLOSED:
            return
        self._write_close(self.close_text(error), allow_reconnect)
        self._end(ConnectionFailed(reason=reason, exception=error, allows_reconnect=allow_reconnect))

    def close_text(self, error: Exception) -> str:
        """The text of a Close message for an error, with its detail if that is allowed."""
        base = "Connection closed with an error."
        if not self._detailed_errors:
            return base
        if isinstance(error, RemoteProtocolError):
            return f"{base} {error}"
        return f"{base} {type(error).__name__}: {error}"

    def _write_close(self, error: str | None, allow_reconnect: bool) -> None:
        self.send_untracked(Close(error=error, allow_reconnect=allow_reconnect))

    def _end(self, event: ConnectionFailed) -> None:
        self.state = EngineState.CLOSED
        self._happened(event)

    # Time

    def next_deadline(self) -> float:
        """When :meth:`tick` has something to do next."""
        if self.state is EngineState.OPEN:
            deadline = NEVER if self._keep_alive is None else self._last_ping + self._keep_alive
            if self.replay is not None and self.replay.owes_acknowledgement:
                return 0.0
            if self._ping_received:
                deadline = min(deadline, self._last_received + self._client_timeout)
            return deadline
        return self._handshake_deadline if self.state is EngineState.HANDSHAKE else NEVER

    def tick(self, now: float) -> bool:
        """
        Do what is due: time out, or say that a ping is due.

        Returns:
            Whether a ping is due. It counts as sent: the caller sends ``hub_protocol``'s ping, or skips it while a write is under way.

        Source: the period runs from ping to ping; other traffic does not postpone it. The client's time runs only after its first ping.
        """
        if self.state is EngineState.OPEN:
            if self.replay is not None and (sequence_id := self.replay.acknowledgement()) is not None:
                self.send_untracked(Ack(sequence_id=sequence_id))
            if self._ping_received and now - self._last_received > self._client_timeout:
                text = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
                self.fail(CloseReason.PING_TIMEOUT, RemoteProtocolError(text, kind="OperationCanceledException"))
            elif self._keep_alive is not None and now - self._last_ping >= self._keep_alive:
                self._last_ping = now
                return True
        elif self.state is EngineState.HANDSHAKE and now >= self._handshake_deadline:
            self._refuse_handshake(HandshakeError(HANDSHAKE_CANCELED), CloseReason.HANDSHAKE_TIMEOUT)
        return False

    def restart_client_timeout(self, now: float) -> None:
        """Start the client's time anew, after a while in which we did not read."""
        self._last_received = now

    @property
    def last_received(self) -> float:
        """When data came last."""
        return self._last_received
