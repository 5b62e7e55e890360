"""The contract of a lifetime manager, whatever lies under it: nothing, an in-memory layer, or Redis; one process, or two."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from signalr_channels.exceptions import ConnectionClosed, HubException, LocalProtocolError
from signalr_channels.hubs.lifetime import AudienceKind
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import HubMessage, Invocation
from tests.contracts.sites import (
    EVERYONE,
    JSON,
    MAXIMUM_GROUPS,
    MESSAGEPACK,
    TIMEOUT,
    Backplane,
    Site,
    eventually,
    invocation,
    running,
    to,
)

pytestmark = pytest.mark.usefixtures("no_task_left")

CONNECTIONS, GROUPS, USERS = AudienceKind.CONNECTIONS, AudienceKind.GROUPS, AudienceKind.USERS

SITES = [
    ("memory", False),
    ("in-memory layer", False),
    ("in-memory layer", True),
    ("core", False),
    ("core", True),
    ("pubsub", False),
    ("pubsub", True),
]
SHARED = [("in-memory layer", True), ("core", True), ("pubsub", True)]


def name_of(site: tuple[str, bool]) -> str:
    return f"{site[0]}, {'two processes' if site[1] else 'one process'}"


def make_backplane(request: pytest.FixtureRequest, kind: str, **options: Any) -> Backplane:
    needs_redis = kind in ("core", "pubsub")
    return Backplane(kind, request.getfixturevalue("redis_url") if needs_redis else "", **options)


@pytest.fixture(params=SITES, ids=name_of)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    kind, is_shared = request.param
    async with running(make_backplane(request, kind)) as backplane:
        yield Site(backplane, is_shared=is_shared)


@pytest.fixture(params=SHARED, ids=name_of)
async def shared_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    kind, is_shared = request.param
    async with running(make_backplane(request, kind)) as backplane:
        yield Site(backplane, is_shared=is_shared)


async def take_places(site: Site) -> None:
    """
    Five clients.

    ===== ======== ====== ===============
    id    process  user   groups
    ===== ======== ====== ===============
    a     near     anna   lobby, bar
    b     near     bert   lobby
    c     far      anna   bar
    d     far      none   lobby, bar
    e     far      emil   none
    ===== ======== ====== ===============
    """
    for process, connection_id, user in [
        (site.near, "a", "anna"),
        (site.near, "b", "bert"),
        (site.far, "c", "anna"),
        (site.far, "d", None),
        (site.far, "e", "emil"),
    ]:
        await process.connect(connection_id, user)
    for process, connection_id, group in [
        (site.near, "a", "lobby"),
        (site.near, "a", "bar"),
        (site.near, "b", "lobby"),
        (site.far, "c", "bar"),
        (site.far, "d", "lobby"),
        (site.far, "d", "bar"),
    ]:
        await process.manager.add_to_group(connection_id, group)


# Audiences


async def test_every_audience_is_reached_and_nobody_else(site: Site) -> None:
    await take_places(site)
    for audience, expected in [
        (EVERYONE, "abcde"),
        (to(AudienceKind.ALL, excluded=["a", "d", "nobody"]), "bce"),
        (to(CONNECTIONS, "b"), "b"),
        (to(CONNECTIONS, "e"), "e"),
        (to(CONNECTIONS, "nobody"), ""),
        (to(CONNECTIONS), ""),
        (to(CONNECTIONS, "a", "e", "e", "nobody", "a"), "ae"),
        (to(CONNECTIONS, "a", "e", excluded=["e"]), "a"),
        (to(GROUPS, "lobby"), "abd"),
        (to(GROUPS, "bar"), "acd"),
        (to(GROUPS, "Bar"), ""),
        (to(GROUPS, "nowhere"), ""),
        (to(GROUPS), ""),
        (to(GROUPS, "lobby", excluded=["a", "d"]), "b"),
        (to(GROUPS, "lobby", "bar", "nowhere"), "aabcdd"),
        (to(GROUPS, "lobby", "bar", excluded=["a"]), "bcdd"),
        (to(USERS, "anna"), "ac"),
        (to(USERS, "ANNA"), ""),
        (to(USERS, "anna", "emil", "nobody"), "ace"),
        (to(USERS, "anna", excluded=["c"]), "a"),
    ]:
        await site.near.send(audience, "message", "hi", 1)
        assert await site.heard() == expected, audience


async def test_the_message_arrives_as_it_was_sent(site: Site) -> None:
    far = await site.far.connect("far")
    await site.near.send(EVERYONE, "Grüße", "häh?\x1e", None, [1, {"a": 2.5}])
    await eventually(far.calls)
    assert far.calls() == [("Grüße", "häh?\x1e", None, [1, {"a": 2.5}])]


@pytest.mark.parametrize("name", ["", " ", "a:b", "Grüße 😀", "x" * 1000, "a/b?c#d\n"])
async def test_groups_and_users_may_be_called_anything(site: Site, name: str) -> None:
    await site.near.connect("n", "x" if name == "" else name)
    await site.far.connect("f", "x" if name == "" else name)
    await site.far.connect("o", "other")
    for connection_id in "nf":
        await site.near.manager.add_to_group(connection_id, name)
    await site.near.send(to(GROUPS, name), "group")
    assert await site.heard() == "fn"
    await site.near.send(to(USERS, "x" if name == "" else name), "user")
    assert await site.heard() == "fn"


async def test_an_argument_that_cannot_be_encoded_reaches_nobody(site: Site) -> None:
    await site.near.connect("n")
    await site.far.connect("f")
    with pytest.raises(LocalProtocolError):
        await site.near.send(EVERYONE, "message", object())
    assert await site.heard() == ""


async def test_sending_to_an_empty_hub_is_no_error(site: Site) -> None:
    for audience in (EVERYONE, to(CONNECTIONS, "x"), to(GROUPS, "x"), to(USERS, "x")):
        await site.near.send(audience, "message")


# Groups


async def test_any_process_can_put_a_connection_into_a_group_and_take_it_out(site: Site) -> None:
    await site.near.connect("n")
    await site.far.connect("f")
    for _ in range(2):  # twice is harmless
        for connection_id in "nf":
            await site.near.manager.add_to_group(connection_id, "lobby")
    for sender in (site.near, site.far):
        await sender.send(to(GROUPS, "lobby"), "message")
        assert await site.heard(sender) == "fn"
    for _ in range(2):
        await site.near.manager.remove_from_group("f", "lobby")
    await site.near.send(to(GROUPS, "lobby"), "message")
    assert await site.heard() == "n"
    await site.near.manager.remove_from_group("n", "lobby")
    await site.far.send(to(GROUPS, "lobby"), "message")
    assert await site.heard(site.far) == ""


async def test_a_change_is_in_force_when_the_call_returns(site: Site) -> None:
    far = await site.far.connect("f")
    for number in range(10):
        await site.near.manager.add_to_group("f", "lobby")
        await site.near.send(to(GROUPS, "lobby"), f"in {number}")
        await site.near.manager.remove_from_group("f", "lobby")
        await site.near.send(to(GROUPS, "lobby"), f"out {number}")
    await site.settle()
    assert far.targets()[:-1] == [f"in {number}" for number in range(10)]


async def test_a_connection_nobody_knows_can_be_put_nowhere(site: Site) -> None:
    await site.near.connect("n")
    await site.far.connect("f")
    site.near.expects_no_answer()
    await site.near.manager.add_to_group("nobody", "lobby")
    await site.near.manager.remove_from_group("nobody", "lobby")
    await site.near.send(to(GROUPS, "lobby"), "message")
    assert await site.heard() == ""


async def test_a_connection_may_be_in_so_many_groups(site: Site) -> None:
    await site.near.connect("n")
    await site.far.connect("f")
    for connection_id in "nf":
        for number in range(MAXIMUM_GROUPS):
            await site.near.manager.add_to_group(connection_id, f"group {number}")
        await site.near.manager.add_to_group(connection_id, "group 0")
        with pytest.raises(HubException, match=rf"A connection may be in {MAXIMUM_GROUPS} groups \(MAXIMUM_GROUPS_PER_CONNECTION\)"):
            await site.near.manager.add_to_group(connection_id, "one more")
        await site.near.manager.remove_from_group(connection_id, "group 0")
        await site.near.manager.add_to_group(connection_id, "one more")
    await site.near.send(to(GROUPS, "group 0", "one more"), "message")
    assert await site.heard() == "fn"


# Comings and goings


async def test_a_connection_that_left_is_in_no_audience(site: Site) -> None:
    await take_places(site)
    for client in [client for client in site.clients if client.id in "ad"]:
        await client.leave()
    for audience, expected in [
        (EVERYONE, "bce"),
        (to(CONNECTIONS, "a", "d"), ""),
        (to(GROUPS, "lobby", "bar"), "bc"),
        (to(USERS, "anna"), "c"),
    ]:
        await site.near.send(audience, "message")
        assert await site.heard() == expected, audience


async def test_leaving_twice_is_harmless(site: Site) -> None:
    client = await site.near.connect("n", "user")
    await client.leave()
    await site.near.manager.disconnect(client.connection)
    stranger = await site.far.connect("f", "user")
    await site.near.send(to(USERS, "user"), "message")
    assert await site.heard() == "f"
    assert stranger.connection.groups is None


async def test_the_last_may_leave_and_others_come(site: Site) -> None:
    for number in range(5):
        near, far = await site.near.connect("n", "user"), await site.far.connect("f", "user")
        for connection_id in "nf":
            await site.far.manager.add_to_group(connection_id, "lobby")
        for audience in (EVERYONE, to(GROUPS, "lobby"), to(USERS, "user")):
            await site.near.send(audience, f"{number}")
            assert await site.heard() == "fn"
        await near.leave()
        await far.leave()


async def test_connections_come_and_go_at_once(site: Site) -> None:
    async def visit(number: int) -> None:
        process = site.far if number % 2 else site.near
        client = await process.connect(f"visitor {number}", "visitor")
        await process.manager.add_to_group(client.id, "lobby")
        await site.near.send(to(GROUPS, "lobby"), "visit")
        await client.leave()

    await asyncio.gather(*(visit(number) for number in range(20)))
    near, far = await site.near.connect("n", "visitor"), await site.far.connect("f", "visitor")
    await site.settle()  # what was sent to the last visitors may still be on its way
    for client in (near, far):
        await client.process.manager.add_to_group(client.id, "lobby")
        client.transport.written.clear()
    for audience in (EVERYONE, to(GROUPS, "lobby"), to(USERS, "visitor")):
        for sender in (site.near, site.far):
            await sender.send(audience, "message")
            assert await site.heard(sender) == "fn"


async def test_a_slow_connection_delays_no_other(site: Site) -> None:
    slow, fine = await site.near.connect("s"), await site.near.connect("f")
    slow.transport.pause()
    await site.near.send(EVERYONE, "message")
    assert fine.targets() == ["message"]
    slow.transport.resume()
    await asyncio.wait_for(slow.connection.drain(), TIMEOUT)
    assert slow.targets() == ["message"]


async def test_a_connection_that_has_ended_is_passed_over(site: Site) -> None:
    ended, fine = await site.near.connect("e"), await site.near.connect("f")
    ended.connection.close(CloseReason.CLOSED_BY_APP)
    await site.near.send(EVERYONE, "message")
    assert (ended.targets(), fine.targets()) == ([], ["message"])
    await ended.leave()


# Order


async def test_messages_of_one_sender_arrive_in_their_order(site: Site) -> None:
    clients = [await site.near.connect("n", "user"), await site.far.connect("f", "user")]
    for client in clients:
        await client.process.manager.add_to_group(client.id, "lobby")
    audiences = [EVERYONE, to(GROUPS, "lobby"), to(USERS, "user"), to(CONNECTIONS, "n", "f")]
    for number in range(100):
        await site.near.send(audiences[number % len(audiences)], "number", number)
    await site.settle()
    for client in clients:
        assert client.calls()[:-1] == [("number", number) for number in range(100)]


async def test_many_senders_at_once_lose_nothing_and_raise_no_alarm(site: Site) -> None:
    client = await site.far.connect("f")
    await asyncio.gather(*(site.near.send(EVERYONE, "number", number) for number in range(100)))
    await site.settle()
    assert sorted(call[1] for call in client.calls()[:-1]) == list(range(100))
    if site.far.relay is not None:
        for now in range(5):
            site.far.relay.tick(float(now))
        assert site.far.relay.gaps == 0


# Encoding


class CountingJson(JsonHubProtocol):
    def __init__(self) -> None:
        self.count = 0

    def encode(self, message: HubMessage) -> bytes:
        self.count += isinstance(message, Invocation)
        return super().encode(message)


class CountingMessagePack(MessagePackHubProtocol):
    def __init__(self) -> None:
        self.count = 0

    def encode(self, message: HubMessage) -> bytes:
        self.count += isinstance(message, Invocation)
        return super().encode(message)


async def test_a_message_is_encoded_once_per_hub_protocol(site: Site) -> None:
    json, messagepack = CountingJson(), CountingMessagePack()
    processes = [site.backplane.make_process(protocols=[json, messagepack])]
    processes.append(site.backplane.make_process(protocols=[json, messagepack]) if site.is_shared else processes[0])
    clients = []
    for number in range(12):
        client = await processes[number % 2].connect(f"{number}", "user", [json, messagepack][number // 2 % 2])
        await client.process.manager.add_to_group(client.id, "lobby")
        clients.append(client)
    audiences = [EVERYONE, to(GROUPS, "lobby"), to(USERS, "user"), to(CONNECTIONS, *(client.id for client in clients))]
    for audience in audiences:
        json.count = messagepack.count = 0
        await processes[0].send(audience, "message", {"a": [1, "two"]})
        await eventually(lambda: all(client.calls() for client in clients))
        assert (json.count, messagepack.count) == (1, 1), audience
        for client in clients:
            assert client.calls() == [("message", {"a": [1, "two"]})]
            client.transport.written.clear()


async def test_the_bytes_are_shared_by_all_receivers_of_a_process(site: Site) -> None:
    clients = [await site.far.connect(f"{number}") for number in range(3)]
    await site.near.send(EVERYONE, "message")
    await eventually(lambda: all(client.calls() for client in clients))
    assert len({id(client.transport.written[0]) for client in clients}) == 1


# Client results


async def test_a_client_of_any_process_can_be_asked(site: Site) -> None:
    reach = Reach("hub", site.near.manager, None)
    for process, connection_id in ((site.near, "n"), (site.far, "f")):
        client = await process.connect(connection_id)
        asking = asyncio.ensure_future(reach.invoke(connection_id, "how many", ["?"], int))
        await eventually(client.calls)
        assert client.calls() == [("how many", "?")]
        client.answer(result=7)
        assert await asyncio.wait_for(asking, TIMEOUT) == 7


async def test_a_client_of_any_process_can_refuse(site: Site) -> None:
    reach = Reach("hub", site.near.manager, None)
    for process, connection_id in ((site.near, "n"), (site.far, "f")):
        client = await process.connect(connection_id)
        asking = asyncio.ensure_future(reach.invoke(connection_id, "how many", [], int))
        await eventually(client.calls)
        client.answer(error="none of your business")
        with pytest.raises(HubException, match="none of your business"):
            await asyncio.wait_for(asking, TIMEOUT)


async def test_a_client_that_does_not_exist_cannot_be_asked(site: Site) -> None:
    await site.far.connect("f")
    site.near.expects_no_answer()
    with pytest.raises(ConnectionClosed, match="Connection 'nobody' does not exist"):
        await asyncio.wait_for(site.near.manager.invoke("nobody", "how many", []), TIMEOUT)


async def test_a_client_that_leaves_will_not_answer(site: Site) -> None:
    for process, connection_id in ((site.near, "n"), (site.far, "f")):
        client = await process.connect(connection_id)
        asking = asyncio.ensure_future(site.near.manager.invoke(connection_id, "how many", []))
        await eventually(client.calls)
        process.manager.client_results.connection_ended(connection_id)
        with pytest.raises(ConnectionClosed, match=rf"Connection '{connection_id}' disconnected"):
            await asyncio.wait_for(asking, TIMEOUT)


async def test_a_client_that_has_ended_will_not_answer_either(site: Site) -> None:
    for process, connection_id in ((site.near, "n"), (site.far, "f")):
        client = await process.connect(connection_id)
        client.connection.close(CloseReason.CLOSED_BY_APP)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(site.near.manager.invoke(connection_id, "how many", []), TIMEOUT)


# Several on one backplane


async def test_hubs_do_not_hear_each_other(shared_site: Site) -> None:
    other = shared_site.backplane.make_process(hub="news.hubs.NewsHub")
    for process, connection_id in ((shared_site.near, "n"), (other, "o")):
        await process.connect(connection_id, "user")
        await process.manager.add_to_group(connection_id, "lobby")
    for audience in (EVERYONE, to(GROUPS, "lobby"), to(USERS, "user"), to(CONNECTIONS, "n", "o")):
        await shared_site.near.send(audience, "for one hub")
        await other.send(EVERYONE, "marker of the other")
        await shared_site.near.send(EVERYONE, "marker")
        await eventually(lambda: all("marker" in client.targets()[-1] for client in shared_site.clients if client.calls()))
    news = next(client for client in shared_site.clients if client.id == "o")
    assert set(news.targets()) == {"marker of the other"}


async def test_sites_do_not_hear_each_other(shared_site: Site) -> None:
    stranger = shared_site.backplane.make_process(key_prefix="other-site")
    await shared_site.near.connect("n")
    client = await stranger.connect("s")
    await shared_site.near.send(EVERYONE, "message")
    await stranger.send(EVERYONE, "own")
    await eventually(client.calls)
    assert client.targets() == ["own"]


async def test_a_process_without_connections_reaches_those_of_others(shared_site: Site) -> None:
    await take_places(shared_site)
    outside = shared_site.backplane.make_process()  # a WSGI process, a command, a worker: its relay is never started
    for audience, expected in [
        (EVERYONE, "abcde"),
        (to(CONNECTIONS, "b", "e"), "be"),
        (to(GROUPS, "lobby", "bar"), "aabcdd"),
        (to(USERS, "anna"), "ac"),
    ]:
        await outside.send(audience, "message")
        assert await shared_site.heard(outside) == expected
    await outside.manager.add_to_group("e", "lobby")
    await outside.send(to(GROUPS, "lobby"), "message")
    assert await shared_site.heard(outside) == "abde"
    for number in range(MAXIMUM_GROUPS - 1):
        await outside.manager.add_to_group("e", f"group {number}")
    with pytest.raises(HubException, match="MAXIMUM_GROUPS_PER_CONNECTION"):
        await outside.manager.add_to_group("e", "one more")
    asking = asyncio.ensure_future(Reach("hub", outside.manager, None).invoke("e", "how many", [], int))
    asked = next(client for client in shared_site.clients if client.id == "e")
    await eventually(lambda: "how many" in asked.targets())
    asked.answer(result=1)
    assert await asyncio.wait_for(asking, TIMEOUT) == 1


async def test_a_connection_nobody_knows_is_said_so_in_the_log(shared_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    shared_site.near.expects_no_answer()
    with caplog.at_level(logging.WARNING, "signalr_channels.backplane"):
        await shared_site.near.manager.add_to_group("nobody", "lobby")
    assert "No server process confirmed a change of the groups of connection nobody" in caplog.text


async def test_a_message_that_is_lost_is_counted(shared_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    far = await shared_site.far.connect("f")
    relay = shared_site.far.relay
    assert relay is not None
    await shared_site.near.send(EVERYONE, "one")
    await shared_site.settle()

    layer: Any = shared_site.near.layer
    dropping = Dropping(layer, drop=2)
    assert shared_site.near.relay is not None
    shared_site.near.relay._layer = dropping
    for text in ("two", "three"):
        await shared_site.near.send(EVERYONE, text)
    await shared_site.near.send(EVERYONE, "four")
    await eventually(lambda: "four" in far.targets())
    relay.tick(0.0)
    assert relay.gaps == 0  # they may just be late
    with caplog.at_level(logging.WARNING, "signalr_channels.backplane"):
        for now in (1.0, 2.0, 3.0):
            relay.tick(now)
    assert relay.gaps == 2
    assert "2 messages from process-1 to chat.hubs.ChatHub were lost by the channel layer" in caplog.text


class Dropping:
    """A layer that loses the next few group messages, as a real one does when a channel is full."""

    def __init__(self, layer: Any, drop: int) -> None:
        self._layer = layer
        self._drop = drop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self._drop:
            self._drop -= 1
        else:
            await self._layer.group_send(group, message)


async def test_leaving_and_coming_back_is_no_loss(shared_site: Site) -> None:
    for _ in range(3):
        client = await shared_site.far.connect("f")
        await shared_site.near.send(EVERYONE, "heard")
        await eventually(client.calls)
        await client.leave()
        await shared_site.near.send(EVERYONE, "not heard")
    assert shared_site.far.relay is not None
    assert shared_site.far.relay.gaps == 0


async def test_two_hub_protocols_hear_the_same(site: Site) -> None:
    process = site.backplane.make_process(protocols=[JSON, MESSAGEPACK])
    texts: Sequence[Any] = ["text", 7, None, {"a": [True]}]
    clients = [await process.connect("j", protocol=JSON), await process.connect("m", protocol=MESSAGEPACK)]
    await process.manager.send(EVERYONE, invocation("message", *texts))
    await eventually(lambda: all(client.calls() for client in clients))
    assert [client.calls() for client in clients] == [[("message", *texts)]] * 2
