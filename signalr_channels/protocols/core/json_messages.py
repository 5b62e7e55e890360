"""
Members of a JSON hub message, and the rules that make a message of them.

:func:`build_message` serves the fast path and the slow path alike; :func:`read_members` is the slow path, for all that msgspec
refuses: it goes member by member, so that the first defect decides the error.

Source: HubProtocol.md, "JSON Encoding"; ``JsonHubProtocol.cs``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Union

import msgspec
from msgspec import UNSET, Raw, UnsetType

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.core.json_reader import JsonReader, JsonSyntaxError, JsonTextError, TokenKind, decode_text
from signalr_channels.protocols.messages import (
    NO_RESULT,
    Ack,
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    SequenceMessage,
    StreamInvocation,
    StreamItem,
)

__all__ = ["Members", "build_message", "read_members"]

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
ARRAY_START = ord("[")
STRING_TOKENS = {TokenKind.OBJECT: "StartObject", TokenKind.ARRAY: "StartArray"}


class Members(msgspec.Struct, rename="camel", gc=False):
    """
    Every member that means something.

    Values for hub code stay raw. msgspec checks the types that the reference checks.
    """

    type: Union[Int32, UnsetType] = UNSET
    invocation_id: Union[str, UnsetType] = UNSET
    target: Union[str, UnsetType] = UNSET
    arguments: Union[Raw, UnsetType] = UNSET
    stream_ids: Union[list[str], UnsetType] = UNSET
    item: Union[Raw, UnsetType] = UNSET
    result: Union[Raw, UnsetType] = UNSET
    error: Union[str, UnsetType] = UNSET
    headers: Union[dict[str, str], UnsetType] = UNSET
    allow_reconnect: Union[bool, UnsetType] = UNSET
    sequence_id: Union[Int64, UnsetType] = UNSET


def build_message(m: Members) -> HubMessage | None:
    """
    Make the message, or ``None`` for a type nobody knows.

    Raises:
        RemoteProtocolError: A required member is missing, or two contradict each other.
    """
    arguments = m.arguments
    if arguments is not UNSET and memoryview(arguments)[0] != ARRAY_START:
        raise _expected("arguments", "Array")
    if m.type == 1:
        target = m.target
        if target is UNSET:
            raise _missing("target")
        if arguments is UNSET:
            raise _missing("arguments")
        return Invocation(
            target=target,
            arguments=arguments,
            invocation_id=m.invocation_id or None,  # an empty one means that nobody waits for an answer
            stream_ids=m.stream_ids or (),
            headers=m.headers or None,
        )
    if m.type is UNSET:
        raise _missing("type")
    build = BUILDERS.get(m.type)
    return None if build is None else build(m)


def read_members(data: bytes) -> Members:
    """
    Read a message as the reference does, which tolerates more than msgspec: text behind the object, strings for hub code that
    are not Unicode.

    Raises:
        RemoteProtocolError: For the first defect.
    """
    try:
        return _read_object(JsonReader(data))
    except JsonSyntaxError as error:
        raise RemoteProtocolError("Error reading JSON.") from error
    except JsonTextError as error:
        raise RemoteProtocolError(str(error), kind="InvalidOperationException") from error


# Building


def _required_id(m: Members) -> str:
    if m.invocation_id is UNSET or not m.invocation_id:
        raise _missing("invocationId")
    return m.invocation_id


def _build_stream_item(m: Members) -> StreamItem:
    if m.invocation_id is UNSET:  # an empty one is one that nobody has
        raise _missing("invocationId")
    if m.item is UNSET:
        raise _missing("item")
    return StreamItem(invocation_id=m.invocation_id, item=m.item, headers=m.headers or None)


def _build_completion(m: Members) -> Completion:
    invocation_id = _required_id(m)
    if m.error is not UNSET and m.result is not UNSET:
        raise RemoteProtocolError("The 'error' and 'result' properties are mutually exclusive.")
    error = None if m.error is UNSET else m.error
    result = NO_RESULT if m.result is UNSET else m.result
    return Completion(invocation_id=invocation_id, result=result, error=error, headers=m.headers or None)


def _build_stream_invocation(m: Members) -> StreamInvocation:
    if m.target is UNSET:
        raise _missing("target")
    invocation_id = _required_id(m)
    if m.arguments is UNSET:
        raise _missing("arguments")
    return StreamInvocation(
        target=m.target, arguments=m.arguments, invocation_id=invocation_id, stream_ids=m.stream_ids or (), headers=m.headers or None
    )


def _build_cancel_invocation(m: Members) -> CancelInvocation:
    return CancelInvocation(invocation_id=_required_id(m), headers=m.headers or None)


def _build_ping(m: Members) -> Ping:
    return PING


def _build_close(m: Members) -> Close:
    return Close(error=None if m.error is UNSET else m.error, allow_reconnect=m.allow_reconnect is True)


def _build_ack(m: Members) -> Ack:
    return Ack(sequence_id=_required_sequence_id(m))


def _build_sequence(m: Members) -> SequenceMessage:
    return SequenceMessage(sequence_id=_required_sequence_id(m))


def _required_sequence_id(m: Members) -> int:
    if m.sequence_id is UNSET:
        raise _missing("sequenceId")
    return m.sequence_id


PING = Ping()
BUILDERS: dict[int, Callable[[Members], HubMessage]] = {
    2: _build_stream_item,
    3: _build_completion,
    4: _build_stream_invocation,
    5: _build_cancel_invocation,
    6: _build_ping,
    7: _build_close,
    8: _build_ack,
    9: _build_sequence,
}


# Reading


def _read_object(reader: JsonReader) -> Members:
    kind = reader.peek()
    if kind is not TokenKind.OBJECT:
        raise RemoteProtocolError(f"Unexpected JSON Token Type '{kind.value}'. Expected a JSON Object.")
    reader.open()
    members = Members()
    while (raw_name := reader.next_name()) is not None:
        try:
            read = READERS.get(decode_text(raw_name))
        except JsonTextError:  # none of ours
            read = None
        if read is None:
            reader.skip_value()
        else:
            read(reader, members)
    return members


def _read_type(reader: JsonReader, members: Members) -> None:
    members.type = _read_integer(reader, "type", 32)


def _read_invocation_id(reader: JsonReader, members: Members) -> None:
    members.invocation_id = _read_text(reader, "invocationId")


def _read_target(reader: JsonReader, members: Members) -> None:
    members.target = _read_text(reader, "target")


def _read_error(reader: JsonReader, members: Members) -> None:
    members.error = _read_text(reader, "error")


def _read_arguments(reader: JsonReader, members: Members) -> None:
    if reader.peek() is not TokenKind.ARRAY:
        raise _expected("arguments", "Array")
    members.arguments = Raw(reader.skip_value())


def _read_item(reader: JsonReader, members: Members) -> None:
    members.item = Raw(reader.skip_value())


def _read_result(reader: JsonReader, members: Members) -> None:
    members.result = Raw(reader.skip_value())


def _read_stream_ids(reader: JsonReader, members: Members) -> None:
    if reader.peek() is not TokenKind.ARRAY:
        raise _expected("streamIds", "Array")
    reader.open()
    stream_ids: list[str] = []
    while reader.next_item():
        kind = reader.peek()
        if kind is TokenKind.NULL:
            raise RemoteProtocolError("Null value for 'streamIds' is not valid.")
        if kind is not TokenKind.STRING:
            token = STRING_TOKENS.get(kind, kind.value)
            raise RemoteProtocolError(f"Cannot get the value of a token type '{token}' as a string.", kind="InvalidOperationException")
        stream_ids.append(reader.read_text())
    members.stream_ids = stream_ids


def _read_headers(reader: JsonReader, members: Members) -> None:
    if reader.peek() is not TokenKind.OBJECT:
        raise _expected("headers", "StartObject")
    reader.open()
    headers: dict[str, str] = {}
    while (raw_name := reader.next_name()) is not None:
        name = decode_text(raw_name)
        if reader.peek() is not TokenKind.STRING:
            raise RemoteProtocolError(f"Expected header '{name}' to be of type String.")
        headers[name] = reader.read_text()
    members.headers = headers


def _read_allow_reconnect(reader: JsonReader, members: Members) -> None:
    kind = reader.peek()
    if kind is not TokenKind.TRUE and kind is not TokenKind.FALSE:
        raise RemoteProtocolError("Expected 'allowReconnect' to be true or false.")
    reader.skip_value()
    members.allow_reconnect = kind is TokenKind.TRUE


def _read_sequence_id(reader: JsonReader, members: Members) -> None:
    if reader.peek() is TokenKind.NULL:  # as if it were missing
        reader.skip_value()
        members.sequence_id = UNSET
    else:
        members.sequence_id = _read_integer(reader, "sequenceId", 64)


READERS: dict[str, Callable[[JsonReader, Members], None]] = {
    "type": _read_type,
    "invocationId": _read_invocation_id,
    "target": _read_target,
    "arguments": _read_arguments,
    "streamIds": _read_stream_ids,
    "item": _read_item,
    "result": _read_result,
    "error": _read_error,
    "headers": _read_headers,
    "allowReconnect": _read_allow_reconnect,
    "sequenceId": _read_sequence_id,
}


def _read_text(reader: JsonReader, name: str) -> str:
    if reader.peek() is not TokenKind.STRING:
        raise _expected(name, "String")
    return reader.read_text()


def _read_integer(reader: JsonReader, name: str, bits: int) -> int:
    if reader.peek() is not TokenKind.NUMBER:
        raise _expected(name, "Number")
    value = reader.read_integer(bits)
    if value is None:
        text = f"Either the JSON value is not in a supported format, or is out of bounds for an Int{bits}."
        raise RemoteProtocolError(text, kind="FormatException")
    return value


# Faults


def _missing(name: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"Missing required property '{name}'.")


def _expected(name: str, kind: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"Expected '{name}' to be of type {kind}.")
