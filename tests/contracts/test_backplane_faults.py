"""What a channel layer does to its users: it forgets members, goes away, comes back, and answers late."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from signalr_channels.backplane.relay import Conversation, Relay
from signalr_channels.backplane.wire import VERSION, Ack, write
from signalr_channels.exceptions import BackplaneUnavailable
from signalr_channels.hubs.lifetime import AudienceKind
from tests.contracts.sites import EVERYONE, TIMEOUT, Backplane, ServerProcess, eventually, running, to
from tests.live import redis_server
from tests.unit.scripted import settle

pytestmark = pytest.mark.usefixtures("no_task_left")

GROUPS = AudienceKind.GROUPS
GROUP_EXPIRY = 2
"""Seconds; the layers count whole ones."""
AWAY = 20.0
"""Seconds that redis-py's own repetitions and the relay's pauses may take together."""


# Memberships that run out


async def pass_time(seconds: float, relay: Relay) -> None:
    """Let real time pass, which Redis goes by, with a heartbeat on this relay."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        relay.tick(passed)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", ["in-memory layer", "core"])
async def test_memberships_are_renewed_before_they_run_out(request: pytest.FixtureRequest, kind: str) -> None:
    redis_url = request.getfixturevalue("redis_url") if kind == "core" else ""
    async with running(Backplane(kind, redis_url, group_expiry=GROUP_EXPIRY)) as backplane:
        sender, renewed, forgotten = (backplane.make_process() for _ in range(3))
        clients = []
        for process, connection_id in ((renewed, "renewed"), (forgotten, "forgotten")):
            client = await process.connect(connection_id, "user")
            await process.manager.add_to_group(client.id, "lobby")
            clients.append(client)
        assert renewed.relay is not None
        await pass_time(GROUP_EXPIRY + 1.5, renewed.relay)
        for audience in (EVERYONE, to(GROUPS, "lobby"), to(AudienceKind.USERS, "user")):
            await sender.send(audience, "message")
        await eventually(lambda: len(clients[0].calls()) == 3)
        assert clients[1].calls() == []  # so it was the renewal


async def test_memberships_are_renewed_three_times_before_they_run_out() -> None:
    layer = CountingLayer(group_expiry=90)
    process = Backplane("in-memory layer").make_process(layer=layer)
    assert process.relay is not None
    await process.connect("one")
    layer.calls.clear()
    for now in (0.0, 29.0, 30.0, 59.0, 60.0, 89.0, 90.0):
        process.relay.tick(now)
        await settle()  # also where nothing is to be done
    assert layer.calls == ["group_add"] * 3
    await process.stop()


class CountingLayer(InMemoryChannelLayer):
    """Notes changes of membership."""

    def __init__(self, **options: Any) -> None:
        super().__init__(capacity=10_000, **options)
        self.calls: list[str] = []

    async def group_add(self, group: str, channel: str) -> None:
        self.calls.append("group_add")
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.calls.append("group_discard")
        await super().group_discard(group, channel)


async def test_one_membership_serves_all_connections_of_a_process() -> None:
    layer = CountingLayer()
    process = Backplane("in-memory layer").make_process(layer=layer)
    clients = [await process.connect(f"{number}", "user") for number in range(5)]
    for client in clients:
        await process.manager.add_to_group(client.id, "lobby")
    assert layer.calls == ["group_add"] * 3
    for client in clients[:-1]:
        await client.leave()
    assert layer.calls == ["group_add"] * 3
    await clients[-1].leave()
    assert layer.calls == ["group_add"] * 3 + ["group_discard"] * 3
    assert layer.groups == {}
    await process.stop()


async def test_a_group_that_nobody_needs_any_more_is_not_joined() -> None:
    layer = CountingLayer()
    relay = Relay(layer, process="here")
    relay.hold("address")
    relay.release("address")
    await relay.settle("address")
    await relay.settle("address")
    assert layer.calls == []
    relay.hold("address")
    await relay.settle("address")
    relay.hold("address")
    relay.release("address")
    await relay.settle("address")
    assert layer.calls == ["group_add"]
    relay.release("address")
    await relay.settle("address")
    assert layer.calls == ["group_add", "group_discard"]
    assert not relay.is_member("address")
    await relay.stop()


async def test_a_membership_that_could_not_be_left_is_left_later() -> None:
    layer = CountingLayer()
    relay = Relay(layer, process="here")
    relay.hold("address")
    await relay.settle("address")
    relay.release("address")  # and whoever was to settle it was cancelled
    relay.hold("other")
    await relay.settle("other")
    for now in (0.0, 86_400.0):
        relay.tick(now)
    await eventually(lambda: layer.calls == ["group_add", "group_add", "group_discard", "group_add"])
    await relay.stop()


# A layer that answers late


class SlowLayer(CountingLayer):
    """Holds back changes of membership until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[asyncio.Future[None]] = []
        self.holds: str | None = None

    async def _hold(self, name: str) -> None:
        if self.holds == name:
            future = asyncio.get_running_loop().create_future()
            self.held.append(future)
            await future

    async def group_add(self, group: str, channel: str) -> None:
        await self._hold("group_add")
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._hold("group_discard")
        await super().group_discard(group, channel)

    def release(self) -> None:
        self.holds = None
        for future in self.held:
            future.set_result(None)
        self.held.clear()


async def two_processes(layer: SlowLayer) -> tuple[Backplane, ServerProcess, ServerProcess]:
    backplane = Backplane("in-memory layer")
    return backplane, backplane.make_process(layer=layer), backplane.make_process(layer=layer)


async def hears(sender: ServerProcess, client: Any, audience: Any) -> None:
    await sender.send(audience, "message")
    await eventually(lambda: "message" in client.targets())


async def test_one_joins_while_the_last_one_leaves() -> None:
    layer = SlowLayer()
    backplane, sender, process = await two_processes(layer)
    old, new = await process.connect("old"), await process.connect("new")
    await process.manager.add_to_group("old", "lobby")
    layer.holds = "group_discard"
    leaving = asyncio.ensure_future(process.manager.remove_from_group("old", "lobby"))
    await eventually(lambda: layer.held)
    joining = asyncio.ensure_future(process.manager.add_to_group("new", "lobby"))
    await settle()
    layer.release()
    await asyncio.wait_for(asyncio.gather(leaving, joining), TIMEOUT)
    await hears(sender, new, to(GROUPS, "lobby"))
    assert old.targets() == []
    await backplane.stop()


async def test_one_connects_while_the_last_one_leaves() -> None:
    layer = SlowLayer()
    backplane, sender, process = await two_processes(layer)
    old = await process.connect("old")
    await process.manager.add_to_group("old", "lobby")
    layer.holds = "group_discard"
    leaving = asyncio.ensure_future(old.leave())
    await eventually(lambda: layer.held)
    connecting = asyncio.ensure_future(process.connect("new"))
    await settle()
    layer.release()
    _, new = await asyncio.wait_for(asyncio.gather(leaving, connecting), TIMEOUT)
    await hears(sender, new, EVERYONE)
    await new.leave()
    assert layer.groups == {}  # no membership outlives its last connection
    await backplane.stop()


async def test_joining_waits_for_a_membership_that_is_on_its_way() -> None:
    layer = SlowLayer()
    backplane, sender, process = await two_processes(layer)
    first, second = await process.connect("first"), await process.connect("second")
    layer.holds = "group_add"
    joins = [asyncio.ensure_future(process.manager.add_to_group(client.id, "lobby")) for client in (first, second)]
    await eventually(lambda: layer.held)
    await settle()
    assert not any(join.done() for join in joins)  # nobody may be told that it is in before messages would reach it
    layer.release()
    await asyncio.wait_for(asyncio.gather(*joins), TIMEOUT)
    await hears(sender, second, to(GROUPS, "lobby"))
    await backplane.stop()


async def test_connecting_waits_for_a_membership_that_is_on_its_way() -> None:
    layer = SlowLayer()
    backplane, _, process = await two_processes(layer)
    layer.holds = "group_add"
    connects = [asyncio.ensure_future(process.connect(name, "user")) for name in ("first", "second")]
    await eventually(lambda: layer.held)
    await settle()
    assert not any(connect.done() for connect in connects)
    layer.release()
    await asyncio.wait_for(asyncio.gather(*connects), TIMEOUT)
    await backplane.stop()


async def test_a_process_that_stops_while_it_connects_leaves_in_order() -> None:
    layer = SlowLayer()
    backplane, _, process = await two_processes(layer)
    layer.holds = "group_add"
    connecting = asyncio.ensure_future(process.connect("one", "user"))
    await eventually(lambda: layer.held)
    connecting.cancel()
    await asyncio.wait([connecting])
    layer.holds = None
    await process.clients[0].leave()
    await backplane.stop()


# A backplane that goes away


@pytest.mark.parametrize("kind", ["core", "pubsub"])
async def test_a_backplane_may_go_away_and_come_back(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "channels_redis")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        port = redis.port
        async with running(Backplane(kind, f"redis://127.0.0.1:{port}/0")) as backplane:
            near, far = backplane.make_process(), backplane.make_process()
            assert near.relay is not None and far.relay is not None
            here, there = await near.connect("here"), await far.connect("there")
            await far.manager.add_to_group("there", "lobby")
            await near.send(EVERYONE, "before")
            await eventually(there.calls)
            assert near.relay.is_available

            redis.stop()
            # Local delivery goes on at once; the sender is told that others were not reached.
            sending = asyncio.ensure_future(near.send(EVERYONE, "meanwhile"))
            await asyncio.sleep(0)
            assert here.targets() == ["before", "meanwhile"]
            with pytest.raises(BackplaneUnavailable, match=r"The channel layer \(CHANNEL_LAYERS\) could not be reached"):
                await asyncio.wait_for(sending, AWAY)
            assert not near.relay.is_available
            await near.send(to(AudienceKind.CONNECTIONS, "here"), "to a local one")
            assert here.targets()[-1] == "to a local one"
            await asyncio.wait_for(near.manager.add_to_group("here", "new group"), AWAY)  # joined as soon as it is back

            stack.enter_context(redis_server(port))
            beat = Beat(near.relay, far.relay)

            async def speak(audience: Any, target: str) -> None:
                """Send until it arrives: the clients of the backplane have their own pauses."""
                while target not in there.targets():
                    with suppress(BackplaneUnavailable):
                        await near.send(audience, target)
                    beat()
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(speak(EVERYONE, "after"), AWAY)
            await asyncio.wait_for(speak(to(GROUPS, "lobby"), "group after"), AWAY)
            assert near.relay.is_available
            await asyncio.wait_for(until_heard(far, to(GROUPS, "new group"), here, "new", beat), AWAY)
            assert "there" in {client.id for client in far.clients}


async def until_heard(sender: ServerProcess, audience: Any, client: Any, target: str, beat: Callable[[], None]) -> None:
    while target not in client.targets():
        await sender.send(audience, target)
        beat()
        await asyncio.sleep(0.05)


class Beat:
    """A heartbeat a second a beat."""

    def __init__(self, *relays: Relay) -> None:
        self._relays = relays
        self._now = 0.0

    def __call__(self) -> None:
        self._now += 1.0
        for relay in self._relays:
            relay.tick(self._now)


@pytest.mark.parametrize("kind", ["core", "pubsub"])
async def test_a_process_that_only_listens_hears_again_too(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "channels_redis")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        url = f"redis://127.0.0.1:{redis.port}/0"
        async with running(Backplane(kind, url)) as backplane:
            listener = backplane.make_process()
            client = await listener.connect("listener")
            assert listener.relay is not None
            redis.stop()
            if kind == "core":
                await eventually(lambda: not listener.relay.is_available, AWAY)
            stack.enter_context(redis_server(redis.port))
            sender = backplane.make_process()
            await asyncio.wait_for(until_heard(sender, EVERYONE, client, "after", Beat(listener.relay)), AWAY)


class DeadLayer:
    """A layer whose server is not there."""

    group_expiry = 86_400

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def fail(*args: Any) -> Any:
            raise ConnectionError("refused")

        return fail


class MuteLayer:
    """A layer whose server takes everything and answers nothing."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def wait(*args: Any) -> None:
            await asyncio.Event().wait()

        return wait


async def test_nobody_waits_for_ever_for_a_backplane_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalr_channels.backplane.relay.LAYER_TIMEOUT", 0.05)
    backplane = Backplane("in-memory layer")
    process = backplane.make_process()
    client = await process.connect("one")
    assert process.relay is not None
    layer, process.relay._layer = process.relay._layer, MuteLayer()
    with pytest.raises(BackplaneUnavailable, match=r"TimeoutError: nothing for 0\.05 s"):
        await asyncio.wait_for(process.send(EVERYONE, "message"), TIMEOUT)
    assert client.targets() == ["message"]
    assert not process.relay.is_available
    process.relay._layer = layer
    await backplane.stop()


async def test_an_end_does_not_wait_for_a_backplane_group_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalr_channels.backplane.relay.LAYER_TIMEOUT", 0.2)
    backplane = Backplane("in-memory layer")
    process = backplane.make_process()
    client = await process.connect("one")
    for number in range(3):
        await process.manager.add_to_group("one", f"group {number}")
    assert process.relay is not None
    layer, process.relay._layer = process.relay._layer, MuteLayer()
    started = time.monotonic()
    await client.leave()
    assert time.monotonic() - started < 0.4
    process.relay._layer = layer
    for now in (0.0, 1.0):
        process.relay.tick(now)
    await eventually(lambda: not process.relay._subscriptions)
    assert layer.groups == {}
    await backplane.stop()


async def test_a_process_that_does_not_read_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    layer = InMemoryChannelLayer(capacity=1)
    relay = Relay(layer, process="here")
    ack = Ack(v=VERSION, request_id="1")
    channel = await layer.new_channel()
    await relay.tell(channel, ack)
    with pytest.raises(BackplaneUnavailable, match="takes no more messages"):
        await relay.tell(channel, ack)
    assert relay.is_available
    assert caplog.text == ""


async def test_a_process_that_stood_still_does_not_take_the_others_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalr_channels.backplane.relay.STANDSTILL", 0.1)
    answers: asyncio.Queue[Any] = asyncio.Queue()
    conversation = Conversation("here", "1", answers.get, lambda: None)
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, time.sleep, 0.25)
    loop.call_later(0.06, answers.put_nowait, write(Ack(v=VERSION, request_id="1")))  # found after the timeout, which is due earlier
    assert await conversation.receive(0.05) == Ack(v=VERSION, request_id="1")
    assert await conversation.receive(0.05) is None


async def test_a_process_that_only_publishes_keeps_no_channel(redis_url: str) -> None:
    """The pub/sub layer subscribes to every channel that answers come on."""
    async with running(Backplane("pubsub", redis_url)) as backplane:
        publisher, far = backplane.make_process(), backplane.make_process()
        await far.connect("there")
        for number in range(3):
            await publisher.manager.add_to_group("there", f"group {number}")
        assert publisher.layer.channels
        await eventually(lambda: not publisher.layer.channels)
        publisher.expects_no_answer()
        await publisher.manager.add_to_group("nobody", "group")
        await eventually(lambda: not publisher.layer.channels)


async def test_a_process_may_start_before_its_backplane() -> None:
    backplane = Backplane("in-memory layer")
    process = backplane.make_process(layer=DeadLayer())
    client = await process.connect("one", "user")
    assert process.relay is not None
    await process.manager.add_to_group("one", "lobby")
    with pytest.raises(BackplaneUnavailable, match="ConnectionError: refused"):
        await process.send(to(GROUPS, "lobby"), "message")
    assert client.targets() == ["message"]
    for change in (process.manager.add_to_group, process.manager.remove_from_group):
        with pytest.raises(BackplaneUnavailable):
            await change("of another process", "lobby")
    with pytest.raises(BackplaneUnavailable):
        await process.manager.invoke("of another process", "question", [])

    layer = backplane.make_layer()
    process.relay._layer = layer
    for now in (0.0, 1.0):
        process.relay.tick(now)
    await eventually(lambda: process.relay.is_available and len(layer.groups) == 3)
    other = backplane.make_process()
    await hears(other, client, to(GROUPS, "lobby"))
    await client.leave()
    assert layer.groups == {}
    await backplane.stop()


async def test_a_full_channel_of_an_asking_process_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    """Answers are best effort: one that cannot be delivered is logged and nothing breaks."""
    backplane = Backplane("in-memory layer")
    near, far = backplane.make_process(), backplane.make_process()
    await near.connect("near")
    client = await far.connect("far")
    assert far.relay is not None
    far.relay._layer = NoAnswers(far.layer)
    near.expects_no_answer()
    with caplog.at_level(logging.WARNING, "signalr_channels.backplane"):
        await near.manager.add_to_group("far", "lobby")
    assert "No server process confirmed" in caplog.text
    await hears(near, client, to(GROUPS, "lobby"))
    await backplane.stop()


class NoAnswers:
    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        raise ConnectionError("full")
