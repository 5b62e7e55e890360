"""Why a connection ended: one vocabulary for the hub hook, the log, the metrics and the admin."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["CloseReason", "Disconnect"]


class CloseReason(str, enum.Enum):
    """Why a connection ended, or never opened."""

    CLIENT_CLOSED = "client_closed"
    """The client said goodbye."""
    CLIENT_GONE = "client_gone"
    """The network connection went away without a goodbye."""
    PING_TIMEOUT = "ping_timeout"
    """A client that pings was silent for ``CLIENT_TIMEOUT_INTERVAL``."""
    POLL_TIMEOUT = "poll_timeout"
    """A long-polling client did not come back within ``DISCONNECT_TIMEOUT``."""
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    """No handshake within ``HANDSHAKE_TIMEOUT``."""
    HANDSHAKE_ERROR = "handshake_error"
    """The handshake request could not be accepted."""
    PROTOCOL_ERROR = "protocol_error"
    """The client sent something the hub protocol does not allow."""
    MESSAGE_TOO_BIG = "message_too_big"
    """A message was over ``MAXIMUM_RECEIVE_MESSAGE_SIZE``."""
    UNAUTHORIZED = "unauthorized"
    """The request carried no acceptable login."""
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    """The access token ran out while connected."""
    ORIGIN_REJECTED = "origin_rejected"
    """The page's origin is not in ``ALLOWED_ORIGINS``."""
    PERMISSION_DENIED = "permission_denied"
    """A permission class of the hub said no."""
    RATE_LIMITED = "rate_limited"
    """The client asked too often."""
    CONNECTION_LIMIT = "connection_limit"
    """There are already as many connections as allowed."""
    SLOW_CONSUMER = "slow_consumer"
    """The client did not read what was sent: over ``MAXIMUM_BUFFERED_BYTES`` or ``TRANSPORT_SEND_TIMEOUT``."""
    HUB_ERROR = "hub_error"
    """``on_connected`` raised, or the server could not go on."""
    CLOSED_BY_APP = "closed_by_app"
    """Hub code ended it with ``context.abort()`` or ``connections.close()``."""
    CLOSED_BY_ADMIN = "closed_by_admin"
    """An operator ended it."""
    SERVER_DRAIN = "server_drain"
    """The server process asked its clients to go elsewhere."""
    SERVER_SHUTDOWN = "server_shutdown"
    """The server process stopped."""
    PROCESS_LOST = "process_lost"
    """The server process vanished without a goodbye."""
    BACKPLANE_LOST = "backplane_lost"
    """The channel layer went away."""
    SUPERSEDED = "superseded"
    """The connection went on elsewhere."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """What ``Hub.on_disconnected`` is told about the end of its connection."""

    reason: CloseReason
    """Why it ended."""
    stop_called: bool
    """True when the client ended it on purpose (as in ASP.NET SignalR 2.1)."""
    exception: Exception | None = None
    """The error that ended it, or ``None`` for an orderly end (as ASP.NET Core SignalR passes it)."""
    allows_reconnect: bool = False
    """Whether the client was told that it may come back."""
