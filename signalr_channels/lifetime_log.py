"""One connection's life, into the history and the log."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from signalr_channels.connections.connection import Connection
from signalr_channels.gate import clean
from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEventKind
from signalr_channels.protocols.endings import CloseReason, Disconnect

if TYPE_CHECKING:
    from signalr_channels.runtime import Runtime

__all__ = ["LifetimeLog", "record_end", "record_failure"]

logger = logging.getLogger("signalr_channels.connections")

LONGEST_DETAIL = 500
MESSAGE_CONTENT = " Message content: "
"""What the reference's words for a bad handshake have in front of the message itself."""
ADVICE = " The message size can be configured"
"""What follows names an option of .NET."""


class LifetimeLog:
    """Writes one connection's life into the history and the log."""

    __slots__ = ("_connection", "_info", "_runtime", "_was_connected")

    def __init__(self, runtime: Runtime, info: ConnectionInfo, connection: Connection) -> None:
        self._runtime = runtime
        self._info = info
        self._connection = connection
        self._was_connected = False

    def connected(self) -> None:
        """Hands were shaken."""
        protocol = self._connection.hub_protocol
        self._info = replace(self._info, hub_protocol=protocol.name if protocol is not None else "")
        self._was_connected = True
        logger.info("%s: connected to %s, %s", self._info.connection_id, self._info.hub, self._info.transport)
        self._runtime.record(LifetimeEventKind.CONNECTED, self._info)

    def reconnected(self) -> None:
        """Another transport took over."""
        logger.info("%s: reconnected", self._info.connection_id)
        self._runtime.record(LifetimeEventKind.RECONNECTED, self._info)

    def ended(self) -> None:
        """The connection is over."""
        disconnect = self._connection.disconnect
        assert disconnect is not None
        kind = LifetimeEventKind.DISCONNECTED if self._was_connected else LifetimeEventKind.REJECTED
        record_end(self._runtime, kind, self._info, disconnect, ending_detail(disconnect))


def record_end(runtime: Runtime, kind: LifetimeEventKind, info: ConnectionInfo, disconnect: Disconnect, detail: str) -> None:
    """
    Write the end of a connection, of either generation, into the history and the log.

    Args:
        runtime: This process.
        kind: Whether it had begun.
        info: What is known of the connection.
        disconnect: How it ended.
        detail: One line for the operator, which is made printable here and cut to ``LONGEST_DETAIL`` characters.
    """
    detail = clean(detail, LONGEST_DETAIL)
    logger.info("%s: %s, %s: %s", info.connection_id, kind.value, disconnect.reason.value, detail)
    runtime.record(
        kind,
        info,
        reason=disconnect.reason,
        detail=detail,
        stop_called=disconnect.stop_called,
        allows_reconnect=disconnect.allows_reconnect,
    )


def record_failure(runtime: Runtime, info: ConnectionInfo, error: Exception) -> None:
    """Write down that a request failed before it was let in or refused, as when a permission class raises. The log has the traceback."""
    runtime.record(LifetimeEventKind.REJECTED, info, reason=CloseReason.HUB_ERROR, detail=describe_error(error))


def describe_error(error: Exception) -> str:
    """Type and text: the text of a ``KeyError`` is a key, and others have none."""
    return f"{type(error).__name__}: {error}"


def ending_detail(disconnect: Disconnect) -> str:
    """One line for the operator: the error, and the setting it was about. What the client sent is left out, since secrets may be in it."""
    exception = disconnect.exception
    text = "" if exception is None else str(exception).partition(MESSAGE_CONTENT)[0]
    if disconnect.reason is CloseReason.MESSAGE_TOO_BIG:
        text = "A message was over the setting MAXIMUM_RECEIVE_MESSAGE_SIZE. " + text.partition(ADVICE)[0]
    elif disconnect.reason is CloseReason.HANDSHAKE_TIMEOUT:
        text = "No handshake within the setting HANDSHAKE_TIMEOUT."
    elif disconnect.reason is CloseReason.PING_TIMEOUT:
        text = "The client was silent for the setting CLIENT_TIMEOUT_INTERVAL."
    elif disconnect.reason is CloseReason.POLL_TIMEOUT:
        text = "The client did not poll again within the setting DISCONNECT_TIMEOUT."
    elif disconnect.reason is CloseReason.HUB_ERROR and exception is not None:
        text = describe_error(exception)
    return text
