"""An engine for connections without a hub: bytes in, bytes out, no handshake, no messages."""

from __future__ import annotations

import msgspec

from signalr_channels.protocols.base import Data, EncodedMessage, TransferFormat
from signalr_channels.protocols.core.engine import ConnectionFailed, CoreEngine, EngineState
from signalr_channels.protocols.endings import CloseReason

__all__ = ["DataReceived", "RawEngine"]

NEVER = float("inf")


class DataReceived(msgspec.Struct, frozen=True):
    """A chunk from the client, as it came."""

    data: bytes


class RawEngine(CoreEngine):
    """Hands on what comes. It pings nobody and times nobody out."""

    __slots__ = ()

    def __init__(self, *, now: float = 0.0) -> None:
        """
        Args:
            now: The time on the caller's clock.
        """
        super().__init__(hub_protocols=(), maximum_message_size=None, keep_alive_interval=None, now=now)
        self.state = EngineState.OPEN

    def receive_data(self, data: Data, now: float) -> None:
        """Take a chunk from the transport."""
        self._last_received = now
        if self.state is EngineState.OPEN and data:
            raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
            self._happened(DataReceived(raw))  # type: ignore[arg-type]

    def receive_eof(self) -> None:
        """The client will send no more."""
        self.state = EngineState.CLOSED

    def frame(self, data: bytes, transfer_format: TransferFormat) -> EncodedMessage:
        """What the transport is given to write."""
        return EncodedMessage(data, transfer_format, is_tracked=False)

    def next_deadline(self) -> float:
        """Never."""
        return NEVER

    def tick(self, now: float) -> bool:
        """Nothing is ever due."""
        return False

    def fail(self, reason: CloseReason, error: Exception, *, allow_reconnect: bool = True) -> None:
        """End the connection. There is nothing to tell the client."""
        if self.state is not EngineState.CLOSED:
            self._end(ConnectionFailed(reason=reason, exception=error, allows_reconnect=allow_reconnect))
