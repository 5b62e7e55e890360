"""The calls of one classic connection, and the life of its hubs on it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_channels.conf import SignalRSettings
from signalr_channels.exceptions import ClientResultError, ConnectionClosed, HubException
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.filters import ConnectedNext, HubFilter, HubInvocation, InvokeNext
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.permissions import HubPermission, PermissionRequest
from signalr_channels.hubs.progress import NO_PROGRESS, Progress
from signalr_channels.protocols.classic.hub_messages import InvalidInvocation
from signalr_channels.protocols.classic.hub_protocol import NO_CLIENT_RESULTS
from signalr_channels.protocols.endings import CloseReason, Disconnect
from tests.unit.gates import Gates
from tests.unit.scripted import TIMEOUT, settle
from tests.unit.scripted_classic import ClassicClient, ClassicServer, FakeClassicTransport, call

pytestmark = pytest.mark.usefixtures("no_task_left")


class OwnError(HubException):
    """A hub author's own."""


def make_hub(gates: Gates, name: str = "Stage") -> type[Hub]:
    class StageHub(Hub):
        classic_name = name

        @hub_method
        async def add(self, a: int, b: int = 10) -> int:
            return a + b

        @hub_method
        async def nothing(self) -> None:
            gates.log.append("nothing")

        @hub_method
        def plain(self, text: str) -> str:
            self.clients.caller.send("plainly", text)
            return text.upper()

        @hub_method
        async def wait(self, door: str) -> str:
            gates.log.append(f"{door} began")
            await gates.door(door).wait()
            gates.log.append(f"{door} ended")
            return door

        @hub_method
        async def fail(self, text: str) -> None:
            raise ValueError(text)

        @hub_method
        async def fail_later(self, text: str) -> None:
            await asyncio.sleep(0)
            raise ValueError(text)

        @hub_method
        async def fail_hub(self, text: str, data: Any = None) -> None:
            raise OwnError(text, data=data)

        @hub_method
        async def fail_unspeakably(self) -> None:
            raise HubException("text", data=object())

        @hub_method
        async def unspeakable(self) -> Any:
            return object()

        @hub_method
        async def cancelled(self) -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

        @hub_method
        async def greet(self, target: str) -> str:
            await self.clients.caller.asend(target, self.context.connection_id)
            return "greeted"

        @hub_method
        async def tell(self, audience: str, arguments: list[Any]) -> None:
            found = getattr(self.clients, audience)
            await (found(*arguments) if arguments else found).asend("told", audience)

        @hub_method
        async def join(self, group: str) -> None:
            await self.groups.aadd(self.context.connection_id, group)

        @hub_method
        async def leave(self, group: str) -> None:
            await self.groups.aremove(self.context.connection_id, group)

        @hub_method
        async def ask(self) -> Any:
            return await self.clients.caller.ainvoke("question")

        @hub_method
        async def abort(self) -> None:
            self.context.abort()

        @hub_method
        async def say_bye(self) -> None:
            await self.clients.caller.asend("bye")
            self.context.abort()

        @hub_method
        async def stream(self) -> AsyncIterator[int]:
            yield 1

        @hub_method
        async def upload(self, items: AsyncIterator[int]) -> None: ...

        @hub_method
        async def count(self, state: dict[str, Any]) -> int:
            self.clients.caller_state.update(state)
            await self.clients.caller.asend("counted", 1)
            return 2

        @hub_method
        async def count_and_fail(self, is_hub_exception: bool) -> None:
            self.clients.caller_state["n"] = 1
            raise HubException("no") if is_hub_exception else ValueError("no")

        @hub_method
        async def spoil_state(self) -> None:
            self.clients.caller_state["n"] = object()

        @hub_method
        async def copy(self, values: list[int], progress: Progress[int]) -> str:
            for value in values:
                self.clients.caller_state["last"] = value
                await progress.areport(value)
            return "copied"

        @hub_method
        def copy_plainly(self, values: list[int], progress: Progress[int]) -> str:
            for value in values:
                progress.report(value)
            return "copied"

        @hub_method
        async def copy_some(self, count: int = 2, progress: Progress[int] = NO_PROGRESS) -> int:
            await progress.areport(count)
            return count

        @hub_method
        async def keep_progress(self, progress: Progress[int]) -> None:
            gates.log.append(progress)

        async def on_connected(self) -> None:
            gates.log.append(f"{name} connected")

        async def on_reconnected(self) -> None:
            gates.log.append(f"{name} reconnected")

        async def on_disconnected(self, disconnect: Disconnect) -> None:
            gates.log.append((f"{name} disconnected", disconnect.reason))

    return StageHub


def refusal(method: str, hub: str = "Stage") -> dict[str, str]:
    return {"E": f"There was an error invoking Hub method '{hub}.{method}'."}


def called(target: str, *arguments: Any, hub: str = "Stage", state: Any = None) -> dict[str, Any]:
    message: dict[str, Any] = {"H": hub, "M": target, "A": list(arguments)}
    return message if state is None else {**message, "S": state}


# Calls


async def test_a_call_is_answered_on_the_socket_outside_of_envelopes(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        client.session.receive(call("stage", "Add", 1, 2, invocation_id=7))
        assert client.transport.log[1:] == ['{"R":3,"I":"7"}']
        assert await client.call("stage", "nothing") == {}


@pytest.mark.parametrize(("hub", "method"), [("stage", "add"), ("STAGE", "ADD"), ("Stage", "aDD")])
async def test_names_are_found_in_any_letter_case(gates: Gates, hub: str, method: str) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        assert await client.call(hub, method, 1) == {"R": 11}


async def test_python_names_are_found_without_their_underscores(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)], ENABLE_DETAILED_ERRORS=True) as server:
        client = await server.connect(["stage"])
        assert await client.call("stage", "failHub", "a") == {"H": True, "E": "a"}
        assert await client.call("stage", "fail_hub", "a") == {"H": True, "E": "a"}


async def test_a_call_that_cannot_wait_is_done_at_once_and_others_have_tasks(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        session = client.session
        assert session.invoke(call("stage", "add", 1)) == b'{"R":11,"I":"0"}'
        assert not session.has_calls
        client.invoke("stage", "wait", "a")
        assert session.has_calls
        assert gates.log[-1] == "Stage connected"  # it has not begun
        await settle()
        assert gates.log[-1] == "a began"
        gates.open("a")
        assert await client.answer("0") == {"R": "a", "I": "0"}
        await settle()
        assert not session.has_calls


async def test_plain_functions_run_in_a_thread_and_their_messages_come_first(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        assert await client.call("stage", "plain", "hi") == {"R": "HI"}
        assert server.ran_sync == ["plain"]
        assert client.transport.messages == [called("plainly", "hi")]
        assert [next(iter(frame)) for frame in client.transport.frames] == ["C", "C", "R"]


async def test_calls_run_side_by_side_up_to_a_number_and_the_others_in_their_order(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)], PARALLEL_INVOCATIONS=2) as server:
        client = await server.connect(["stage"])
        for door in "abcd":
            client.invoke("stage", "wait", door)
        await settle()
        assert gates.log[1:] == ["a began", "b began"]
        assert (await client.call("stage", "add", 1))["R"] == 11  # what cannot wait needs no slot
        gates.open("b")
        await settle()
        assert gates.log[3:] == ["b ended", "c began"]
        gates.open("a", "c", "d")
        assert [(await client.answer(str(number)))["R"] for number in range(4)] == list("abcd")


async def test_a_socket_is_not_read_while_twice_as_many_calls_wait(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)], PARALLEL_INVOCATIONS=1) as server:
        client = await server.connect(["stage"])
        for door in "ab":
            client.invoke("stage", "wait", door)
        assert not client.session.is_congested
        await client.session.wait_ready()
        client.invoke("stage", "wait", "c")
        assert client.session.is_congested
        waiting = asyncio.ensure_future(client.session.wait_ready())
        await settle()
        assert not waiting.done()
        gates.open("a")
        await asyncio.wait_for(waiting, TIMEOUT)
        gates.open("b", "c")
        await client.answer("2")


async def test_a_socket_that_waits_for_calls_wakes_when_the_connection_ends(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)], PARALLEL_INVOCATIONS=1) as server:
        client = await server.connect(["stage"])
        for door in "abc":
            client.invoke("stage", "wait", door)
        waiting = asyncio.ensure_future(client.session.wait_ready())
        await settle()
        client.connection.stop()
        await asyncio.wait_for(waiting, TIMEOUT)
        assert client.session.is_congested
        await asyncio.wait_for(client.session.wait_ready(), TIMEOUT)
        await client.finished()
        gates.open("a", "b", "c")
        await settle()


async def test_an_answer_does_not_go_to_another_socket(gates: Gates) -> None:
    # jQuery 2.4.3 counts invocations from 0 again when its web socket is lost.
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        client.invoke("stage", "wait", "a")
        await settle()
        other = await client.attach(["stage"], cursor=client.transport.cursor)
        gates.open("a")
        await settle()
        assert gates.log[-1] == "a ended"
        assert other.log == []


async def test_a_send_of_a_poll_is_answered_by_its_own_request_whatever_is_attached(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        answer = client.session.invoke(call("stage", "wait", "a"))
        assert not isinstance(answer, bytes)
        running = asyncio.ensure_future(client.session.run(answer))
        await settle()
        client.connection.lose_transport(client.transport)
        gates.open("a")
        assert await asyncio.wait_for(running, TIMEOUT) == b'{"R":"a","I":"0"}'


async def test_a_call_goes_on_when_its_request_is_gone(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        answer = client.session.invoke(call("stage", "wait", "a"))
        assert not isinstance(answer, bytes)
        running = asyncio.ensure_future(client.session.run(answer))
        await settle()
        running.cancel()
        await settle()
        assert client.session.has_calls
        gates.open("a")
        await settle()
        assert gates.log[-1] == "a ended"
        assert not client.session.has_calls


async def test_calls_that_still_run_are_cancelled_when_the_process_stops(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        client.invoke("stage", "wait", "a")
        await settle()
        client.connection.shut_down()
        await client.session.cancel_calls()
        assert not client.session.has_calls
        assert client.transport.answers == []


async def test_what_comes_behind_the_end_is_dropped(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates), make_hub(gates, "Other")]) as server:
        client = await server.connect(["stage"])
        client.invoke("stage", "abort")
        client.invoke("stage", "nothing")
        client.invoke("other", "nothing")
        await client.finished()
        await settle()
        assert "nothing" not in gates.log
        assert server.managers["other"].index.guests == {}


async def test_a_client_hears_what_was_said_before_the_end(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        client.invoke("stage", "sayBye")
        await settle()
        assert client.transport.messages == [called("bye")]
        assert client.connection.disconnect == Disconnect(reason=CloseReason.CLOSED_BY_APP, stop_called=False)


# Calls that fail


@pytest.mark.parametrize("method", ["fail", "failLater"])
async def test_the_text_of_an_error_stays_here_unless_it_is_asked_for(gates: Gates, method: str, caplog: pytest.LogCaptureFixture) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        assert await client.call("stage", method, "secret") == refusal(method, "stage")  # names as the client wrote them
        assert f"StageHub.{method} failed" in caplog.text
        assert "ValueError: secret" in caplog.text
    async with ClassicServer([make_hub(gates)], ENABLE_DETAILED_ERRORS=True) as server:
        client = await server.connect(["stage"])
        assert await client.call("stage", method, "secret") == {"E": "secret"}


async def test_a_hub_exception_reaches_the_client_with_its_data(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        with caplog.at_level(logging.WARNING):
            data: Any
            for data in ({"a": [1, None]}, "text", 0, False, []):
                assert await client.call("Stage", "failHub", "No.", data) == {"H": True, "E": "No.", "D": data}
            assert await client.call("Stage", "failHub", "No.") == {"H": True, "E": "No."}
        assert caplog.text == ""


@pytest.mark.parametrize("method", ["failUnspeakably", "unspeakable", "spoilState"])
async def test_what_cannot_be_written_is_an_error_of_the_call(gates: Gates, method: str, caplog: pytest.LogCaptureFixture) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        assert await client.call("Stage", method) == refusal(method)
        assert f"StageHub.{method} failed" in caplog.text
        assert await client.call("Stage", "add", 1) == {"R": 11}


async def test_a_call_that_was_cancelled_from_within_is_answered(gates: Gates) -> None:
    for is_detailed, answer in ((False, refusal("cancelled")), (True, {"E": "The operation was canceled."})):
        async with ClassicServer([make_hub(gates)], ENABLE_DETAILED_ERRORS=is_detailed) as server:
            client = await server.connect(["stage"])
            assert await client.call("Stage", "cancelled") == answer


@pytest.mark.parametrize(
    ("method", "arguments", "detail"),
    [
        ("unknown", [], "'unknown' method could not be resolved. No method found with that name."),
        ("stream", [], "'stream' method could not be resolved. No method found with that name."),
        ("upload", [], "'upload' method could not be resolved. No method found with that name."),
        ("on_connected", [], "'on_connected' method could not be resolved. No method found with that name."),
        ("add", [], "'add' method could not be resolved. Potential candidates are: \nadd(a:Int32, b:Int32):Int32"),
        ("add", [1, 2, 3], "'add' method could not be resolved. Potential candidates are: \nadd(a:Int32, b:Int32):Int32"),
        ("ADD", [], "'ADD' method could not be resolved. No method found with that name."),
        ("copy", [], "'copy' method could not be resolved. Potential candidates are: \ncopy(values:list):String"),
        ("add", ["x", 2], "Could not convert string to integer: x. Path '', line 1, position 3."),
    ],
)
async def test_why_a_call_fits_no_method(gates: Gates, method: str, arguments: list[Any], detail: str) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        assert await client.call("Stage", method, *arguments) == refusal(method)
    async with ClassicServer([make_hub(gates)], ENABLE_DETAILED_ERRORS=True) as server:
        client = await server.connect(["stage"])
        assert await client.call("Stage", method, *arguments) == {"E": detail}


async def test_a_message_that_is_no_call_is_answered_where_its_id_is_known(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        client.session.receive("garbage")
        client.session.receive('{"H":"stage","M":"add","A":[1],"I":[]}')
        assert client.transport.answers == []
        client.session.receive(call("nowhere", "add", 1, invocation_id="x"))
        assert client.transport.answers == [{"I": "x", "E": "'nowhere' Hub could not be resolved."}]
        with pytest.raises(InvalidInvocation, match="Hub could not be resolved"):
            client.session.invoke(call("nowhere", "add", 1))
        assert await client.call("stage", "add", 1) == {"R": 11}


async def test_a_state_that_is_too_long_is_refused(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)], MAXIMUM_STATE_SIZE=20) as server:
        client = await server.connect(["stage"])
        assert await client.call("stage", "add", 1, state={"a": "x" * 12}) == {"R": 11}
        answer = await client.call("stage", "add", 1, state={"a": "x" * 13})
        assert answer == {"E": "State has exceeded the maximum length of 20 bytes."}


MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "H": st.sampled_from(["stage", "Stage", "\ud800", "", 1, None]) | st.text(max_size=5),
        "M": st.sampled_from(["add", "fail", "failHub", "count", "\ud800", "", None]) | st.text(max_size=5),
        "A": st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just({"a": [1]}), max_size=3)
        | st.none(),
        "I": st.none() | st.integers() | st.text(max_size=3) | st.booleans() | st.floats() | st.just([1]),
        "S": st.none() | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3) | st.integers(),
    },
)


@settings(deadline=None)
@given(st.one_of(MEMBERS.map(json.dumps), MEMBERS.map(lambda members: json.dumps(members, ensure_ascii=False)), st.text()), st.booleans())
def test_whatever_text_comes_is_answered_or_no_call(text: str, is_detailed: bool) -> None:
    async def receive() -> None:
        server = ClassicServer([make_hub(Gates())], ENABLE_DETAILED_ERRORS=is_detailed)
        async with server:
            client = await server.connect(["stage"])
            client.session.receive(text)
            await settle()
            assert len(client.transport.answers) <= 1
            assert not client.connection.is_closed

    asyncio.run(receive())


# Permissions


class Named(HubPermission):
    """Lets in whom the request says, and notes what it was asked."""

    asked: list[PermissionRequest]
    name = ""

    def has_permission(self, request: PermissionRequest) -> bool:
        self.asked.append(request)
        return bool(request.user == self.name)


def named(*names: str) -> list[type[Named]]:
    return [type("Permission", (Named,), {"name": name, "asked": []}) for name in names]


async def test_what_a_hub_asks_of_a_connection_is_asked_of_each_call(gates: Gates) -> None:
    [permission] = named("ada")
    async with ClassicServer([make_hub(gates)], permission_classes=[permission], ENABLE_DETAILED_ERRORS=True) as server:
        ada, bob = await server.connect(["stage"], user="ada"), await server.connect([], "two", user="bob")
        assert await ada.call("Stage", "Add", 1) == {"R": 11}
        answer = await bob.call("stage", "Add", 1)
        assert answer == {"E": "Caller is not authorized to invoke the add method on Stage."}
        request = permission.asked[-1]
        assert (request.user, request.hub.__name__, request.method, list(request.arguments)) == ("bob", "StageHub", "add", [1])


async def test_a_method_may_ask_for_more(gates: Gates) -> None:
    [permission] = named("ada")

    class GuardedHub(make_hub(gates)):  # type: ignore[misc]
        @hub_method(name="Secret", permission_classes=[permission])
        async def secret(self, progress: Progress[int]) -> str:
            return "42"

    async with ClassicServer([GuardedHub]) as server:
        ada, bob = await server.connect(["stage"], user="ada"), await server.connect(["stage"], "two", user="bob")
        assert await ada.call("Stage", "secret") == {"R": "42"}
        assert await bob.call("Stage", "secret") == refusal("secret")
        assert await bob.call("Stage", "add", 1) == {"R": 11}
        assert permission.asked[-1].method == "Secret"


async def test_the_user_of_the_last_request_counts(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)], permission_classes=named("ada")) as server:
        client = await server.connect(["stage"], user="bob")
        assert await client.call("Stage", "add", 1) == refusal("add")
        client.context.user = "ada"
        assert await client.call("Stage", "add", 1) == {"R": 11}


# Several hubs


async def test_a_connection_carries_several_hubs_and_each_reaches_its_own_clients(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates, "Chat"), make_hub(gates, "News")]) as server:
        both, chat, news = [await server.connect(names, str(names)) for names in (["chat", "news"], ["chat"], ["news"])]
        await both.call("chat", "tell", "all", [])
        assert both.transport.messages == chat.transport.messages == [called("told", "all", hub="Chat")]
        assert news.transport.messages == []
        await both.call("news", "tell", "others", [])
        assert news.transport.messages == [called("told", "others", hub="News")]
        assert len(both.transport.messages) == 1


async def test_a_hub_that_is_called_without_being_named_answers_but_sends_nothing(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        guest = await server.connect([])
        assert gates.log == []
        assert await guest.call("stage", "add", 1) == {"R": 11}
        assert await guest.call("stage", "greet", "hello") == {"R": "greeted"}
        assert await guest.call("stage", "count", {"n": 1}) == {"S": {"n": 1}, "R": 2}
        for audience, arguments in (("all", []), ("client", ["one"]), ("clients", [["one"]]), ("user", ["ada"])):
            await guest.call("stage", "tell", audience, arguments)
        assert guest.transport.messages == []
        await guest.stop()
        assert gates.log == []
        assert server.managers["stage"].index.guests == {}


async def test_a_group_that_a_call_joined_reaches_the_caller_without_the_hub_being_named(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        guest = await server.connect([])
        await guest.call("stage", "join", "lobby")
        await guest.call("stage", "tell", "group", ["lobby"])
        assert guest.transport.messages == [called("told", "group")]
        await guest.stop()
        assert server.managers["stage"].index.groups == {}


async def test_a_guest_may_name_the_hub_later_and_keeps_its_groups(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect([], user_identifier="ada")
        await client.call("stage", "join", "lobby")
        await client.attach(["stage"], cursor=client.transport.cursor)
        index = server.managers["stage"].index
        assert index.guests == {}
        assert list(index.connections) == list(index.users["ada"]) == ["one"]
        for audience, arguments in (("all", []), ("group", ["lobby"]), ("user", ["ada"])):
            await client.call("stage", "tell", audience, arguments)
        assert client.transport.messages == [called("told", audience) for audience in ("all", "group", "user")]


async def test_a_hub_that_is_no_longer_named_still_reaches_the_connection_but_hears_nothing_of_its_end(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates, "Chat"), make_hub(gates, "News")]) as server:
        client = await server.connect(["chat", "news"])
        await client.attach(["news"], cursor=client.transport.cursor)
        await client.stop()
        assert gates.log[2:] == [("News disconnected", CloseReason.CLIENT_CLOSED)]
        for manager in server.managers.values():
            assert manager.index.connections == {}


async def test_naming_a_hub_again_does_not_connect_it_twice(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"], user_identifier="ada")
        for _ in range(3):
            await client.attach(["stage"], cursor="AB-0")
        await client.call("stage", "tell", "all", [])
        assert client.transport.messages == [called("told", "all")]


async def test_questions_to_clients_are_refused(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)], ENABLE_DETAILED_ERRORS=True) as server:
        client = await server.connect(["stage"])
        answer = await client.call("stage", "ask")
        assert answer == {"H": True, "E": NO_CLIENT_RESULTS}
        manager = server.managers["stage"]
        with pytest.raises(ClientResultError):
            await manager.invoke("one", "question", [])
        guest = await server.connect([], "two")
        await guest.call("stage", "nothing")
        with pytest.raises(ConnectionClosed):
            await manager.invoke("two", "question", [])
        assert client.transport.messages == []


async def test_a_hub_ends_the_connection_for_all_hubs(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates, "Chat"), make_hub(gates, "News")]) as server:
        client = await server.connect(["chat", "news"])
        assert await server.managers["news"].close("one", "Out.", allow_reconnect=False)
        await client.finished()
        assert client.transport.envelopes[-1] == {"D": 1, "E": "Out.", "M": []}
        disconnect = client.connection.disconnect
        assert disconnect is not None
        assert str(disconnect.exception) == "Out."
        assert gates.log[2:] == [("Chat disconnected", CloseReason.CLOSED_BY_APP), ("News disconnected", CloseReason.CLOSED_BY_APP)]


# Groups


def token(client: ClassicClient) -> str:
    """The groups token the client was told last."""
    found: str = next(frame["G"] for frame in reversed(client.transport.envelopes) if "G" in frame)
    return found


async def test_the_groups_token_holds_the_groups_of_all_hubs(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates, "Chat"), make_hub(gates, "News")]) as server:
        client = await server.connect(["chat", "news"])
        await client.call("chat", "join", "b")
        await client.call("news", "join", "a.b")
        await client.call("CHAT", "join", "a")
        await settle()
        assert token(client) == "one:Chat.a,Chat.b,News.a.b"
        await client.call("chat", "leave", "b")
        await client.call("news", "leave", "a.b")
        await client.call("chat", "leave", "a")
        await settle()
        assert token(client) == "one:"  # of no group at all, but told


async def test_a_second_join_and_a_leave_of_nothing_say_nothing(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        await client.call("stage", "join", "a")
        await settle()
        count = len(client.transport.envelopes)
        await client.call("stage", "join", "a")
        await client.call("stage", "leave", "b")
        await settle()
        assert len(client.transport.envelopes) == count


async def test_a_process_that_does_not_know_the_client_puts_it_back_into_its_groups(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates, "Chat"), make_hub(gates, "News")]) as server:
        client = server.open()
        client.session.invoke(call("news", "add", 1))  # not named, though called
        await client.session.attach(["chat"])
        await client.session.rejoin(["Chat.lobby", "chat.a.b", "News.secret", "Gone.group", "nonsense", ""])
        assert set(server.managers["chat"].index.groups) == {"lobby", "a.b"}
        assert server.managers["news"].index.groups == {}
        await client.attach(["chat"])
        await settle()
        assert client.transport.log == ['{"C":"AB-0","G":"one:Chat.a.b,Chat.lobby","M":[]}']


async def test_a_client_that_holds_the_right_token_is_not_told_again(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = server.open()
        await client.session.attach(["stage"])
        await client.session.rejoin(["Stage.lobby"])
        await client.attach(["stage"], groups_token="one:Stage.lobby")
        await settle()
        assert client.transport.log == []


# Start


async def test_all_hubs_named_are_told_of_a_start_side_by_side(gates: Gates) -> None:
    class SlowHub(Hub):
        classic_name = "Slow"

        async def on_connected(self) -> None:
            gates.log.append("slow began")
            await gates.door("slow").wait()
            gates.log.append("slow ended")

    async with ClassicServer([SlowHub, make_hub(gates), make_hub(gates, "Unnamed")]) as server:
        client = await server.connect(["slow", "stage"], start=False)
        starting = asyncio.ensure_future(client.session.start(["slow", "stage"]))
        await settle()
        assert gates.log == ["slow began", "Stage connected"]
        assert not client.session.is_started
        gates.open("slow")
        await asyncio.wait_for(starting, TIMEOUT)
        assert gates.log[2:] == ["slow ended"]
        assert client.session.is_started


async def test_a_client_starts_once_however_often_it_says_so(gates: Gates) -> None:
    class SlowHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            gates.log.append("began")
            await gates.door("start").wait()

    async with ClassicServer([SlowHub]) as server:
        client = await server.connect(["stage"], start=False)
        starts = [asyncio.ensure_future(client.session.start(["stage"])) for _ in range(3)]
        await settle()
        assert gates.log == ["began"]
        assert not any(start.done() for start in starts)
        starts[2].cancel()  # one that waits may leave
        gates.open("start")
        await asyncio.wait_for(asyncio.gather(*starts[:2]), TIMEOUT)
        await client.session.start(["stage"])
        assert gates.log == ["began"]


async def test_a_start_that_failed_fails_for_all_and_the_hub_hears_of_no_end(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    class ClosedHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            gates.log.append("began")
            await gates.door("start").wait()
            raise ValueError("closed today")

    async with ClassicServer([ClosedHub]) as server:
        client = await server.connect(["stage"], start=False)
        starts = [asyncio.ensure_future(client.session.start(["stage"])) for _ in range(2)]
        await settle()
        gates.open("start")
        results = await asyncio.gather(*starts, return_exceptions=True)
        assert [str(result) for result in results] == ["closed today"] * 2
        with pytest.raises(ValueError, match="closed today"):
            await client.session.start(["stage"])
        assert "ValueError: closed today" in caplog.text
        assert not client.session.is_started
        await client.stop()
        assert gates.log == ["began"]
        assert server.managers["stage"].index.connections == {}


async def test_a_start_whose_request_was_cancelled_does_not_hold_up_the_end(gates: Gates) -> None:
    class SlowHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            await gates.door("start").wait()

    async with ClassicServer([SlowHub]) as server:
        client = await server.connect(["stage"], start=False)
        starting = asyncio.ensure_future(client.session.start(["stage"]))
        await settle()
        starting.cancel()
        await settle()
        gates.open("start")
        await client.stop()
        assert server.managers["stage"].index.connections == {}


async def test_a_start_in_which_something_was_cancelled_is_one_that_failed(gates: Gates) -> None:
    class CancelHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

    async with ClassicServer([CancelHub]) as server:
        client = await server.connect(["stage"], start=False)
        with pytest.raises((Exception, asyncio.CancelledError)):
            await client.session.start(["stage"])
        await client.stop()
        assert gates.log == []
        assert server.managers["stage"].index.connections == {}


async def test_the_end_waits_for_a_start_that_runs(gates: Gates) -> None:
    class SlowHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            await gates.door("start").wait()
            gates.log.append("connected")

    async with ClassicServer([SlowHub]) as server:
        client = await server.connect(["stage"], start=False)
        starting = asyncio.ensure_future(client.session.start(["stage"]))
        await settle()
        client.connection.stop()
        await settle()
        assert gates.log == []
        gates.open("start")
        await starting
        await client.finished()
        assert gates.log == ["connected", ("Stage disconnected", CloseReason.CLIENT_CLOSED)]


async def test_messages_to_the_caller_of_on_connected_arrive(gates: Gates) -> None:
    class GreetingHub(make_hub(gates)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            await self.clients.caller.asend("welcome")
            await self.groups.aadd(self.context.connection_id, "lobby")
            await self.clients.group("lobby").asend("joined")

    async with ClassicServer([GreetingHub]) as server:
        client = await server.connect(["stage"])
        await settle()
        assert client.transport.messages == [called("welcome"), called("joined")]
        assert token(client) == "one:Stage.lobby"


# Coming back


async def test_the_hubs_of_the_request_that_came_back_are_told(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates, "Chat"), make_hub(gates, "News")]) as server:
        client = await server.connect(["chat", "news"])
        await client.attach(["news"], cursor=client.transport.cursor)
        await client.session.restart()
        assert gates.log[2:] == ["News reconnected"]


async def test_a_client_that_started_elsewhere_is_told_of_its_end_here(gates: Gates) -> None:
    for come_back in ("restart", "resume"):
        async with ClassicServer([make_hub(gates)]) as server:
            client = server.open()
            await client.attach(["stage"])
            if come_back == "restart":
                await client.session.restart()
            else:
                client.session.resume()
            await client.session.start(["stage"])  # it has started already
            await client.stop()
    assert gates.log == [
        "Stage reconnected",
        ("Stage disconnected", CloseReason.CLIENT_CLOSED),
        ("Stage disconnected", CloseReason.CLIENT_CLOSED),
    ]


async def test_an_error_of_on_reconnected_is_told(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    class FailingHub(make_hub(gates)):  # type: ignore[misc]
        async def on_reconnected(self) -> None:
            raise ValueError("no way back")

    async with ClassicServer([FailingHub]) as server:
        client = await server.connect(["stage"])
        with pytest.raises(ValueError, match="no way back"):
            await client.session.restart()
        assert "no way back" in caplog.text


# The end


async def test_a_connection_that_never_started_has_no_end(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"], start=False)
        await client.call("stage", "add", 1)
        await client.stop()
        assert gates.log == []
        assert server.managers["stage"].index.connections == {}


async def test_hubs_are_told_why_it_ended(gates: Gates) -> None:
    class CuriousHub(make_hub(gates)):  # type: ignore[misc]
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            gates.log.append((disconnect, self.context.connection_id, self.context.is_aborted))

    async with ClassicServer([CuriousHub]) as server:
        client = await server.connect(["stage"])
        client.connection.lose_transport(client.transport)
        server.tick(35)
        await client.finished()
        assert gates.log[1:] == [(Disconnect(reason=CloseReason.CLIENT_GONE, stop_called=False), "one", True)]


async def test_hubs_are_not_told_when_the_server_stops(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        client.connection.shut_down()
        await client.finished()
        assert gates.log == ["Stage connected"]
        assert server.managers["stage"].index.connections == {}


async def test_an_end_that_takes_too_long_is_cancelled_and_one_that_fails_is_logged(gates: Gates, caplog: pytest.LogCaptureFixture) -> None:
    class SlowHub(make_hub(gates, "Slow")):  # type: ignore[misc]
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                gates.log.append("cancelled")
                raise

    class FailingHub(make_hub(gates, "Failing")):  # type: ignore[misc]
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            raise ValueError("in the end")

    hubs: list[type[Hub]] = [SlowHub, FailingHub, make_hub(gates, "Good")]
    async with ClassicServer(hubs, core=SignalRSettings(ON_DISCONNECTED_TIMEOUT=0.01)) as server:
        client = await server.connect(["slow", "failing", "good"])
        await client.stop()
        assert gates.log[3:] == ["cancelled", ("Good disconnected", CloseReason.CLIENT_CLOSED)]
        assert "ON_DISCONNECTED_TIMEOUT" in caplog.text
        assert "ValueError: in the end" in caplog.text
        for manager in server.managers.values():
            assert manager.index.connections == {}


async def test_an_end_in_which_something_was_cancelled_lets_the_connection_go(gates: Gates) -> None:
    class TidyHub(make_hub(gates, "Tidy")):  # type: ignore[misc]
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

    async with ClassicServer([TidyHub, make_hub(gates)]) as server:
        client = await server.connect(["tidy", "stage"])
        client.connection.stop()
        await settle()
        assert gates.log[-1] == ("Stage disconnected", CloseReason.CLIENT_CLOSED)
        for manager in server.managers.values():
            assert manager.index.connections == {}


async def test_an_end_that_is_cancelled_takes_the_hub_s_along(gates: Gates) -> None:
    class SlowHub(make_hub(gates)):  # type: ignore[misc]
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            gates.log.append("began")
            try:
                await asyncio.Event().wait()
            finally:
                gates.log.append("ended")

    async with ClassicServer([SlowHub]) as server:
        client = await server.connect(["stage"])
        client.connection.stop()
        await settle()
        assert client.finishing is not None
        client.finishing.cancel()  # as when the process stops
        await settle()
        assert gates.log[1:] == ["began", "ended"]
        assert server.managers["stage"].index.connections == {}


async def test_who_waits_for_the_end_is_woken(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        waiting = asyncio.ensure_future(client.context.wait_aborted())
        await settle()
        assert not waiting.done()
        await client.stop()
        await asyncio.wait_for(waiting, TIMEOUT)


async def test_groups_end_with_the_connection(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"], user_identifier="ada")
        await client.call("stage", "join", "lobby")
        await client.stop()
        index = server.managers["stage"].index
        assert (index.connections, index.groups, index.users) == ({}, {}, {})


# State


async def test_changes_of_the_state_go_back_with_messages_and_answers(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        answer = await client.call("stage", "count", {"n": 2, "same": [1]}, state={"n": 1, "same": [1], "other": None})
        await settle()
        assert answer == {"S": {"n": 2}, "R": 2}
        assert client.transport.messages == [called("counted", 1, state={"n": 2})]
        assert await client.call("stage", "count", {"n": 1}, state={"n": 1}) == {"R": 2}
        await settle()
        assert client.transport.messages[1:] == [called("counted", 1)]


async def test_a_state_is_forgotten_after_the_call(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        await client.call("stage", "count", {"n": 2}, state={"n": 1})
        assert await client.call("stage", "add", 1) == {"R": 11}


async def test_changes_go_back_with_a_hub_exception_and_with_no_other_error(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        assert await client.call("Stage", "countAndFail", True) == {"S": {"n": 1}, "H": True, "E": "no"}
        assert await client.call("Stage", "countAndFail", False) == refusal("countAndFail")


# Progress


def report(invocation_id: str, value: Any, state: Any = None) -> dict[str, Any]:
    message = {"I": f"P|{invocation_id}", "P": {"I": invocation_id, "D": value}}
    return message if state is None else {"S": state, **message}


async def test_progress_comes_in_envelopes_before_the_answer_with_changes_of_the_state(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        client.invoke("stage", "copy", [1, 2], state={"last": 1})
        assert await client.answer("0") == {"S": {"last": 2}, "R": "copied", "I": "0"}
        await settle()
        assert client.transport.messages == [report("0", 1), report("0", 2, {"last": 2})]
        # A client that has the answer has forgotten the call, and drops what comes for it.
        assert "I" in client.transport.frames[-1]


async def test_progress_may_come_from_a_thread(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        client.invoke("stage", "copyPlainly", [1, 2])
        assert (await client.answer("0"))["R"] == "copied"
        await settle()
        assert client.transport.messages == [report("0", 1), report("0", 2)]
        assert "I" in client.transport.frames[-1]


async def test_no_progress_is_reported_after_the_end_of_the_call(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        await client.call("stage", "keepProgress")
        with pytest.raises(Exception, match="You cannot report progress on a hub method invocation that has already completed"):
            await gates.log[-1].areport(1)
        assert client.transport.messages == []


async def test_progress_comes_behind_arguments_that_were_left_out(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        assert await client.call("stage", "copySome") == {"R": 2}
        assert await client.call("stage", "copySome", 3) == {"R": 3}
        await settle()
        assert client.transport.messages == [report("0", 2), report("1", 3)]


async def test_each_call_has_its_own_progress(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client, other = await server.connect(["stage"]), await server.connect(["stage"], "two")
        client.invoke("stage", "copy", [1])
        client.invoke("stage", "copy", [2])
        await client.answer("1")
        await settle()
        assert [one["P"] for one in client.transport.messages] == [{"I": "0", "D": 1}, {"I": "1", "D": 2}]
        assert other.transport.messages == []


async def test_progress_of_a_send_by_a_poll_comes_by_a_poll(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)]) as server:
        client = await server.connect(["stage"])
        poll = await client.attach(["stage"], FakeClassicTransport("longPolling"), cursor=client.transport.cursor)
        answer = client.session.invoke(call("stage", "copy", [1]))
        assert not isinstance(answer, bytes)
        assert json.loads(await client.session.run(answer))["R"] == "copied"
        await settle()
        assert poll.messages == [report("0", 1, {"last": 1})]


# Filters


class Recording(HubFilter):
    def __init__(self, gates: Gates) -> None:
        self.gates = gates

    async def invoke_method(self, invocation: HubInvocation, next: InvokeNext) -> Any:
        self.gates.log.append(invocation.method)
        return await next(invocation)

    async def on_connected(self, context: HubCallerContext, next: ConnectedNext) -> None:
        self.gates.log.append("connecting")
        await next(context)

    async def on_reconnected(self, context: HubCallerContext, next: ConnectedNext) -> None:
        self.gates.log.append("reconnecting")
        await next(context)


async def test_filters_stand_around_calls_and_events(gates: Gates) -> None:
    async with ClassicServer([make_hub(gates)], filters=[Recording(gates)]) as server:
        client = await server.connect(["stage"])
        assert await client.call("stage", "add", 1) == {"R": 11}
        await client.session.restart()
        await client.stop()
    assert gates.log == [
        "connecting",
        "Stage connected",
        "add",
        "reconnecting",
        "Stage reconnected",
        ("Stage disconnected", CloseReason.CLIENT_CLOSED),
    ]


class FragileHub(Hub):
    """Cannot be made while it is broken."""

    is_broken = False
    log: ClassVar[list[str]] = []

    def __init__(self) -> None:
        if FragileHub.is_broken:
            raise RuntimeError("broken")

    @hub_method
    async def now(self) -> None: ...

    @hub_method
    async def later(self) -> None:
        await asyncio.sleep(0)

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        self.log.append("fragile")


class SturdyHub(Hub):
    log = FragileHub.log

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        self.log.append("sturdy")


async def test_a_hub_that_cannot_be_made_fails_its_calls_and_no_other_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    FragileHub.log.clear()
    async with ClassicServer([FragileHub, SturdyHub], ENABLE_DETAILED_ERRORS=True) as server:
        client = await server.connect(["fragilehub", "sturdyhub"])
        monkeypatch.setattr(FragileHub, "is_broken", True)
        for method in ("now", "later"):
            assert await client.call("FragileHub", method) == {"E": "broken"}
        await client.stop()
    assert FragileHub.log == ["sturdy"]


@pytest.mark.parametrize("method", ["now", "later", "fail"])
async def test_a_call_that_leaves_something_unwritable_in_the_state_is_answered(method: str) -> None:
    class StateHub(Hub):
        @hub_method
        async def now(self) -> None:
            self.clients.caller_state["name"] = object()

        @hub_method
        async def later(self) -> None:
            await asyncio.sleep(0)
            self.clients.caller_state["name"] = object()

        @hub_method
        async def fail(self) -> None:
            self.clients.caller_state["name"] = object()
            raise HubException("no")

    async with ClassicServer([StateHub]) as server:
        client = await server.connect(["statehub"])
        answer = await client.call("StateHub", method, state={"name": "anna"})
        assert answer == {"E": f"There was an error invoking Hub method 'StateHub.{method}'."}
