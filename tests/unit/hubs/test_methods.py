"""What a hub answers to: the mark, the table of wire names, and what is found out about each method."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterator
from typing import Any, Protocol

import pytest

from signalr_channels.exceptions import HubDefinitionError, NotLoadable
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import HubMethod, collect_hub_methods, hub_method
from signalr_channels.hubs.permissions import IsAuthenticated, IsStaff


def describe(function: Callable[..., Any], **mark: Any) -> HubMethod:
    """What is found out about one method."""
    hub = type("OneMethodHub", (Hub,), {"method": hub_method(**mark)(function)})
    methods = {id(method): method for method in collect_hub_methods(hub).values()}
    (method,) = methods.values()
    return method


# Names


def test_a_method_answers_to_its_name_in_snake_camel_and_pascal_case() -> None:
    class ChatHub(Hub):
        @hub_method
        async def send_message(self, text: str) -> None: ...

    table = collect_hub_methods(ChatHub)
    assert set(table) == {"send_message", "sendmessage"}
    assert table["send_message"] is table["sendmessage"]
    assert table["sendmessage"].name == "send_message"


def test_a_name_of_its_own_replaces_the_methods_names() -> None:
    class ChatHub(Hub):
        @hub_method(name="Count_Down")
        async def countdown(self) -> None: ...

    table = collect_hub_methods(ChatHub)
    assert set(table) == {"count_down"}
    assert table["count_down"].name == "Count_Down"


def test_without_the_mark_nothing_can_be_called() -> None:
    class ChatHub(Hub):
        async def helper(self) -> None: ...

        @property
        def room(self) -> str:
            raise AssertionError("properties are not looked at")

    assert collect_hub_methods(ChatHub) == {}
    assert collect_hub_methods(Hub) == {}


def test_marked_methods_are_inherited() -> None:
    class Mixin:
        @hub_method
        async def one(self) -> None: ...

    class Base(Hub):
        @hub_method
        async def two(self) -> None: ...

    class Derived(Mixin, Base):
        @hub_method
        async def three(self) -> None: ...

    assert set(collect_hub_methods(Derived)) == {"one", "two", "three"}


def test_a_method_that_is_overridden_needs_its_mark_again() -> None:
    class Base(Hub):
        @hub_method
        async def echo(self, text: str) -> str:
            return text

    class Closed(Base):
        async def echo(self, text: str) -> str:
            return "not from outside"

    class Open(Base):
        @hub_method(name="say")
        async def echo(self, text: str) -> str:
            return text

    assert collect_hub_methods(Closed) == {}
    assert set(collect_hub_methods(Open)) == {"say"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "Send"}, {"name": "sEND"}),
        ({"name": None}, {"name": "secondMETHOD"}),
        ({"name": "second_method"}, {"name": None}),
    ],
)
def test_two_methods_may_not_share_a_wire_name(first: dict[str, Any], second: dict[str, Any]) -> None:
    names = {"second_method" if mark["name"] is None else f"method_{number}": mark for number, mark in enumerate((first, second))}

    async def function(self: Hub) -> None: ...

    def copy(name: str) -> Any:
        clone: Any = type(function)(function.__code__, {}, name)
        clone.__qualname__ = f"ChatHub.{name}"
        return clone

    hub = type("ChatHub", (Hub,), {name: hub_method(name=mark["name"])(copy(name)) for name, mark in names.items()})
    with pytest.raises(HubDefinitionError, match=r"ChatHub: .* and .* both answer to '.*'; give one of them another @hub_method\(name=…\)"):
        collect_hub_methods(hub)


def test_an_underscore_alone_makes_no_other_name() -> None:
    class ChatHub(Hub):
        @hub_method
        async def send(self) -> None: ...

        @hub_method
        async def s_end(self) -> None: ...

    with pytest.raises(HubDefinitionError, match=r"ChatHub\.send.*'send'"):
        collect_hub_methods(ChatHub)


# The mark


def test_the_mark_leaves_the_function_as_it_is() -> None:
    def function(self: Hub) -> None: ...

    assert hub_method(function) is function
    assert hub_method(name="x")(function) is function


def test_the_mark_says_how_it_is_to_be_used() -> None:
    with pytest.raises(TypeError, match=r"write @hub_method\(name='send'\)"):
        hub_method("send")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"write @hub_method\(permission_classes=…\)"):
        hub_method([IsStaff])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"takes a function, not <property object at \w+>$"):
        hub_method(property(str))  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", [staticmethod, classmethod, property, functools.cached_property, functools.partialmethod])
def test_a_hub_method_is_a_plain_method(kind: Callable[[Any], Any]) -> None:
    class ChatHub(Hub):
        @kind
        @hub_method
        async def method(self) -> None: ...

    with pytest.raises(HubDefinitionError, match=rf"ChatHub\.method: a hub method is a plain method, not {kind.__name__}"):
        collect_hub_methods(ChatHub)


def test_the_mark_keeps_permission_classes() -> None:
    async def function(self: Hub) -> None: ...

    assert describe(function).permission_classes == ()
    assert describe(function, permission_classes=[IsAuthenticated, IsStaff]).permission_classes == (IsAuthenticated, IsStaff)


def test_permission_classes_may_be_dotted_names() -> None:
    async def function(self: Hub) -> None: ...

    method = describe(function, permission_classes=["signalr_channels.hubs.permissions.IsStaff", IsAuthenticated])
    assert method.permission_classes == (IsStaff, IsAuthenticated)
    assert not method.runs_inline


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        (["nowhere.IsNice"], r"OneMethodHub\.method: permission_classes: cannot import 'nowhere\.IsNice': No module named 'nowhere'\."),
        ([Hub], r"OneMethodHub\.method: permission_classes: .*Hub'> is no subclass of HubPermission\."),
        ("chat.permissions.IsNice", r"OneMethodHub\.method: permission_classes must be a list, not 'chat\.permissions\.IsNice'\."),
        (IsStaff, r"OneMethodHub\.method: permission_classes must be a list, not <class .*IsStaff'>\."),
    ],
)
def test_permission_classes_that_cannot_be_loaded_are_told_with_their_method(classes: Any, text: str) -> None:
    async def function(self: Hub) -> None: ...

    with pytest.raises(NotLoadable, match=f"^{text}$"):
        describe(function, permission_classes=classes)


@pytest.mark.parametrize("name", ["", " ", 5])
def test_a_name_is_a_text_that_is_not_empty(name: Any) -> None:
    async def function(self: Hub) -> None: ...

    with pytest.raises(HubDefinitionError, match=rf"OneMethodHub\.method: clients cannot call a method named {name!r}; without name=…"):
        describe(function, name=name)


@pytest.mark.parametrize("name", ["clients", "context", "groups", "settings", "permission_classes", "classic_name", "_session", "__eq__"])
def test_what_every_hub_has_is_no_hub_method(name: str) -> None:
    async def function(self: Hub) -> None: ...

    hub = type("ChatHub", (Hub,), {name: hub_method(function)})
    with pytest.raises(HubDefinitionError, match=rf"ChatHub\.{name}: every hub has a '{name}' of its own; rename .*\(name='{name}'\)"):
        collect_hub_methods(hub)


@pytest.mark.parametrize("name", ["on_connected", "on_reconnected", "on_disconnected"])
def test_what_the_server_calls_is_no_hub_method(name: str) -> None:
    async def function(self: Hub) -> None: ...

    hub = type("ChatHub", (Hub,), {name: hub_method(name="hello")(function)})
    with pytest.raises(HubDefinitionError, match=rf"ChatHub\.{name}: the server calls it, and clients must not; take @hub_method away"):
        collect_hub_methods(hub)


# Parameters


def test_parameters_have_names_annotations_and_defaults() -> None:
    async def function(self: Hub, a: int, b, c: list[str] | None = None) -> None: ...  # type: ignore[no-untyped-def]

    method = describe(function)
    assert [(p.name, p.annotation, p.is_required, p.is_upload) for p in method.parameters] == [
        ("a", int, True, False),
        ("b", Any, True, False),
        ("c", list[str] | None, False, False),
    ]
    assert method.argument_types == (int, Any, list[str] | None)
    assert method.required_arguments == 2


def test_annotations_may_be_text() -> None:
    async def function(self: Hub, a: int) -> None: ...

    function.__annotations__ = {"a": "int | None", "return": "None"}
    assert describe(function).argument_types == (int | None,)


def test_annotations_that_cannot_be_resolved_are_named() -> None:
    async def function(self: Hub, a: int) -> None: ...

    function.__annotations__ = {"a": "Nowhere"}
    with pytest.raises(HubDefinitionError, match=r"OneMethodHub\.method: its annotations cannot be resolved: name 'Nowhere'"):
        describe(function)


def test_clients_pass_arguments_by_position_only() -> None:
    async def rest(self: Hub, *numbers: int) -> None: ...

    async def named(self: Hub, *, number: int) -> None: ...

    async def all_named(self: Hub, **numbers: int) -> None: ...

    for function in (rest, named, all_named):
        with pytest.raises(HubDefinitionError, match=r"\.method: clients pass arguments by position; .*number.* cannot be filled"):
            describe(function)


def test_the_first_parameter_is_self() -> None:
    async def nothing() -> None: ...

    async def named(*, text: str) -> None: ...

    async def all_named(**more: str) -> None: ...

    for function in (nothing, named, all_named):
        with pytest.raises(HubDefinitionError, match=r"^OneMethodHub\.method: its first parameter has to be self\.$"):
            describe(function)

    async def argument(text: str) -> None: ...

    async def more(texts: list[str], number: int) -> None: ...

    for function, first in ((argument, "text"), (more, "texts")):  # type: ignore[assignment]
        with pytest.raises(HubDefinitionError) as caught:
            describe(function)
        assert str(caught.value) == f"OneMethodHub.method: its first parameter has to be self; {first!r} would be the hub."


class Greeting(Protocol):
    greeting: str


def test_self_may_have_another_name_and_a_type() -> None:
    async def typed(this: Hub, text: str) -> None: ...

    async def untyped(this, text: str) -> None: ...  # type: ignore[no-untyped-def]

    async def mixin(this: Greeting, text: str) -> None: ...

    async def anything(this: Any, text: str) -> None: ...

    async def starred(*this: Any) -> None: ...

    for function in (typed, untyped, mixin, anything):
        assert describe(function).argument_types == (str,)
    assert describe(starred).argument_types == ()


@pytest.mark.parametrize("kind", [AsyncIterator, AsyncIterable])
def test_async_iterators_are_upload_streams(kind: Any) -> None:
    async def function(self: Hub, room: str, numbers: int, more: int) -> None: ...

    function.__annotations__ |= {"numbers": kind[int], "more": kind}
    method = describe(function)
    assert [p.is_upload for p in method.parameters] == [False, True, True]
    assert method.item_types == (int, Any)
    assert method.argument_types == (str,)
    assert method.required_arguments == 1


# Kinds of methods


def test_plain_and_async_methods_are_told_apart() -> None:
    def plain(self: Hub) -> None: ...

    async def waits(self: Hub) -> None: ...

    assert (describe(plain).is_async, describe(plain).is_streaming) == (False, False)
    assert (describe(waits).is_async, describe(waits).is_streaming) == (True, False)


def test_streaming_methods_are_generators_or_say_so() -> None:
    async def generator(self: Hub):  # type: ignore[no-untyped-def]
        yield 1

    async def later(self: Hub) -> AsyncIterator[int]:
        return generator(self)  # type: ignore[no-any-return, no-untyped-call]

    def plain(self: Hub) -> AsyncGenerator[int, None]:
        return generator(self)  # type: ignore[no-any-return, no-untyped-call]

    for function in (generator, later, plain):
        assert describe(function).is_streaming
    assert [describe(function).is_async for function in (generator, later, plain)] == [False, True, False]
    assert not any(describe(function).runs_inline for function in (generator, plain))


def test_an_iterator_is_no_result() -> None:
    def generator(self: Hub):  # type: ignore[no-untyped-def]
        yield 1

    def iterator(self: Hub) -> Iterator[int]:
        return iter([1])

    async def later(self: Hub) -> Generator[int, None, None]:
        return (number for number in [1])

    def bare(self: Hub) -> Iterator:  # type: ignore[type-arg]
        return iter([1])

    for function in (generator, iterator, later, bare):
        with pytest.raises(
            HubDefinitionError, match=r"^OneMethodHub\.method: an iterator cannot be sent\. .* async def with yield; else .* list"
        ):
            describe(function)


def test_an_async_method_that_cannot_wait_runs_inline() -> None:
    async def inline(self: Hub, text: str) -> str:
        return "".join(c.upper() for c in text)

    assert describe(inline).runs_inline


async def _waits(self: Hub) -> None:
    await asyncio.sleep(0)


async def _enters(self: Hub) -> None:
    async with asyncio.Lock():
        pass


async def _iterates(self: Hub) -> None:
    async for _ in _items():
        pass


async def _comprehends(self: Hub) -> list[int]:
    return [item async for item in _items()]


async def _items() -> AsyncIterator[int]:
    yield 1


@functools.wraps(_waits)
async def _wrapped(self: Hub) -> None:
    return None


def _plain(self: Hub) -> None:
    return None


@pytest.mark.parametrize("function", [_waits, _enters, _iterates, _comprehends, _wrapped, _plain])
def test_methods_that_may_wait_do_not(function: Callable[..., Any]) -> None:
    assert not describe(function).runs_inline


def test_permissions_and_upload_streams_need_a_task() -> None:
    async def function(self: Hub) -> None: ...

    async def uploads(self: Hub, items: AsyncIterator[int]) -> None: ...

    assert describe(function).runs_inline
    assert not describe(function, permission_classes=[IsStaff]).runs_inline
    assert not describe(uploads).runs_inline
