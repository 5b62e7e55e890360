"""
The first exchange on a transport: which hub protocol the client speaks. JSON text ended by 0x1E, whatever the hub protocol.

Source: HubProtocol.md, "Overview"; ``HandshakeProtocol.cs``, ``HubConnectionContext.cs``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec

from signalr_channels.exceptions import HandshakeError
from signalr_channels.protocols.base import HubProtocol, TransferFormat
from signalr_channels.protocols.core.json_reader import JsonReader, JsonSyntaxError, JsonTextError, TokenKind, decode_text

__all__ = [
    "HANDSHAKE_CANCELED",
    "HANDSHAKE_FAILED",
    "HandshakeRequest",
    "check_handshake",
    "encode_handshake_response",
    "parse_handshake_request",
]

HANDSHAKE_CANCELED = "Handshake was canceled."
"""The reply after a timeout, or to a request over the size limit."""
HANDSHAKE_FAILED = "An unexpected error occurred during connection handshake."
"""The reply to a request that cannot be read; with detailed errors the reason follows."""

SUCCESS = b"{}\x1e"

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class HandshakeRequest(msgspec.Struct, frozen=True):
    """What the client asks for."""

    protocol: str
    """A hub protocol's name, in any letter case."""
    version: Int32


DECODER = msgspec.json.Decoder(HandshakeRequest)


def parse_handshake_request(data: bytes) -> HandshakeRequest:
    """
    Read a handshake request.

    Args:
        data: What came before the first 0x1E. Behind the JSON object any text may follow.

    Raises:
        HandshakeError: It is not a request. ``text`` and ``kind`` are the reference's.
    """
    try:
        return DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _parse_leniently(data)


def check_handshake(
    request: HandshakeRequest, supported: Sequence[HubProtocol], transfer_formats: Collection[TransferFormat]
) -> HubProtocol:
    """
    Find the hub protocol a request asks for.

    Args:
        request: The request.
        supported: The hub protocols of the hub.
        transfer_formats: What the transport can carry.

    Raises:
        HandshakeError: There is no such protocol, or not in this version or on this transport.
    """
    name = request.protocol.lower()
    protocol = next((one for one in supported if one.name.lower() == name), None)
    if protocol is None:
        raise HandshakeError(f"The protocol '{request.protocol}' is not supported.")
    if request.version > protocol.version:  # there is no lower bound: 0 and negatives pass
        raise HandshakeError(f"The server does not support version {request.version} of the '{request.protocol}' protocol.")
    if protocol.transfer_format not in transfer_formats:
        raise HandshakeError(
            f"Cannot use the '{protocol.name}' protocol on the current transport. "
            f"The transport does not support '{protocol.transfer_format.value}' transfer format."
        )
    return protocol


def encode_handshake_response(error: str | None = None) -> bytes:
    """The response with its 0x1E: ``{}``, or an object with only ``error``. It never has a ``type``, which clients would reject."""
    if error is None:
        return SUCCESS
    # What a client sent may be repeated here; half a surrogate pair in it cannot be written.
    return msgspec.json.encode({"error": error.encode("utf-8", "replace").decode()}) + b"\x1e"


def _parse_leniently(data: bytes) -> HandshakeRequest:
    """Read member by member, as the reference does, so that the first defect decides the error."""
    try:
        return _read_request(JsonReader(data))
    except JsonSyntaxError as error:
        raise HandshakeError(HANDSHAKE_FAILED, str(error), kind="JsonReaderException") from error
    except JsonTextError as error:
        raise HandshakeError(HANDSHAKE_FAILED, str(error), kind="InvalidOperationException") from error


def _read_request(reader: JsonReader) -> HandshakeRequest:
    kind = reader.peek()
    if kind is not TokenKind.OBJECT:
        raise HandshakeError(HANDSHAKE_FAILED, f"Unexpected JSON Token Type '{kind.value}'. Expected a JSON Object.")
    reader.open()
    protocol: str | None = None
    version: int | None = None
    while (raw_name := reader.next_name()) is not None:
        name = _member_name(raw_name)
        kind = reader.peek()
        if name == "protocol":
            if kind is not TokenKind.STRING:
                raise HandshakeError(HANDSHAKE_FAILED, "Expected 'protocol' to be of type String.")
            protocol = reader.read_text()
        elif name == "version":
            version = _read_version(reader, kind)
        else:
            reader.skip_value()
    if protocol is None:
        raise _missing("protocol", reader.data)
    if version is None:
        raise _missing("version", reader.data)
    return HandshakeRequest(protocol, version)


def _read_version(reader: JsonReader, kind: TokenKind) -> int | None:
    """The version; null counts as missing."""
    if kind is TokenKind.NULL:
        reader.skip_value()
        return None
    if kind is not TokenKind.NUMBER:
        raise HandshakeError(HANDSHAKE_FAILED, "Expected 'version' to be of type Number.")
    version = reader.read_integer(32)
    if version is None:
        text = "Either the JSON value is not in a supported format, or is out of bounds for an Int32."
        raise HandshakeError(HANDSHAKE_FAILED, text, kind="FormatException")
    return version


def _member_name(raw: bytes) -> str | None:
    """A name, or ``None`` for one that is not Unicode and so can be none of ours."""
    try:
        return decode_text(raw)
    except JsonTextError:
        return None


def _missing(name: str, data: bytes) -> HandshakeError:
    content = data.decode("utf-8", "replace")
    return HandshakeError(HANDSHAKE_FAILED, f"Missing required property '{name}'. Message content: {content}")
