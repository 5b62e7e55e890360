"""
JSON values as Json.NET takes them: a number for a text, a text for a number, the name of an enum's member, members in any letter case.

:func:`lenient_plan` looks at an annotation once and prepares a function that writes a received value anew, so that the strict decoder of
this annotation takes it. What has no conversion stays as it was sent, for the decoder to refuse.

Source: Json.NET 13, ``JsonTextReader.ReadAs…``, as observed on ASP.NET SignalR 2.4.1.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import inspect

from signalr_channels.protocols.core.annotations import LIST_LIKE, all_types
from signalr_channels.protocols.core.json_camel_case import Plan, Planner

__all__ = ["lenient_plan", "mend_text", "number_text"]

QUOTE, ARRAY_START = b'"['
NUMBER_START = frozenset(b"-0123456789")

ASCII_SPACE = "\t\n\v\f\r "  # .NET trims these of a number, and no others
INTEGER = re.compile(r"([+-]?)([0-9]+)")
NUMBER = re.compile(r"[+-]?(?:[0-9][0-9,]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
BRACKETS = {"{": "}", "(": ")"}
ESCAPE = re.compile(rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)

FIXED_FROM, FIXED_BELOW = 1e16, 1e17

ANY_KIND = frozenset('{["tfn0.')
TEXT_TYPES = (
    inspect.StrType, inspect.BytesType, inspect.ByteArrayType, inspect.MemoryViewType, inspect.UUIDType,
    inspect.DateTimeType, inspect.DateType, inspect.TimeType, inspect.TimeDeltaType,
)  # fmt: skip
ARRAY_TYPES = (*LIST_LIKE, inspect.TupleType, inspect.NamedTupleType)
OBJECT_TYPES = (inspect.DictType, inspect.TypedDictType, inspect.DataclassType)

decode_text = msgspec.json.Decoder(str).decode
decode_byte_list = msgspec.json.Decoder(list[Annotated[int, msgspec.Meta(ge=0, le=255)]]).decode
encode = msgspec.json.encode


def lenient_plan(info: inspect.Type) -> Plan | None:
    """
    Prepare the reading of an annotation; ``None`` if the strict decoder reads it as Json.NET does.

    The plan raises what msgspec raises on malformed JSON.

    Raises:
        TypeError: Two fields of a dataclass cannot be told apart where letter case does not matter.
    """
    return _LenientPlanner().plan(info)


class _LenientPlanner(Planner):
    """Converts scalars while it names the fields of dataclasses."""

    def plan(self, info: inspect.Type) -> Plan | None:
        """The plan of one part of the annotation; ``None`` if it has nothing to do."""
        if not any(isinstance(part, CONVERTED) for part in all_types(info)):
            return None
        if id(info) not in self._plans:
            made: list[Plan] = []
            self._plans[id(info)] = lambda data: made[0](data)  # for a class that contains itself
            made.append(self._make(info))
            self._plans[id(info)] = made[0]
        return self._plans[id(info)]

    def _make(self, info: inspect.Type) -> Plan:
        if isinstance(info, inspect.EnumType):
            return _enum_plan(info.cls)
        if isinstance(info, inspect.UnionType):
            return _union_plan([(_kinds(one), self.plan(one)) for one in info.types])
        return SCALAR_PLANS.get(type(info)) or super()._make(info)


# Unions


def _kinds(info: inspect.Type) -> frozenset[str]:
    """
    The kinds of JSON values that the strict decoder takes for a type: their first character, or ``0`` for
    integers and ``.`` for other numbers.
    """
    if isinstance(info, inspect.Metadata):
        return _kinds(info.type)
    if isinstance(info, (inspect.EnumType, inspect.LiteralType)):
        values = [member.value for member in info.cls] if isinstance(info, inspect.EnumType) else info.values
        return frozenset("n" if value is None else '"' if isinstance(value, str) else "0" for value in values)
    if isinstance(info, inspect.StructType):
        return frozenset("[" if info.array_like else "{")
    for types, kinds in KINDS:
        if isinstance(info, types):
            return frozenset(kinds)
    return ANY_KIND


KINDS: Sequence[tuple[tuple[type, ...], str]] = [
    ((inspect.NoneType,), "n"),
    ((inspect.BoolType,), "tf"),
    ((inspect.IntType,), "0"),
    ((inspect.FloatType,), "0."),
    ((inspect.DecimalType,), '0."'),
    (TEXT_TYPES, '"'),
    (ARRAY_TYPES, "["),
    (OBJECT_TYPES, "{"),
]


def _union_plan(options: Sequence[tuple[frozenset[str], Plan | None]]) -> Plan:
    """A value stays what it is if one of the types takes it as it is; only then is another one converted to."""

    def plan(data: bytes) -> bytes:
        kind = chr(data[0]) if data[0] not in NUMBER_START else "0" if data.removeprefix(b"-").isdigit() else "."
        fitting = [option for kinds, option in options if kind in kinds] or [option for _, option in options]
        return next((changed for option in fitting if option is not None and (changed := option(data)) is not data), data)

    return plan


# Scalars


def _to_integer(data: bytes) -> bytes:
    """Of a text that is an integer; ``" +07 "`` is 7. A number with a fraction or exponent is none, even if it is whole."""
    if data[0] != QUOTE:
        return data
    match = INTEGER.fullmatch(decode_text(data).strip(ASCII_SPACE))
    if match is None:
        return data
    digits = match[2].lstrip("0") or "0"
    return f"-{digits}".encode() if match[1] == "-" and digits != "0" else digits.encode()


def _to_float(data: bytes) -> bytes:
    """Of a text that is a finite number, with commas between thousands or not."""
    text = _plain_number(data)
    return data if text is None or not math.isfinite(value := float(text)) else repr(value).encode()


def _to_decimal(data: bytes) -> bytes:
    """The same, every digit kept; the decoder takes decimals as texts."""
    text = _plain_number(data)
    return data if text is None else encode(text)


def _plain_number(data: bytes) -> str | None:
    if data[0] != QUOTE:
        return None
    text = decode_text(data).strip(ASCII_SPACE)
    return text.replace(",", "") if NUMBER.fullmatch(text) else None


def _to_boolean(data: bytes) -> bytes:
    """Of the words in any letter case, and of numbers: all but zero are true."""
    if data[0] == QUOTE:
        word = decode_text(data).strip().lower()
        return word.encode() if word in ("true", "false") else data
    if data[0] in NUMBER_START:
        return b"true" if float(data) else b"false"
    return data


def _to_text(data: bytes) -> bytes:
    """Of a number or a truth value."""
    if data[0] in NUMBER_START:
        return f'"{number_text(data)}"'.encode()
    return b'"' + data + b'"' if data in (b"true", b"false") else data


def _to_bytes(data: bytes) -> bytes:
    """Base64 of an array of numbers up to 255."""
    if data[0] != ARRAY_START:
        return data
    try:
        return encode(base64.b64encode(bytes(decode_byte_list(data))).decode())
    except msgspec.ValidationError:
        return data


def _to_uuid(data: bytes) -> bytes:
    """Of one in braces or parentheses."""
    if data[0] != QUOTE:
        return data
    text = decode_text(data).strip()
    return encode(text[1:-1]) if len(text) > 1 and BRACKETS.get(text[0]) == text[-1] else data


def _to_datetime(data: bytes) -> bytes:
    """Of a date: its midnight."""
    if data[0] != QUOTE or DATE.fullmatch(text := decode_text(data)) is None:
        return data
    return encode(f"{text}T00:00:00")


def _enum_plan(cls: Any) -> Plan:
    """Of a member's name in any letter case, and of a number written as a text."""
    values = [member.value for member in cls]
    named = {name.lower(): member.value for name, member in reversed(cls.__members__.items())}
    named.update({name: member.value for name, member in cls.__members__.items()})

    def plan(data: bytes) -> bytes:
        if data[0] != QUOTE or (text := decode_text(data)) in values:
            return data
        name = text.strip()
        value = named.get(name, named.get(name.lower()))
        return _to_integer(data) if value is None else encode(value)

    return plan


SCALAR_PLANS: dict[type, Plan] = {
    inspect.IntType: _to_integer,
    inspect.FloatType: _to_float,
    inspect.DecimalType: _to_decimal,
    inspect.BoolType: _to_boolean,
    inspect.StrType: _to_text,
    inspect.BytesType: _to_bytes,
    inspect.ByteArrayType: _to_bytes,
    inspect.MemoryViewType: _to_bytes,
    inspect.UUIDType: _to_uuid,
    inspect.DateTimeType: _to_datetime,
}
CONVERTED = (*SCALAR_PLANS, inspect.EnumType, inspect.DataclassType)


# Texts


def number_text(token: bytes) -> str:
    """
    A JSON number as .NET writes it: ``1.50`` is ``1.5``, ``1e2`` is ``100.0``, ``1e-5`` is ``1E-05``.

    Integers keep all their digits; with a fraction or exponent a number is one of 64 bits, and may be infinite.
    """
    if token.removeprefix(b"-").isdigit():
        return "0" if token == b"-0" else token.decode()
    value = float(token)
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if FIXED_FROM <= abs(value) < FIXED_BELOW:  # Python begins one decade earlier than .NET with the exponent
        return f"{value:.1f}"
    return repr(value).replace("e", "E")


def mend_text(data: bytes) -> bytes:
    """
    Put U+FFFD where JSON holds what is not Unicode, as .NET does: bytes that are not UTF-8, half a surrogate pair written as an escape.

    JavaScript cuts strings between the halves of a pair, and then sends such an escape.
    """
    if not data.isascii():
        data = data.decode("utf-8", "replace").encode()
    return ESCAPE.sub(lambda match: rb"\ufffd" if match[3] else match[0], data) if b"\\" in data else data
