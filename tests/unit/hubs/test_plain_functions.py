"""Hub code that is no ``async def``, or does not look like one."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import collect_hub_methods, hub_method
from signalr_channels.protocols.endings import CloseReason, Disconnect
from tests.unit.scripted import CLOSE, ScriptedServer, completion, failed, settle
from tests.unit.scripted_classic import ClassicServer

pytestmark = pytest.mark.usefixtures("no_task_left")


def passing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator like many: it is no async def, and gives what one inside of it gives."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


async def test_an_async_def_inside_a_plain_decorator_runs() -> None:
    log: list[Any] = []

    class DecoratedHub(Hub):
        @passing_on
        async def on_connected(self) -> None:
            log.append("connected")

        @passing_on
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            log.append(disconnect.reason)

        @hub_method
        @passing_on
        async def echo(self, text: str) -> str:
            assert threading.current_thread() is threading.main_thread()
            return text

    async with ScriptedServer(DecoratedHub) as server:
        client = server.connect()
        assert await client.call("Echo", "x") == completion("0", "x")
        await client.leave()
    assert log == ["connected", CloseReason.CLIENT_GONE]


async def test_what_sync_to_async_makes_is_a_hub_method() -> None:
    class ThreadedHub(Hub):
        @hub_method
        @sync_to_async
        def double(self, number: int) -> int:
            return 2 * number

    async with ScriptedServer(ThreadedHub) as server:
        client = server.connect()
        assert await client.call("Double", 4) == completion("0", 8)
        assert "error" in await client.call("Double", "4")
        assert server.ran_sync == []


async def test_a_plain_def_that_raises_stop_iteration_is_answered() -> None:
    class EmptyHub(Hub):
        @hub_method(name="First")
        def first(self, items: list[int]) -> int:
            return next(iter(items))

    async with ScriptedServer(EmptyHub) as server:
        client = server.connect()
        assert await client.call("First", [7]) == completion("0", 7)
        assert await client.call("First", []) == failed("1", "An unexpected error occurred invoking 'First' on the server.")


async def test_a_plain_def_may_abort_its_connection() -> None:
    threads: list[threading.Thread] = []

    class LeavingHub(Hub):
        @hub_method
        def leave(self) -> str:
            self.context.abort()
            return "late"

    async with ScriptedServer(LeavingHub) as server:
        client = server.connect()
        end = client.connection.on_end
        assert end is not None
        client.connection.on_end = lambda: (threads.append(threading.current_thread()), end())[1]
        client.invoke("Leave")
        assert await client.receive() == CLOSE
        await client.finished()
        await settle()
        assert client.received() == []
        assert threads == [threading.main_thread()]


async def test_a_plain_def_may_abort_a_classic_connection() -> None:
    class LeavingHub(Hub):
        @hub_method
        def leave(self) -> None:
            self.context.abort()

    async with ClassicServer([LeavingHub]) as server:
        client = await server.connect(["leavinghub"])
        client.invoke("LeavingHub", "leave")
        await asyncio.wait_for(client.context.wait_aborted(), 2.0)
        await client.finished()


def test_a_plain_def_cannot_take_an_upload_stream() -> None:
    def read(self: Hub, items: AsyncIterator[int]) -> None: ...
    async def read_later(self: Hub, items: AsyncIterator[int]) -> None: ...

    hub = type("ReadingHub", (Hub,), {"read": hub_method(passing_on(read_later))})
    assert collect_hub_methods(hub)["read"].item_types == (int,)
    hub = type("ReadingHub", (Hub,), {"read": hub_method(read)})
    with pytest.raises(HubDefinitionError, match=r"^ReadingHub\.read: a plain def cannot read what a client uploads; write async def\.$"):
        collect_hub_methods(hub)
