"""
Values in MessagePack as .NET knows them, where msgspec does otherwise: enums by name, bytes also from text, naive datetimes as UTC.

Reading: for annotations that contain such a type, :func:`conversion_plan` prepares a function that turns decoded builtins into what
``msgspec.convert`` expects. Writing: :func:`prepare` replaces such values and copies only what holds one.

Source: ``MessagePack-CSharp``, ``DynamicEnumAsStringResolver`` and ``NativeDateTimeFormatter``.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from signalr_channels.protocols.core.annotations import inner_types

__all__ = ["Plan", "contains_enum", "conversion_plan", "prepare"]

Plan = Callable[[Any], Any]

BYTES_TYPES = (inspect.BytesType, inspect.ByteArrayType, inspect.MemoryViewType)
SEQUENCE_TYPES = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)
MAPPING_TYPES = (inspect.DataclassType, inspect.TypedDictType, inspect.StructType)


# Reading


def contains_enum(info: inspect.Type) -> bool:
    """Whether an enum is part of an annotation."""
    return _contains(info, inspect.EnumType)


def conversion_plan(info: inspect.Type) -> Plan | None:
    """
    Prepare the conversion of decoded builtins for an annotation; ``None`` if there is nothing to do.

    The plan raises :exc:`ValueError` for a text that is no name of its enum.
    """
    return _Planner().plan(info)


class _Planner:
    """Makes the plans of one annotation. A class that contains itself gets one plan."""

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}

    def plan(self, info: inspect.Type) -> Plan | None:
        if not _contains(info, (inspect.EnumType, *BYTES_TYPES)):
            return None
        if id(info) not in self._plans:
            made: list[Plan] = []
            self._plans[id(info)] = lambda value: made[0](value)
            made.append(self._make(info))
            self._plans[id(info)] = made[0]
        return self._plans[id(info)]

    def _make(self, info: inspect.Type) -> Plan:
        if isinstance(info, inspect.EnumType):
            return _enum_plan(info.cls)
        if isinstance(info, BYTES_TYPES):
            return lambda value: value.encode() if isinstance(value, str) else value
        if isinstance(info, inspect.Metadata):
            return self._plan_or_keep(info.type)
        if isinstance(info, SEQUENCE_TYPES):
            return _items_plan(self._plan_or_keep(info.item_type))
        if isinstance(info, inspect.TupleType):
            return _tuple_plan([self._plan_or_keep(item) for item in info.item_types])
        if isinstance(info, inspect.DictType):
            return _dict_plan(self._plan_or_keep(info.key_type), self._plan_or_keep(info.value_type))
        if isinstance(info, inspect.UnionType):
            return _union_plan([plan for plan in map(self.plan, info.types) if plan is not None])
        if isinstance(info, inspect.NamedTupleType) or (isinstance(info, inspect.StructType) and info.array_like):
            tag: list[Plan] = [] if isinstance(info, inspect.NamedTupleType) or info.tag is None else [_keep]
            return _tuple_plan(tag + [self._plan_or_keep(field.type) for field in info.fields])
        if isinstance(info, MAPPING_TYPES):
            plans = {field.encode_name: plan for field in info.fields if (plan := self.plan(field.type)) is not None}
            is_tagged = isinstance(info, inspect.StructType) and info.tag is not None
            return _members_plan(plans, {info.tag_field: info.tag} if isinstance(info, inspect.StructType) and is_tagged else {})
        raise AssertionError(f"an enum inside {info!r}")

    def _plan_or_keep(self, info: inspect.Type) -> Plan:
        return self.plan(info) or _keep


def _contains(info: inspect.Type, kinds: type | tuple[type, ...]) -> bool:
    seen: set[int] = set()
    waiting = [info]
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            if isinstance(part, kinds):
                return True
            seen.add(id(part))
            waiting.extend(inner_types(part))
    return False


def _keep(value: Any) -> Any:
    return value


def _enum_plan(cls: type[enum.Enum]) -> Plan:
    members = cls.__members__

    def plan(value: Any) -> Any:
        if not isinstance(value, str) or value not in members:
            raise ValueError(f"{value!r} is no name of {cls.__qualname__}")
        return members[value].value

    return plan


def _items_plan(item: Plan) -> Plan:
    return lambda value: [item(one) for one in value] if isinstance(value, (list, tuple)) else value


def _tuple_plan(items: Sequence[Plan]) -> Plan:
    def plan(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return [convert(one) for convert, one in zip(items, value, strict=False)] + list(value[len(items) :])

    return plan


def _dict_plan(key: Plan, item: Plan) -> Plan:
    return lambda value: {key(k): item(v) for k, v in value.items()} if isinstance(value, dict) else value


def _members_plan(plans: dict[str, Plan], tag: dict[str | None, Any]) -> Plan:
    def plan(value: Any) -> Any:
        if not isinstance(value, dict) or any(value.get(name) != expected for name, expected in tag.items()):
            return value
        return {key: plans[key](item) if key in plans else item for key, item in value.items()}

    return plan


def _union_plan(plans: Sequence[Plan]) -> Plan:
    def plan(value: Any) -> Any:
        if value is None:
            return None
        for convert in plans:
            try:
                converted = convert(value)
            except ValueError:  # not this alternative
                continue
            if converted is not value:
                return converted
        return value

    return plan


# Writing

PLAIN = frozenset({
    str, int, float, bool, type(None), bytes, bytearray, memoryview, decimal.Decimal, uuid.UUID,
    datetime.date, datetime.time, datetime.timedelta, msgspec.Raw,
})  # fmt: skip
"""Types that are written as they are."""
PLAIN_INFOS = (
    inspect.StrType, inspect.IntType, inspect.FloatType, inspect.BoolType, inspect.NoneType, inspect.BytesType, inspect.DecimalType,
    inspect.UUIDType, inspect.DateType, inspect.TimeType, inspect.TimeDeltaType,
)  # fmt: skip

preparers: dict[type, Plan] = {}
"""What to do with values of a class, found out once."""


def prepare(value: Any) -> Any:
    """Give ``value`` itself, or a copy whose enums are names and whose naive datetimes are in UTC."""
    cls = type(value)
    if cls in PLAIN:
        return value
    preparer = preparers.get(cls)
    if preparer is None:
        preparer = preparers[cls] = _make_preparer(cls)
    return preparer(value)


def _make_preparer(cls: type) -> Plan:
    if issubclass(cls, enum.Enum):
        return lambda value: value.name
    if issubclass(cls, datetime.datetime):
        return lambda value: value if value.tzinfo is not None else value.replace(tzinfo=datetime.timezone.utc)
    if issubclass(cls, (list, tuple, set, frozenset)):
        return _prepare_items
    if issubclass(cls, dict):
        return _prepare_dict
    if names := _field_names(cls):
        return _keep if _has_plain_fields(cls) else _fields_preparer(cls, names)
    return _keep


def _prepare_items(value: Iterable[Any]) -> Any:
    return value if PLAIN.issuperset(map(type, value)) else [prepare(item) for item in value]


def _prepare_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if PLAIN.issuperset(map(type, value)) and PLAIN.issuperset(map(type, value.values())):
        return value
    return {key.name if isinstance(key, enum.Enum) else key: prepare(item) for key, item in value.items()}


def _field_names(cls: type) -> Sequence[str]:
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return [attribute.name for attribute in getattr(cls, "__attrs_attrs__", ())]


def _has_plain_fields(cls: type) -> bool:
    """Whether a class says that all its fields are of types written as they are."""
    try:
        info = inspect.type_info(cls)
    except (TypeError, NameError):  # annotations for the class's own use
        return False
    return all(_is_plain(part) for part in inner_types(info))


def _is_plain(info: inspect.Type) -> bool:
    if isinstance(info, inspect.UnionType):
        return all(_is_plain(part) for part in info.types)
    return isinstance(info, PLAIN_INFOS)


def _fields_preparer(cls: type, names: Sequence[str]) -> Plan:
    # msgspec writes what a field holds, whatever its annotation. So a copy may hold a name instead of its enum.
    set_field: Callable[[Any, str, Any], None] = msgspec.structs.force_setattr if issubclass(cls, msgspec.Struct) else object.__setattr__

    def preparer(value: Any) -> Any:
        changed = []
        for name in names:
            before = getattr(value, name, None)
            after = prepare(before)
            if after is not before:
                changed.append((name, after))
        if not changed:
            return value
        duplicate = copy.copy(value)
        for name, after in changed:
            set_field(duplicate, name, after)
        return duplicate

    return preparer
