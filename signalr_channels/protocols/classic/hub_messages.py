"""
What a classic hub client sends, and what it is answered.

Source: ``HubRequestParser.cs``, ``HubResponse.cs``, ``HubDispatcher.cs`` of ASP.NET SignalR 2.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Union

import msgspec
from msgspec import Raw

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.base import Data
from signalr_channels.protocols.classic.lenient_json import mend_text
from signalr_channels.protocols.core.binding_errors import DECODE_ERRORS, ENCODE_ERRORS, cannot_encode
from signalr_channels.protocols.core.json_protocol import encode_checked, encode_value
from signalr_channels.protocols.core.json_reader import MAXIMUM_DEPTH as MAXIMUM_MESSAGE_DEPTH
from signalr_channels.protocols.core.json_reader import JsonReader, JsonSyntaxError, JsonTextError, TokenKind, decode_text, is_too_deep
from signalr_channels.protocols.messages import NO_RESULT

__all__ = [
    "MAXIMUM_DEPTH",
    "MAXIMUM_STATE_SIZE",
    "TOO_DEEP",
    "ClassicInvocation",
    "InvalidInvocation",
    "encode_progress",
    "encode_response",
    "escape_line_separators",
    "parse_invocation",
    "to_ascii",
]

MAXIMUM_DEPTH = 20
"""How deeply an argument or the state may be nested, itself included."""
MAXIMUM_STATE_SIZE = 4096
"""In UTF-16 characters of the state, written without blanks."""
SHORTEST_TOO_DEEP = 2 * (MAXIMUM_MESSAGE_DEPTH + 1)
TOO_DEEP = f"The reader's MaxDepth of {MAXIMUM_DEPTH} has been exceeded."

NULL, NO_ARGUMENTS = Raw(b"null"), Raw(b"[]")
QUOTE, OBJECT_START, ARRAY_START, NULL_START = b'"{[n'
MEMBERS = frozenset("hmais")
WIRE_NAMES = {"hub": "H", "method": "M", "arguments": "A", "id": "I", "state": "S"}
NON_ASCII = re.compile(r"[^\x00-\x7f]+")
LINE_SEPARATORS = (("\x85".encode(), rb"\u0085"), ("\u2028".encode(), rb"\u2028"), ("\u2029".encode(), rb"\u2029"))


class InvalidInvocation(RemoteProtocolError):
    """
    The text is no invocation. Microsoft's server answers nothing on a web socket and 500 elsewhere.

    Attributes:
        invocation_id: The id, where it could be read, so that the caller can be told.
    """

    def __init__(self, text: str, invocation_id: str | None = None) -> None:
        super().__init__(text)
        self.invocation_id = invocation_id

    def __str__(self) -> str:
        return self.text


class ClassicInvocation(msgspec.Struct, frozen=True):
    """A call of a hub method."""

    hub: str
    """In any letter case."""
    method: str
    """In any letter case; error texts repeat it as it is."""
    arguments: Raw
    """A JSON array, bound to the hub method's annotations later."""
    invocation_id: str | None = None
    """A text, whatever the client sent. ``None`` if it sent none; it is answered nevertheless."""
    state: dict[str, Any] | None = None
    """All of the client's state; ``None`` if it sent none."""


class Usual(msgspec.Struct, forbid_unknown_fields=True, rename=WIRE_NAMES, gc=False):
    """An invocation as all known clients write it. Anything else fails, and is read member by member."""

    hub: str
    method: str
    arguments: Raw = NO_ARGUMENTS
    id: Union[int, str, None] = None
    state: Raw = NULL


decode_usual = msgspec.json.Decoder(Usual).decode
decode_string = msgspec.json.Decoder(str).decode
decode_state = msgspec.json.Decoder(dict[str, Any]).decode


# Reading


def parse_invocation(data: Data, maximum_state_size: int = MAXIMUM_STATE_SIZE) -> ClassicInvocation:
    """
    Read a call: ``{"H":"chat","M":"Send","A":["hi"],"I":0,"S":{…}}``.

    Members may come in any order and letter case; of one that is repeated the last counts, and unknown ones are skipped, as is what
    follows the object.

    Args:
        data: One message of a web socket, or the form value ``data`` of a ``/send``.
        maximum_state_size: In UTF-16 characters of the state, written without blanks.

    Raises:
        InvalidInvocation: It is not JSON, not an object, nested more than 64 deep, has no hub or method, an id or arguments of the wrong
            kind, or a state that is no object, too long or too deep.
    """
    try:
        usual = decode_usual(data)
    except DECODE_ERRORS:
        return _parse_slowly(data, maximum_state_size)
    if len(data) >= SHORTEST_TOO_DEEP and _is_too_deep(data):
        return _parse_slowly(data, maximum_state_size)  # reads the id, where it comes first, and fails
    invocation_id = str(usual.id) if isinstance(usual.id, int) else usual.id
    return _build(usual.hub, usual.method, usual.arguments, invocation_id, usual.state, maximum_state_size)


def _is_too_deep(data: Data) -> bool:
    """
    Whether a whole message is. Only messages with more than 64 opening brackets need the second look.

    msgspec has a limit of its own, but that depends on the Python and on how deep its stack is.
    """
    data = _to_bytes(data)
    if data.rfind(b"{") <= 0 and data.rfind(b"[") == data.find(b"["):
        return False  # a call with plain arguments; counting takes longer than to find that
    return data.count(b"[") + data.count(b"{") > MAXIMUM_MESSAGE_DEPTH and is_too_deep(data, MAXIMUM_MESSAGE_DEPTH)


def _to_bytes(data: Data) -> bytes:
    return data.encode("utf-8", "replace") if isinstance(data, str) else data


def _build(hub: str, method: str, arguments: Raw, invocation_id: str | None, state: Raw, maximum_state_size: int) -> ClassicInvocation:
    start = memoryview(arguments)[0]
    if start != ARRAY_START:
        if start != NULL_START:
            raise InvalidInvocation("The arguments are not an array.", invocation_id)
        arguments = NO_ARGUMENTS
    if not hub:
        raise InvalidInvocation("The invocation names no hub.", invocation_id)
    if state is NULL or memoryview(state)[0] == NULL_START:
        return ClassicInvocation(hub, method, arguments, invocation_id)
    return ClassicInvocation(hub, method, arguments, invocation_id, _read_state(bytes(state), maximum_state_size, invocation_id))


def _parse_slowly(data: Data, maximum_state_size: int) -> ClassicInvocation:
    members, error = _read_members(mend_text(_to_bytes(data)))
    invocation_id = _read_id(members.get("i", b"null"))
    if error is not None:
        raise InvalidInvocation(error, invocation_id)
    return _build(
        _read_name(members, "h", "hub", invocation_id),
        _read_name(members, "m", "method", invocation_id),
        Raw(members.get("a", b"[]")),
        invocation_id,
        Raw(members.get("s", b"null")),
        maximum_state_size,
    )


def _read_members(data: bytes) -> tuple[dict[str, bytes], str | None]:
    """Name in lower case -> value, as far as the message can be read, and why it cannot be read to its end."""
    members: dict[str, bytes] = {}
    reader = JsonReader(data)
    try:
        if reader.peek() is not TokenKind.OBJECT:
            return members, "An invocation is a JSON object."
        reader.open()
        while (raw_name := reader.next_name()) is not None:
            name = decode_text(raw_name).lower()
            value = reader.skip_value()
            if name in MEMBERS:
                members[name] = value
    except (JsonSyntaxError, JsonTextError) as error:
        return members, str(error)
    return members, None


def _read_id(token: bytes) -> str | None:
    """
    The id as a text; numbers and truth values as they are written.

    Raises:
        InvalidInvocation: An object or an array.
    """
    start = token[0]
    if start == QUOTE:
        return _read_string(token)
    if start == NULL_START:
        return None
    if start in (OBJECT_START, ARRAY_START):
        raise InvalidInvocation("The invocation id is an object or an array.")
    return "0" if token == b"-0" else token.decode("ascii")


def _read_name(members: Mapping[str, bytes], name: str, meaning: str, invocation_id: str | None) -> str:
    token = members.get(name, b"null")
    if token[0] in (NULL_START, OBJECT_START, ARRAY_START):
        raise InvalidInvocation(f"The invocation names no {meaning}.", invocation_id)
    return _read_string(token, invocation_id) if token[0] == QUOTE else token.decode("ascii")


def _read_string(token: bytes, invocation_id: str | None = None) -> str:
    try:
        return decode_string(token)
    except DECODE_ERRORS as error:
        raise InvalidInvocation(str(error), invocation_id) from error


def _read_state(data: bytes, maximum_size: int, invocation_id: str | None) -> dict[str, Any]:
    if data[0] != OBJECT_START:
        raise InvalidInvocation("The state is not an object.", invocation_id)
    if is_too_deep(data, MAXIMUM_DEPTH):
        raise InvalidInvocation(TOO_DEEP, invocation_id)
    try:
        state = decode_state(mend_text(data))
        size = _size(state)
    except (*DECODE_ERRORS, *ENCODE_ERRORS) as error:
        raise InvalidInvocation(str(error), invocation_id) from error
    if size > maximum_size:
        raise InvalidInvocation(f"State has exceeded the maximum length of {maximum_size} bytes.", invocation_id)
    return state


def _size(state: dict[str, Any]) -> int:
    """How many UTF-16 characters .NET writes. Fails for what could not be sent back."""
    return len(escape_line_separators(encode_value(state)).decode().encode("utf-16-le")) // 2


# Writing


def encode_response(
    invocation_id: str | None,
    *,
    result: Any = NO_RESULT,
    state: Mapping[str, Any] | None = None,
    error: str | None = None,
    is_hub_exception: bool = False,
    error_data: Any = NO_RESULT,
) -> bytes:
    """
    Write the answer to a call: ``{"S":{…},"R":…,"I":"0","H":true,"E":"…","D":…}``; all but ``I`` only where there is something to say.

    Args:
        result: What the hub method returned; ``None`` is left out.
        state: The members of the client's state that changed.
        error: Why the call failed.
        is_hub_exception: Whether a hub author said so.
        error_data: What a hub exception carries besides its text.

    Raises:
        LocalProtocolError: A value cannot be written as JSON.
    """
    members = []
    try:
        if state:
            members.append(b'"S":' + encode_checked(state))
        if result is not None and result is not NO_RESULT:
            members.append(b'"R":' + encode_checked(result))
        members.append(b'"I":' + encode_value(invocation_id))
        if is_hub_exception:
            members.append(b'"H":true')
        if error is not None:
            members.append(b'"E":' + encode_value(error))
        if error_data is not None and error_data is not NO_RESULT:
            members.append(b'"D":' + encode_checked(error_data))
    except ENCODE_ERRORS as fault:
        raise cannot_encode(fault) from fault
    return escape_line_separators(b"{" + b",".join(members) + b"}")


def encode_progress(invocation_id: str | None, value: Any, state: Mapping[str, Any] | None = None) -> bytes:
    """
    Write a progress report, an element of ``M``: ``{"S":{…},"I":"P|0","P":{"I":"0","D":…}}``.

    The odd outer id keeps clients that know no progress from taking it for the answer.

    Args:
        value: What the hub method reports.
        state: The members of the client's state that changed.

    Raises:
        LocalProtocolError: A value cannot be written as JSON.
    """
    try:
        start = b'{"S":' + encode_checked(state) + b"," if state else b"{"
        outer, inner = encode_value(f"P|{invocation_id or ''}"), encode_value(invocation_id)
        data = b"".join((start, b'"I":', outer, b',"P":{"I":', inner, b',"D":', encode_checked(value), b"}}"))
    except ENCODE_ERRORS as fault:
        raise cannot_encode(fault) from fault
    return escape_line_separators(data)


def escape_line_separators(data: bytes) -> bytes:
    """Write U+0085, U+2028 and U+2029 in UTF-8 JSON as escapes, as Json.NET does: old JavaScript takes them for ends of lines."""
    if not data.isascii():
        for character, escape in LINE_SEPARATORS:
            data = data.replace(character, escape)
    return data


def to_ascii(data: bytes) -> bytes:
    r"""
    Write UTF-8 JSON with ``\uXXXX`` for all that is not ASCII.

    For transports over HTTP: there the .NET client 2.4.2 decodes each network read by itself, and breaks characters in two.
    """
    if data.isascii():
        return data
    return NON_ASCII.sub(lambda match: encode_basestring_ascii(match[0])[1:-1], data.decode()).encode("ascii")
