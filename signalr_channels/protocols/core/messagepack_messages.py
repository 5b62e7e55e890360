"""
A MessagePack hub message read item by item: the slow path, for all that msgspec refuses. The first defect decides the error.

Everything about ``arguments`` is left to their binding: whatever stands there stays raw, and nothing at all is an empty
:class:`msgspec.Raw`. It then ends one invocation, not the connection.

Source: HubProtocol.md, "MessagePack (MsgPack) Encoding"; ``MessagePackHubProtocolWorker.cs``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, Union

from msgspec import Raw

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.core.messagepack_reader import MessagePackError, MessagePackReader
from signalr_channels.protocols.messages import (
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

__all__ = ["CompletionKind", "read_message"]

T = TypeVar("T")
INT32 = range(-(2**31), 2**31)
INT64 = range(-(2**63), 2**63)


class CompletionKind:
    """What a completion carries, as numbered on the wire."""

    ERROR = 1
    VOID = 2
    RESULT = 3


def read_message(data: bytes) -> HubMessage | None:
    """
    Read a message, or ``None`` for a type nobody knows. What stands behind its array is not looked at.

    Raises:
        RemoteProtocolError: For the first defect.
    """
    reader = MessagePackReader(data)
    try:
        count = reader.read_array_header()
        kind = _integer(reader, "messageType", 32)
        read = READERS.get(kind)
        return None if read is None else read(reader, count)
    except MessagePackError as error:
        raise RemoteProtocolError(str(error), kind=error.kind) from error


def _is_readable_array(raw: bytes) -> bool:
    """Whether an array starts here that announces no more items than there are bytes."""
    try:
        MessagePackReader(raw).read_array_header()
    except MessagePackError:
        return False
    return True


# Messages


def _read_invocation(reader: MessagePackReader, count: int) -> Invocation:
    headers = _headers(reader)
    invocation_id = _text(reader, "invocationId")
    target = _required(_text(reader, "target"), "target for Invocation message")
    arguments, is_whole = _arguments(reader)
    stream_ids = _stream_ids(reader) if is_whole and count > 5 else ()
    # An empty id, like nil, means that nobody waits for an answer.
    return Invocation(target=target, arguments=arguments, invocation_id=invocation_id or None, stream_ids=stream_ids, headers=headers)


def _read_stream_invocation(reader: MessagePackReader, count: int) -> StreamInvocation:
    headers = _headers(reader)
    invocation_id = _required(_text(reader, "invocationId"), "invocation ID for StreamInvocation message")
    target = _required(_text(reader, "target"), "target for StreamInvocation message")
    arguments, is_whole = _arguments(reader)
    stream_ids = _stream_ids(reader) if is_whole and count > 5 else ()
    return StreamInvocation(target=target, arguments=arguments, invocation_id=invocation_id, stream_ids=stream_ids, headers=headers)


def _read_stream_item(reader: MessagePackReader, count: int) -> StreamItem:
    headers = _headers(reader)
    invocation_id = _required(_text(reader, "invocationId"), "invocation ID for StreamItem message")
    return StreamItem(invocation_id=invocation_id, item=_value(reader)[0], headers=headers)


def _read_completion(reader: MessagePackReader, count: int) -> Completion:
    headers = _headers(reader)
    invocation_id = _required(_text(reader, "invocationId"), "invocation ID for Completion message")
    kind = _integer(reader, "resultKind", 32)
    if kind == CompletionKind.ERROR:
        return Completion(invocation_id=invocation_id, error=_text(reader, "error"), headers=headers)
    if kind == CompletionKind.VOID:
        return Completion(invocation_id=invocation_id, headers=headers)
    if kind == CompletionKind.RESULT:
        return Completion(invocation_id=invocation_id, result=Raw(reader.skip_value()), headers=headers)
    raise RemoteProtocolError("Invalid invocation result kind.")


def _read_cancel_invocation(reader: MessagePackReader, count: int) -> CancelInvocation:
    headers = _headers(reader)
    invocation_id = _required(_text(reader, "invocationId"), "invocation ID for CancelInvocation message")
    return CancelInvocation(invocation_id=invocation_id, headers=headers)


def _read_ping(reader: MessagePackReader, count: int) -> Ping:
    return Ping()


def _read_close(reader: MessagePackReader, count: int) -> Close:
    error = _text(reader, "error")
    # The JavaScript client (10.0) sends two items.
    allow_reconnect = count > 2 and _field("allowReconnect", "Boolean", reader.read_boolean)
    return Close(error=error, allow_reconnect=allow_reconnect)


def _read_ack(reader: MessagePackReader, count: int) -> Ack:
    return Ack(sequence_id=_integer(reader, "sequenceId", 64))


def _read_sequence(reader: MessagePackReader, count: int) -> SequenceMessage:
    return SequenceMessage(sequence_id=_integer(reader, "sequenceId", 64))


READERS: dict[int, Callable[[MessagePackReader, int], HubMessage]] = {
    1: _read_invocation,
    2: _read_stream_item,
    3: _read_completion,
    4: _read_stream_invocation,
    5: _read_cancel_invocation,
    6: _read_ping,
    7: _read_close,
    8: _read_ack,
    9: _read_sequence,
}


# Fields


def _field(name: str, kind: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except MessagePackError as error:
        raise RemoteProtocolError(f"Reading '{name}' as {kind} failed.") from error


def _text(reader: MessagePackReader, name: str) -> str | None:
    return _field(name, "String", reader.read_text)


def _integer(reader: MessagePackReader, name: str, bits: int) -> int:
    value = _field(name, f"Int{bits}", reader.read_integer)
    if value not in (INT32 if bits == 32 else INT64):
        raise RemoteProtocolError(f"Reading '{name}' as Int{bits} failed.")
    return value


def _required(text: str | None, what: str) -> str:
    if not text:
        raise RemoteProtocolError(f"Null or empty {what}.")
    return text


def _headers(reader: MessagePackReader) -> dict[str, str] | None:
    try:
        count = reader.read_map_header()
    except MessagePackError as error:
        raise RemoteProtocolError("Reading map length for 'headers' failed.") from error
    headers: dict[str, str] = {}
    for index in range(count):
        key = _required(_text(reader, f"headers[{index}].Key"), "key in header")
        headers[key] = _required(_text(reader, f"headers[{index}].Value"), "value in header")
    return headers or None


def _stream_ids(reader: MessagePackReader) -> Union[list[str], tuple[()]]:
    try:
        count = reader.read_array_header()
    except MessagePackError as error:
        raise RemoteProtocolError("Reading array length for 'streamIds' failed.") from error
    return [_required(reader.read_text(), "value in streamIds received") for _ in range(count)] or ()


def _arguments(reader: MessagePackReader) -> tuple[Raw, bool]:
    """The arguments, and whether they are a whole array. If not, nothing behind them can be read."""
    is_array = _is_readable_array(reader.data[reader.position :])
    raw, is_whole = _value(reader)
    return raw, is_array and is_whole


def _value(reader: MessagePackReader) -> tuple[Raw, bool]:
    """A value, and whether it is whole. Of a cut or malformed one all that is left is kept; its conversion will fail."""
    start = reader.position
    try:
        return Raw(reader.skip_value()), True
    except MessagePackError:
        return Raw(reader.data[start:]), False
