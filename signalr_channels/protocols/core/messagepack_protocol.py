"""
The ``messagepack`` hub protocol: arrays behind their length.

Source: HubProtocol.md, "MessagePack (MsgPack) Encoding"; ``MessagePackHubProtocol.cs``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Union

import msgspec
from msgspec import Raw

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError
from signalr_channels.protocols.base import Data, HubProtocol, MessageSplitter, TransferFormat
from signalr_channels.protocols.core.annotations import annotation_info, check_annotations, tuple_of
from signalr_channels.protocols.core.binding_errors import (
    DECODE_ERRORS,
    ENCODE_ERRORS,
    array_missing,
    cannot_encode,
    conversion_failed,
    wrong_count,
)
from signalr_channels.protocols.core.framing import LengthPrefixSplitter, encode_length_prefix
from signalr_channels.protocols.core.messagepack_messages import CompletionKind, read_message
from signalr_channels.protocols.core.messagepack_reader import MessagePackError, MessagePackReader, repair_text
from signalr_channels.protocols.core.messagepack_values import contains_enum, conversion_plan, prepare
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

__all__ = ["MessagePackHubProtocol"]

PING = b"\x02\x91\x06"
PING_BODY = PING[1:]
LARGEST_MESSAGE = 2**31 - 1

NotEmpty = Annotated[str, msgspec.Meta(min_length=1)]
Headers = dict[NotEmpty, NotEmpty]


class _Invocation(msgspec.Struct, array_like=True, tag=1, gc=False):
    headers: Headers
    invocation_id: Union[str, None]
    target: NotEmpty
    arguments: Raw
    stream_ids: list[NotEmpty] = msgspec.field(default_factory=list)


class _StreamItem(msgspec.Struct, array_like=True, tag=2, gc=False):
    headers: Headers
    invocation_id: NotEmpty
    item: Raw


class _Completion(msgspec.Struct, array_like=True, tag=3, gc=False):
    headers: Headers
    invocation_id: NotEmpty
    kind: int
    payload: Raw = Raw()


class _StreamInvocation(msgspec.Struct, array_like=True, tag=4, gc=False):
    headers: Headers
    invocation_id: NotEmpty
    target: NotEmpty
    arguments: Raw
    stream_ids: list[NotEmpty] = msgspec.field(default_factory=list)


decode_message = msgspec.msgpack.Decoder(Union[_Invocation, _StreamItem, _Completion, _StreamInvocation]).decode
decode_any = msgspec.msgpack.Decoder().decode
encode_value = msgspec.msgpack.Encoder().encode


class MessagePackHubProtocol(HubProtocol):
    """
    The compact encoding.

    Values go out as msgspec writes them: ``Decimal`` and ``UUID`` as text, ``bytes`` as bin, ``datetime`` as timestamp in UTC; but enums by
    name. Reading is strict as in JSON; bytes may also come as text, whose UTF-8 they are.
    """

    name: ClassVar[str] = "messagepack"
    version: ClassVar[int] = 2
    transfer_format: ClassVar[TransferFormat] = TransferFormat.BINARY

    def splitter(self, maximum_message_size: int | None) -> MessageSplitter:
        """Make the splitter of a connection."""
        return LengthPrefixSplitter(maximum_message_size)

    # Reading

    def parse(self, data: Data) -> HubMessage | None:
        """Read one message, or ``None`` for a type nobody knows. Arguments, items and results stay :class:`msgspec.Raw`."""
        body = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        if body == PING_BODY:
            return Ping()
        try:
            message = _from_wire(decode_message(body))
        except DECODE_ERRORS:  # the slow path finds out whether it is a fault, and which
            message = None
        return read_message(body) if message is None else message

    def argument_decoder(self, types: Sequence[Any]) -> Callable[[Raw], Sequence[Any]]:
        """Make a function that reads an array of arguments."""
        check_annotations(types, msgspec.msgpack.Decoder)
        decode: Callable[[Raw], Sequence[Any]] = _value_reader(tuple_of(types))

        def decode_arguments(raw: Raw) -> Sequence[Any]:
            try:
                return decode(raw)
            except DECODE_ERRORS as error:
                raise _explain(bytes(raw), len(types)) from error

        return decode_arguments

    def value_decoder(self, type: Any) -> Callable[[Raw], Any]:
        """Make a function that reads a stream item or a result."""
        annotation_info(type, msgspec.msgpack.Decoder)
        decode = _value_reader(type)

        def decode_value(raw: Raw) -> Any:
            try:
                return decode(raw)
            except DECODE_ERRORS as error:
                raise ArgumentBindingError(str(error)) from error

        return decode_value

    # Writing

    def encode(self, message: HubMessage) -> bytes:
        """Write one message with its length before it."""
        if type(message) is Ping:
            return PING
        try:
            body = encode_value(_to_wire(message))
        except ENCODE_ERRORS as error:
            raise cannot_encode(error) from error
        if len(body) > LARGEST_MESSAGE:
            raise LocalProtocolError("Messages over 2GB in size are not supported.", kind="FormatException")
        return encode_length_prefix(len(body)) + body


# Reading


def _is_array(value: Raw) -> bool:
    first = memoryview(value)[0]
    return 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)


def _from_wire(wire: Union[_Invocation, _StreamItem, _Completion, _StreamInvocation]) -> HubMessage | None:
    """The message, or ``None`` for one that needs a closer look."""
    headers = wire.headers or None
    if isinstance(wire, (_Invocation, _StreamInvocation)) and wire.stream_ids and not _is_array(wire.arguments):
        return None  # nothing behind such arguments counts
    if type(wire) is _Invocation:
        return Invocation(
            target=wire.target,
            arguments=wire.arguments,
            invocation_id=wire.invocation_id or None,
            stream_ids=wire.stream_ids or (),
            headers=headers,
        )
    if type(wire) is _StreamItem:
        return StreamItem(invocation_id=wire.invocation_id, item=wire.item, headers=headers)
    if type(wire) is _StreamInvocation:
        return StreamInvocation(
            target=wire.target,
            arguments=wire.arguments,
            invocation_id=wire.invocation_id,
            stream_ids=wire.stream_ids or (),
            headers=headers,
        )
    assert type(wire) is _Completion
    if wire.kind == CompletionKind.RESULT and len(memoryview(wire.payload)):
        return Completion(invocation_id=wire.invocation_id, result=wire.payload, headers=headers)
    if wire.kind == CompletionKind.VOID:
        return Completion(invocation_id=wire.invocation_id, headers=headers)
    return None


def _value_reader(annotation: Any) -> Callable[[Raw], Any]:
    """
    A function that reads a value as .NET does.

    msgspec reads all but three things: enums by name, bytes from text, text that is not UTF-8. Where an enum is part of the
    annotation, values go through their builtin form; otherwise only those do that msgspec has refused.
    """
    info = msgspec.inspect.type_info(annotation)
    plan = conversion_plan(info)
    decode = msgspec.msgpack.Decoder(annotation).decode

    def convert(raw: Union[Raw, bytes]) -> Any:
        if plan is None:
            return decode(raw)
        return msgspec.convert(plan(decode_any(raw)), annotation)

    def read(raw: Raw) -> Any:
        try:
            return first(raw)
        except UnicodeDecodeError:
            return convert(repair_text(bytes(raw)))
        except msgspec.ValidationError:
            if plan is None or first is convert:
                raise
            return convert(raw)

    first: Callable[[Raw], Any] = convert if contains_enum(info) else decode
    return read


def _explain(raw: bytes, expected: int) -> ArgumentBindingError:
    """Why arguments do not fit. The reference counts before it converts."""
    try:
        given = MessagePackReader(raw).read_array_header()
    except MessagePackError:
        return array_missing()
    return conversion_failed() if given == expected else wrong_count(given, expected)


# Writing


def _to_wire(message: HubMessage) -> Sequence[Any]:
    """The array of a message, as long as the reference writes it."""
    if isinstance(message, Completion):
        return _completion_to_wire(message)
    if isinstance(message, (Invocation, StreamInvocation)):
        arguments = message.arguments if isinstance(message.arguments, Raw) else prepare(message.arguments)
        kind = 1 if isinstance(message, Invocation) else 4
        return (kind, message.headers or {}, message.invocation_id, message.target, arguments, list(message.stream_ids))
    if isinstance(message, StreamItem):
        return (2, message.headers or {}, message.invocation_id, prepare(message.item))
    if isinstance(message, CancelInvocation):
        return (5, message.headers or {}, message.invocation_id)
    if isinstance(message, Close):
        return (7, message.error, message.allow_reconnect)
    if isinstance(message, (Ack, SequenceMessage)):
        return (8 if isinstance(message, Ack) else 9, message.sequence_id)
    raise AssertionError(f"not a hub message: {message!r}")


def _completion_to_wire(message: Completion) -> Sequence[Any]:
    headers = message.headers or {}
    if message.error is not None:
        if message.result is not NO_RESULT:  # HubProtocol.md, "Completion Message Encoding"
            raise LocalProtocolError("The 'error' and 'result' properties are mutually exclusive.")
        return (3, headers, message.invocation_id, CompletionKind.ERROR, message.error)
    if message.result is NO_RESULT:
        return (3, headers, message.invocation_id, CompletionKind.VOID)
    return (3, headers, message.invocation_id, CompletionKind.RESULT, prepare(message.result))
