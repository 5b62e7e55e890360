"""Names, messages and numbers between server processes, and what a relay does with what it does not understand."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from channels.layers import BaseChannelLayer, InMemoryChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.backplane import names
from signalr_channels.backplane.gaps import GapCounter, Loss
from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.wire import VERSION, Ack, Deliver, GroupCommand, read, write
from signalr_channels.hubs.lifetime import Audience, AudienceKind
from tests.contracts.sites import EVERYONE, HUB, TIMEOUT, Backplane, eventually

pytestmark = pytest.mark.usefixtures("no_task_left")


# Names


@given(st.text(), st.text(), st.sampled_from([names.group, names.user]))
def test_names_are_short_and_of_a_safe_alphabet_whatever_they_stand_for(hub: str, name: str, make: Any) -> None:
    layer = BaseChannelLayer()
    for address in (names.everyone("x" * 40, hub), make("x" * 40, hub, name)):
        assert layer.require_valid_group_name(address)
        assert len(address) <= 40 + 1 + 5 + 1 + 32


def test_names_that_differ_have_addresses_that_differ() -> None:
    addresses = [
        names.everyone("p", "hub"),
        names.group("p", "hub", ""),
        names.group("p", "hub", "a"),
        names.group("p", "hub", "A"),
        names.group("p", "huba", ""),
        names.group("p", "hu", "ba"),
        names.group("q", "hub", "a"),
        names.user("p", "hub", "a"),
        names.group("p", "hub", "\ud800"),
    ]
    assert len(set(addresses)) == len(addresses)
    assert names.group("p", "hub", "a") == names.group("p", "hub", "a")


# Messages

DELIVER = Deliver(
    v=VERSION,
    hub=HUB,
    origin="elsewhere",
    address="address",
    number=1,
    audience=Audience(AudienceKind.GROUPS, ("lobby",), ("one",)),
    payloads={"json": b"{}\x1e", "messagepack": b"\x00\xff"},
)
COMMAND = GroupCommand(v=VERSION, hub=HUB, connection_id="one", group="lobby", add=True, reply_to="channel", request_id="7")


@pytest.mark.parametrize("message", [DELIVER, COMMAND, Ack(v=VERSION, request_id="7"), Ack(v=VERSION, request_id="7", error="no")])
def test_messages_are_read_as_they_were_written(message: Any) -> None:
    data = write(message)
    assert data["type"].startswith("signalr.")
    assert read(data) == message


@pytest.mark.parametrize(
    "change",
    [
        {"v": VERSION + 1},
        {"type": "signalr.unknown"},
        {"type": "websocket.send"},
        {"number": "one"},
        {"audience": {"kind": "planets"}},
        {"payloads": {"json": 7}},
    ],
)
def test_what_is_none_of_ours_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read({**write(DELIVER), **change})


@pytest.mark.parametrize("missing", ["v", "type", "hub", "payloads"])
def test_what_is_incomplete_is_refused(missing: str) -> None:
    data = write(DELIVER)
    del data[missing]
    with pytest.raises(msgspec.ValidationError):
        read(data)


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"type": "chat.message", "text": "hi"},
        {**write(DELIVER), "v": 99},
        {**write(DELIVER), "hub": "nobody.hubs.NoHub"},
        {**write(COMMAND), "connection_id": 7},
    ],
    ids=["empty", "not ours", "other version", "other hub", "other type"],
)
async def test_a_relay_refuses_and_counts_what_it_does_not_understand(strange: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    backplane = Backplane("in-memory layer")
    near, far = backplane.make_process(), backplane.make_process()
    client = await far.connect("one")
    relay = far.relay
    assert relay is not None
    with caplog.at_level(logging.WARNING, "signalr_channels.backplane"):
        await far.layer.group_send(names.everyone("signalr", HUB), strange)
        await near.send(EVERYONE, "afterwards")
        await eventually(client.calls)
    assert client.targets() == ["afterwards"]
    assert relay.refused == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await backplane.stop()


async def test_an_unknown_hub_protocol_reaches_the_others(caplog: pytest.LogCaptureFixture) -> None:
    backplane = Backplane("in-memory layer")
    process = backplane.make_process()
    client = await process.connect("one")
    payloads = {"morse": b"-.-."}
    data = write(msgspec.structs.replace(DELIVER, audience=EVERYONE, payloads=payloads))
    await process.layer.group_send(names.everyone("signalr", HUB), data)
    await eventually(lambda: "do all processes have the same HUB_PROTOCOLS?" in caplog.text)
    assert client.calls() == []
    await backplane.stop()


async def test_a_handler_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    layer = InMemoryChannelLayer()
    relay = Relay(layer, process="here")
    heard: list[Any] = []

    def handle(message: Any) -> None:
        heard.append(message)
        if len(heard) == 1:
            raise ValueError("broken handler")

    relay.register(HUB, handle)
    relay.hold("address")
    await relay.settle("address")
    for number in (1, 2):
        await layer.group_send("address", write(msgspec.structs.replace(DELIVER, number=number)))
    await eventually(lambda: len(heard) == 2)
    assert "broken handler" in caplog.text
    await relay.stop()
    assert layer.groups == {}


async def test_a_process_does_not_hear_itself() -> None:
    layer = InMemoryChannelLayer()
    relay = Relay(layer, process="elsewhere")
    heard: list[Any] = []
    relay.register(HUB, heard.append)
    relay.hold("address")
    await relay.settle("address")
    await layer.group_send("address", write(DELIVER))
    await layer.group_send("address", write(msgspec.structs.replace(DELIVER, origin="another", number=7)))
    await eventually(lambda: heard)
    assert [message.number for message in heard] == [7]
    await relay.stop()


async def test_a_relay_can_be_stopped_before_it_started() -> None:
    await Relay(InMemoryChannelLayer(), process="here").stop()


async def test_stopping_ends_the_work_for_others() -> None:
    answering = asyncio.Event()

    class Stuck(InMemoryChannelLayer):
        async def send(self, channel: str, message: dict[str, Any]) -> None:
            if message["type"] == "signalr.ack":
                answering.set()
                await asyncio.Event().wait()
            await super().send(channel, message)

    backplane = Backplane("in-memory layer")
    process = backplane.make_process(layer=Stuck())
    await process.connect("one")
    await process.layer.group_send(names.everyone("signalr", HUB), write(COMMAND))
    await asyncio.wait_for(answering.wait(), TIMEOUT)
    await asyncio.wait_for(backplane.stop(), TIMEOUT)


# Numbers


def counter_after(*numbers: int) -> GapCounter:
    counter = GapCounter()
    for number in numbers:
        counter.note("address", "origin", "hub", number)
    return counter


def losses(counter: GapCounter, beats: int = 5) -> list[int]:
    return [loss.count for _ in range(beats) for loss in counter.tick()]


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        ([1, 2, 3], []),
        ([41, 42], []),
        ([1, 3], [1]),
        ([1, 5, 9], [6]),
        ([1, 3, 2], []),
        ([1, 4, 3, 2, 5], []),
        ([1, 4, 2, 6], [2]),
        ([3, 2, 1, 4], []),
        ([1, 2, 2, 3], []),
        ([1, 5000], [4998]),
        ([5000, 1, 2, 4], [1]),
    ],
)
def test_numbers_that_do_not_come_are_lost(numbers: list[int], lost: list[int]) -> None:
    counted = losses(counter_after(*numbers))
    assert sum(counted) == sum(lost)


def test_a_number_may_be_late() -> None:
    counter = counter_after(1, 3)
    assert counter.tick() == []
    assert counter.tick() == []
    counter.note("address", "origin", "hub", 2)
    assert losses(counter) == []


def test_a_loss_is_told_once_and_says_whose_it_was() -> None:
    counter = counter_after(1, 3)
    counter.note("address", "other", "hub", 9)
    assert [loss for _ in range(5) for loss in counter.tick()] == [Loss(origin="origin", hub="hub", count=1)]
    counter.note("address", "origin", "hub", 2)  # comes after all
    counter.note("address", "origin", "hub", 4)
    assert losses(counter) == []


def test_addresses_and_origins_count_for_themselves() -> None:
    counter = GapCounter()
    for address, origin, number in [("a", "x", 1), ("b", "x", 7), ("a", "y", 3), ("a", "x", 2), ("b", "x", 8), ("a", "y", 4)]:
        counter.note(address, origin, "hub", number)
    assert losses(counter) == []


def test_what_is_forgotten_is_not_missed() -> None:
    counter = counter_after(1, 3)
    counter.forget("address")
    counter.forget("nowhere")
    counter.note("address", "origin", "hub", 20)
    assert losses(counter) == []
