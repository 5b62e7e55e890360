"""
JSON with the fields of dataclasses in camelCase, as .NET writes its classes by default.

Outgoing, :func:`with_camel_case` replaces dataclasses by dicts with other names. Incoming, for annotations that contain a dataclass,
:func:`naming_plan` prepares a function that writes the JSON anew with the names as declared; all else about a value stays as it was sent.

Source: ``System.Text.Json``, ``JsonNamingPolicy.CamelCase``, ``PropertyNameCaseInsensitive``.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, inspect

from signalr_channels.exceptions import LocalProtocolError
from signalr_channels.protocols.core.annotations import LIST_LIKE, all_types, tuple_of
from signalr_channels.protocols.core.binding_errors import DECODE_ERRORS, ENCODE_ERRORS
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.messages import NO_RESULT, Completion, HubMessage, Invocation, StreamInvocation, StreamItem

__all__ = ["CamelCaseJsonHubProtocol", "Plan", "Planner", "camel_case", "naming_plan", "with_camel_case"]

Plan = Callable[[bytes], bytes]
"""Takes the JSON of a value and gives it with other names, or gives it back as it is."""

OBJECT_START, ARRAY_START = ord("{"), ord("[")

decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
decode_array = msgspec.json.Decoder(list[Raw]).decode
encode = msgspec.json.encode


class CamelCaseJsonHubProtocol(JsonHubProtocol):
    """
    The ``json`` hub protocol for hubs with ``PROPERTY_NAMES = "camel_case"``.

    Fields of dataclasses go out in camelCase. They are read in camelCase or as declared, in any letter case. Keys of dicts, of
    ``TypedDict`` and of msgspec structs, which have a ``rename`` of their own, stay as they are.
    """

    def encode(self, message: HubMessage) -> bytes:
        """Write one message with its 0x1E."""
        try:
            renamed = _rename_payload(message)
        except ENCODE_ERRORS as error:
            raise LocalProtocolError(str(error), kind=type(error).__name__) from error
        return super().encode(renamed)

    def argument_decoder(self, types: Sequence[Any]) -> Callable[[Raw], Sequence[Any]]:
        """Make a function that reads an array of arguments."""
        return _after(naming_plan(inspect.type_info(tuple_of(types))), super().argument_decoder(types))

    def value_decoder(self, type: Any) -> Callable[[Raw], Any]:
        """Make a function that reads a stream item or a result."""
        decode = super().value_decoder(type)
        return _after(naming_plan(inspect.type_info(type)), decode)


def _after(plan: Plan | None, decode: Callable[[Raw], Any]) -> Callable[[Raw], Any]:
    if plan is None:
        return decode

    def rename_and_decode(raw: Raw) -> Any:
        try:
            renamed = plan(bytes(raw))
        except DECODE_ERRORS:  # the decoder finds out what is wrong, and says it in its own words
            return decode(raw)
        return decode(Raw(renamed))

    return rename_and_decode


# Names


def camel_case(name: str) -> str:
    """
    A field's name in camelCase: ``order_id`` and ``OrderId`` are ``orderId``, ``URL`` is ``url``, ``from_`` is ``from``.

    Leading underscores stay.
    """
    parts = [part for part in name.split("_") if part]
    if not parts:
        return name
    prefix = name[: len(name) - len(name.lstrip("_"))]
    return prefix + _lower_first_word(parts[0]) + "".join(part[0].upper() + part[1:] for part in parts[1:])


def _lower_first_word(text: str) -> str:
    """Lower a capital at the start, and the capitals behind it but for the one that begins the next word: ``URLValue``, ``urlValue``."""
    end = 0
    while end < len(text) and text[end].isupper():
        if end > 0 and end + 1 < len(text) and not text[end + 1].isupper():
            break
        end += 1
    return text[:end].lower() + text[end:]


def _spellings(cls: Any, names: Iterable[str]) -> dict[str, str]:
    """
    Every spelling a field is known by without conversion -> the field's name; lower case stands for all others.

    Raises:
        TypeError: Two fields share one.
    """
    table: dict[str, str] = {}
    for name in names:
        for spelling in (name, camel_case(name), name.lower(), camel_case(name).lower()):
            if table.setdefault(spelling, name) != name:
                shown = getattr(cls, "__qualname__", cls)
                raise TypeError(f"{shown}: {table[spelling]} and {name} are the same name where case does not matter (PROPERTY_NAMES)")
    return table


# Reading


def naming_plan(info: inspect.Type) -> Plan | None:
    """
    Prepare the reading of an annotation; ``None`` if no dataclass is part of it.

    The plan raises what msgspec raises on malformed JSON.

    Raises:
        TypeError: Two fields of a dataclass cannot be told apart.
    """
    return Planner().plan(info)


class Planner:
    """Makes the plans of one annotation. A class that contains itself gets one plan."""

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}

    def plan(self, info: inspect.Type) -> Plan | None:
        """The plan of one part of the annotation; ``None`` if it has nothing to do."""
        if not any(isinstance(part, inspect.DataclassType) for part in all_types(info)):
            return None
        if id(info) not in self._plans:
            made: list[Plan] = []
            self._plans[id(info)] = lambda data: made[0](data)
            made.append(self._make(info))
            self._plans[id(info)] = made[0]
        return self._plans[id(info)]

    def _make(self, info: inspect.Type) -> Plan:
        if isinstance(info, inspect.DataclassType):
            return self._dataclass_plan(info)
        if isinstance(info, inspect.Metadata):
            return self._plan_or_keep(info.type)
        if isinstance(info, LIST_LIKE):
            return _items_plan(self._plan_or_keep(info.item_type))
        if isinstance(info, inspect.TupleType):
            return _tuple_plan([self._plan_or_keep(item) for item in info.item_types])
        if isinstance(info, inspect.DictType):
            return _values_plan(self._plan_or_keep(info.value_type))
        if isinstance(info, inspect.UnionType):
            return _union_plan([plan for plan in map(self.plan, info.types) if plan is not None])
        if isinstance(info, inspect.NamedTupleType) or (isinstance(info, inspect.StructType) and info.array_like):
            tag: list[Plan] = [] if isinstance(info, inspect.NamedTupleType) or info.tag is None else [_keep]
            return _tuple_plan(tag + [self._plan_or_keep(field.type) for field in info.fields])
        if isinstance(info, (inspect.TypedDictType, inspect.StructType)):
            plans = {field.encode_name: plan for field in info.fields if (plan := self.plan(field.type)) is not None}
            tag_field = info.tag_field if isinstance(info, inspect.StructType) else None
            return _members_plan(plans, None if tag_field is None else (tag_field, encode(info.tag)))  # type: ignore[union-attr]
        raise AssertionError(f"a dataclass inside {info!r}")

    def _plan_or_keep(self, info: inspect.Type) -> Plan:
        return self.plan(info) or _keep

    def _dataclass_plan(self, info: inspect.DataclassType) -> Plan:
        fields = {field.name: (encode(field.name) + b":", self._plan_or_keep(field.type)) for field in info.fields}
        table = {spelling: fields[name] for spelling, name in _spellings(info.cls, fields).items()}

        def plan(data: bytes) -> bytes:
            if data[0] != OBJECT_START:
                return data
            members: dict[bytes, bytes] = {}
            for key, value in decode_object(data).items():
                known = table.get(key) or table.get(key.lower())
                if known is not None:
                    members[known[0]] = known[1](bytes(value))
            return b"{" + b",".join(name + value for name, value in members.items()) + b"}"

        return plan


def _keep(data: bytes) -> bytes:
    return data


def _items_plan(item: Plan) -> Plan:
    return lambda data: b"[" + b",".join([item(bytes(one)) for one in decode_array(data)]) + b"]" if data[0] == ARRAY_START else data


def _tuple_plan(items: Sequence[Plan]) -> Plan:
    def plan(data: bytes) -> bytes:
        if data[0] != ARRAY_START:
            return data
        values = [bytes(one) for one in decode_array(data)]
        renamed = [rename(value) for rename, value in zip(items, values, strict=False)]
        return b"[" + b",".join(renamed + values[len(items) :]) + b"]"

    return plan


def _join_members(members: Iterable[tuple[str, bytes]]) -> bytes:
    return b"{" + b",".join(encode(key) + b":" + value for key, value in members) + b"}"


def _values_plan(value: Plan) -> Plan:
    return lambda data: (
        _join_members((key, value(bytes(one))) for key, one in decode_object(data).items()) if data[0] == OBJECT_START else data
    )


def _members_plan(plans: Mapping[str, Plan], tag: tuple[str, bytes] | None) -> Plan:
    def plan(data: bytes) -> bytes:
        if data[0] != OBJECT_START:
            return data
        members = {key: bytes(value) for key, value in decode_object(data).items()}
        if tag is not None and members.get(tag[0]) != tag[1]:
            return data
        return _join_members((key, plans.get(key, _keep)(value)) for key, value in members.items())

    return plan


def _union_plan(plans: Sequence[Plan]) -> Plan:
    def plan(data: bytes) -> bytes:
        # Of an object or an array in JSON there is one possible type, or one with that tag.
        return next((renamed for rename in plans if (renamed := rename(data)) is not data), data)

    return plan


# Writing

PLAIN = frozenset({
    str, int, float, bool, type(None), bytes, bytearray, memoryview, decimal.Decimal, uuid.UUID,
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, Raw,
})  # fmt: skip
"""Types of values without fields."""

writers: dict[type, Callable[[Any], Any]] = {}
"""What to do with values of a class, found out once."""


def with_camel_case(value: Any) -> Any:
    """Give ``value`` itself, or a copy in which dataclasses are dicts with names in camelCase."""
    cls = type(value)
    if cls in PLAIN:
        return value
    writer = writers.get(cls)
    if writer is None:
        writer = writers[cls] = _make_writer(cls)
    return writer(value)


def _make_writer(cls: type) -> Callable[[Any], Any]:
    if issubclass(cls, enum.Enum):
        return lambda value: value
    if issubclass(cls, (list, tuple, set, frozenset)):
        return _rename_items
    if issubclass(cls, dict):
        return lambda value: {key: with_camel_case(item) for key, item in value.items()}
    if issubclass(cls, msgspec.Struct):
        return _rename_in_struct
    if dataclasses.is_dataclass(cls):
        return _fields_writer(cls, [field.name for field in dataclasses.fields(cls)])
    if hasattr(cls, "__attrs_attrs__"):
        return _fields_writer(cls, [attribute.name for attribute in cls.__attrs_attrs__])
    return lambda value: value


def _rename_items(value: Iterable[Any]) -> Any:
    return value if PLAIN.issuperset(map(type, value)) else [with_camel_case(item) for item in value]


def _rename_in_struct(value: msgspec.Struct) -> msgspec.Struct:
    changed = {}
    for name in value.__struct_fields__:
        before = getattr(value, name)
        if (after := with_camel_case(before)) is not before:
            changed[name] = after
    if not changed:
        return value
    # msgspec writes what a field holds, whatever its annotation. So a copy may hold a dict instead of its dataclass.
    duplicate = copy.copy(value)
    for name, after in changed.items():
        msgspec.structs.force_setattr(duplicate, name, after)
    return duplicate


def _fields_writer(cls: type, names: Sequence[str]) -> Callable[[Any], Any]:
    _spellings(cls, names)  # or a client could not tell them apart either
    pairs = [(name, camel_case(name)) for name in names]

    def write(value: Any) -> dict[str, Any]:
        return {key: with_camel_case(item) for name, key in pairs if (item := getattr(value, name, UNSET)) is not UNSET}

    return write


def _rename_payload(message: HubMessage) -> HubMessage:
    if isinstance(message, (Invocation, StreamInvocation)):
        if isinstance(message.arguments, Raw) or PLAIN.issuperset(map(type, message.arguments)):
            return message
        return msgspec.structs.replace(message, arguments=[with_camel_case(argument) for argument in message.arguments])
    if isinstance(message, StreamItem):
        item = with_camel_case(message.item)
        return message if item is message.item else msgspec.structs.replace(message, item=item)
    if isinstance(message, Completion) and message.result is not NO_RESULT:
        result = with_camel_case(message.result)
        return message if result is message.result else msgspec.structs.replace(message, result=result)
    return message
