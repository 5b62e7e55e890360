"""Arguments as received, arguments as annotated."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest

from signalr_channels.exceptions import ArgumentBindingError, HubDefinitionError
from signalr_channels.hubs.binding import BoundMethod, bind_methods
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import collect_hub_methods, hub_method
from tests.unit.scripted import JSON

MISFIT = "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."


class Colour(enum.Enum):
    RED = 0
    GREEN = 1


@dataclass
class Point:
    x: int
    y: int = 0


class Named(TypedDict):
    name: str


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []


def bind(annotation: Any) -> BoundMethod:
    """A method with one parameter of this type."""

    async def method(self: Hub, value: Any) -> None: ...

    method.__annotations__ = {"value": annotation}
    hub = type("OneMethodHub", (Hub,), {"method": hub_method(method)})
    return bind_methods(hub, collect_hub_methods(hub), JSON)["method"]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, '"a"', "a"),
        (int, "7", 7),
        (float, "7", 7.0),
        (float, "7.5", 7.5),
        (bool, "true", True),
        (Any, '{"a":[1,null]}', {"a": [1, None]}),
        (object, "[1]", [1]),
        (bytes, '"AQI="', b"\x01\x02"),
        (int | None, "null", None),
        (int | None, "3", 3),
        (datetime.datetime, '"2020-01-02T03:04:05Z"', datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)),
        (datetime.date, '"2020-01-02"', datetime.date(2020, 1, 2)),
        (uuid.UUID, '"00000000-0000-0000-0000-000000000007"', uuid.UUID(int=7)),
        (decimal.Decimal, "12.50", decimal.Decimal("12.50")),
        (Colour, "1", Colour.GREEN),
        (list[int], "[1,2]", [1, 2]),
        (dict[str, int], '{"a":1}', {"a": 1}),
        (Point, '{"x":1}', Point(1)),
        (Named, '{"name":"n","more":1}', {"name": "n"}),
        (list[Point], '[{"x":1,"y":2}]', [Point(1, 2)]),
        (dict[str, list[Point]], '{"a":[{"x":1}]}', {"a": [Point(1)]}),
        (Tree, '{"value":1,"children":[{"value":2}]}', Tree(1, [Tree(2)])),
    ],
)
def test_arguments_become_what_the_annotation_says(annotation: Any, text: str, value: Any) -> None:
    (bound,) = bind(annotation).decode(msgspec.Raw(f"[{text}]".encode()))
    assert bound == value
    assert type(bound) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str, "1"),
        (str, "null"),
        (int, '"1"'),
        (int, "1.0"),
        (int, "null"),
        (bool, "1"),
        (bytes, '"not base64!"'),
        (datetime.datetime, '"yesterday"'),
        (uuid.UUID, '"7"'),
        (Colour, "7"),
        (list[int], '[1,"2"]'),
        (list[int], "{}"),
        (Point, '{"y":1}'),
        (Point, "[1,2]"),
        (Named, "{}"),
    ],
)
def test_a_misfit_is_an_argument_binding_error(annotation: Any, text: str) -> None:
    with pytest.raises(ArgumentBindingError) as caught:
        bind(annotation).decode(msgspec.Raw(f"[{text}]".encode()))
    assert caught.value.text == MISFIT


def test_the_count_must_be_right() -> None:
    for text, given in ((b"[]", 0), (b"[1,2]", 2)):
        with pytest.raises(ArgumentBindingError) as caught:
            bind(int).decode(msgspec.Raw(text))
        assert caught.value.text == f"Invocation provides {given} argument(s) but target expects 1."


def bound_method(hub: type[Hub], name: str = "method") -> BoundMethod:
    return bind_methods(hub, collect_hub_methods(hub), JSON)[name]


def test_trailing_arguments_with_a_default_may_be_left_out() -> None:
    class ChatHub(Hub):
        @hub_method
        async def method(self, a: int, b: int = 2, c: str = "c") -> None: ...

    decode = bound_method(ChatHub).decode
    assert list(decode(msgspec.Raw(b"[1]"))) == [1]
    assert list(decode(msgspec.Raw(b"[1,7]"))) == [1, 7]
    assert list(decode(msgspec.Raw(b'[1,7,"x"]'))) == [1, 7, "x"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"[]", "Invocation provides 0 argument(s) but target expects 2."),
        (b"[1,2,3]", "Invocation provides 3 argument(s) but target expects 2."),
        (b'["1"]', MISFIT),
        (b'[1,"2"]', MISFIT),
    ],
)
def test_a_misfit_with_defaults_is_that_of_the_full_list(text: bytes, error: str) -> None:
    class ChatHub(Hub):
        @hub_method
        async def method(self, a: int, b: int = 2) -> None: ...

    with pytest.raises(ArgumentBindingError) as caught:
        bound_method(ChatHub).decode(msgspec.Raw(text))
    assert caught.value.text == error


def test_upload_streams_have_decoders_for_their_items() -> None:
    class ChatHub(Hub):
        @hub_method
        async def method(self, points: AsyncIterator[Point], room: str, anything: AsyncIterator) -> None: ...  # type: ignore[type-arg]

    bound = bound_method(ChatHub)
    assert list(bound.decode(msgspec.Raw(b'["lobby"]'))) == ["lobby"]
    points, anything = bound.item_decoders
    assert points(msgspec.Raw(b'{"x":1}')) == Point(1)
    assert anything(msgspec.Raw(b"[null]")) == [None]
    with pytest.raises(ArgumentBindingError):
        points(msgspec.Raw(b"7"))


def test_all_names_of_a_method_lead_to_one() -> None:
    class ChatHub(Hub):
        @hub_method
        async def send_message(self) -> None: ...

    table = bind_methods(ChatHub, collect_hub_methods(ChatHub), JSON)
    assert table["send_message"] is table["sendmessage"]


class Unreadable:
    pass


@pytest.mark.parametrize("annotation", [Unreadable, list[Unreadable], AsyncIterator[Unreadable], Unreadable | None])
def test_an_annotation_that_cannot_be_read_is_found_at_start_up(annotation: Any) -> None:
    with pytest.raises(HubDefinitionError, match=r"OneMethodHub\.method: the annotation .* is not supported: .*Unreadable"):
        bind(annotation)


@dataclass
class Picky:
    x: int
    y: int = 3

    def __post_init__(self) -> None:
        if self.x < 0:
            raise KeyError(self.x)


class PickyStruct(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise KeyError(self.x)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [(Picky, '[{"x":%d}]'), (list[Picky], '[[{"x":%d}]]'), (PickyStruct, '[{"x":%d}]'), (dict[str, PickyStruct], '[{"a":{"x":%d}}]')],
)
def test_whatever_post_init_raises_is_a_misfit(annotation: Any, text: str) -> None:
    decode = bind(annotation).decode
    assert len(decode(msgspec.Raw((text % 1).encode()))) == 1
    with pytest.raises(ArgumentBindingError, match="Error binding arguments") as raised:
        decode(msgspec.Raw((text % -1).encode()))
    assert isinstance(raised.value.__cause__, KeyError)


@dataclass(slots=True)
class Slotted:
    x: int = 1


@dataclass
class HalfSlotted(Slotted):
    y: int = 2


def test_a_dataclass_below_one_with_slots_has_all_its_values() -> None:
    (value,) = bind(HalfSlotted).decode(msgspec.Raw(b"[{}]"))
    assert msgspec.json.decode(msgspec.json.encode(value)) == {"x": 1, "y": 2}
