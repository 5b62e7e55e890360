"""The json hub protocol."""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Union

import msgspec
import pytest

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError, RemoteProtocolError
from signalr_channels.protocols.base import TransferFormat
from signalr_channels.protocols.core.json_messages import build_message, read_members
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.messages import Close, Completion, HubMessage, Invocation, Ping, StreamInvocation, StreamItem
from tests.unit.protocols.values import RECORD, UTC, Circle, Color, Holder, Options, Pair, Point, Record, Size, Square, Unknown
from tests.vectors.core_json import DEFECTS

JSON = JsonHubProtocol()
NOT_FITTING = "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."


def parse(data: bytes | str) -> Any:
    return JSON.parse(data)


def raw(text: str | bytes) -> msgspec.Raw:
    return msgspec.Raw(text.encode() if isinstance(text, str) else text)


def completion(result: object) -> bytes:
    """A result as it is written."""
    data = JSON.encode(Completion(invocation_id="1", result=result))
    return data.removeprefix(b'{"type":3,"invocationId":"1","result":').removesuffix(b"}\x1e")


def test_what_it_is() -> None:
    assert (JSON.name, JSON.version, JSON.transfer_format) == ("json", 2, TransferFormat.TEXT)


# Reading


@pytest.mark.parametrize(("data", "kind", "text"), DEFECTS)
def test_defects_have_the_words_of_the_reference(data: bytes, kind: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse(data)
    assert (caught.value.kind, caught.value.text) == (kind, text)
    if b"\xff" not in data:
        with pytest.raises(RemoteProtocolError) as caught:
            parse(data.decode())
        assert (caught.value.kind, caught.value.text) == (kind, text)


@pytest.mark.parametrize("data", [b'{"type":42,"invocationId":"1"}', b'{"type":0}', b'{"type":-1}', b'{"type":10,"sequenceId":1}x'])
def test_unknown_types_are_skipped(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize(
    "members",
    [
        {"type": 1, "headers": {"a": "b"}, "invocationId": "1", "target": "Echo", "arguments": ["x"], "streamIds": ["s"]},
        {"type": 2, "headers": {"a": "b"}, "invocationId": "1", "item": None},
        {"type": 3, "invocationId": "1", "result": {"type": 6}, "x": [{"error": 1}]},
        {"type": 4, "invocationId": "1", "target": "Count", "arguments": [[1]], "more": "}"},
        {"type": 7, "error": "e", "allowReconnect": True, "sequenceId": 1},
    ],
)
def test_members_may_come_in_any_order(members: dict[str, object]) -> None:
    def comparable(data: bytes) -> object:
        message = parse(data)
        assert message == build_message(read_members(data)) or message is not None
        return [bytes(v) if isinstance(v := getattr(message, name), msgspec.Raw) else v for name in message.__struct_fields__]

    expected = comparable(json.dumps(members).encode())
    for order in itertools.permutations(members):
        data = json.dumps({name: members[name] for name in order}).encode()
        assert comparable(data) == expected
        assert comparable(data + b"text behind it") == expected


@pytest.mark.parametrize("closing", ["", "x"])
def test_depth_64_passes(closing: str) -> None:
    nested = "[" * 63 + "]" * 63
    message = parse(f'{{"type":1,"target":"Echo","arguments":{nested}}}{closing}')
    assert bytes(message.arguments) == nested.encode()


def test_brackets_inside_strings_are_no_depth() -> None:
    text = json.dumps("\\" + '"' + "[{" * 100 + "\\")
    assert bytes(parse(f'{{"type":1,"target":"E","arguments":[{text}]}}').arguments) == f"[{text}]".encode()
    closing = ",".join(['["]"'] * 65) + "]" * 65  # closing brackets in strings do not make it less deep either
    with pytest.raises(RemoteProtocolError):
        parse(f'{{"type":1,"target":"E","arguments":[{closing}]}}')


@pytest.mark.parametrize("argument", [b'"\xff"', b'"\\ud800"', b'"\\udc00\\ud800"', b'["\xc3("]'])
def test_arguments_that_are_not_unicode_fail_the_invocation_only(argument: bytes) -> None:
    message = parse(b'{"type":1,"target":"Echo","arguments":[' + argument + b"]}")
    assert bytes(message.arguments) == b"[" + argument + b"]"
    for annotation in (str, Any):
        with pytest.raises(ArgumentBindingError) as caught:
            JSON.argument_decoder([annotation])(message.arguments)
        assert caught.value.text == NOT_FITTING


def test_an_unpaired_surrogate_in_a_text_chunk_is_no_crash() -> None:
    splitter = JSON.splitter(None)
    (frame,) = splitter.feed('{"type":1,"target":"E","arguments":["\ud800"]}\x1e')
    with pytest.raises(ArgumentBindingError):
        JSON.argument_decoder([str])(parse(frame).arguments)
    with pytest.raises(RemoteProtocolError):
        parse('{"type":1,"target":"\ud800","arguments":[]}')


def test_values_stay_raw() -> None:
    assert bytes(parse(b'{"type":2,"invocationId":"1","item": [1, 2] }').item) == b"[1, 2]"
    assert bytes(parse(b'{"type":3,"invocationId":"1","result": null }').result) == b"null"
    assert bytes(parse(b'{"type":1,"target":"E","arguments": [ 1 ] }').arguments) == b"[ 1 ]"
    assert bytes(parse(b'{"type":1,"target":"E","arguments": [ 1 ] }x').arguments) == b"[ 1 ]"


# Binding


@pytest.mark.parametrize(
    ("types", "arguments", "expected"),
    [
        ([], "[]", ()),
        ([], " [ ] ", ()),
        ([str], '["x"]', ("x",)),
        ([int, int], "[1,-2]", (1, -2)),
        ([float], "[1]", (1.0,)),
        ([Any, Any], '[{"a":[1.5,null]},true]', ({"a": [1.5, None]}, True)),
        ([object], "[1]", (1,)),
        ([str | None, int | None], "[null,5]", (None, 5)),
        ([list[dict[str, int]]], '[[{"a":1}]]', ([{"a": 1}],)),
        ([bytes], '["AP8="]', (b"\x00\xff",)),
        ([decimal.Decimal], "[12.50]", (decimal.Decimal("12.50"),)),
        ([uuid.UUID], '["01234567-89AB-cdef-0123-456789abcdef"]', (uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"),)),
        ([datetime.datetime], '["2000-01-02T03:04:05Z"]', (datetime.datetime(2000, 1, 2, 3, 4, 5, tzinfo=UTC),)),
        ([Color, Size], '[1,"s"]', (Color.Green, Size.SMALL)),
        ([Point], '[{"leftEdge":5,"color":1,"more":0}]', (Point(5, Color.Green),)),
        ([Options], '[{"color":1,"inner":{"color":0}}]', ({"color": Color.Green, "inner": {"color": Color.Red}},)),
        ([Pair], "[[1,2]]", (Pair(Color.Green, 2),)),
        ([Union[Circle, Square]], '[{"type":"square","color":"s"}]', (Square(Size.SMALL),)),
        ([Annotated[int, msgspec.Meta(ge=0)]], "[0]", (0,)),
    ],
)  # fmt: skip
def test_arguments_become_what_the_annotations_say(types: Sequence[Any], arguments: str, expected: tuple[Any, ...]) -> None:
    bound = JSON.argument_decoder(types)(raw(arguments))
    assert tuple(bound) == expected
    assert [type(value) for value in bound] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("types", "arguments", "text"),
    [
        ([int, int], "[1]", "Invocation provides 1 argument(s) but target expects 2."),
        ([int, int], "[1,2,3]", "Invocation provides 3 argument(s) but target expects 2."),
        ([int, int], '[1,2,"x"]', "Invocation provides 3 argument(s) but target expects 2."),
        ([], "[1]", "Invocation provides 1 argument(s) but target expects 0."),
        ([int], "[]", "Invocation provides 0 argument(s) but target expects 1."),
        ([int, int], '["x"]', NOT_FITTING),
        ([int, int], '["x",1,2]', NOT_FITTING),
        ([int, int], '["1",2]', NOT_FITTING),
        ([int, int], "[1.0,2]", NOT_FITTING),
        ([int, int], "[null,2]", NOT_FITTING),
        ([int, int], "[true,2]", NOT_FITTING),
        ([Annotated[int, msgspec.Meta(le=2147483647)]], "[2147483648]", NOT_FITTING),
        ([str], "[5]", NOT_FITTING),
        ([str], "[null]", NOT_FITTING),
        ([float], "[1e999]", NOT_FITTING),
        ([Color], '["Green"]', NOT_FITTING),
        ([bytes], '["AP8"]', NOT_FITTING),
        ([Point], "[{}]", NOT_FITTING),
        ([list[int]], f"[{'[' * 60}{']' * 60}]", NOT_FITTING),
    ],
)
def test_arguments_that_do_not_fit(types: Sequence[Any], arguments: str, text: str) -> None:
    """Observed: ASP.NET Core 10.0, which converts as many arguments as it can before it counts them."""
    with pytest.raises(ArgumentBindingError) as caught:
        JSON.argument_decoder(types)(raw(arguments))
    assert caught.value.text == text


def test_single_values() -> None:
    assert JSON.value_decoder(int)(raw("5")) == 5
    with pytest.raises(ArgumentBindingError) as caught:
        JSON.value_decoder(int)(raw('"two"'))
    assert "Expected `int`" in caught.value.text


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Unknown, "Unknown"), (list[Unknown], "list["), (Unknown | None, "Unknown"), (Holder, "Holder"),
        (Iterable[int], "Iterable[int]"),
        (Callable[[], int], "Callable"), ("Point", "'Point'"), (Union[datetime.datetime, str], "datetime"), (complex, "complex"),
    ],
)  # fmt: skip
def test_annotations_that_cannot_be_read_are_named_at_set_up(annotation: Any, name: str) -> None:
    for make in (lambda: JSON.argument_decoder([int, annotation]), lambda: JSON.value_decoder(annotation)):
        with pytest.raises(TypeError) as caught:
            make()
        assert "the annotation " in str(caught.value)
        assert name in str(caught.value)


# Writing


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, b"null"), (True, b"true"), (5, b"5"), (2**70, b"1180591620717411303424"), (0.5, b"0.5"), ("é€😀", '"é€😀"'.encode()),
        ("\x1e", b'"\\u001e"'), ("null NaN Infinity", b'"null NaN Infinity"'), (b"\x00\xff", b'"AP8="'), ((1, "a"), b'[1,"a"]'),
        ({1}, b"[1]"), ({"a": None}, b'{"a":null}'), ({1: 2}, b'{"1":2}'), (decimal.Decimal("12.50"), b"12.50"),
        ([None, 1.5], b"[null,1.5]"),
        (datetime.datetime(2000, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), b'"2000-01-02T03:04:05.678000Z"'),
        (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'), (Color.Green, b"1"), (Size.SMALL, b'"s"'),
        (Point(5), b'{"leftEdge":5,"color":0}'), (Circle(Color.Green), b'{"type":"circle","color":1}'), (Pair(Color.Red, 2), b"[0,2]"),
        ({"color": Color.Green}, b'{"color":1}'), ([msgspec.Raw(b"[1]"), None], b"[[1],null]"),
    ],
)  # fmt: skip
def test_values_are_written(value: object, written: bytes) -> None:
    assert completion(value) == written
    assert JSON.encode(StreamItem(invocation_id="1", item=value)) == b'{"type":2,"invocationId":"1","item":' + written + b"}\x1e"
    assert JSON.encode(Invocation(target="m", arguments=(value,))) == b'{"type":1,"target":"m","arguments":[' + written + b"]}\x1e"


def test_a_record_comes_back_as_it_was() -> None:
    assert JSON.value_decoder(Record)(raw(completion(RECORD))) == RECORD
    assert JSON.argument_decoder([list[Record]])(raw(b"[[" + completion(RECORD) + b"]]")) == ([RECORD],)


@pytest.mark.parametrize(
    "value",
    [float("nan"), [float("inf")], {"a": {"b": (float("-inf"),)}}, {float("nan")}, decimal.Decimal("NaN"), [decimal.Decimal("-Infinity")]],
)
def test_numbers_that_are_not_finite_are_refused(value: object) -> None:
    for message in messages_with(value):
        with pytest.raises(LocalProtocolError) as caught:
            JSON.encode(message)
        assert caught.value.kind == "ArgumentException"


@pytest.mark.parametrize("value", [object(), [Unknown()], {(1, 2): 3}, "\ud800", ["\udc00"], msgspec.UNSET, {"a": lambda: None}])
def test_values_that_cannot_be_written_are_a_local_error(value: object) -> None:
    for message in messages_with([value]):
        with pytest.raises(LocalProtocolError):
            JSON.encode(message)


def test_a_value_that_contains_itself_is_a_local_error() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(LocalProtocolError):
        JSON.encode(Completion(invocation_id="1", result=endless))


def messages_with(value: object) -> list[HubMessage]:
    return [
        Completion(invocation_id="1", result=value),
        Completion(invocation_id="1", result=value, headers={"a": "b"}),
        StreamItem(invocation_id="1", item=value),
        Invocation(target="m", arguments=[1, value]),
        StreamInvocation(invocation_id="1", target="m", arguments=[value]),
    ]


def test_raw_arguments_are_passed_on() -> None:
    assert JSON.encode(Invocation(target="m", arguments=raw("[1, null]"))) == b'{"type":1,"target":"m","arguments":[1, null]}\x1e'


def test_what_is_empty_is_left_out() -> None:
    message = Invocation(invocation_id="", target="m", arguments=[], headers={}, stream_ids=[])
    assert JSON.encode(message) == b'{"type":1,"target":"m","arguments":[]}\x1e'
    assert JSON.encode(Completion(invocation_id="1", error="")) == b'{"type":3,"invocationId":"1"}\x1e'
    assert JSON.encode(Close(error="")) == b'{"type":7,"error":""}\x1e'


def test_an_error_and_a_result_exclude_each_other() -> None:
    with pytest.raises(LocalProtocolError):
        JSON.encode(Completion(invocation_id="1", result=None, error="e"))


def test_pings_are_one_constant() -> None:
    assert JSON.encode(Ping()) is JSON.encode(Ping())
