"""The encoding of classic hubs, and how arguments are read."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypedDict, Union

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError
from signalr_channels.protocols.base import TransferFormat
from signalr_channels.protocols.classic.hub_protocol import NO_CLIENT_RESULTS, ClassicHubProtocol
from signalr_channels.protocols.classic.lenient_json import mend_text, number_text
from signalr_channels.protocols.core.json_camel_case import CamelCaseJsonHubProtocol
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.messages import CancelInvocation, Close, Completion, Invocation, Ping, StreamInvocation, StreamItem
from tests.unit.protocols.values import Color as PointColor
from tests.unit.protocols.values import PackedPoint, Size, Unknown
from tests.vectors.classic_messages import CONVERSIONS, ELEMENTS, INT32_MISFITS, MISFITS, TOO_DEEP, Int32
from tests.vectors.rows import Direction, Vector

CLASSIC = ClassicHubProtocol("peer")
JSON = JsonHubProtocol()
THOROUGHLY = settings(max_examples=500, deadline=None)


class Color(enum.Enum):
    Red = 0
    Green = 1


ColorValue = Color  # a field of that name hides it below


@dataclass
class Record:
    """The contract's, as its .NET hub declares it."""

    Int: Int32 = 0
    Double: float = 0.0
    Bool: bool = False
    Text: str = ""
    Missing: str | None = None
    Bytes: bytes = b""
    When: datetime.datetime | None = None
    Id: uuid.UUID = uuid.UUID(int=0)
    Money: decimal.Decimal = decimal.Decimal(0)
    Color: ColorValue = Color.Red
    List: list[Int32] = field(default_factory=list)
    Map: dict[str, Int32] = field(default_factory=dict)
    Child: Record | None = None


class Size2(NamedTuple):
    width: int
    height: int = 0


class Options(TypedDict, total=False):
    count: int
    text: str


class Point(msgspec.Struct, rename="camel"):
    left_edge: int


def bind(types: Sequence[Any], wire: str | bytes) -> tuple[Any, ...]:
    return tuple(CLASSIC.argument_decoder(types)(Raw(wire.encode() if isinstance(wire, str) else wire)))


def bind_one(type: Any, wire: str) -> Any:
    """The same value as an argument, behind another one that needs conversion, and alone."""
    value = bind([type], f"[{wire}]")[0]
    assert bind([int, type], f'["1", {wire} ]') == (1, value)
    assert CLASSIC.value_decoder(type)(Raw(wire.encode())) == value
    return value


def refusal(types: Sequence[Any], wire: str) -> str:
    with pytest.raises(ArgumentBindingError) as caught:
        bind(types, wire)
    assert caught.value.text
    return caught.value.text


def name(value: object) -> str | None:
    if isinstance(value, Vector):
        return value.name
    return value.__qualname__ if isinstance(value, type) else None


def test_what_it_is() -> None:
    assert (CLASSIC.name, CLASSIC.version, CLASSIC.transfer_format) == ("classic", 1, TransferFormat.TEXT)


# Writing


@pytest.mark.parametrize("row", [row for row in ELEMENTS if row.direction is Direction.BOTH], ids=name)
def test_calls_become_elements(row: Vector) -> None:
    assert CLASSIC.encode(row.message) == row.wire
    assert CLASSIC.transcode(JSON.encode(row.message)) == row.wire


@pytest.mark.parametrize("row", ELEMENTS, ids=name)
def test_elements_read_back(row: Vector) -> None:
    members = json.loads(row.wire)
    assert members["H"] == "peer"
    assert Invocation(target=members["M"], arguments=members["A"]) == row.message


def test_raw_arguments_are_copied() -> None:
    assert CLASSIC.encode(Invocation(target="a", arguments=Raw(b"[1.50]"))) == b'{"H":"peer","M":"a","A":[1.50]}'


def test_state_goes_with_calls_to_the_caller() -> None:
    assert CLASSIC.encode_with_state("a", (1,), {"n": 2}) == b'{"H":"peer","M":"a","A":[1],"S":{"n":2}}'
    assert CLASSIC.encode_with_state("a", Raw(b"[]"), {}) == b'{"H":"peer","M":"a","A":[]}'


def test_values_go_out_as_in_the_json_hub_protocol() -> None:
    values = [
        Record(When=datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc), Money=decimal.Decimal("1.50")), Color.Green, {1: b"x"},
    ]  # fmt: skip
    message = Invocation(target="a", arguments=values)
    assert CLASSIC.encode(message).partition(b'"A":')[2] == JSON.encode(message).partition(b'"arguments":')[2].replace(b"]}\x1e", b"]}")


@pytest.mark.parametrize(
    "message",
    [
        Completion(invocation_id="1", result=1), StreamItem(invocation_id="1", item=1), CancelInvocation(invocation_id="1"), Ping(),
        Close(), StreamInvocation(invocation_id="1", target="a", arguments=[]),
    ],
)  # fmt: skip
def test_other_messages_do_not_exist(message: Any) -> None:
    with pytest.raises(LocalProtocolError):
        CLASSIC.encode(message)
    with pytest.raises(LocalProtocolError):
        CLASSIC.transcode(JSON.encode(message))


def test_calls_that_ask_for_a_result_do_not_exist() -> None:
    message = Invocation(target="a", arguments=[], invocation_id="1")
    for write in (lambda: CLASSIC.encode(message), lambda: CLASSIC.transcode(JSON.encode(message))):
        with pytest.raises(LocalProtocolError, match=NO_CLIENT_RESULTS):
            write()


def test_a_call_in_camel_case_becomes_an_element() -> None:
    data = CamelCaseJsonHubProtocol().encode(Invocation(target="a", arguments=[Size2(1, 2), Record(Int=5)], headers={"a": "b"}))
    assert CLASSIC.transcode(data).startswith(b'{"H":"peer","M":"a","A":[[1,2],{"int":5,')


@pytest.mark.parametrize("data", [b"", b"\x1e", b"{}\x1e", b'{"type":1}\x1e', b'{"type":1,"target":"a","arguments":[]', b"\xff\x1e"])
def test_what_is_no_core_message_cannot_be_transcoded(data: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        CLASSIC.transcode(data)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], decimal.Decimal("NaN"), object(), "\ud800"])
def test_values_that_json_cannot_hold(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        CLASSIC.encode(Invocation(target="a", arguments=[value]))
    with pytest.raises(LocalProtocolError):
        CLASSIC.encode_with_state("a", [], {"n": value})


def test_there_is_no_stream_to_split_or_parse() -> None:
    with pytest.raises(LocalProtocolError):
        CLASSIC.splitter(None)
    with pytest.raises(LocalProtocolError):
        CLASSIC.parse(b"{}")


# Reading


@pytest.mark.parametrize(("type", "wire", "value", "source"), CONVERSIONS, ids=name)
def test_conversions(type: Any, wire: str, value: object, source: str) -> None:
    read = bind_one(type, wire)
    assert (read, read.__class__) == (value, value.__class__)
    assert bind_one(Union[type, None], wire) == value
    assert bind_one(list[type], f"[{wire},{wire}]") == [value, value]
    assert bind_one(dict[str, type], f'{{"a":{wire}}}') == {"a": value}
    assert bind_one(tuple[type, Int32], f'[{wire},"2"]') == (value, 2)


@pytest.mark.parametrize(("wire", "text"), INT32_MISFITS)
def test_what_is_no_int32(wire: str, text: str) -> None:
    assert refusal([Int32, Int32], f"[{wire}, 2]") == text
    assert refusal([Any, Int32], f"[2,{wire}]") == text
    refusal([list[Int32]], f"[[{wire}]]")
    refusal([Record], f'[{{"Int":{wire}}}]')


@pytest.mark.parametrize(("type", "wire", "source"), MISFITS, ids=name)
def test_what_does_not_fit(type: Any, wire: str, source: str) -> None:
    refusal([type], f"[{wire}]")
    refusal([dict[str, type]], f'[{{"a":{wire}}}]')
    with pytest.raises(ArgumentBindingError):
        CLASSIC.value_decoder(type)(Raw(wire.encode()))


def test_an_array_or_object_is_no_text() -> None:
    text = "Unexpected character encountered while parsing value: {}. Path '', line 1, position 1."
    assert refusal([str], "[{}]") == text.format("{")
    assert refusal([str], "[[1]]") == text.format("[")
    assert refusal([str | None], "[{}]") == text.format("{")


def test_null_is_a_text_where_the_annotation_says_so() -> None:
    assert bind_one(str | None, "null") is None
    refusal([str], "[null]")


def test_an_int_without_bounds_may_be_larger() -> None:
    assert bind_one(int, '"9223372036854775808"') == 2**63
    assert refusal([Int32, int], "[1]") == "Invocation provides 1 argument(s) but target expects 2."


@pytest.mark.parametrize("wire", ["[]", "[1]", "[1,2,3]", '["1","2","3"]'])
def test_a_wrong_count(wire: str) -> None:
    given_count = len(json.loads(wire))
    assert refusal([int, int], wire) == f"Invocation provides {given_count} argument(s) but target expects 2."


def test_no_arguments() -> None:
    assert bind([], "[]") == ()
    refusal([], "[1]")


# Dataclasses and enums


WHOLE = (
    '{"Int":1,"Double":1.5,"Bool":true,"Text":"t","Missing":null,"Bytes":"AQID","When":"2024-01-02T03:04:05Z",'
    '"Id":"0f8fad5b-d9cb-469f-a165-70867728950e","Money":12.5,"Color":1,"List":[1,2],"Map":{"a":1},"Child":null}'
)


def test_a_record() -> None:
    record = bind_one(Record | None, WHOLE)
    assert record == Record(
        Int=1, Double=1.5, Bool=True, Text="t", Missing=None, Bytes=b"\1\2\3",
        When=datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), Id=uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e"),
        Money=decimal.Decimal("12.5"), Color=Color.Green, List=[1, 2], Map={"a": 1}, Child=None,
    )  # fmt: skip


def test_a_record_with_other_names_and_values() -> None:
    wire = '{"int":"1","COLOR":"green","nothing":[1],"text":5,"list":["3"],"map":{"Key":"4"},"cHILD":{"bool":" True ","missing":1.50}}'
    assert bind_one(Record, wire) == Record(
        Int=1, Color=Color.Green, Text="5", List=[3], Map={"Key": 4}, Child=Record(Bool=True, Missing="1.5")
    )
    assert bind_one(Record, "{}") == Record()


def test_of_members_in_several_letter_cases_the_last_counts() -> None:
    assert bind_one(Record, '{"INT":3,"int":4}').Int == 4
    assert bind_one(Record, '{"int":4,"Int":3}').Int == 3


def test_names_declared_in_pythons_way() -> None:
    @dataclass
    class Order:
        order_id: int
        from_: str = ""

    for spelling in ("order_id", "orderId", "OrderId", "ORDERID", "Order_Id"):
        assert bind_one(Order, f'{{"{spelling}":"5","from":1}}') == Order(5, "1")
    refusal([Order], "[{}]")


def test_fields_that_differ_in_letter_case_only_cannot_be_told_apart() -> None:
    @dataclass
    class Twins:
        a: int
        A: int

    with pytest.raises(TypeError, match="Twins"):
        CLASSIC.argument_decoder([Twins])


def test_only_dataclasses_have_names_in_any_letter_case() -> None:
    assert bind_one(Options, '{"count":"1","text":2,"Count":3}') == {"count": 1, "text": "2"}
    assert bind_one(Point, '{"leftEdge":"1"}') == Point(1)
    assert bind_one(Size2, '["1"]') == Size2(1, 0)
    refusal([Point], '[{"LeftEdge":1}]')


@pytest.mark.parametrize("wire", ["1", '"Green"', '"green"', '"GREEN"', '" Green "', '"1"'])
def test_enums_by_number_and_by_name(wire: str) -> None:
    assert bind_one(Color, wire) is Color.Green
    assert bind_one(Color | None, wire) is Color.Green
    assert bind_one(dict[str, list[Color]], f'{{"a":[{wire}]}}') == {"a": [Color.Green]}
    assert bind_one(Record, f'{{"color":{wire}}}').Color is Color.Green


@pytest.mark.parametrize("wire", ["2", '"2"', '"x"', '""', "null", "1.5", "1.0", "[]"])
def test_what_is_no_member_of_an_enum(wire: str) -> None:
    refusal([Color], f"[{wire}]")


def test_enums_of_texts_by_value_and_by_name() -> None:
    class Letter(enum.Enum):
        A = "B"
        B = "A"
        a = "c"
        ALIAS = a

    for wire, member in [("B", Letter.A), ("A", Letter.B), ("a", Letter.a), ("b", Letter.B), ("alias", Letter.a), ("c", Letter.a)]:
        assert bind_one(Letter, f'"{wire}"') is member
    assert bind_one(list[Size], '["s","small","SMALL"]') == [Size.SMALL] * 3


# What stays as it is


@pytest.mark.parametrize(
    ("type", "wire", "value"),
    [
        (Any, '{"a":["1",1.50]}', {"a": ["1", 1.5]}),
        (int | str, '"5"', "5"),
        (int | str, "5", 5),
        (int | str, "1.5", "1.5"),
        (int | bool, '"1"', 1),
        (bool | str, '"true"', "true"),
        (int | None, '"5"', 5),
        (float | int, "1.5", 1.5),
        (list[int] | int, '"1"', 1),
        (list[int] | int, '["1"]', [1]),
        (dict[str, int] | list[str], '["1"]', ["1"]),
        (dict[str, int] | list[str], '{"a":"1"}', {"a": 1}),
        (Color | None, "null", None),
        (Literal["a"] | int, '"a"', "a"),
        (Literal["a", 1, None], "1", 1),
        (PackedPoint | None, "null", None),
        (PackedPoint | None, '["p",1,null]', PackedPoint(PointColor.Green)),
        (PackedPoint | None, '["p","green"]', PackedPoint(PointColor.Green)),
        (set[int], '["1",1]', {1}),
        (frozenset[int], '["1",1]', frozenset({1})),
        (tuple[int, ...], '["1",1]', (1, 1)),
        (dict[int, int], '{"1":"2"}', {1: 2}),
        (bytearray, "[1]", bytearray(b"\1")),
        (datetime.date, '"2024-01-02"', datetime.date(2024, 1, 2)),
        (datetime.timedelta, '"PT1S"', datetime.timedelta(seconds=1)),
    ],
)  # fmt: skip
def test_other_annotations(type: Any, wire: str, value: object) -> None:
    read = bind_one(type, wire)
    assert (read, read.__class__) == (value, value.__class__)


def test_annotations_that_cannot_be_read() -> None:
    for make in (lambda: CLASSIC.argument_decoder([Unknown]), lambda: CLASSIC.value_decoder(list[Unknown])):
        with pytest.raises(TypeError):
            make()


def nested(kind: str, depth: int) -> str:
    if kind == "records":
        return '{"Child":' * (depth - 1) + "{}" + "}" * (depth - 1)
    if kind == "arrays":
        return "[" * depth + "]" * depth
    return '{"zz":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@pytest.mark.parametrize(
    ("type", "kind"), [(Record, "records"), (Record, "unknown"), (Any, "arrays"), (Any, "unknown"), (Options, "unknown")]
)
def test_twenty_levels_pass_and_one_more_does_not(type: Any, kind: str) -> None:
    bind_one(type, nested(kind, 20))
    for depth in (21, 60, 10_000):
        assert refusal([type], f"[{nested(kind, depth)}]").startswith(TOO_DEEP)
        with pytest.raises(ArgumentBindingError, match="MaxDepth of 20"):
            CLASSIC.value_decoder(type)(Raw(nested(kind, depth).encode()))


def test_brackets_in_texts_are_no_nesting() -> None:
    assert bind_one(Any, json.dumps(["[" * 100, '\\"' + "{" * 100])) == ["[" * 100, '\\"' + "{" * 100]


# Whatever comes


DECODERS: list[Callable[[Raw], Any]] = [
    CLASSIC.argument_decoder(types)
    for types in ([], [str], [Int32, Int32], [Any], [Record], [Color, bool | None], [bytes, float], [decimal.Decimal, uuid.UUID],
                  [list[datetime.datetime], int | str | None], [Options, Point], [PackedPoint | int, Size])
] + [CLASSIC.value_decoder(type) for type in (int, str | None, Any, Record, Color, list[Int32])]  # fmt: skip

PIECES = [
    '"',
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "1",
    "-",
    ".",
    "e9",
    "null",
    "true",
    r"\ud800",
    " ",
    "\x00",
    '"1"',
    '"green"',
    "é",
    "1e999",
]


def use(data: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(ArgumentBindingError):
            decode(Raw(data))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    samples = [f"[{wire}]" for _, wire, *_ in CONVERSIONS] + [f"[{wire},{wire}]" for wire, _ in INT32_MISFITS] + [f"[{WHOLE}]"]
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 6)))
        data = data[:start] + draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=2))) + data[end:]
    return data.encode()


@THOROUGHLY
@given(st.one_of(st.binary(max_size=40), mutated()))
def test_nothing_else_comes_out(data: bytes) -> None:
    use(data)


@pytest.mark.parametrize("size", [10_000])
def test_long_values_take_no_detours(size: int) -> None:
    escape = r"\ud800"
    for wire in (
        "1" * size, f'"{"0" * size}x"', f'"{"1," * size}x"', f'"{" " * size}x"', f'"{"1" * size}"', "[" * size, f'"{escape * size}"',
        f"{'1' * size}.5", f"1e{'9' * 400}", f"-0.{'0' * size}1",
    ):  # fmt: skip
        use(f"[{wire}]".encode())


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False), st.text("a1 +.", max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "Int", "int"]), inner, max_size=3)),
    max_leaves=6,
)
TYPES: list[Any] = [
    int, Int32, str, str | None, bool, float, decimal.Decimal, Any, int | str, int | None, bool | str | None, list[int], list[str | None],
    dict[str, int], dict[str, str | int], Options, tuple[int, str], Color, Size, int | list[str], dict[str, Any], Literal["a", 1],
]  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(TYPES), JSON_VALUES)
def test_what_fits_strictly_is_read_the_same_among_values_that_do_not(type: Any, value: object) -> None:
    wire = json.dumps(value)
    try:
        strict = msgspec.json.decode(wire, type=type)
    except msgspec.ValidationError:
        return
    assert bind([type], f"[{wire}]") == (strict,)
    assert bind([int, type], f'["1",{wire}]') == (1, strict)
    assert CLASSIC.value_decoder(type)(Raw(wire.encode())) == strict


# Texts


@settings(max_examples=300, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_as_texts_are_the_same_numbers(value: float) -> None:
    text = number_text(json.dumps(value).encode())
    assert float(text) == value
    assert any(character in text for character in ".E")


def test_text_that_is_unicode_stays() -> None:
    for data in (rb'"\ud83d\ude00 \\ud800 \u00e9"', '"é"'.encode(), b'"\\\\\\\\ud800"', b'"\\'):
        assert mend_text(data) == data
    assert mend_text(rb'"\ud83d\ud83d\ude00\\\udc00\uDBFF"') == rb'"\ufffd\ud83d\ude00\\\ufffd\ufffd"'
    assert mend_text(b'"\xff"') == '"\ufffd"'.encode()
