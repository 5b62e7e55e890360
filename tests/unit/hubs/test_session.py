"""The calls of one connection: order, slots, answers, errors, permissions, filters, and its end."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from signalr_channels.exceptions import HubException, RemoteProtocolError
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.filters import ConnectedNext, DisconnectedNext, HubFilter, HubInvocation, InvokeNext
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.permissions import HubPermission, PermissionRequest
from signalr_channels.protocols.endings import CloseReason, Disconnect
from tests.unit.gates import Gates
from tests.unit.scripted import CLOSE, HANDSHAKE, PING, TIMEOUT, ScriptedServer, called, completion, eventually, failed, settle

pytestmark = pytest.mark.usefixtures("no_task_left")


def make_hub(gates: Gates) -> type[Hub]:
    class StageHub(Hub):
        @hub_method
        async def add(self, a: int, b: int = 10) -> int:
            return a + b

        @hub_method
        async def nothing(self) -> None: ...

        @hub_method
        def plain(self, text: str) -> str:
            gates.log.append("plain")
            return text.upper()

        @hub_method
        async def wait(self, door: str) -> str:
            gates.log.append(f"{door} began")
            await gates.door(door).wait()
            gates.log.append(f"{door} ended")
            return door

        @hub_method
        async def note(self, text: str) -> None:
            gates.log.append(text)

        @hub_method
        async def note_later(self, text: str) -> None:
            await asyncio.sleep(0)
            gates.log.append(text)

        @hub_method
        async def fail(self, text: str) -> None:
            raise ValueError(text)

        @hub_method
        async def fail_later(self, text: str) -> None:
            await asyncio.sleep(0)
            raise ValueError(text)

        @hub_method
        async def fail_hub(self, text: str) -> None:
            raise HubException(text)

        @hub_method
        async def fail_own(self, text: str) -> None:
            raise ForbiddenRoom(text)

        @hub_method
        async def unspeakable(self) -> Any:
            return object()

        @hub_method
        async def endless(self) -> float:
            return float("inf")

        @hub_method
        async def abort(self) -> str:
            self.context.abort()
            await self.clients.caller.asend("too late")
            return "never seen"

        @hub_method
        async def abort_later(self) -> str:
            await asyncio.sleep(0)
            self.context.abort()
            return "never seen"

        @hub_method
        async def greet(self) -> str:
            await self.clients.caller.asend("hello")
            return "greeted"

    return StageHub


class ForbiddenRoom(HubException):
    """A hub author's own."""


# Start


async def test_on_connected_runs_after_the_handshake_and_before_any_call(gates: Gates) -> None:
    class ChatHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            gates.log.append("connecting")
            await gates.door("start").wait()
            gates.log.append("connected")

    async with ScriptedServer(ChatHub) as server:
        client = server.connect(handshake=False)
        assert gates.log == []
        client.send_data(HANDSHAKE)
        client.invoke("note", "inline")
        client.invoke("note_later", "in a task")
        await settle()
        assert client.transport.written == [b"{}\x1e"]
        assert gates.log == ["connecting"]
        gates.open("start")
        assert await client.receive(2) == [completion("0", None), completion("1", None)]
        assert gates.log == ["connecting", "connected", "inline", "in a task"]


async def test_on_connected_may_already_send_to_all_and_to_the_caller() -> None:
    class ChatHub(Hub):
        async def on_connected(self) -> None:
            await self.groups.aadd(self.context.connection_id, "lobby")
            await self.clients.all.asend("all")
            await self.clients.caller.asend("caller")
            await self.clients.group("lobby").asend("group")

    async with ScriptedServer(ChatHub) as server:
        client = server.connect()
        assert await client.receive(3) == [called("all"), called("caller"), called("group")]


@pytest.mark.parametrize(
    ("error", "settings", "text"),
    [
        (ValueError("secret"), {}, ""),
        (ValueError("secret"), {"ENABLE_DETAILED_ERRORS": True}, " ValueError: secret"),
        (HubException("The room is full."), {}, " HubException: The room is full."),
        (ForbiddenRoom("not you"), {}, " ForbiddenRoom: not you"),
    ],
)
async def test_a_client_is_turned_away_if_on_connected_raises(
    gates: Gates, error: Exception, settings: dict[str, Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    class ChatHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            raise error

        async def on_disconnected(self, disconnect: Disconnect) -> None:
            raise AssertionError("not called for one that was turned away")

    async with ScriptedServer(ChatHub, **settings) as server:
        client = server.connect()
        client.invoke("note", "never")
        assert await client.receive() == {"type": 7, "error": "Connection closed with an error." + text}
        await client.finished()
        assert client.transport.close_code == 1000
        assert client.connection.disconnect == Disconnect(reason=CloseReason.HUB_ERROR, stop_called=False, exception=error)
        assert server.manager.index.connections == {}
        assert gates.log == []
    assert ("Traceback" in caplog.text) is not isinstance(error, HubException)


async def test_hooks_may_be_plain_functions(gates: Gates) -> None:
    class ChatHub(Hub):
        def on_connected(self) -> None:  # type: ignore[override]
            gates.log.append("connected")

        def on_disconnected(self, disconnect: Disconnect) -> None:  # type: ignore[override]
            gates.log.append(disconnect.reason)

    async with ScriptedServer(ChatHub) as server:
        client = server.connect()
        await eventually(lambda: client.session.is_connected)
        await client.leave()
        assert gates.log == ["connected", CloseReason.CLIENT_GONE]
        assert server.ran_sync == ["on_connected", "on_disconnected"]


async def test_a_client_that_leaves_during_on_connected_is_heard_of_afterwards(gates: Gates) -> None:
    class ChatHub(Hub):
        async def on_connected(self) -> None:
            await gates.door("start").wait()
            gates.log.append(("connected", self.context.is_aborted))

        async def on_disconnected(self, disconnect: Disconnect) -> None:
            gates.log.append(("disconnected", disconnect.reason))

    async with ScriptedServer(ChatHub) as server:
        client = server.connect()
        leaving = asyncio.ensure_future(client.leave())
        await settle()
        assert gates.log == []
        gates.open("start")
        await leaving
        assert gates.log == [("connected", True), ("disconnected", CloseReason.CLIENT_GONE)]


async def test_calls_of_a_client_that_on_connected_aborts_do_not_run(gates: Gates) -> None:
    class BouncerHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            await gates.door("door").wait()
            self.context.abort()

    async with ScriptedServer(BouncerHub) as server:
        client = server.connect()
        client.invoke("note", "a")
        client.invoke("note_later", "b")
        gates.open("door")
        assert await client.receive() == CLOSE
        await client.finished()
        assert "a" not in gates.log
        assert "b" not in gates.log


async def test_on_disconnected_of_a_hub_that_cannot_be_made_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class FragileHub(Hub):
        is_broken = False

        def __init__(self) -> None:
            if FragileHub.is_broken:
                raise RuntimeError("broken")

        async def on_disconnected(self, disconnect: Disconnect) -> None: ...

    async with ScriptedServer(FragileHub) as server:
        client = server.connect()
        FragileHub.is_broken = True
        await client.leave()
        assert server.manager.index.connections == {}
    assert "on_disconnected" in caplog.text
    assert "broken" in caplog.text


async def test_without_a_handshake_the_hub_hears_nothing(gates: Gates) -> None:
    class ChatHub(Hub):
        async def on_connected(self) -> None:
            gates.log.append("connected")

        async def on_disconnected(self, disconnect: Disconnect) -> None:
            gates.log.append("disconnected")

    async with ScriptedServer(ChatHub, HANDSHAKE_TIMEOUT=15.0) as server:
        silent = server.connect("silent", handshake=False)
        wrong = server.connect("wrong", handshake=False)
        wrong.send_data('{"protocol":"bson","version":1}\x1e')
        server.tick(15.0)
        await silent.finished()
        await wrong.finished()
        assert gates.log == []
        assert server.manager.index.connections == {}


async def test_a_hub_without_hooks_connects_without_a_task() -> None:
    async with ScriptedServer(Hub) as server:
        tasks = asyncio.all_tasks()
        client = server.connect()
        assert client.session.is_connected
        assert asyncio.all_tasks() == tasks


TASK_FACTORIES: list[Any] = [None]
if sys.version_info >= (3, 12):
    TASK_FACTORIES.append(asyncio.eager_task_factory)


@pytest.mark.parametrize("task_factory", TASK_FACTORIES)
async def test_tasks_may_begin_at_once(task_factory: Any) -> None:
    class EagerHub(Hub):
        async def on_connected(self) -> None:
            self.context.items["is_connected"] = True

        @hub_method
        async def ask(self, seconds: float) -> bool:
            if seconds:
                await asyncio.sleep(seconds)
            return bool(self.context.items["is_connected"])

        @hub_method
        async def count(self) -> AsyncIterator[int]:
            yield 1

    asyncio.get_running_loop().set_task_factory(task_factory)
    async with ScriptedServer(EagerHub) as server:
        client = server.connect()
        for seconds in (0, 0.001, 0):
            client.invoke("Ask", seconds)
        assert await client.receive(3) == [completion(str(number), True) for number in range(3)]
        for _ in range(2):
            assert (await client.receive_completion(client.stream("Count"))).get("error") is None
        await settle()
        assert not client.session.streams
        assert client.session.free_slots == 1


async def test_silence_does_not_count_while_on_connected_runs(gates: Gates) -> None:
    class ChatHub(Hub):
        async def on_connected(self) -> None:
            await gates.door("start").wait()

    async with ScriptedServer(ChatHub, CLIENT_TIMEOUT_INTERVAL=30.0) as server:
        client = server.connect()
        client.send(PING)
        server.tick(100.0)
        assert not client.connection.is_closed
        gates.open("start")
        await settle()
        server.tick(130.0)
        assert not client.connection.is_closed
        server.tick(131.0)
        assert client.connection.is_closed


# Calls


async def test_a_call_is_answered_with_its_result(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        assert await client.call("Add", 1, 2) == completion("0", 3)
        assert await client.call("ADD", 1) == completion("1", 11)
        assert await client.call("nothing") == completion("2", None)
        assert await client.call("plain", "abc") == completion("3", "ABC")
        assert server.ran_sync == ["plain"]


async def test_a_call_without_an_id_is_not_answered(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        for target, arguments in [
            ("note", ["inline"]),
            ("note_later", ["in a task"]),
            ("fail", ["x"]),
            ("fail_later", ["x"]),
            ("nowhere", []),
            ("add", []),
            ("unspeakable", []),
        ]:
            client.forget(target, *arguments)
        client.send({"type": 1, "target": "note", "arguments": ["empty id"], "invocationId": ""})
        assert await client.call("add", 1) == completion("0", 11)
        assert gates.log == ["inline", "in a task", "empty id"]


async def test_an_inline_method_needs_no_task_and_no_turn_of_the_loop(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        tasks = asyncio.all_tasks()
        client.invoke("add", 1, 2)
        assert client.received() == [completion("0", 3)]
        assert asyncio.all_tasks() == tasks


async def test_each_call_has_a_hub_of_its_own_and_items_are_kept() -> None:
    class CountingHub(Hub):
        count = 0

        @hub_method
        async def count_up(self) -> list[int]:
            self.count += 1
            self.context.items["count"] = self.context.items.get("count", 0) + 1
            return [self.count, self.context.items["count"]]

    async with ScriptedServer(CountingHub) as server:
        first, second = server.connect("first"), server.connect("second")
        assert (await first.call("countUp"))["result"] == [1, 1]
        assert (await first.call("countUp"))["result"] == [1, 2]
        assert (await second.call("countUp"))["result"] == [1, 1]


async def test_the_context_tells_who_calls() -> None:
    class ContextHub(Hub):
        @hub_method
        async def who(self) -> list[Any]:
            c = self.context
            return [c.connection_id, c.user, c.user_identifier, c.transport, c.hub_protocol, c.scope["path"], c.is_aborted]

    async with ScriptedServer(ContextHub) as server:
        client = server.connect("c", user="anna", user_identifier="7")
        assert (await client.call("who"))["result"] == ["c", "anna", "7", "webSockets", "json", "/hub", False]


async def test_messages_sent_before_the_answer_arrive_before_it(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        client.invoke("greet")
        assert await client.receive(2) == [called("hello"), completion("0", "greeted")]


# Slots


async def test_with_one_slot_calls_keep_their_order(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        client.invoke("wait", "a")
        client.invoke("wait", "b")
        client.invoke("note", "inline")
        client.invoke("add", 1)
        gates.open("b")
        await settle()
        assert client.received() == []
        assert gates.log == ["a began"]
        gates.open("a")
        assert await client.receive(4) == [completion("0", "a"), completion("1", "b"), completion("2", None), completion("3", 11)]
        assert gates.log == ["a began", "a ended", "b began", "b ended", "inline"]


async def test_calls_of_different_connections_do_not_wait_for_each_other(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        slow, fast = server.connect("slow"), server.connect("fast")
        slow.invoke("wait", "a")
        assert await fast.call("add", 1) == completion("0", 11)
        gates.open("a")
        assert await slow.receive() == completion("0", "a")


async def test_with_more_slots_as_many_calls_run_at_once(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates), MAXIMUM_PARALLEL_INVOCATIONS=2) as server:
        client = server.connect()
        for door in "abc":
            client.invoke("wait", door)
        await settle()
        assert gates.log == ["a began", "b began"]
        gates.open("b")
        assert await client.receive() == completion("1", "b")
        await settle()
        assert gates.log == ["a began", "b began", "b ended", "c began"]
        gates.open("a", "c")
        assert sorted(message["result"] for message in await client.receive(2)) == ["a", "c"]


async def test_a_call_that_cannot_be_bound_does_not_wait_for_a_slot(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        client.invoke("wait", "a")
        client.invoke("add", "x")
        assert await client.receive() == failed("1", "Failed to invoke 'add' due to an error on the server.")
        gates.open("a")
        assert await client.receive() == completion("0", "a")


async def test_a_ping_counts_while_a_hub_method_runs(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates), CLIENT_TIMEOUT_INTERVAL=30.0, KEEP_ALIVE_INTERVAL=15.0) as server:
        client = server.connect()
        client.invoke("wait", "a")
        for now in (0.0, 25.0, 50.0, 75.0):
            server.tick(now)
            client.send(PING)
        assert not client.connection.is_closed
        assert client.received() == [PING, PING, PING]
        server.tick(106.0)
        assert client.connection.is_closed
        gates.open("a")


async def test_silence_does_not_count_while_calls_wait(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates), CLIENT_TIMEOUT_INTERVAL=30.0, KEEP_ALIVE_INTERVAL=1000.0) as server:
        client = server.connect()
        client.send(PING)
        client.invoke("wait", "a")
        client.invoke("wait", "b")
        server.tick(100.0)
        assert not client.connection.is_closed
        gates.open("a", "b")
        await client.receive(2)
        server.tick(130.0)
        assert not client.connection.is_closed
        server.tick(131.0)
        assert client.connection.is_closed


async def test_a_client_that_calls_faster_than_it_is_served_is_read_no_further(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates), APPLICATION_BUFFER_SIZE=200) as server:
        client = server.connect()
        client.invoke("wait", "a")
        await asyncio.wait_for(client.session.wait_ready(), TIMEOUT)
        client.invoke("wait", "b")
        assert not client.session.is_congested
        client.invoke("note", "x" * 200)
        assert client.session.is_congested
        reading = asyncio.ensure_future(client.session.wait_ready())
        gates.open("a")
        await settle()
        assert not reading.done()
        gates.open("b")
        await asyncio.wait_for(reading, TIMEOUT)
        assert gates.log[-1] == "x" * 200


async def test_calls_wait_for_a_client_that_does_not_read_its_answers(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        client.transport.pause()
        for text in "abc":
            client.invoke("note", text)
        await settle()
        assert gates.log == ["a"]
        client.transport.resume()
        assert await client.receive(3) == [completion(number, None) for number in "012"]
        assert gates.log == ["a", "b", "c"]
        assert await client.call("add", 1) == completion("3", 11)


async def test_calls_that_wait_for_a_client_to_read_end_with_it(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates), TRANSPORT_SEND_TIMEOUT=10.0) as server:
        client = server.connect()
        client.transport.pause()
        for text in "abc":
            client.invoke("note", text)
        server.tick(10.1)
        await client.finished()
        await settle()
        assert client.connection.disconnect is not None
        assert client.connection.disconnect.reason is CloseReason.SLOW_CONSUMER
        assert gates.log == ["a"]


async def test_many_calls_at_once_let_the_loop_have_its_turns() -> None:
    class BigHub(Hub):
        @hub_method
        async def big(self, size: int) -> str:
            return "x" * size

    async with ScriptedServer(BigHub) as server:
        client, turns = server.connect(), []
        call = {"type": 1, "target": "big", "arguments": [40_000]}
        client.send(*({**call, "invocationId": f"{number}"} for number in range(10)))
        while len(client.transport.written) < 11:
            turns.append(len(client.transport.written))
            await asyncio.sleep(0)
        assert len(turns) >= 4
        assert [message["invocationId"] for message in client.received()] == [f"{number}" for number in range(10)]


async def test_waiting_to_read_ends_with_the_connection(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates), APPLICATION_BUFFER_SIZE=1) as server:
        client = server.connect()
        client.invoke("wait", "a")
        client.invoke("wait", "b")
        reading = asyncio.ensure_future(client.session.wait_ready())
        await settle()
        assert not reading.done()
        client.connection.close(CloseReason.CLOSED_BY_ADMIN)
        await asyncio.wait_for(reading, TIMEOUT)
        gates.open("a", "b")


# Errors

FAILED_TO_INVOKE = "Failed to invoke '{}' due to an error on the server."
FAILED_INSIDE = "An unexpected error occurred invoking '{}' on the server."
TOO_FEW = "Invocation provides 0 argument(s) but target expects 2."
MISFIT = "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize(
    ("target", "arguments", "base", "detail", "always"),
    [
        ("Nowhere", [], FAILED_TO_INVOKE.format("Nowhere"), " HubException: Method does not exist.", True),
        ("on_connected", [], FAILED_TO_INVOKE.format("on_connected"), " HubException: Method does not exist.", True),
        ("ADD", [], FAILED_TO_INVOKE.format("add"), f" InvalidDataException: {TOO_FEW}", False),
        ("add", ["1"], FAILED_TO_INVOKE.format("add"), f" InvalidDataException: {MISFIT}", False),
        ("Fail", ["secret"], FAILED_INSIDE.format("fail"), " ValueError: secret", False),
        ("failLater", ["secret"], FAILED_INSIDE.format("fail_later"), " ValueError: secret", False),
        ("fail_hub", ["for you"], FAILED_INSIDE.format("fail_hub"), " HubException: for you", True),
        ("fail_own", ["for you"], FAILED_INSIDE.format("fail_own"), " ForbiddenRoom: for you", True),
    ],
)
async def test_what_clients_read_of_an_error(
    gates: Gates, target: str, arguments: list[Any], base: str, detail: str, always: bool, detailed: bool
) -> None:
    async with ScriptedServer(make_hub(gates), ENABLE_DETAILED_ERRORS=detailed) as server:
        client = server.connect()
        assert await client.call(target, *arguments) == failed("0", base + detail if always or detailed else base)
        assert await client.call("add", 1) == completion("1", 11)


@pytest.mark.parametrize("target", ["unspeakable", "endless"])
async def test_a_result_that_cannot_be_encoded_is_an_error_of_the_call(gates: Gates, target: str) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        assert await client.call(target) == failed("0", FAILED_INSIDE.format(target))
        assert await client.call("add", 1) == completion("1", 11)


async def test_the_log_says_what_to_do_about_a_result_that_cannot_be_encoded(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        await server.connect().call("unspeakable")
    assert "What can be sent: texts, numbers, dates" in caplog.text
    assert "During handling of the above exception" not in caplog.text


async def test_the_log_says_which_argument_does_not_fit(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "signalr_channels.hubs")
    async with ScriptedServer(make_hub(gates)) as server:
        await server.connect().call("add", "1")
    assert "'Expected `int`, got `str` - at `$[0]`'" in caplog.text


async def test_a_client_turned_away_with_a_hub_exception_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    class FullHub(Hub):
        async def on_connected(self) -> None:
            raise HubException("The room is full.")

    caplog.set_level(logging.INFO, "signalr_channels.hubs")
    async with ScriptedServer(FullHub) as server:
        client = server.connect()
        await client.receive()
        await client.finished()
    assert [record.levelname for record in caplog.records if "on_connected" in record.message] == ["INFO"]
    assert "Traceback" not in caplog.text


async def test_a_call_that_waited_for_something_cancelled_is_answered() -> None:
    class CancelHub(Hub):
        @hub_method
        async def wait_in_vain(self) -> None:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

    async with ScriptedServer(CancelHub) as server:
        client = server.connect()
        for number in "01":  # and the slot is free again
            assert await client.call("waitInVain") == failed(number, FAILED_INSIDE.format("wait_in_vain"))


async def test_a_hub_exception_is_not_logged_as_our_fault(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "signalr_channels.hubs")
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        await client.call("fail_hub", "text of the author")
        assert [record.levelname for record in caplog.records] == ["INFO"]
        assert "text of the author" not in caplog.text
        caplog.clear()
        await client.call("fail", "broken")
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "ValueError: broken" in caplog.text


@pytest.mark.parametrize("streams", [[], ["7"]])
async def test_a_streaming_method_wants_a_streaming_invocation(streams: list[str]) -> None:
    class StreamHub(Hub):
        @hub_method
        async def count(self):  # type: ignore[no-untyped-def]
            yield 1

    async with ScriptedServer(StreamHub) as server:
        client = server.connect()
        client.invoke("Count", streams=streams)
        text = "The client attempted to invoke the streaming 'count' method with a non-streaming invocation."
        assert await client.receive() == failed("0", text)


async def test_a_plain_method_wants_a_plain_invocation(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        client.stream("Add", 1)
        text = "The client attempted to invoke the non-streaming 'add' method with a streaming invocation."
        assert await client.receive() == failed("0", text)


# Permissions


async def test_a_permission_class_is_asked_with_the_whole_request() -> None:
    requests: list[PermissionRequest] = []

    class Remembers(HubPermission):
        def has_permission(self, request: PermissionRequest) -> bool:
            requests.append(request)
            return True

    class GuardedHub(Hub):
        @hub_method(name="Open", permission_classes=[Remembers])
        async def open(self, room: str, level: int) -> str:
            return room

    async with ScriptedServer(GuardedHub) as server:
        client = server.connect(user="anna")
        assert await client.call("open", "vault", 3) == completion("0", "vault")
    (request,) = requests
    assert (request.user, request.hub, request.method, list(request.arguments)) == ("anna", GuardedHub, "Open", ["vault", 3])


class Yes(HubPermission):
    def has_permission(self, request: PermissionRequest) -> bool:
        return True


class No(HubPermission):
    def has_permission(self, request: PermissionRequest) -> bool:
        return False


class NoAfterAWhile(HubPermission):
    async def has_permission(self, request: PermissionRequest) -> bool:
        await asyncio.sleep(0)
        return False


class Raises(HubPermission):
    def has_permission(self, request: PermissionRequest) -> bool:
        raise ValueError("the permission class is broken")


@pytest.mark.parametrize("classes", [[No], [NoAfterAWhile], [Yes, No], [No, Raises]])
async def test_a_call_that_is_not_permitted_says_only_that(classes: Sequence[type[HubPermission]], gates: Gates) -> None:
    class GuardedHub(Hub):
        @hub_method(permission_classes=classes)
        async def open(self) -> None:
            gates.log.append("opened")

        @hub_method(permission_classes=classes)
        async def watch(self):  # type: ignore[no-untyped-def]
            gates.log.append("watched")
            yield 1

    async with ScriptedServer(GuardedHub, ENABLE_DETAILED_ERRORS=True) as server:
        client = server.connect()
        assert await client.call("Open") == failed("0", "Failed to invoke 'open' because user is unauthorized")
        client.stream("Watch")
        assert await client.receive() == failed("1", "Failed to invoke 'watch' because user is unauthorized")
    assert gates.log == []


async def test_a_permission_class_that_raises_fails_the_call() -> None:
    class GuardedHub(Hub):
        @hub_method(permission_classes=[Raises])
        async def open(self) -> None: ...

    async with ScriptedServer(GuardedHub) as server:
        assert await server.connect().call("open") == failed("0", FAILED_INSIDE.format("open"))


async def test_a_permission_class_without_a_rule_lets_nobody_in() -> None:
    class GuardedHub(Hub):
        @hub_method(permission_classes=[HubPermission])
        async def open(self) -> None: ...

    async with ScriptedServer(GuardedHub) as server:
        assert "error" in await server.connect().call("open")


# Filters


class Notes(HubFilter):
    """Writes down what passes."""

    def __init__(self, log: list[Any], name: str) -> None:
        self._log = log
        self._name = name

    async def invoke_method(self, invocation: HubInvocation, next: InvokeNext) -> Any:
        self._log.append(f"{self._name} before {invocation.method}")
        try:
            return await next(invocation)
        finally:
            self._log.append(f"{self._name} after {invocation.method}")

    async def on_connected(self, context: HubCallerContext, next: ConnectedNext) -> None:
        self._log.append(f"{self._name} connects {context.connection_id}")
        await next(context)

    async def on_disconnected(self, context: HubCallerContext, disconnect: Disconnect, next: DisconnectedNext) -> None:
        await next(context, disconnect)
        self._log.append(f"{self._name} disconnected {disconnect.reason}")


async def test_filters_lie_around_calls_the_first_outermost(gates: Gates) -> None:
    filters = [Notes(gates.log, "outer"), Notes(gates.log, "inner")]
    async with ScriptedServer(make_hub(gates), filters=filters) as server:
        client = server.connect()
        assert await client.call("note", "called") == completion("0", None)
        assert await client.call("failLater", "x") == failed("1", FAILED_INSIDE.format("fail_later"))
        await client.leave()
    assert gates.log == [
        "outer connects one",
        "inner connects one",
        "outer before note",
        "inner before note",
        "called",
        "inner after note",
        "outer after note",
        "outer before fail_later",
        "inner before fail_later",
        "inner after fail_later",
        "outer after fail_later",
        "inner disconnected client_gone",
        "outer disconnected client_gone",
    ]


async def test_a_filter_may_change_arguments_and_result(gates: Gates) -> None:
    class Doubles(HubFilter):
        async def invoke_method(self, invocation: HubInvocation, next: InvokeNext) -> Any:
            invocation.arguments[0] *= 2
            return await next(invocation) + 1000

    async with ScriptedServer(make_hub(gates), filters=[Doubles()]) as server:
        assert await server.connect().call("add", 3, 4) == completion("0", 1010)


async def test_a_filter_may_answer_by_itself(gates: Gates) -> None:
    class Cached(HubFilter):
        async def invoke_method(self, invocation: HubInvocation, next: InvokeNext) -> Any:
            return "from the filter"

    async with ScriptedServer(make_hub(gates), filters=[Cached(), Notes(gates.log, "never")]) as server:
        assert await server.connect().call("note", "never") == completion("0", "from the filter")
        assert gates.log == ["never connects one"]


async def test_what_a_filter_raises_is_what_the_call_raised(gates: Gates) -> None:
    class Refuses(HubFilter):
        async def invoke_method(self, invocation: HubInvocation, next: InvokeNext) -> Any:
            raise HubException("not today")

    async with ScriptedServer(make_hub(gates), filters=[Refuses()]) as server:
        assert await server.connect().call("add", 1) == failed("0", FAILED_INSIDE.format("add") + " HubException: not today")


async def test_a_filter_may_turn_a_client_away(gates: Gates) -> None:
    class Bouncer(HubFilter):
        async def on_connected(self, context: HubCallerContext, next: ConnectedNext) -> None:
            raise HubException("full")

    async with ScriptedServer(make_hub(gates), filters=[Bouncer()]) as server:
        client = server.connect()
        assert await client.receive() == {"type": 7, "error": "Connection closed with an error. HubException: full"}


async def test_permissions_are_checked_before_filters(gates: Gates) -> None:
    class GuardedHub(Hub):
        @hub_method(permission_classes=[No])
        async def open(self) -> None: ...

    async with ScriptedServer(GuardedHub, filters=[Notes(gates.log, "filter")]) as server:
        await server.connect().call("open")
        assert gates.log == ["filter connects one"]


async def test_a_filter_that_does_nothing_changes_nothing(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates), filters=[HubFilter()]) as server:
        client = server.connect()
        assert await client.call("add", 1, 2) == completion("0", 3)
        await client.leave()


# The end


class EndingHub(Hub):
    ends: list[Disconnect]

    def __init_subclass__(cls) -> None:
        cls.ends = []

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        self.ends.append(disconnect)


@pytest.mark.parametrize(
    ("message", "exception"),
    [
        ({"type": 7}, None),
        ({"type": 7, "error": "I am off"}, "I am off"),
        ({"type": 7, "error": ""}, ""),
    ],
)
async def test_a_client_may_say_goodbye(message: dict[str, Any], exception: str | None) -> None:
    class ChatHub(EndingHub): ...

    async with ScriptedServer(ChatHub) as server:
        client = server.connect()
        client.send(message)
        await client.finished()
        assert client.received() == [CLOSE]
        assert client.transport.close_code == 1000
        (end,) = ChatHub.ends
        assert (end.reason, end.stop_called, end.allows_reconnect) == (CloseReason.CLIENT_CLOSED, True, False)
        if exception is None:
            assert end.exception is None
        else:
            assert type(end.exception) is HubException
            assert str(end.exception) == exception


async def test_what_follows_a_goodbye_is_ignored(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        client.send({"type": 7}, {"type": 1, "target": "note", "arguments": ["never"]})
        await client.finished()
        assert gates.log == []


@pytest.mark.parametrize("target", ["abort", "abort_later"])
async def test_abort_inside_a_call_gives_no_completion(gates: Gates, target: str) -> None:
    class ChatHub(make_hub(gates), EndingHub): ...  # type: ignore[misc]

    async with ScriptedServer(ChatHub) as server:
        client = server.connect()
        client.invoke(target)
        await eventually(lambda: client.finishing)
        await client.finished()
        await settle()
        assert client.received() == [CLOSE]
        assert client.transport.close_code == 1000
        assert ChatHub.ends == [Disconnect(reason=CloseReason.CLOSED_BY_APP, stop_called=False)]


async def test_garbage_ends_the_connection_after_the_calls_before_it(gates: Gates) -> None:
    class ChatHub(make_hub(gates), EndingHub): ...  # type: ignore[misc]

    async with ScriptedServer(ChatHub, ENABLE_DETAILED_ERRORS=True) as server:
        client = server.connect()
        client.send_data(
            '{"type":1,"invocationId":"0","target":"wait","arguments":["a"]}\x1e'
            '{"type":1,"invocationId":"1","target":"add","arguments":[1]}\x1e'
            "garbage\x1e"
            '{"type":1,"invocationId":"2","target":"add","arguments":[1]}\x1e'
        )
        gates.open("a")
        assert await client.receive(3) == [
            completion("0", "a"),
            completion("1", 11),
            {
                "type": 7,
                "error": "Connection closed with an error. InvalidDataException: Error reading JSON.",
                "allowReconnect": True,
            },
        ]
        await client.finished()
        (end,) = ChatHub.ends
        assert (end.reason, end.allows_reconnect) == (CloseReason.PROTOCOL_ERROR, True)
        assert isinstance(end.exception, RemoteProtocolError)


async def test_calls_that_a_client_sent_before_it_left_are_carried_out(gates: Gates) -> None:
    class ChatHub(make_hub(gates), EndingHub):  # type: ignore[misc]
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            gates.log.append("disconnected")

    async with ScriptedServer(ChatHub) as server:
        client, other = server.connect(), server.connect("other")
        for text in ("one", "two", "three"):
            client.forget("note_later", text)
        client.send({"type": 7})
        await client.leave(CloseReason.CLIENT_CLOSED)
        assert gates.log == ["one", "two", "three", "disconnected"]
        assert await other.call("add", 1) == completion("0", 11)


async def test_calls_that_would_have_to_wait_too_long_are_dropped_and_counted(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    class ChatHub(make_hub(gates), EndingHub): ...  # type: ignore[misc]

    async with ScriptedServer(ChatHub, ON_DISCONNECTED_TIMEOUT=0.01) as server:
        client = server.connect()
        for text in ("a", "b", "c"):
            client.forget("wait", text)
        await client.leave()
        assert "2 messages that the client sent before it left were dropped" in caplog.text
        assert len(ChatHub.ends) == 1
        gates.open("a", "b", "c")
        await eventually(lambda: "a ended" in gates.log)
        await settle()
        assert gates.log == ["a began", "a ended"]


async def test_a_call_that_runs_when_the_client_leaves_runs_to_its_end(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        client.invoke("wait", "a")
        await settle()
        await client.leave()
        gates.open("a")
        await settle()
        assert gates.log == ["a began", "a ended"]
        assert client.received() == []


async def test_calls_are_cancelled_when_the_process_stops(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = server.connect()
        client.invoke("wait", "a")
        client.invoke("wait", "b")
        await settle()
    assert gates.log == ["a began"]


async def test_on_disconnected_can_send_to_others_but_not_to_the_client_that_left() -> None:
    class ChatHub(Hub):
        @hub_method
        async def join(self) -> None:
            await self.groups.aadd(self.context.connection_id, "lobby")

        async def on_disconnected(self, disconnect: Disconnect) -> None:
            await self.clients.caller.asend("you")
            await self.clients.group("lobby").asend("left", self.context.connection_id)
            await self.clients.others.asend("others")

    async with ScriptedServer(ChatHub) as server:
        leaver, other = server.connect("leaver"), server.connect("other")
        await leaver.call("join")
        await other.call("join")
        await leaver.leave()
        assert other.received() == [called("left", "leaver"), called("others")]
        assert leaver.received() == []
        assert set(server.manager.index.connections) == {"other"}
        assert {name: set(members) for name, members in server.manager.index.groups.items()} == {"lobby": {"other"}}


async def test_on_disconnected_that_fails_is_logged_and_the_connection_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    class ChatHub(Hub):
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            raise ValueError("broken hook")

    async with ScriptedServer(ChatHub) as server:
        await server.connect().leave()
        assert server.manager.index.connections == {}
    assert "broken hook" in caplog.text


async def test_on_disconnected_that_takes_too_long_is_cancelled(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    class ChatHub(Hub):
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            try:
                await gates.door("never").wait()
            finally:
                gates.log.append("cancelled")

    async with ScriptedServer(ChatHub, ON_DISCONNECTED_TIMEOUT=0.01) as server:
        await server.connect().leave()
        assert gates.log == ["cancelled"]
        assert server.manager.index.connections == {}
    assert "ON_DISCONNECTED_TIMEOUT" in caplog.text


async def test_hub_code_can_wait_for_the_end(gates: Gates) -> None:
    class ChatHub(Hub):
        @hub_method
        async def watch(self) -> None:
            await self.context.wait_aborted()
            gates.log.append(self.context.is_aborted)
            await self.context.wait_aborted()  # over once, over for ever
            gates.log.append("again")

    async with ScriptedServer(ChatHub) as server:
        client = server.connect()
        client.invoke("watch")
        await settle()
        assert gates.log == []
        await client.leave()
        await settle()
        assert gates.log == [True, "again"]


async def test_one_connection_that_fails_leaves_the_others_alone(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        bad, good = server.connect("bad"), server.connect("good")
        bad.send_data("garbage\x1e")
        assert await good.call("add", 1) == completion("0", 11)


async def test_an_audience_with_a_client_that_does_not_read_is_served_at_once(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates), MAXIMUM_BUFFERED_BYTES=1000) as server:
        stuck, fine = server.connect("stuck"), server.connect("fine")
        stuck.transport.pause()
        for _ in range(20):
            await fine.session.clients.all.asend("news", "x" * 100)
        assert len(fine.received()) == 20
        assert stuck.connection.disconnect is not None
        assert stuck.connection.disconnect.reason is CloseReason.SLOW_CONSUMER
        await stuck.finished()
        assert set(server.manager.index.connections) == {"fine"}
