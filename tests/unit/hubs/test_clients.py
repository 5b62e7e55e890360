"""The twelve audiences and the groups, seen from hub methods of scripted clients."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from signalr_channels.exceptions import LocalProtocolError
from signalr_channels.hubs.clients import ClientProxy, HubClients
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.lifetime import InMemoryHubLifetimeManager
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.reach import Reach
from tests.unit.scripted import ScriptedClient, ScriptedServer, called, completion

pytestmark = pytest.mark.usefixtures("no_task_left")


class AudienceHub(Hub):
    @hub_method
    async def join(self, group: str) -> None:
        await self.groups.aadd(self.context.connection_id, group)

    @hub_method
    async def leave(self, group: str) -> None:
        await self.groups.aremove(self.context.connection_id, group)

    @hub_method
    async def to(self, audience: str, arguments: list[Any]) -> None:
        """Call ``message("hi")`` there."""
        found = getattr(self.clients, audience)
        proxy: ClientProxy = found if isinstance(found, ClientProxy) else found(*arguments)
        await proxy.asend("message", "hi")


class Cast:
    """
    Four clients.

    ===== ======== ================
    id    user     groups
    ===== ======== ================
    a     anna     lobby, bar
    b     bert     lobby
    c     anna     bar
    d     nobody   none
    ===== ======== ================
    """

    def __init__(self, server: ScriptedServer) -> None:
        users = {"a": "anna", "b": "bert", "c": "anna", "d": None}
        self.clients = {name: server.connect(name, user_identifier=user) for name, user in users.items()}

    async def take_places(self) -> None:
        for name, group in [("a", "lobby"), ("a", "bar"), ("b", "lobby"), ("c", "bar")]:
            await self.clients[name].call("join", group)

    def heard(self) -> str:
        """Who got the message, a letter for each copy."""
        result = ""
        for name, client in self.clients.items():
            copies = [message for message in client.received() if message["type"] == 1]
            assert all(message == called("message", "hi") for message in copies)
            result += name * len(copies)
        return result


@pytest.mark.parametrize(
    ("audience", "arguments", "heard"),
    [
        ("all", [], "abcd"),
        ("all_except", [["b", "d", "nobody"]], "ac"),
        ("caller", [], "a"),
        ("others", [], "bcd"),
        ("client", ["c"], "c"),
        ("client", ["nobody"], ""),
        ("clients", [["b", "c", "b", "nobody"]], "bc"),
        ("clients", [[]], ""),
        ("group", ["lobby"], "ab"),
        ("group", ["LOBBY"], ""),
        ("group", [""], ""),
        ("groups", [["lobby", "bar", "nowhere"]], "aabc"),
        ("groups", [[]], ""),
        ("group_except", ["lobby", ["a"]], "b"),
        ("group_except", ["lobby", []], "ab"),
        ("others_in_group", ["bar"], "c"),
        ("others_in_group", ["nowhere"], ""),
        ("user", ["anna"], "ac"),
        ("user", ["Anna"], ""),
        ("users", [["anna", "bert"]], "abc"),
        ("users", [["anna", "anna"]], "ac"),
    ],
)
async def test_who_hears_it(audience: str, arguments: list[Any], heard: str) -> None:
    async with ScriptedServer(AudienceHub) as server:
        cast = Cast(server)
        await cast.take_places()
        cast.heard()
        caller = cast.clients["a"]
        invocation_id = caller.invoke("to", audience, arguments)
        messages = []
        while completion(invocation_id, None) not in messages:
            messages.append(await caller.receive())
        others = cast.heard()
        assert "a" * (len(messages) - 1) + others == heard


async def test_a_message_to_the_caller_comes_before_the_answer_to_its_call() -> None:
    async with ScriptedServer(AudienceHub) as server:
        client = server.connect()
        client.invoke("to", "caller", [])
        assert await client.receive(2) == [called("message", "hi"), completion("0", None)]


async def test_there_are_twelve_audiences() -> None:
    names = {"all", "all_except", "client", "clients", "group", "group_except", "groups", "user", "users"}
    with_caller = names | {"caller", "others", "others_in_group", "caller_state"}
    assert {name for name in dir(HubClients) if not name.startswith("_")} == names
    async with ScriptedServer(AudienceHub) as server:
        clients = server.connect().session.clients
        assert {name for name in dir(clients) if not name.startswith("_")} == with_caller


# Groups


async def test_joining_and_leaving_twice_is_harmless() -> None:
    async with ScriptedServer(AudienceHub) as server:
        cast = Cast(server)
        a, b = cast.clients["a"], cast.clients["b"]
        for _ in range(2):
            await a.call("join", "lobby")
        await b.call("to", "group", ["lobby"])
        assert cast.heard() == "a"
        for _ in range(2):
            await a.call("leave", "lobby")
        await b.call("to", "group", ["lobby"])
        assert cast.heard() == ""


async def test_the_empty_name_is_a_group_like_others() -> None:
    async with ScriptedServer(AudienceHub) as server:
        cast = Cast(server)
        await cast.clients["b"].call("join", "")
        await cast.clients["a"].call("to", "group", [""])
        assert cast.heard() == "b"


async def test_membership_ends_with_the_connection() -> None:
    async with ScriptedServer(AudienceHub) as server:
        a = server.connect("a")
        await a.call("join", "lobby")
        await a.leave()
        again, b = server.connect("a"), server.connect("b")
        await b.call("to", "group", ["lobby"])
        assert again.received() == []


async def test_a_connection_may_be_in_so_many_groups() -> None:
    async with ScriptedServer(AudienceHub, MAXIMUM_GROUPS_PER_CONNECTION=2) as server:
        client = server.connect()
        for group in ("one", "two", "two"):
            assert "error" not in await client.call("join", group)
        answer = await client.call("join", "three")
        assert answer["error"].endswith("HubException: A connection may be in 2 groups (MAXIMUM_GROUPS_PER_CONNECTION).")
        await client.call("leave", "one")
        assert "error" not in await client.call("join", "three")


# Mistakes of hub authors


@pytest.fixture
async def reach() -> Reach:
    return Reach("chat.hubs.ChatHub", InMemoryHubLifetimeManager(), asyncio.get_running_loop())


@pytest.mark.parametrize("audience", ["client", "group", "user"])
async def test_a_name_is_text(reach: Reach, audience: str) -> None:
    with pytest.raises(TypeError, match=rf"^{audience} takes text, not 7: convert it with str\(\)$"):
        getattr(HubClients(reach), audience)(7)


@pytest.mark.parametrize("audience", ["clients", "groups", "users", "all_except"])
async def test_several_names_are_no_text(reach: Reach, audience: str) -> None:
    with pytest.raises(TypeError, match=rf"^{audience} takes a list of names, not the one name 'lobby'$"):
        getattr(HubClients(reach), audience)("lobby")
    with pytest.raises(TypeError, match=rf"^{audience} takes text, not 7"):
        getattr(HubClients(reach), audience)(["lobby", 7])


async def test_a_group_has_a_name_and_a_connection(reach: Reach) -> None:
    groups: Any = GroupManager(reach)
    for arguments in ((7, "lobby"), ("one", 7), (None, "lobby")):
        for method in (groups.aadd, groups.aremove):
            with pytest.raises(TypeError, match="connection ids and group names are text"):
                await method(*arguments)


async def test_an_argument_that_cannot_be_encoded_is_told_to_the_sender() -> None:
    async with ScriptedServer(AudienceHub) as server:
        client: ScriptedClient = server.connect()
        with pytest.raises(LocalProtocolError):
            await client.session.clients.all.asend("message", object())
        assert client.received() == []
        await client.session.clients.all.asend("message", "hi")
        assert client.received() == [called("message", "hi")]


async def test_an_audience_says_what_it_is(reach: Reach) -> None:
    assert repr(HubClients(reach).group("lobby")) == "<ClientProxy groups ('lobby',) of chat.hubs.ChatHub>"
