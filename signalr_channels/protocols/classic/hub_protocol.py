"""
The encoding of classic hubs, as one more hub protocol: what is sent to a group is encoded once for all its classic clients.

Source: ``ClientHubInvocation.cs``, ``DefaultParameterResolver.cs`` of ASP.NET SignalR 2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Union

import msgspec
from msgspec import UNSET, Raw, UnsetType, inspect

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError
from signalr_channels.protocols.base import Data, HubProtocol, MessageSplitter, TransferFormat
from signalr_channels.protocols.classic.hub_messages import MAXIMUM_DEPTH, TOO_DEEP, escape_line_separators
from signalr_channels.protocols.classic.lenient_json import lenient_plan, mend_text, number_text
from signalr_channels.protocols.core.annotations import all_types, annotation_info, check_annotations, tuple_of
from signalr_channels.protocols.core.binding_errors import DECODE_ERRORS, ENCODE_ERRORS, cannot_encode, wrong_count
from signalr_channels.protocols.core.json_protocol import SCALARS, check_numbers, encode_value
from signalr_channels.protocols.core.json_reader import is_too_deep
from signalr_channels.protocols.messages import HubMessage, Invocation

__all__ = ["NO_CLIENT_RESULTS", "ClassicHubProtocol"]

NO_CLIENT_RESULTS = "Classic clients do not answer calls of the server."
"""Why a client method of theirs has no result."""

SHORTEST_TOO_DEEP = 2 * (MAXIMUM_DEPTH + 1)
QUOTE = ord('"')
UNEXPECTED = frozenset(b"{[tf")
INT32 = range(-(2**31), 2**31)
FLAT = (
    inspect.NoneType, inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.DecimalType, inspect.StrType, inspect.UUIDType,
    inspect.DateTimeType, inspect.DateType, inspect.TimeType, inspect.TimeDeltaType, inspect.EnumType, inspect.LiteralType,
    inspect.Metadata, inspect.UnionType,
)  # fmt: skip
"""What an annotation consists of if no array and no object fits it."""

decode_raw = msgspec.json.Decoder(Raw).decode
decode_items = msgspec.json.Decoder(list[Raw]).decode


class Outgoing(msgspec.Struct, rename={"hub": "H", "method": "M", "arguments": "A", "state": "S"}, gc=False):
    """A call of a client method, members in the order in which the reference writes them."""

    hub: str
    method: str
    arguments: Any
    state: Union[Mapping[str, Any], UnsetType] = UNSET


class CoreInvocation(msgspec.Struct, tag_field="type", tag=1, rename="camel", gc=False):
    """The same as the ``json`` hub protocol writes it."""

    target: str
    arguments: Raw
    invocation_id: Union[str, UnsetType] = UNSET


decode_core_invocation = msgspec.json.Decoder(CoreInvocation).decode


class ClassicHubProtocol(HubProtocol):
    """
    One hub's messages to classic clients: elements of an envelope's ``M``. It has no framing, and only invocations.

    Values go out as in :class:`~signalr_channels.protocols.core.json_protocol.JsonHubProtocol`. Arguments come in as Json.NET takes them:
    ``"1"`` for an int, ``5`` for a text, members of dataclasses and names of enums in any letter case.

    Args:
        hub_name: The name clients know the hub by; part of each message.
    """

    name: ClassVar[str] = "classic"
    version: ClassVar[int] = 1
    transfer_format: ClassVar[TransferFormat] = TransferFormat.TEXT

    def __init__(self, hub_name: str) -> None:
        self.hub_name = hub_name

    def splitter(self, maximum_message_size: int | None) -> MessageSplitter:
        """Classic messages come one in a frame or form, whole."""
        raise LocalProtocolError("A classic transport delivers whole messages.")

    def parse(self, data: Data) -> HubMessage | None:
        """Classic clients send calls only: :func:`~signalr_channels.protocols.classic.hub_messages.parse_invocation`."""
        raise LocalProtocolError("Classic messages name their hub; they are read before it is known.")

    # Writing

    def encode(self, message: HubMessage) -> bytes:
        """
        Write a call of a client method: ``{"H":"peer","M":"Message","A":[…]}``.

        Raises:
            LocalProtocolError: Not an invocation, or one that asks for a result, or a value that cannot be written.
        """
        if not isinstance(message, Invocation):
            raise LocalProtocolError("Classic clients take nothing but calls.")
        if message.invocation_id is not None:
            raise LocalProtocolError(NO_CLIENT_RESULTS)
        return self.encode_with_state(message.target, message.arguments)

    def encode_with_state(self, target: str, arguments: Raw | Sequence[Any], state: Mapping[str, Any] | None = None) -> bytes:
        """
        Write a call of the caller's client method: ``{"H":"peer","M":"Message","A":[…],"S":{…}}``.

        Args:
            state: The members of the caller's state that changed.

        Raises:
            LocalProtocolError: A value cannot be written.
        """
        try:
            data = encode_value(Outgoing(self.hub_name, target, arguments, state or UNSET))
            if state or not (isinstance(arguments, Raw) or SCALARS.issuperset(map(type, arguments))):
                check_numbers([arguments, state], data)
        except ENCODE_ERRORS as error:
            raise cannot_encode(error) from error
        return escape_line_separators(data)

    def transcode(self, json_message: bytes) -> bytes:
        """
        Make the element of an invocation that the ``json`` hub protocol has written, 0x1E included; the arguments are copied.

        Raises:
            LocalProtocolError: It is another message.
        """
        try:
            message = decode_core_invocation(memoryview(json_message)[:-1])
        except DECODE_ERRORS as error:
            raise LocalProtocolError(f"not an invocation: {error}") from error
        if message.invocation_id is not UNSET:
            raise LocalProtocolError(NO_CLIENT_RESULTS)
        return self.encode_with_state(message.target, message.arguments)

    # Reading

    def argument_decoder(self, types: Sequence[Any]) -> Callable[[Raw], Sequence[Any]]:
        """
        Make a function that reads an array of arguments.

        It raises :exc:`ArgumentBindingError`, with Json.NET's text for the usual mistakes.
        """
        check_annotations(types)
        info = inspect.type_info(tuple_of(types))
        decode: Callable[[Raw], tuple[Any, ...]] = msgspec.json.Decoder(tuple_of(types)).decode
        decoders = [_LenientDecoder(one) for one in types]

        def decode_leniently(raw: Raw) -> Sequence[Any]:
            try:
                items = decode_items(mend_text(bytes(raw)))
            except DECODE_ERRORS as error:
                raise ArgumentBindingError(str(error)) from error
            if len(items) != len(decoders):
                raise wrong_count(len(items), len(decoders))
            return tuple([decode_one(bytes(item)) for decode_one, item in zip(decoders, items, strict=True)])

        # The array around the arguments is one level more.
        return _strict_first(info, decode, decode_leniently, MAXIMUM_DEPTH + 1)

    def value_decoder(self, type: Any) -> Callable[[Raw], Any]:
        """Make a function that reads one value."""
        info = annotation_info(type)
        decode_well_formed = _LenientDecoder(type)

        def decode_leniently(raw: Raw) -> Any:
            try:
                value = decode_raw(mend_text(bytes(raw)))
            except DECODE_ERRORS as error:
                raise ArgumentBindingError(str(error)) from error
            return decode_well_formed(bytes(value))

        return _strict_first(info, msgspec.json.Decoder(type).decode, decode_leniently, MAXIMUM_DEPTH)


def _strict_first(
    info: inspect.Type, decode: Callable[[Raw], Any], decode_leniently: Callable[[Raw], Any], maximum_depth: int
) -> Callable[[Raw], Any]:
    """
    Take what the strict decoder makes of a value, if it can, and else what the lenient one does.

    Not for dataclasses: the strict decoder drops members in another letter case. Nesting is looked at where something nested could fit.
    """
    parts = list(all_types(info))
    if any(isinstance(part, inspect.DataclassType) for part in parts):
        decode = decode_leniently
    is_flat = all(isinstance(part, FLAT) for part in parts if not isinstance(part, inspect.TupleType))

    def decode_value(raw: Raw) -> Any:
        if not is_flat:
            _check_depth(raw, maximum_depth)
        try:
            return decode(raw)
        except DECODE_ERRORS:
            return decode_leniently(raw)

    return decode_value


def _check_depth(raw: Raw, maximum_depth: int) -> None:
    view = memoryview(raw)
    if len(view) >= SHORTEST_TOO_DEEP and is_too_deep(view.tobytes(), maximum_depth):
        raise ArgumentBindingError(TOO_DEEP)


class _LenientDecoder:
    """Reads one value as Json.NET does; raises :exc:`ArgumentBindingError`."""

    def __init__(self, annotation: Any) -> None:
        self._info = inspect.type_info(annotation)
        self._plan = lenient_plan(self._info)
        self._decode = msgspec.json.Decoder(annotation).decode

    def __call__(self, data: bytes) -> Any:
        try:
            return self._decode(data if self._plan is None else self._plan(data))
        except msgspec.ValidationError as error:
            raise ArgumentBindingError(_explain(self._info, data) or str(error)) from error
        except DECODE_ERRORS as error:
            raise ArgumentBindingError(str(error)) from error


# Words


def _explain(info: inspect.Type, data: bytes) -> str | None:
    """Json.NET's words for a well-formed argument that does not fit, ``None`` where we have our own."""
    info = _without_none(info)
    is_int32 = isinstance(info, inspect.IntType) and info.ge in (None, INT32[0]) and info.le in (None, INT32[-1])
    if not is_int32 and not isinstance(info, inspect.StrType):
        return None
    if data[0] in UNEXPECTED:
        return _at(f"Unexpected character encountered while parsing value: {chr(data[0])}", 1)
    if not is_int32:
        return None
    if data in (b"null", b'""'):
        return _at("Error converting value {null} to type 'System.Int32'", len(data))
    if data[0] == QUOTE:
        text = msgspec.json.decode(data, type=str)
        return _at(f"Could not convert string to integer: {text}", len(escape_line_separators(encode_value(text)).decode()))
    text = number_text(data)
    if text.removeprefix("-").isdigit():
        return _at(f"JSON integer {text} is too large or small for an Int32", len(text))
    return _at(f"Input string '{text}' is not a valid integer", len(text))


def _without_none(info: inspect.Type) -> inspect.Type:
    """What an annotation with bounds, or with ``| None``, is about."""
    while True:
        if isinstance(info, inspect.Metadata):
            info = info.type
        elif isinstance(info, inspect.UnionType) and len(some := [one for one in info.types if not isinstance(one, inspect.NoneType)]) == 1:
            info = some[0]
        else:
            return info


def _at(text: str, position: int) -> str:
    return f"{text}. Path '', line 1, position {position}."
