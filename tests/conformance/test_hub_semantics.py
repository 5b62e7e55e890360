"""Section 5 of the reference: what hub code sees and does, where tests/unit/hubs leaves something open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from signalr_channels import Disconnect, Hub, HubException, HubFilter, hub_method
from signalr_channels.hubs.clients import HubClients
from tests.unit.scripted import CLOSE, ScriptedServer, called, completion, eventually, failed, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

INSIDE = "An unexpected error occurred invoking '{}' on the server."


class StageHub(Hub):
    log: list[Any]
    gate: asyncio.Event

    @hub_method
    async def note(self, text: str) -> None:
        self.log.append(text)

    @hub_method
    async def abort(self) -> None:
        self.context.abort()

    @hub_method
    async def forever(self) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            self.log.append("ended")

    @hub_method
    async def stubborn(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield 2

    @hub_method
    async def first(self, items: AsyncIterator[str]) -> str:
        async for item in items:
            return item
        return "none"

    @hub_method
    async def ask_from_outside(self) -> Any:
        """As code elsewhere does, so the call keeps its slot."""
        return await HubClients(self._session.dispatcher.reach).client(self.context.connection_id).ainvoke("answer")


@pytest.fixture
def hub() -> type[StageHub]:
    return type("StageHub", (StageHub,), {"log": [], "gate": asyncio.Event()})


# Hubs that cannot be made


async def test_a_hub_that_cannot_be_made_fails_the_call() -> None:
    class BrokenHub(Hub):
        def __init__(self) -> None:
            raise ValueError("broken")

        @hub_method
        async def wait(self) -> None:
            await asyncio.sleep(0)

        @hub_method
        async def inline(self) -> None: ...

    async with ScriptedServer(BrokenHub, ENABLE_DETAILED_ERRORS=True) as server:
        client = server.connect()
        for target in ("wait", "inline"):
            assert (await client.call(target))["error"] == INSIDE.format(target) + " ValueError: broken"


async def test_a_hub_that_cannot_be_made_turns_clients_away() -> None:
    class BrokenHub(Hub):
        def __init__(self) -> None:
            raise ValueError("broken")

        async def on_connected(self) -> None: ...

    async with ScriptedServer(BrokenHub, ENABLE_DETAILED_ERRORS=True) as server:
        assert await server.connect().receive() == {"type": 7, "error": "Connection closed with an error. ValueError: broken"}


# The end of a connection


async def test_the_context_says_so_before_on_disconnected_runs(hub: type[StageHub]) -> None:
    class EndingHub(hub):  # type: ignore[misc, valid-type]
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            self.log.append(self.context.is_aborted)
            await self.clients.client(self.context.connection_id).asend("too late")

    async with ScriptedServer(EndingHub) as server:
        client = server.connect()
        client.send(CLOSE)
        await client.finished()
        assert client.received() == [CLOSE]
        assert hub.log == [True]


async def test_nothing_follows_the_close_of_an_abort(hub: type[StageHub]) -> None:
    """Although a stream runs: neither items nor a completion."""
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("forever")
        await client.receive()
        client.invoke("abort")
        await eventually(lambda: client.finishing)
        await client.finished()
        await settle()
        messages = client.received()
        assert messages[-1] == CLOSE
        assert all(message["type"] == 2 for message in messages[:-1])
        assert hub.log == ["ended"]


# Filters


async def test_the_mode_and_the_streams_are_checked_before_filters(hub: type[StageHub]) -> None:
    class Counts(HubFilter):
        calls = 0

        async def invoke_method(self, invocation: Any, next: Any) -> Any:
            Counts.calls += 1
            return await next(invocation)

    async with ScriptedServer(hub, filters=[Counts()]) as server:
        client = server.connect()
        assert "non-streaming invocation" in (await client.call("forever"))["error"]
        client.stream("note", "x")
        assert "streaming invocation" in (await client.receive())["error"]
        client.invoke("first")
        assert "Client sent 0 stream(s), Hub method expects 1." in (await client.receive())["error"]
        assert Counts.calls == 0


# Groups


async def test_the_empty_name_in_a_list_of_groups_is_a_group() -> None:
    class GroupHub(Hub):
        @hub_method
        async def join(self, group: str) -> None:
            await self.groups.aadd(self.context.connection_id, group)

        @hub_method
        async def to_groups(self, groups: list[str]) -> None:
            await self.clients.groups(groups).asend("message")

    async with ScriptedServer(GroupHub) as server:
        client = server.connect()
        await client.call("join", "")
        client.invoke("to_groups", ["", "nowhere"])
        assert await client.receive(2) == [called("message"), completion("1", None)]


@pytest.mark.parametrize("audience", ["client", "group", "user"])
async def test_a_name_that_is_none_is_a_mistake_of_the_sender(audience: str) -> None:
    class NoneHub(Hub):
        @hub_method
        async def send(self) -> None:
            await getattr(self.clients, audience)(None).asend("message")

    async with ScriptedServer(NoneHub, ENABLE_DETAILED_ERRORS=True) as server:
        text = f"{INSIDE.format('send')} TypeError: {audience} takes text, not None: convert it with str()"
        assert await server.connect().call("send") == failed("0", text)


# Streams


async def test_a_stream_that_goes_on_after_its_cancellation(hub: type[StageHub]) -> None:
    """It may still give items, and its end is said once."""
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("stubborn")
        assert await client.receive() == {"type": 2, "invocationId": "0", "item": 1}
        client.cancel("0")
        assert await client.receive(2) == [{"type": 2, "invocationId": "0", "item": 2}, {"type": 3, "invocationId": "0"}]
        await settle()
        assert client.received() == []


async def test_an_item_for_nobody_may_come_before_its_id(hub: type[StageHub]) -> None:
    """Which ends the connection in .NET."""
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.send_data('{"type":2,"item":1,"invocationId":"77"}\x1e')
        assert await client.call("note", "still here") == completion("0", None)


async def test_an_upload_stream_whose_id_is_in_use_takes_over(hub: type[StageHub]) -> None:
    """The reader of the other one is told, and what that one does then is no harm to the new one."""
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("first", streams=["s"])
        await settle()
        client.invoke("first", streams=["s"])
        assert await client.receive() == failed("0", INSIDE.format("first") + " HubException: Stream ID 's' was used again.")
        client.item("s", "x")
        assert await client.receive() == completion("1", "x")


# Client results


async def test_an_answer_is_read_though_its_call_keeps_the_only_slot(hub: type[StageHub]) -> None:
    """And although another call waits for the slot, which blocks the connection for good in .NET."""
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("ask_from_outside")
        question = await client.receive()
        client.invoke("note", "behind it")
        await settle()
        assert hub.log == []
        client.complete(question["invocationId"], result=7)
        assert await client.receive(2) == [completion("0", 7), completion("1", None)]


async def test_a_question_that_was_cancelled(hub: type[StageHub]) -> None:
    """Its answer comes too late and does no harm."""

    class ImpatientHub(hub):  # type: ignore[misc, valid-type]
        @hub_method
        async def ask(self) -> None:
            asking = asyncio.ensure_future(self.clients.caller.ainvoke("answer"))
            await self.gate.wait()
            asking.cancel()
            await asyncio.wait([asking])
            raise HubException("Invocation canceled by the server.")

    async with ScriptedServer(ImpatientHub) as server:
        client = server.connect()
        client.invoke("ask")
        question = await client.receive()
        hub.gate.set()
        assert await client.receive() == failed("0", INSIDE.format("ask") + " HubException: Invocation canceled by the server.")
        client.complete(question["invocationId"], result=1)
        assert await client.call("note", "still here") == completion("1", None)
