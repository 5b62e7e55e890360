"""Types of hub methods that the tests of both encodings share."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

import msgspec

UTC = datetime.timezone.utc


class Color(enum.IntEnum):
    Red = 0
    Green = 1


class Size(str, enum.Enum):
    SMALL = "s"


@dataclass(frozen=True)
class Record:
    """What the reference's clients are tested with: every kind of value, and itself inside."""

    Int: int
    Double: float
    Bool: bool
    Text: str
    Missing: str | None
    Bytes: bytes
    When: datetime.datetime
    Id: uuid.UUID
    Money: decimal.Decimal
    Color: Color
    List: list[int]
    Map: dict[str, int]
    Child: Record | None = None
    Sizes: dict[Color, list[Size]] = field(default_factory=dict)


RECORD = Record(
    Int=-1, Double=0.1, Bool=True, Text='é"<', Missing=None, Bytes=b"\x00\xff",
    When=datetime.datetime(2000, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), Id=uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"),
    Money=decimal.Decimal("12.50"), Color=Color.Green, List=[1, 2], Map={"Key one": 1, "b": 2},
)  # fmt: skip


class Point(msgspec.Struct, frozen=True, rename="camel"):
    left_edge: int
    color: Color = Color.Red


class PackedPoint(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    color: Color
    next: PackedPoint | None = None


class Circle(msgspec.Struct, frozen=True, tag="circle"):
    color: Color


class Square(msgspec.Struct, frozen=True, tag="square"):
    color: Size


class Options(TypedDict, total=False):
    color: Color
    inner: Options


class Pair(NamedTuple):
    color: Color
    count: int = 0


class Unknown:
    """No type that can be read from the wire."""


class Holder(TypedDict):
    inside: list[Unknown]
