"""Hub code that asks a client for a result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from signalr_channels.exceptions import ClientResultError, ConnectionClosed, RemoteProtocolError
from signalr_channels.hubs.client_results import ClientResults, read_result
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.protocols.messages import NO_RESULT, Completion
from tests.unit.scripted import JSON, ScriptedClient, ScriptedServer, completion, failed, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

INSIDE = "An unexpected error occurred invoking 'ask' on the server."


class AskingHub(Hub):
    @hub_method
    async def ask(self, connection_id: str, question: str) -> int:
        result: int = await self.clients.client(connection_id).ainvoke("answer", question, result_type=int)
        return result

    @hub_method
    async def ask_me(self) -> Any:
        return await self.clients.caller.ainvoke("answer", "you?")

    @hub_method
    async def ask_me_quickly(self) -> Any:
        return await self.clients.caller.ainvoke("answer", "you?", timeout=0.01)

    @hub_method
    def ask_me_plainly(self) -> Any:
        return self.clients.caller.invoke("answer", "you?")

    @hub_method
    async def hold(self) -> None:
        await self.context.wait_aborted()

    @hub_method
    async def wait_turn(self) -> str:
        await asyncio.sleep(0)
        return "my turn"


async def question(client: ScriptedClient) -> str:
    """The id of the question the client got."""
    message = await client.receive()
    assert (message["type"], message["target"]) == (1, "answer")
    invocation_id: str = message["invocationId"]
    return invocation_id


@pytest.mark.parametrize("target", ["askMe", "askMePlainly"])
async def test_a_client_answers_what_it_is_asked(target: str) -> None:
    async with ScriptedServer(AskingHub) as server:
        client = server.connect()
        client.invoke(target)
        client.complete(await question(client), result={"a": [1]})
        assert await client.receive() == completion("0", {"a": [1]})


async def test_one_client_may_have_another_asked() -> None:
    async with ScriptedServer(AskingHub) as server:
        asking, asked = server.connect("asking"), server.connect("asked")
        asking.invoke("ask", "asked", "how many?")
        message = await asked.receive()
        assert message == {"type": 1, "invocationId": message["invocationId"], "target": "answer", "arguments": ["how many?"]}
        asked.complete(message["invocationId"], result=7)
        assert await asking.receive() == completion("0", 7)


async def test_the_answer_is_read_though_its_call_had_the_only_slot() -> None:
    async with ScriptedServer(AskingHub) as server:
        client = server.connect()
        client.invoke("askMe")
        client.invoke("waitTurn")
        invocation_id = await question(client)
        assert await client.receive() == completion("1", "my turn")
        client.complete(invocation_id, result=1)
        assert await client.receive() == completion("0", 1)


async def test_an_answer_overtakes_calls_that_wait() -> None:
    async with ScriptedServer(AskingHub) as server:
        other, client = server.connect("other"), server.connect("client")
        other.invoke("ask", "client", "now?")
        invocation_id = await question(client)
        client.invoke("hold")
        client.invoke("waitTurn")
        client.complete(invocation_id, result=3)
        assert await other.receive() == completion("0", 3)
        assert client.received() == []  # the call that holds the slot, and the one behind it, are not done


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"error": "I will not say"}, " HubException: I will not say"),
        ({}, " HubException: The client gave no result."),
        ({"result": "seven"}, " HubException: Error trying to deserialize result to int. "),
    ],
)
async def test_a_client_may_fail_to_answer(members: dict[str, Any], text: str) -> None:
    async with ScriptedServer(AskingHub) as server:
        asking, asked = server.connect("asking"), server.connect("asked")
        asking.invoke("ask", "asked", "?")
        asked.complete(await question(asked), **members)
        answer = await asking.receive()
        assert answer["error"].startswith(INSIDE + text)
        assert not asked.connection.is_closed


async def test_nobody_can_answer_for_another() -> None:
    async with ScriptedServer(AskingHub, ENABLE_DETAILED_ERRORS=True) as server:
        asking, asked, liar = (server.connect(name) for name in ("asking", "asked", "liar"))
        asking.invoke("ask", "asked", "?")
        invocation_id = await question(asked)
        liar.complete(invocation_id, result=666)
        assert await liar.receive() == {
            "type": 7,
            "error": "Connection closed with an error. InvalidOperationException: "
            f"Connection ID 'liar' is not valid for invocation ID '{invocation_id}'.",
            "allowReconnect": True,
        }
        asked.complete(invocation_id, result=7)
        assert await asking.receive() == completion("0", 7)


@pytest.mark.parametrize("detailed", [False, True])
async def test_a_client_that_does_not_exist_cannot_be_asked(detailed: bool) -> None:
    async with ScriptedServer(AskingHub, ENABLE_DETAILED_ERRORS=detailed) as server:
        text = INSIDE + (" IOException: Connection 'nobody' does not exist." if detailed else "")
        assert await server.connect().call("ask", "nobody", "?") == failed("0", text)


async def test_a_client_may_leave_instead_of_answering() -> None:
    async with ScriptedServer(AskingHub, ENABLE_DETAILED_ERRORS=True) as server:
        asking, asked = server.connect("asking"), server.connect("asked")
        asking.invoke("ask", "asked", "?")
        await question(asked)
        await asked.leave()
        assert await asking.receive() == failed("0", INSIDE + " IOException: Connection 'asked' disconnected.")


async def test_a_client_has_as_much_time_as_it_is_given() -> None:
    async with ScriptedServer(AskingHub) as server:
        client = server.connect()
        client.invoke("askMeQuickly")
        invocation_id = await question(client)
        answer = await client.receive()
        assert answer["error"].endswith("HubException: The client did not answer within 0.01 s.")
        client.complete(invocation_id, result=1)  # too late
        await settle()
        assert client.received() == []
        assert not client.connection.is_closed


async def test_on_connected_cannot_ask() -> None:
    class EagerHub(Hub):
        async def on_connected(self) -> None:
            await self.clients.caller.ainvoke("answer")

    async with ScriptedServer(EagerHub, ENABLE_DETAILED_ERRORS=True) as server:
        client = server.connect()
        text = "Client results inside OnConnectedAsync Hub methods are not allowed."
        assert (await client.receive())["error"].endswith(text)


async def test_on_disconnected_asks_in_vain() -> None:
    errors: list[Exception] = []

    class LateHub(Hub):
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            try:
                await self.clients.caller.ainvoke("answer")
            except ConnectionClosed as error:
                errors.append(error)

    async with ScriptedServer(LateHub) as server:
        await server.connect().leave(CloseReason.CLIENT_CLOSED)
    assert len(errors) == 1


# The table of questions by itself


async def test_a_question_is_answered_once() -> None:
    results = ClientResults()
    first, second = results.next_id(), results.next_id()
    assert (first, second) == ("s1", "s2")
    answer = results.ask("one", first)
    assert results.expects(first) and not results.expects(second)
    given = Completion(invocation_id=first, result=1)
    assert results.complete("one", given)
    assert answer.result() is given
    assert not results.complete("one", given)


async def test_only_the_one_that_was_asked_can_answer() -> None:
    results = ClientResults()
    answer = results.ask("one", "s1")
    with pytest.raises(RemoteProtocolError, match="Connection ID 'two' is not valid for invocation ID 's1'"):
        results.complete("two", Completion(invocation_id="s1", result=1))
    assert not answer.done()
    results.forget("s1")
    assert not results.complete("one", Completion(invocation_id="s1", result=1))


async def test_the_end_of_a_connection_ends_its_questions_only() -> None:
    results = ClientResults()
    one, two = results.ask("one", "s1"), results.ask("two", "s2")
    results.connection_ended("one")
    assert isinstance(one.exception(), ConnectionClosed)
    assert not two.done()


@dataclass
class Point:
    x: int


def test_a_result_is_converted_to_what_was_asked_for() -> None:
    def read(text: bytes, type: Any) -> Any:
        return read_result(JSON, Completion(invocation_id="s1", result=msgspec.Raw(text)), type)

    assert read(b"7", int) == 7
    assert read(b'{"x":1}', Point) == Point(1)
    assert read(b"null", Any) is None
    with pytest.raises(ClientResultError, match="Error trying to deserialize result to Point"):
        read(b"7", Point)
    with pytest.raises(ClientResultError, match="no result"):
        read_result(JSON, Completion(invocation_id="s1", result=NO_RESULT), int)
