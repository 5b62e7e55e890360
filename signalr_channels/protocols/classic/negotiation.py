"""
The classic negotiate request: which version the client speaks, and what the server tells it.

Source: aspnet-signalr-2, "Negotiate"; ``ProtocolResolver.cs``, ``PersistentConnection.cs``.
"""

from __future__ import annotations

import json
import re

import msgspec

__all__ = ["ClassicNegotiateResponse", "has_delayed_start", "resolve_protocol_version"]

Version = tuple[int, ...]
"""Two to four numbers. A version with more of them is the greater one: 2.0 < 2.0.0, as in .NET."""

LOWEST: Version = (1, 2)
HIGHEST: Version = (2, 0)
DELAYED_START: Version = (1, 4)

INT32_MAX = 2**31 - 1
NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{1,10})[ \t\n\v\f\r]*\0*")
"""What .NET's ``int.Parse`` takes, ASCII digits only; leading zeros stay outside the group, so that it is short."""


class ClassicNegotiateResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What the server offers. Times are seconds."""

    url: str
    """The path of the mount: the jQuery client connects, reconnects and polls below it."""
    connection_token: str
    """The secret a request presents."""
    connection_id: str
    """A lower-case GUID with hyphens."""
    keep_alive_timeout: float | None
    """How long silence may last: two keep-alive intervals. ``None`` switches the client's monitoring off."""
    disconnect_timeout: float
    """How long the client tries to reconnect."""
    connection_timeout: float
    """How long a poll waits."""
    try_web_sockets: bool
    protocol_version: str
    """The answer of :func:`resolve_protocol_version`."""
    transport_connect_timeout: float
    """How long the client waits for the first frame of a transport."""
    long_poll_delay: float
    """The pause between two polls; clients go by the one in the envelope."""

    def encode(self) -> bytes:
        """The JSON body in ASCII, members in the reference's order, each number with a fraction."""
        keep_alive_timeout = None if self.keep_alive_timeout is None else float(self.keep_alive_timeout)
        body = {
            "Url": self.url,
            "ConnectionToken": self.connection_token,
            "ConnectionId": self.connection_id,
            "KeepAliveTimeout": keep_alive_timeout,
            "DisconnectTimeout": float(self.disconnect_timeout),
            "ConnectionTimeout": float(self.connection_timeout),
            "TryWebSockets": self.try_web_sockets,
            "ProtocolVersion": self.protocol_version,
            "TransportConnectTimeout": float(self.transport_connect_timeout),
            "LongPollDelay": float(self.long_poll_delay),
        }
        # The url may hold any character, and clients of this generation garble what is not ASCII.
        return json.dumps(body, separators=(",", ":")).encode("ascii")


def resolve_protocol_version(text: str | None) -> str:
    """
    Find the version to answer with.

    Args:
        text: The query's ``clientProtocol``, or ``None``.

    Returns:
        The client's own version with its numbers normalised, if it is from 1.2 to 2.0; ``"2.0"`` above that;
        ``"1.2"`` below it and for anything that is no version.
    """
    return ".".join(map(str, _resolve(text)))


def has_delayed_start(version: str | None) -> bool:
    """Whether a client of this version sends ``/start`` after the first frame. Before 1.4 ``/connect`` itself starts the connection."""
    return _resolve(version) >= DELAYED_START


def _resolve(text: str | None) -> Version:
    version = _parse(text) if text else None
    return LOWEST if version is None else min(max(version, LOWEST), HIGHEST)


def _parse(text: str) -> Version | None:
    """Read two to four numbers between dots, or ``None``."""
    parts = text.split(".", 4)
    if not 2 <= len(parts) <= 4:
        return None
    numbers = []
    for part in parts:
        match = NUMBER.fullmatch(part)
        number = int(match[1] + match[2]) if match else -1
        if not 0 <= number <= INT32_MAX:
            return None
        numbers.append(number)
    return tuple(numbers)
