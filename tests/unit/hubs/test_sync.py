"""The sync face of async calls."""

from __future__ import annotations

import asyncio
import threading

import pytest

from signalr_channels.exceptions import WrongContext
from signalr_channels.hubs.clients import HubClients
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.lifetime import InMemoryHubLifetimeManager
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.reach import Reach
from signalr_channels.hubs.sync import refuse_in_event_loop, run_from_sync
from tests.unit.scripted import ScriptedServer, called, completion

pytestmark = pytest.mark.usefixtures("no_task_left")


async def where() -> tuple[asyncio.AbstractEventLoop, int]:
    return asyncio.get_running_loop(), threading.get_ident()


def test_without_a_loop_the_coroutine_gets_one() -> None:
    loop, thread = run_from_sync("send", None, where)
    assert loop.is_closed()
    assert thread == threading.get_ident()


async def test_from_a_thread_the_coroutine_runs_in_the_loop_of_its_objects() -> None:
    running = asyncio.get_running_loop()
    loop, thread = await asyncio.to_thread(run_from_sync, "send", running, where)
    assert loop is running
    assert thread == threading.get_ident()


def test_a_loop_that_no_longer_runs_is_not_used() -> None:
    stopped = asyncio.new_event_loop()
    stopped.close()
    loop, _ = run_from_sync("send", stopped, where)
    assert loop is not stopped


async def test_an_error_comes_back_to_the_caller() -> None:
    async def fail() -> None:
        raise ValueError("from the loop")

    with pytest.raises(ValueError, match="from the loop"):
        await asyncio.to_thread(run_from_sync, "send", asyncio.get_running_loop(), fail)


async def test_inside_a_loop_the_error_names_the_async_twin() -> None:
    def never() -> None:
        raise AssertionError("not even made")

    with pytest.raises(WrongContext, match=r"^send\(\) would block the event loop here: use `await …asend\(…\)` instead\.$"):
        run_from_sync("send", None, never)  # type: ignore[arg-type]


def test_without_a_loop_nothing_is_refused() -> None:
    refuse_in_event_loop("send")


@pytest.mark.parametrize("name", ["send", "invoke", "add", "remove"])
async def test_every_sync_method_names_its_own_twin(name: str) -> None:
    reach = Reach("chat.hubs.ChatHub", InMemoryHubLifetimeManager(), asyncio.get_running_loop())
    owner = HubClients(reach).client("one") if name in ("send", "invoke") else GroupManager(reach)
    with pytest.raises(WrongContext, match=rf"^{name}\(\) .*…a{name}\("):
        getattr(owner, name)("one", "two")


class SyncHub(Hub):
    @hub_method
    def join_and_greet(self, room: str) -> str:
        self.groups.add(self.context.connection_id, room)
        self.clients.group(room).send("welcome", room)
        self.groups.remove(self.context.connection_id, room)
        self.clients.group(room).send("welcome", "nobody")
        return threading.current_thread().name

    @hub_method
    async def greet_wrongly(self) -> None:
        self.clients.caller.send("welcome")


async def test_a_plain_hub_method_uses_the_sync_face_from_its_thread() -> None:
    async with ScriptedServer(SyncHub) as server:
        client = server.connect()
        client.invoke("JoinAndGreet", "lobby")
        welcome, answer = await client.receive(2)
        assert welcome == called("welcome", "lobby")
        assert answer["result"] != threading.current_thread().name
        assert server.ran_sync == ["join_and_greet"]


async def test_an_async_hub_method_may_not() -> None:
    async with ScriptedServer(SyncHub, ENABLE_DETAILED_ERRORS=True) as server:
        client = server.connect()
        answer = await client.call("GreetWrongly")
        assert "WrongContext: send() would block the event loop here: use `await …asend(…)` instead." in answer["error"]
        assert completion("0", None) != answer
