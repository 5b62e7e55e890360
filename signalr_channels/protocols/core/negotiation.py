"""
The request before a transport is chosen.

Source: TransportProtocols.md, "POST [endpoint-base]/negotiate"; ``HttpConnectionDispatcher.cs``, ``NegotiateProtocol.cs``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

import msgspec

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.base import TransferFormat

__all__ = [
    "AvailableTransport",
    "NegotiateRequest",
    "NegotiateResponse",
    "Transport",
    "encode_negotiate_error",
    "parse_negotiate_request",
]

HIGHEST_VERSION = 1
INT32 = range(-(2**31), 2**31)
INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{1,10})[ \t\n\v\f\r]*\0*")


class Transport(str, enum.Enum):
    """A way to carry a connection, by its name on the wire, in the order in which they are offered."""

    WEB_SOCKETS = "WebSockets"
    SERVER_SENT_EVENTS = "ServerSentEvents"
    LONG_POLLING = "LongPolling"

    @property
    def transfer_formats(self) -> tuple[TransferFormat, ...]:
        """What it can carry."""
        if self is Transport.SERVER_SENT_EVENTS:
            return (TransferFormat.TEXT,)
        return (TransferFormat.TEXT, TransferFormat.BINARY)


class AvailableTransport(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of ``availableTransports``."""

    transport: Transport
    transfer_formats: tuple[TransferFormat, ...]

    @classmethod
    def of(cls, transport: Transport) -> AvailableTransport:
        """The entry of a transport."""
        return cls(transport, transport.transfer_formats)


class NegotiateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the client asks for."""

    version: int
    """0 or 1."""
    use_stateful_reconnect: bool = False


class NegotiateResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the server offers."""

    negotiate_version: int
    connection_id: str
    connection_token: str | None = None
    """The secret id; version 0 has none."""
    transports: Sequence[Transport] = tuple(Transport)
    use_stateful_reconnect: bool = False
    """Only true if the client asked: the JavaScript client (10.0) refuses an answer it did not ask for."""

    def encode(self) -> bytes:
        """The JSON body, members in the reference's order."""
        body: dict[str, object] = {}
        if self.use_stateful_reconnect:
            body["useStatefulReconnect"] = True
        body["negotiateVersion"] = self.negotiate_version
        body["connectionId"] = self.connection_id
        if self.negotiate_version >= 1:
            body["connectionToken"] = self.connection_token
        body["availableTransports"] = [AvailableTransport.of(transport) for transport in Transport if transport in self.transports]
        return msgspec.json.encode(body)


def parse_negotiate_request(query: Mapping[str, Sequence[str]], *, minimum_version: int = 0) -> NegotiateRequest:
    """
    Read the query of a negotiate request.

    Args:
        query: Each key with its values in order, percent-decoded. Keys are matched in any letter case.
        minimum_version: The lowest version to accept.

    Raises:
        RemoteProtocolError: The version is none we speak. The answer has status 200 and the body ``encode_negotiate_error(error.text)``.
    """
    version = _parse_version(_values(query, "negotiateversion"))
    if version < minimum_version:
        raise RemoteProtocolError(f"The client requested version '{version}', but the server does not support this version.")
    wants_stateful = [value.strip().lower() for value in _values(query, "usestatefulreconnect")] == ["true"]
    return NegotiateRequest(version=min(version, HIGHEST_VERSION), use_stateful_reconnect=wants_stateful)


def encode_negotiate_error(text: str) -> bytes:
    """The JSON body of a refusal, an object with only ``error``."""
    return msgspec.json.encode({"error": text})


def _values(query: Mapping[str, Sequence[str]], name: str) -> list[str]:
    return [value for key, values in query.items() if key.lower() == name for value in values]


def _parse_version(values: Sequence[str]) -> int:
    if not values:
        return 0
    match = INTEGER.fullmatch(values[0]) if len(values) == 1 else None
    number = int(match[1] + match[2]) if match else None
    if number is None or number not in INT32:
        raise RemoteProtocolError("The client requested a non-integer protocol version.")
    return number
