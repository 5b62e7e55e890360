"""Mistakes in classes of the application: constructors and overridden methods that cannot be called."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest

from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.hubs.connection_handler import ConnectionHandler
from signalr_channels.hubs.definition import check_class
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.permissions import HubPermission
from signalr_channels.hubs.persistent_connection import PersistentConnection


def hub(**attributes: Any) -> type[Hub]:
    return type("ChatHub", (Hub,), attributes)


# Constructors


def needs(self: Any, room: str) -> None: ...


def takes(self: Any, room: str = "lobby", *rest: Any, **more: Any) -> None: ...


def takes_both(self: Any, context: Any, reach: Any, room: str = "lobby") -> None: ...


def test_a_hub_is_made_without_arguments() -> None:
    check_class(hub(__init__=takes), Hub)
    with pytest.raises(HubDefinitionError) as caught:
        check_class(hub(__init__=needs), Hub)
    assert str(caught.value) == (
        "ChatHub.__init__: instances are made with no arguments (missing a required argument: 'room'); write def __init__(self)."
    )
    check_class(hub(__init__=needs), Hub, is_made=False)


def test_other_classes_are_made_as_their_bases_are() -> None:
    check_class(type("Chat", (PersistentConnection,), {"__init__": takes_both}), PersistentConnection)
    with pytest.raises(
        HubDefinitionError, match=r"with the arguments context, reach \(.*\); write def __init__\(self, context, reach\)\.$"
    ):
        check_class(type("Chat", (PersistentConnection,), {"__init__": needs}), PersistentConnection)
    with pytest.raises(HubDefinitionError, match="with no arguments"):
        check_class(type("Chat", (HubFilter,), {"__init__": needs}), HubFilter)


@pytest.mark.parametrize("base", [Hub, ConnectionHandler, PersistentConnection, HubFilter, HubPermission])
def test_the_bases_have_no_faults(base: type) -> None:
    check_class(base, base)
    check_class(type("Derived", (base,), {}), base)


# Overridden methods


async def no_argument(self: Any) -> None: ...


def no_argument_sync(self: Any) -> None: ...


async def no_self() -> None: ...


async def one_argument(self: Any, why: Any) -> None: ...


async def two_arguments(self: Any, why: Any, text: str) -> None: ...


async def by_name(self: Any, *, disconnect: Any) -> None: ...


def plain(self: Any, disconnect: Any, text: str = "") -> None: ...


async def anything(*args: Any) -> None: ...


@pytest.mark.parametrize(
    ("name", "function", "text"),
    [
        (
            "on_disconnected",
            no_argument,
            "(self) does not take what it is called with; write async def {}(self, disconnect).",
        ),
        (
            "on_disconnected",
            no_argument_sync,
            "(self) does not take what it is called with; write def {}(self, disconnect).",
        ),
        ("on_disconnected", two_arguments, "write async def {}(self, disconnect)."),
        ("on_disconnected", by_name, "write async def {}(self, disconnect)."),
        ("on_disconnected", staticmethod(no_self), "write async def {}(self, disconnect)."),
        ("on_connected", no_self, "() does not take what it is called with; write async def {}(self)."),
        ("on_connected", one_argument, "write async def {}(self)."),
        ("on_reconnected", one_argument, "write async def {}(self)."),
    ],
)
def test_a_method_takes_what_the_server_gives_it(name: str, function: Any, text: str) -> None:
    with pytest.raises(HubDefinitionError) as caught:
        check_class(hub(**{name: function}), Hub)
    assert str(caught.value).startswith(f"ChatHub.{name}(")
    assert text.format(name) in str(caught.value)


def given(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that leaves the argument out."""

    @functools.wraps(function)
    async def call(self: Any, disconnect: Any) -> Any:
        return await function(self)

    return call


@pytest.mark.parametrize(
    "function",
    [
        one_argument,
        plain,
        anything,
        given(no_argument),
        staticmethod(one_argument_alone := no_argument),
        classmethod(one_argument),
        AsyncMock(),
    ],
)
def test_how_a_method_does_that_is_its_own_business(function: Any) -> None:
    assert one_argument_alone is no_argument  # as a static method, its one parameter is the argument
    check_class(hub(on_disconnected=function), Hub)


def test_a_wrapper_is_judged_by_itself() -> None:
    @functools.wraps(one_argument)
    async def loses_it(self: Any) -> None: ...

    with pytest.raises(HubDefinitionError, match="does not take what it is called with"):
        check_class(hub(on_disconnected=loses_it), Hub)


def test_a_yield_would_keep_a_method_from_running() -> None:
    async def streams(self: Any) -> AsyncIterator[int]:
        yield 1

    def generates(self: Any):  # type: ignore[no-untyped-def]
        yield 1

    for function in (streams, generates):
        with pytest.raises(HubDefinitionError, match=r"^ChatHub\.on_connected: nothing in it would ever run, since it has a yield"):
            check_class(hub(on_connected=function), Hub)


def test_methods_that_are_inherited_are_looked_at_too() -> None:
    class Mixin:
        async def on_disconnected(self) -> None: ...

    with pytest.raises(HubDefinitionError, match=r"ChatHub\.on_disconnected"):
        check_class(type("ChatHub", (Mixin, Hub), {}), Hub)


@pytest.mark.parametrize(
    ("base", "name", "text"),
    [
        (ConnectionHandler, "on_connected", "(self, connection)"),
        (PersistentConnection, "on_received", "(self, data)"),
        (HubFilter, "invoke_method", "(self, invocation, next)"),
        (HubPermission, "has_permission", "(self, request)"),
    ],
)
def test_the_other_bases_have_methods_as_well(base: type, name: str, text: str) -> None:
    with pytest.raises(HubDefinitionError) as caught:
        check_class(type("Own", (base,), {name: no_argument}), base)
    assert str(caught.value).endswith(f"write async def {name}{text}.")
