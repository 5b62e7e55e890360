"""
JSON with fields of dataclasses in camelCase.

Source of names: ``System.Text.Json``, ``JsonNamingPolicy.CamelCase``; underscores are ours.
"""

from __future__ import annotations

import datetime
import enum
import string
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar, Union

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError
from signalr_channels.protocols.core.json_camel_case import CamelCaseJsonHubProtocol, camel_case, with_camel_case
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.messages import Close, Completion, HubMessage, Invocation, Ping, StreamInvocation, StreamItem

PROTOCOL = CamelCaseJsonHubProtocol()
PLAIN = JsonHubProtocol()
T = TypeVar("T")


class Color(enum.Enum):
    RED = 1


@dataclass
class Item:
    item_id: int
    unit_price: Decimal = Decimal(0)
    is_new: bool = False


@dataclass
class Order:
    order_id: int
    first_item: Item | None = None
    all_items: list[Item] = field(default_factory=list)
    items_by_name: dict[str, Item] = field(default_factory=dict)
    sub_order: Order | None = None


@dataclass
class Pascal:
    Id: int
    URLValue: str = ""
    IsOpen: bool = False


@dataclass(slots=True)
class Slotted:
    some_color: Color = Color.RED
    from_: int = 0


@dataclass
class Holder(Generic[T]):
    held_value: T


@dataclass
class Unset:
    first_name: str
    last_name: Union[str, msgspec.UnsetType] = msgspec.UNSET


@attrs.define
class Point:
    x_value: int
    y_value: int = 0


class Pair(NamedTuple):
    left_item: Item
    right_item: Item


class Options(TypedDict):
    first_item: Item
    page_size: int


class Message(msgspec.Struct, rename="kebab"):
    first_item: Item
    page_size: int = 0


class Cat(msgspec.Struct, tag=True, array_like=True):
    first_item: Item


class Dog(msgspec.Struct, tag=True):
    first_item: Item


class Bird(msgspec.Struct, tag=True):
    other_item: Item


NAMES = [
    ("order_id", "orderId"),
    ("order", "order"),
    ("OrderId", "orderId"),
    ("Order", "order"),
    ("orderId", "orderId"),
    ("URL", "url"),
    ("URLValue", "urlValue"),
    ("ID", "id"),
    ("IPhone", "iPhone"),
    ("I", "i"),
    ("A1", "a1"),
    ("AB1C", "aB1C"),
    ("item_URL", "itemURL"),
    ("from_", "from"),
    ("line_2", "line2"),
    ("a__b", "aB"),
    ("_private_name", "_privateName"),
    ("__x", "__x"),
    ("_", "_"),
    ("größe_in_cm", "größeInCm"),
    ("Ärger", "ärger"),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_names(name: str, expected: str) -> None:
    assert camel_case(name) == expected


@given(st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20))
def test_a_name_in_camel_case_stays_as_it_is(name: str) -> None:
    once = camel_case(name)
    assert camel_case(once) == once
    assert "_" not in once.lstrip("_")


ITEM = Item(1, Decimal("2.50"), True)
ITEM_JSON = '{"itemId":1,"unitPrice":2.50,"isNew":true}'

SUB_ORDER = '"subOrder":{"orderId":2,"firstItem":null,"allItems":[],"itemsByName":{},"subOrder":null}'

VALUES: list[tuple[str, Any, Any, str]] = [
    ("a dataclass", Item, ITEM, ITEM_JSON),
    ("another names' policy", Pascal, Pascal(1, "x", True), '{"id":1,"urlValue":"x","isOpen":true}'),
    ("slots and an enum", Slotted, Slotted(Color.RED, 5), '{"someColor":1,"from":5}'),
    ("in a list", list[Item], [ITEM], f"[{ITEM_JSON}]"),
    ("in a tuple", tuple[int, Item, str], (1, ITEM, "x"), f'[1,{ITEM_JSON},"x"]'),
    ("in a tuple without an end", tuple[Item, ...], (ITEM, ITEM), f"[{ITEM_JSON},{ITEM_JSON}]"),
    ("in a dict, whose keys stay", dict[str, Item], {"some_key": ITEM}, f'{{"some_key":{ITEM_JSON}}}'),
    ("in a dict with numbers for keys", dict[int, Item], {5: ITEM}, f'{{"5":{ITEM_JSON}}}'),
    ("or nothing: something", Item | None, ITEM, ITEM_JSON),
    ("or nothing: nothing", Item | None, None, "null"),
    ("or a list", Union[list[Item], Item, int], [ITEM], f"[{ITEM_JSON}]"),
    ("or a number", Union[list[Item], Item, int], 5, "5"),
    ("annotated", Annotated[Item, msgspec.Meta(description="x")], ITEM, ITEM_JSON),
    ("generic", Holder[Item], Holder(ITEM), f'{{"heldValue":{ITEM_JSON}}}'),
    ("attrs", Point, Point(1, 2), '{"xValue":1,"yValue":2}'),
    ("a named tuple, which is an array", Pair, Pair(ITEM, ITEM), f"[{ITEM_JSON},{ITEM_JSON}]"),
    ("a typed dict, whose keys stay", Options, {"first_item": ITEM, "page_size": 5}, f'{{"first_item":{ITEM_JSON},"page_size":5}}'),
    ("a struct, which has names of its own", Message, Message(ITEM, 5), f'{{"first-item":{ITEM_JSON},"page-size":5}}'),
    ("a struct that is an array", Cat, Cat(ITEM), f'["Cat",{ITEM_JSON}]'),
    ("one of two structs", Union[Dog, Bird], Bird(ITEM), f'{{"type":"Bird","other_item":{ITEM_JSON}}}'),
    ("the other of two structs", Union[Dog, Bird], Dog(ITEM), f'{{"type":"Dog","first_item":{ITEM_JSON}}}'),
    ("no dataclass at all", dict[str, list[int]], {"some_key": [1]}, '{"some_key":[1]}'),
    ("nested", Order, Order(1, ITEM, [ITEM], {"a_b": ITEM}, Order(2)),
     f'{{"orderId":1,"firstItem":{ITEM_JSON},"allItems":[{ITEM_JSON}],"itemsByName":{{"a_b":{ITEM_JSON}}},{SUB_ORDER}}}'),
    ("text with everything", Holder[str], Holder('"{ä\u2028\\}'), '{"heldValue":"\\"{ä\u2028\\\\}"}'),
    ("values with types of their own", Holder[list[Any]], Holder([uuid.UUID(int=1)]),
     '{"heldValue":["00000000-0000-0000-0000-000000000001"]}'),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "text"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_values_both_ways(annotation: Any, value: Any, text: str) -> None:
    expected = f'{{"type":3,"invocationId":"1","result":{text}}}\x1e'.encode()
    assert PROTOCOL.encode(Completion(invocation_id="1", result=value)) == expected
    if annotation != Holder[list[Any]]:
        assert PROTOCOL.value_decoder(annotation)(Raw(text.encode())) == value
        assert PROTOCOL.argument_decoder([int, annotation])(Raw(f"[1,{text}]".encode())) == (1, value)


@pytest.mark.parametrize(
    "text",
    [
        '{"itemId":1,"isNew":true}',
        '{"item_id":1,"is_new":true}',
        '{"ITEMID":1,"isnew":true}',
        '{"ItemId":1,"Is_New":true}',
        ' {"item\\u0049d" : 1 , "unknown":{"itemId":2},"isNew":true } ',
        '{"itemId":7,"isNew":true,"item_id":1}',  # the last one counts
    ],
)
def test_reading_does_not_look_at_case(text: str) -> None:
    item = PROTOCOL.value_decoder(Item)(Raw(text.strip().encode()))
    assert item == Item(1, Decimal(0), True)
    assert PROTOCOL.argument_decoder([dict[str, Item]])(Raw(f'[{{"ItemId":{text}}}]'.encode())) == ({"ItemId": item},)


def test_numbers_keep_their_digits() -> None:
    assert str(PROTOCOL.value_decoder(Item)(Raw(b'{"itemId":1,"unitPrice":12.50}')).unit_price) == "12.50"
    big = Holder(12345678901234567890123)
    assert PROTOCOL.value_decoder(Holder[int])(Raw(b'{"heldValue":12345678901234567890123}')) == big


@pytest.mark.parametrize(
    ("annotation", "text", "words"),
    [
        (Item, b"[1]", "Expected `object`, got `array`"),
        (Item, b"{}", "Object missing required field `item_id`"),
        (Item, b'{"itemId":"1"}', "Expected `int`, got `str` - at `$.item_id`"),
        (list[Item], b"{}", "Expected `array`, got `object`"),
        (Item | None, b'"x"', "Expected `object | null`, got `str`"),
        (tuple[Item, int], b'[{"itemId":1}]', "Expected `array` of length 2"),
        (Pair, b"{}", "Expected `array`, got `object`"),
        (dict[str, Item], b"[]", "Expected `object`, got `array`"),
        (Union[Dog, Bird], b'{"type":"Cow"}', "Invalid value 'Cow' - at `$.type`"),
        (Union[Dog, Bird], b"[]", "Expected `object`, got `array`"),
        (Item, b'{"item\xffId":1}', "Object missing required field `item_id`"),
    ],
)
def test_what_does_not_fit_is_said_as_elsewhere(annotation: Any, text: bytes, words: str) -> None:
    with pytest.raises(ArgumentBindingError) as caught:
        PROTOCOL.value_decoder(annotation)(Raw(text))
    assert words.lower() in caught.value.text.lower()


def test_arguments_that_do_not_fit_have_the_references_words() -> None:
    decode = PROTOCOL.argument_decoder([Item, int])
    with pytest.raises(ArgumentBindingError, match=r"Invocation provides 1 argument\(s\) but target expects 2\."):
        decode(Raw(b'[{"itemId":1}]'))
    with pytest.raises(ArgumentBindingError, match="Error binding arguments"):
        decode(Raw(b'[{"itemId":"x"},1]'))


@pytest.mark.parametrize("names", [("order_id", "orderId"), ("order_id", "OrderID"), ("a_b", "ab")])
def test_fields_that_cannot_be_told_apart_are_refused(names: tuple[str, str]) -> None:
    made: Any = dataclass(type("Twins", (), {"__annotations__": dict.fromkeys(names, int)}))
    with pytest.raises(TypeError, match=r"Twins: .* are the same name where case does not matter"):
        PROTOCOL.value_decoder(made)
    with pytest.raises(LocalProtocolError, match="Twins"):
        PROTOCOL.encode(Completion(invocation_id="1", result=made(1, 2)))


def test_what_is_unset_is_left_out() -> None:
    assert PROTOCOL.encode(Completion(invocation_id="1", result=Unset("a"))) == (
        b'{"type":3,"invocationId":"1","result":{"firstName":"a"}}\x1e'
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Invocation(target="some_method", arguments=[ITEM, 1]), f'{{"type":1,"target":"some_method","arguments":[{ITEM_JSON},1]}}'),
        (Invocation(target="x", arguments=("some_text", 1)), '{"type":1,"target":"x","arguments":["some_text",1]}'),
        (Invocation(target="x", arguments=Raw(b'[{"item_id":1}]')), '{"type":1,"target":"x","arguments":[{"item_id":1}]}'),
        (StreamInvocation(target="x", arguments=[ITEM], invocation_id="1"),
         f'{{"type":4,"invocationId":"1","target":"x","arguments":[{ITEM_JSON}]}}'),
        (StreamItem(invocation_id="1", item=ITEM), f'{{"type":2,"invocationId":"1","item":{ITEM_JSON}}}'),
        (StreamItem(invocation_id="1", item=[1, 2]), '{"type":2,"invocationId":"1","item":[1,2]}'),
        (Completion(invocation_id="1"), '{"type":3,"invocationId":"1"}'),
        (Completion(invocation_id="1", error="some_error"), '{"type":3,"invocationId":"1","error":"some_error"}'),
        (Completion(invocation_id="1", result=datetime.date(2026, 1, 2)), '{"type":3,"invocationId":"1","result":"2026-01-02"}'),
        (Ping(), '{"type":6}'),
        (Close(error="x"), '{"type":7,"error":"x"}'),
    ],
)  # fmt: skip
def test_messages(message: HubMessage, expected: str) -> None:
    assert PROTOCOL.encode(message) == expected.encode() + b"\x1e"


def test_what_cannot_be_written_is_refused() -> None:
    for value in (Holder(float("nan")), Holder(object()), [Holder(Decimal("Infinity"))]):
        with pytest.raises(LocalProtocolError):
            PROTOCOL.encode(Completion(invocation_id="1", result=value))
    endless: list[Any] = []
    endless.append(Holder(endless))
    with pytest.raises(LocalProtocolError):
        PROTOCOL.encode(Completion(invocation_id="1", result=endless))


def test_values_are_not_changed() -> None:
    message = Message(ITEM)
    for value in (ITEM, [ITEM], {"a": ITEM}, message, Order(1, ITEM)):
        PROTOCOL.encode(Completion(invocation_id="1", result=value))
    assert message.first_item is ITEM
    plain = [1, "x", {"some_key": 1}]
    assert with_camel_case(plain) == plain
    assert with_camel_case(Message) is Message


def test_the_default_is_as_written() -> None:
    assert PLAIN.encode(Completion(invocation_id="1", result=Item(1))) == (
        b'{"type":3,"invocationId":"1","result":{"item_id":1,"unit_price":0,"is_new":false}}\x1e'
    )
    with pytest.raises(ArgumentBindingError):
        PLAIN.value_decoder(Item)(Raw(b'{"itemId":1}'))


ITEMS = st.builds(Item, st.integers(-(2**63), 2**63), st.decimals(allow_nan=False, allow_infinity=False, places=3), st.booleans())
ORDERS = st.recursive(
    st.builds(
        Order, st.integers(0, 9), st.none() | ITEMS, st.lists(ITEMS, max_size=3), st.dictionaries(st.text(max_size=5), ITEMS, max_size=3)
    ),
    lambda orders: st.builds(Order, st.integers(0, 9), sub_order=orders),
    max_leaves=5,
)


@given(ORDERS)
def test_what_is_written_can_be_read(order: Order) -> None:
    data = PROTOCOL.encode(Completion(invocation_id="1", result=order))
    message = PROTOCOL.parse(data[:-1])
    assert isinstance(message, Completion)
    assert PROTOCOL.value_decoder(Order)(message.result) == order
    with_names_as_declared = PLAIN.parse(PLAIN.encode(Completion(invocation_id="1", result=order))[:-1])
    assert isinstance(with_names_as_declared, Completion)
    assert PROTOCOL.value_decoder(Order)(with_names_as_declared.result) == order
