"""One classic connection's life, into the history and the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from signalr_channels.classic_mounts import ClassicMount
from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.gate import Admission, describe_request
from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEventKind
from signalr_channels.lifetime_log import record_end
from signalr_channels.protocols.endings import CloseReason, Disconnect

if TYPE_CHECKING:
    from signalr_channels.runtime import Runtime

__all__ = ["ClassicLog", "describe_classic_request"]

logger = logging.getLogger("signalr_channels.connections")


def describe_classic_request(
    scope: Mapping[str, Any],
    mount: ClassicMount,
    names: Sequence[str],
    admission: Admission | None = None,
    *,
    connection_id: str = "",
    transport: str = "",
) -> ConnectionInfo:
    """What is known of a connection from a request."""
    info = describe_request(scope, mount.cors_endpoint, connection_id, transport, admission)
    return replace(info, hub=mount.hub_names(names), hub_protocol="classic")


class ClassicLog:
    """Writes one connection's life into the history and the log."""

    def __init__(
        self,
        runtime: Runtime,
        mount: ClassicMount,
        scope: Mapping[str, Any],
        admission: Admission,
        connection: ClassicConnection,
    ) -> None:
        """
        Args:
            runtime: This process.
            mount: Where the client came.
            scope: Of its first request.
            admission: Who it is.
            connection: The connection.
        """
        self._runtime = runtime
        self._mount = mount
        self._scope = scope
        self._admission = admission
        self._connection = connection
        self._info: ConnectionInfo | None = None
        self._lost = 0

    def attached(
        self,
        transport: str,
        names: Sequence[str],
        *,
        came_back: bool,
        scope: Mapping[str, Any] | None = None,
        admission: Admission | None = None,
    ) -> None:
        """
        A transport is there: the first, the one of a client that came back, or one more poll.

        Args:
            transport: Its name.
            names: The hubs its request names.
            came_back: Whether it follows one that was lost.
            scope: Of the request; ``None`` if another process holds the transport.
            admission: Who it comes from; ``None`` likewise.
        """
        info = self._info
        if info is not None and not came_back and info.transport == transport:
            return
        connection_id = self._connection.connection_id
        if info is None or scope is not None:
            self._info = describe_classic_request(
                scope or self._scope, self._mount, names, admission or self._admission, connection_id=connection_id, transport=transport
            )
        else:
            self._info = replace(info, transport=transport)
        kind = LifetimeEventKind.CONNECTED if info is None and not came_back else LifetimeEventKind.RECONNECTED
        where = " through another process" if scope is None else ""
        logger.info("%s: %s%s to %s, %s", connection_id, kind.value, where, self._info.hub or "no hub", transport)
        detail, self._lost = self._loss_text(), 0
        self._runtime.record(kind, self._info, detail=detail)

    def stayed(self) -> None:
        """Another process wrote of the connection, and lets it go: it is here."""
        if self._info is not None:
            detail = "Another server process, which had not answered for a while, has let go of the connection."
            self._runtime.record(LifetimeEventKind.RECONNECTED, self._info, detail=detail)

    def lost(self, count: int) -> None:
        """The client missed messages for good."""
        self._lost += count

    def _loss_text(self) -> str:
        if not self._lost:
            return ""
        what = "more were sent while the client was away than the settings CLASSIC MESSAGE_BUFFER_SIZE and MAXIMUM_BUFFERED_BYTES keep"
        return f"{self._lost} messages were lost: {what}."

    def ended(self) -> None:
        """The connection is over."""
        disconnect = self._connection.disconnect
        assert disconnect is not None
        if self._info is None:
            return  # no transport ever came; there is nothing to tell
        detail = " ".join(text for text in (describe_end(disconnect), self._loss_text()) if text)
        record_end(self._runtime, LifetimeEventKind.DISCONNECTED, self._info, disconnect, detail)


def describe_end(disconnect: Disconnect) -> str:
    """One line for the operator, naming the setting it was about."""
    reason = disconnect.reason
    if reason is CloseReason.CLIENT_GONE:
        return "The transport was lost, and the client did not come back within the setting CLASSIC DISCONNECT_TIMEOUT."
    if reason is CloseReason.POLL_TIMEOUT:
        return "The client did not poll again within the setting CLASSIC DISCONNECT_TIMEOUT."
    if reason is CloseReason.SUPERSEDED:
        return "This server process did not answer for a while, and the connection went on in another one."
    if reason is CloseReason.PROTOCOL_ERROR:
        return "The client sent a binary message, and the protocol knows none; its socket was cut, and it did not come back."
    if reason is CloseReason.MESSAGE_TOO_BIG:
        return "A message was over the setting CLASSIC MAXIMUM_WEBSOCKET_MESSAGE_SIZE, and the client did not come back."
    return "" if disconnect.exception is None else str(disconnect.exception)
