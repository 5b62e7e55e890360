"""
The ``json`` hub protocol: UTF-8 objects ended by 0x1E.

Source: HubProtocol.md, "JSON Encoding"; ``JsonHubProtocol.cs``.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Union

import msgspec
from msgspec import UNSET, Raw, UnsetType

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError
from signalr_channels.protocols.base import Data, HubProtocol, MessageSplitter, TransferFormat
from signalr_channels.protocols.core.annotations import annotation_info, check_annotations, tuple_of
from signalr_channels.protocols.core.binding_errors import DECODE_ERRORS, ENCODE_ERRORS, cannot_encode, conversion_failed, wrong_count
from signalr_channels.protocols.core.framing import SeparatorSplitter
from signalr_channels.protocols.core.json_messages import Members, build_message, read_members
from signalr_channels.protocols.core.json_reader import MAXIMUM_DEPTH, is_too_deep
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

__all__ = ["SCALARS", "JsonHubProtocol", "check_numbers", "encode_checked", "encode_value"]

SHORTEST_TOO_DEEP = 2 * MAXIMUM_DEPTH

PING = b'{"type":6}\x1e'
PLAIN_CLOSE = b'{"type":7}\x1e'
SEPARATOR = b"\x1e"

SCALARS = frozenset({str, int, bool, type(None), bytes, uuid.UUID, datetime.datetime})
"""Types of values that JSON can always hold."""
UNTOUCHED = (decimal.Decimal, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, bytes, bytearray, memoryview)

decode_members = msgspec.json.Decoder(Members).decode
encode_value = msgspec.json.Encoder(decimal_format="number").encode  # .NET reads and writes decimals as numbers, scale kept


class Outgoing(msgspec.Struct, rename="camel", gc=False):
    """All members in the order in which the reference writes them; what is unset is left out."""

    type: int
    headers: Union[Mapping[str, str], UnsetType] = UNSET
    invocation_id: Union[str, UnsetType] = UNSET
    target: Union[str, UnsetType] = UNSET
    arguments: Any = UNSET
    stream_ids: Union[Sequence[str], UnsetType] = UNSET
    item: Any = UNSET
    error: Union[str, UnsetType] = UNSET
    result: Any = UNSET
    allow_reconnect: Union[bool, UnsetType] = UNSET
    sequence_id: Union[int, UnsetType] = UNSET


class JsonHubProtocol(HubProtocol):
    """
    The encoding every client speaks.

    Values go out as msgspec writes them: ``Decimal`` as a number, ``bytes`` as base64, ``datetime`` as ISO 8601, enums by value, names as
    declared. NaN and infinities, which msgspec would write as null, are refused.
    """

    name: ClassVar[str] = "json"
    version: ClassVar[int] = 2
    transfer_format: ClassVar[TransferFormat] = TransferFormat.TEXT

    def splitter(self, maximum_message_size: int | None) -> MessageSplitter:
        """Make the splitter of a connection."""
        return SeparatorSplitter(maximum_message_size)

    # Reading

    def parse(self, data: Data) -> HubMessage | None:
        """Read one message, or ``None`` for a type nobody knows. Arguments, items and results stay :class:`msgspec.Raw`."""
        try:
            members = decode_members(data)
        except DECODE_ERRORS:  # the slow path finds out whether it is a fault, and which
            members = read_members(_to_bytes(data))
        else:
            if len(data) >= SHORTEST_TOO_DEEP and _is_too_deep(data):
                members = read_members(_to_bytes(data))
        return build_message(members)

    def argument_decoder(self, types: Sequence[Any]) -> Callable[[Raw], Sequence[Any]]:
        """Make a function that reads an array of arguments, strictly: no text for a number, no ``1.0`` for an integer."""
        check_annotations(types)
        decode: Callable[[Raw], tuple[Any, ...]] = msgspec.json.Decoder(tuple_of(types)).decode
        decoders = [msgspec.json.Decoder(one) for one in types]

        def decode_arguments(raw: Raw) -> Sequence[Any]:
            try:
                return decode(raw)
            except DECODE_ERRORS as error:
                raise _explain(raw, decoders) from error

        return decode_arguments

    def value_decoder(self, type: Any) -> Callable[[Raw], Any]:
        """Make a function that reads a stream item or a result."""
        annotation_info(type)
        decode = msgspec.json.Decoder(type).decode

        def decode_value(raw: Raw) -> Any:
            try:
                return decode(raw)
            except DECODE_ERRORS as error:
                raise ArgumentBindingError(str(error)) from error

        return decode_value

    # Writing

    def encode(self, message: HubMessage) -> bytes:
        """Write one message with its 0x1E."""
        try:
            if type(message) is Completion and not message.error and not message.headers:
                invocation_id, result = encode_value(message.invocation_id), message.result
                if result is NO_RESULT:
                    return b'{"type":3,"invocationId":' + invocation_id + b"}\x1e"
                return b"".join((b'{"type":3,"invocationId":', invocation_id, b',"result":', encode_checked(result), b"}\x1e"))
            if type(message) is StreamItem and not message.headers:
                item = encode_checked(message.item)
                return b"".join((b'{"type":2,"invocationId":', encode_value(message.invocation_id), b',"item":', item, b"}\x1e"))
            if type(message) is Ping:
                return PING
            if type(message) is Close and message.error is None and not message.allow_reconnect:
                return PLAIN_CLOSE
            data = encode_value(_outgoing(message))
            payload = _payload(message)
            if not SCALARS.issuperset(map(type, payload)):
                check_numbers(payload, data)
            return data + SEPARATOR
        except ENCODE_ERRORS as error:
            raise cannot_encode(error) from error


# Reading


def _to_bytes(data: Data) -> bytes:
    return data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data


def _is_too_deep(data: Data) -> bool:
    """Whether valid JSON is nested too deeply. Only messages with more than 64 opening brackets need the second look."""
    brackets = data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")
    return brackets > MAXIMUM_DEPTH and is_too_deep(_to_bytes(data))


def _explain(raw: Raw, decoders: Sequence[msgspec.json.Decoder[Any]]) -> ArgumentBindingError:
    """Why arguments do not fit. The reference converts as many as it can before it counts."""
    try:
        items = msgspec.json.decode(raw, type=list[Raw])
        for item, decoder in zip(items, decoders, strict=False):
            decoder.decode(item)
    except DECODE_ERRORS:
        return conversion_failed()
    return wrong_count(len(items), len(decoders))


# Writing


def encode_checked(value: Any) -> bytes:
    """Write a value of hub code; NaN and infinities are refused."""
    data = encode_value(value)
    if type(value) not in SCALARS:
        check_numbers(value, data)
    return data


def check_numbers(value: Any, data: bytes) -> None:
    """
    Refuse NaN and infinities.

    msgspec writes a float's as ``null`` and a Decimal's as a word. Only where one of these stands in ``data`` are the values looked at.
    """
    if b"null" in data or b"NaN" in data or b"Infinity" in data:
        _refuse_infinite_numbers(value)


def _refuse_infinite_numbers(value: Any) -> None:
    # The hook leaves out values that are JSON already, relayed from another client.
    waiting = [msgspec.to_builtins(value, builtin_types=UNTOUCHED, str_keys=True, enc_hook=lambda raw: None)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
        elif (isinstance(part, float) and not math.isfinite(part)) or (isinstance(part, decimal.Decimal) and not part.is_finite()):
            text = ".NET number values such as positive and negative infinity cannot be written as valid JSON."
            raise LocalProtocolError(text, kind="ArgumentException")


def _payload(message: HubMessage) -> Sequence[Any]:
    """The values of hub code in a message."""
    if isinstance(message, (Invocation, StreamInvocation)):
        return () if isinstance(message.arguments, Raw) else message.arguments
    if isinstance(message, StreamItem):
        return (message.item,)
    if isinstance(message, Completion):
        return () if message.result is NO_RESULT else (message.result,)
    return ()


def _outgoing(message: HubMessage) -> Outgoing:
    if isinstance(message, (Invocation, StreamInvocation)):
        return Outgoing(
            type=1 if isinstance(message, Invocation) else 4,
            headers=message.headers or UNSET,
            invocation_id=message.invocation_id or UNSET,
            target=message.target,
            arguments=message.arguments,
            stream_ids=message.stream_ids or UNSET,
        )
    if isinstance(message, StreamItem):
        return Outgoing(type=2, headers=message.headers or UNSET, invocation_id=message.invocation_id, item=message.item)
    if isinstance(message, Completion):
        if message.error and message.result is not NO_RESULT:  # HubProtocol.md, "Completion Message Encoding"
            raise LocalProtocolError("The 'error' and 'result' properties are mutually exclusive.")
        return Outgoing(
            type=3,
            headers=message.headers or UNSET,
            invocation_id=message.invocation_id,
            error=message.error or UNSET,
            result=message.result,
        )
    if isinstance(message, CancelInvocation):
        return Outgoing(type=5, headers=message.headers or UNSET, invocation_id=message.invocation_id)
    if isinstance(message, Close):
        error = UNSET if message.error is None else message.error
        return Outgoing(type=7, error=error, allow_reconnect=True if message.allow_reconnect else UNSET)
    if isinstance(message, (Ack, SequenceMessage)):
        return Outgoing(type=8 if isinstance(message, Ack) else 9, sequence_id=message.sequence_id)
    raise AssertionError(f"not a hub message: {message!r}")
