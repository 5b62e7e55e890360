"""The messagepack hub protocol."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Union

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError, RemoteProtocolError
from signalr_channels.protocols.base import TransferFormat
from signalr_channels.protocols.core.framing import encode_length_prefix
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.messages import Completion, Invocation, Ping, StreamInvocation, StreamItem
from tests.unit.protocols.values import (
    RECORD,
    UTC,
    Circle,
    Color,
    Holder,
    Options,
    PackedPoint,
    Pair,
    Point,
    Record,
    Size,
    Square,
    Unknown,
)
from tests.vectors.core_messagepack import ARGUMENT_DEFECTS, DEFECTS, NO_ARRAY, NOT_FITTING

MESSAGEPACK = MessagePackHubProtocol()


def parse(data: bytes) -> Any:
    return MESSAGEPACK.parse(data)


def packed(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgpack.packb(value, datetime=True))


def written(value: object) -> bytes:
    """A result as it is written."""
    body = MESSAGEPACK.encode(Completion(invocation_id="1", result=value))
    return bytes(parse(body[body.index(b"\x95\x03") :]).result)


def test_what_it_is() -> None:
    assert (MESSAGEPACK.name, MESSAGEPACK.version, MESSAGEPACK.transfer_format) == ("messagepack", 2, TransferFormat.BINARY)


# Reading


@pytest.mark.parametrize(("data", "kind", "text"), DEFECTS)
def test_defects_have_the_words_of_the_reference(data: bytes, kind: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse(data)
    assert (caught.value.kind, caught.value.text) == (kind, text)


@pytest.mark.parametrize("data", ["912a", "932a80a131", "91ff", "91d0ff", "9100", "910a"])
def test_unknown_types_are_skipped(data: str) -> None:
    assert parse(bytes.fromhex(data)) is None


@pytest.mark.parametrize(("data", "text"), ARGUMENT_DEFECTS)
def test_defects_of_the_arguments_fail_the_invocation_only(data: bytes, text: str) -> None:
    message = parse(data)
    assert (message.target, message.invocation_id) == ("Add", "1")
    with pytest.raises(ArgumentBindingError) as caught:
        MESSAGEPACK.argument_decoder([int, int])(message.arguments)
    assert caught.value.text == text


def test_an_item_that_is_missing_or_cut_fails_its_stream_only() -> None:
    for data in (b"\x93\x02\x80\xa1u", b"\x94\x02\x80\xa1u\x92\x01", b"\x94\x02\x80\xa1u\xc1"):
        message = parse(data)
        assert message.invocation_id == "u"
        with pytest.raises(ArgumentBindingError):
            MESSAGEPACK.value_decoder(int)(message.item)


def test_text_that_is_not_utf8_has_replacement_characters() -> None:
    message = parse(bytes.fromhex("95 01 80 a131 a44563686f 92 a2ff41 81 a1fe d902c328"))
    assert MESSAGEPACK.argument_decoder([str, dict[str, str]])(message.arguments) == ("\ufffdA", {"\ufffd": "\ufffd("})
    assert MESSAGEPACK.argument_decoder([Any, Any])(message.arguments) == ("\ufffdA", {"\ufffd": "\ufffd("})


def test_endless_nesting_is_no_crash() -> None:
    nested = b"\x91" * 100_000
    for data in (nested, b"\x95\x01\x80\xa11\xa1E" + nested + b"\x00"):
        try:
            message = parse(data)
        except RemoteProtocolError:
            continue
        with pytest.raises(ArgumentBindingError):
            MESSAGEPACK.argument_decoder([Any])(message.arguments)


# Binding


@pytest.mark.parametrize(
    ("types", "arguments", "expected"),
    [
        ([], [], ()),
        ([str], ["x"], ("x",)),
        ([int, int], [1, -2], (1, -2)),
        ([float, float], [1, float("inf")], (1.0, float("inf"))),
        ([Any], [{"a": [1.5, None]}], ({"a": [1.5, None]},)),
        ([str | None], [None], (None,)),
        ([bytes, bytes], [b"\xff", "é"], (b"\xff", "é".encode())),
        ([list[bytes]], [["a", b"b"]], ([b"a", b"b"],)),
        ([bytearray], ["a"], (bytearray(b"a"),)),
        ([decimal.Decimal], ["12.50"], (decimal.Decimal("12.50"),)),
        ([uuid.UUID], ["01234567-89ab-cdef-0123-456789abcdef"], (uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"),)),
        ([datetime.datetime], [datetime.datetime(2000, 1, 2, tzinfo=UTC)], (datetime.datetime(2000, 1, 2, tzinfo=UTC),)),
        ([Color, Size], ["Green", "SMALL"], (Color.Green, Size.SMALL)),
        ([Color | None, Color | None], [None, "Red"], (None, Color.Red)),
        ([Union[Color, str], Union[Color, str]], ["Red", "Blue"], (Color.Red, "Blue")),
        ([list[Color], set[Color], tuple[Color, ...]], [["Red"], ["Green"], ["Red"]], ([Color.Red], {Color.Green}, (Color.Red,))),
        ([tuple[int, Color]], [[1, "Red"]], ((1, Color.Red),)),
        ([dict[Color, Size]], [{"Red": "SMALL"}], ({Color.Red: Size.SMALL},)),
        ([Annotated[Color, msgspec.Meta(title="c")]], ["Red"], (Color.Red,)),
        ([Point, bytes], [{"leftEdge": 5, "color": "Green", "more": 0}, "a"], (Point(5, Color.Green), b"a")),
        ([PackedPoint], [["p", "Green", ["p", "Red"]]], (PackedPoint(Color.Green, PackedPoint(Color.Red)),)),
        ([Options], [{"color": "Green", "inner": {"color": "Red"}}], ({"color": Color.Green, "inner": {"color": Color.Red}},)),
        ([Pair], [["Green", 2]], (Pair(Color.Green, 2),)),
        ([Union[Circle, Square]], [{"type": "square", "color": "SMALL"}], (Square(Size.SMALL),)),
        ([Union[Circle, Square]], [{"type": "circle", "color": "Red"}], (Circle(Color.Red),)),
    ],
)  # fmt: skip
def test_arguments_become_what_the_annotations_say(types: Sequence[Any], arguments: list[Any], expected: tuple[Any, ...]) -> None:
    bound = MESSAGEPACK.argument_decoder(types)(packed(arguments))
    assert tuple(bound) == expected
    assert [type(value) for value in bound] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("types", "arguments", "text"),
    [
        ([int, int], [1], "Invocation provides 1 argument(s) but target expects 2."),
        ([int, int], ["x", 1, 2], "Invocation provides 3 argument(s) but target expects 2."),
        ([], [1], "Invocation provides 1 argument(s) but target expects 0."),
        ([Color], [], "Invocation provides 0 argument(s) but target expects 1."),
        ([int], {"a": 1}, NO_ARRAY),
        ([int], None, NO_ARRAY),
        ([int], ["1"], NOT_FITTING),
        ([int], [1.0], NOT_FITTING),
        ([int], [None], NOT_FITTING),
        ([int], [True], NOT_FITTING),
        ([str], [5], NOT_FITTING),
        ([str], [b"x"], NOT_FITTING),
        ([bytes], [5], NOT_FITTING),
        ([Color], ["green"], NOT_FITTING),
        ([Color], [1], NOT_FITTING),
        ([list[Color]], [["Red", 1]], NOT_FITTING),
        ([Record], [{"Color": "Green"}], NOT_FITTING),
        ([decimal.Decimal], ["x"], NOT_FITTING),
        ([datetime.datetime], [msgpack.ExtType(5, b"\0\0\0\0")], NOT_FITTING),
    ],
)
def test_arguments_that_do_not_fit(types: Sequence[Any], arguments: object, text: str) -> None:
    with pytest.raises(ArgumentBindingError) as caught:
        MESSAGEPACK.argument_decoder(types)(packed(arguments))
    assert caught.value.text == text


def test_single_values() -> None:
    assert MESSAGEPACK.value_decoder(Color)(packed("Green")) is Color.Green
    for value in ("two", 1):
        with pytest.raises(ArgumentBindingError):
            MESSAGEPACK.value_decoder(Color)(packed(value))


@pytest.mark.parametrize(("annotation", "name"), [(Unknown, "Unknown"), (list[Unknown], "list["), (Holder, "Holder"), ("Point", "'Point'")])
def test_annotations_that_cannot_be_read_are_named_at_set_up(annotation: Any, name: str) -> None:
    for make in (lambda: MESSAGEPACK.argument_decoder([int, annotation]), lambda: MESSAGEPACK.value_decoder(annotation)):
        with pytest.raises(TypeError) as caught:
            make()
        assert name in str(caught.value)


# Writing


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), (True, True), (2**64 - 1, 2**64 - 1), (-(2**63), -(2**63)), ("é😀", "é😀"), (b"\xff", b"\xff"), ((1, "a"), [1, "a"]),
        ({"a": None}, {"a": None}), ({1: 2}, {1: 2}), (decimal.Decimal("12.50"), "12.50"), (float("inf"), float("inf")),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"), (Color.Green, "Green"), (Size.SMALL, "SMALL"),
        ([Color.Green, {Color.Red: (Size.SMALL,)}], ["Green", {"Red": ["SMALL"]}]), ({Color.Green}, ["Green"]),
        (Point(5, Color.Green), {"leftEdge": 5, "color": "Green"}), (Circle(Color.Green), {"type": "circle", "color": "Green"}),
        (PackedPoint(Color.Red, PackedPoint(Color.Green)), ["p", "Red", ["p", "Green", None]]), (Pair(Color.Red, 2), ["Red", 2]),
        ([{"a": [Point(1)]}], [{"a": [{"leftEdge": 1, "color": "Red"}]}]), ({"color": Color.Green}, {"color": "Green"}),
        ([msgspec.Raw(b"\x91\x01"), None], [[1], None]),
    ],
)  # fmt: skip
def test_values_are_written(value: object, expected: object) -> None:
    assert msgpack.unpackb(written(value), strict_map_key=False) == expected
    for message in (StreamItem(invocation_id="1", item=value), Invocation(target="m", arguments=(value,))):
        body = MESSAGEPACK.encode(message)
        found = msgpack.unpackb(body[1:], strict_map_key=False)
        assert (found[3] if isinstance(message, StreamItem) else found[4][0]) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime.datetime(2000, 1, 1, tzinfo=UTC), "d6ff386d4380"),
        (datetime.datetime(2000, 1, 1), "d6ff386d4380"),
        (datetime.datetime(2000, 1, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2))), "d6ff386d4380"),
        (datetime.datetime(2000, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "d7ffa1a5d600386ec025"),
        (datetime.datetime(1, 1, 1, tzinfo=UTC), "c70cff00000000fffffff1886e0900"),
    ],
)
def test_date_times_are_timestamps_in_utc(value: datetime.datetime, expected: str) -> None:
    assert written(value).hex() == expected
    assert written([value]).hex() == "91" + expected


def test_written_values_are_left_as_they_were() -> None:
    point, colors = Point(5, Color.Green), [Color.Red]
    written([point, colors])
    assert point == Point(5, Color.Green)
    assert point.color is Color.Green
    assert colors == [Color.Red]


def test_a_record_comes_back_as_it_was() -> None:
    assert MESSAGEPACK.value_decoder(Record)(msgspec.Raw(written(RECORD))) == RECORD
    assert MESSAGEPACK.argument_decoder([list[Record]])(msgspec.Raw(b"\x91\x91" + written(RECORD))) == ([RECORD],)
    assert msgpack.unpackb(written(RECORD), timestamp=3) == {
        "Int": -1, "Double": 0.1, "Bool": True, "Text": 'é"<', "Missing": None, "Bytes": b"\x00\xff", "When": RECORD.When,
        "Id": "01234567-89ab-cdef-0123-456789abcdef", "Money": "12.50", "Color": "Green", "List": [1, 2], "Map": {"Key one": 1, "b": 2},
        "Child": None, "Sizes": {},
    }  # fmt: skip


@pytest.mark.parametrize("value", [object(), [Unknown()], "\ud800", 2**64, msgspec.UNSET, {"a": lambda: None}])
def test_values_that_cannot_be_written_are_a_local_error(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        MESSAGEPACK.encode(Completion(invocation_id="1", result=[value]))


def test_a_value_that_contains_itself_is_a_local_error() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (endless, {"a": endless}):
        with pytest.raises(LocalProtocolError):
            MESSAGEPACK.encode(Completion(invocation_id="1", result=value))


def test_raw_arguments_are_passed_on() -> None:
    assert MESSAGEPACK.encode(Invocation(target="m", arguments=msgspec.Raw(b"\x91\x01"))) == bytes.fromhex("09 96 01 80 c0 a16d 91 01 90")


def test_an_error_and_a_result_exclude_each_other() -> None:
    with pytest.raises(LocalProtocolError):
        MESSAGEPACK.encode(Completion(invocation_id="1", result=None, error="e"))


def test_a_long_message_has_a_long_prefix() -> None:
    data = MESSAGEPACK.encode(Completion(invocation_id="1", result="x" * 300))
    assert data[:2] == encode_length_prefix(len(data) - 2)


# Against another implementation

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text(max_size=40), st.binary(max_size=40)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=20), inner, max_size=20)), max_leaves=30
)
TEXTS = st.text(min_size=1, max_size=40)
HEADERS = st.dictionaries(TEXTS, TEXTS, max_size=3)


def unframed(data: bytes) -> object:
    (frame,) = MESSAGEPACK.splitter(None).feed(data)
    assert isinstance(frame, bytes)
    return msgpack.unpackb(frame, strict_map_key=False)


@settings(deadline=None)
@given(TEXTS, TEXTS, st.lists(VALUES, max_size=4), st.lists(TEXTS, max_size=3), HEADERS)
def test_what_we_write_msgpack_reads(id: str, target: str, arguments: list[Any], stream_ids: list[str], headers: dict[str, str]) -> None:
    invocation = Invocation(invocation_id=id, target=target, arguments=arguments, stream_ids=stream_ids, headers=headers)
    assert unframed(MESSAGEPACK.encode(invocation)) == [1, headers, id, target, arguments, stream_ids]
    stream = StreamInvocation(invocation_id=id, target=target, arguments=arguments, stream_ids=stream_ids, headers=headers)
    assert unframed(MESSAGEPACK.encode(stream)) == [4, headers, id, target, arguments, stream_ids]
    assert unframed(MESSAGEPACK.encode(StreamItem(invocation_id=id, item=arguments))) == [2, {}, id, arguments]
    assert unframed(MESSAGEPACK.encode(Completion(invocation_id=id, result=arguments, headers=headers))) == [3, headers, id, 3, arguments]


@settings(deadline=None)
@given(
    TEXTS, TEXTS, st.lists(VALUES, max_size=4), st.lists(TEXTS, max_size=3), HEADERS, st.lists(VALUES, max_size=2), st.binary(max_size=2)
)
def test_what_msgpack_writes_we_read(
    id: str, target: str, arguments: list[Any], stream_ids: list[str], headers: dict[str, str], more: list[Any], left_over: bytes
) -> None:
    bind = MESSAGEPACK.argument_decoder([Any] * len(arguments))
    for items in ([1, headers, id, target, arguments], [1, headers, id, target, arguments, stream_ids, *more]):
        message = parse(msgpack.packb(items) + left_over)
        assert (message.invocation_id, message.target, message.headers or {}) == (id, target, headers)
        assert list(message.stream_ids) == (stream_ids if len(items) > 5 else [])
        assert list(bind(message.arguments)) == arguments
    read = MESSAGEPACK.value_decoder(Any)
    assert read(parse(msgpack.packb([2, headers, id, arguments]) + left_over).item) == arguments
    assert read(parse(msgpack.packb([3, headers, id, 3, arguments]) + left_over).result) == arguments
    assert parse(msgpack.packb([6, *more]) + left_over) == Ping()
