"""Connections that write at the end of a turn of the event loop: in one callback, each what it has, and together where that is possible."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from signalr_channels.conf import ClassicSettings
from signalr_channels.connections.burst import MANY, Burst
from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.connections.turns import EndOfTurn
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.classic.engine import ClassicEngine
from signalr_channels.protocols.classic.hub_protocol import ClassicHubProtocol
from tests.unit.connections.test_burst import SocketWay
from tests.unit.scripted import Clock
from tests.unit.scripted_classic import FakeClassicTransport, message

pytestmark = pytest.mark.usefixtures("no_task_left")


class SocketTransport(FakeClassicTransport):
    """A web socket of a classic client with a direct way."""

    def __init__(self, way: SocketWay) -> None:
        super().__init__()
        self.way = way

    def join(self, burst: Burst, frame: bytes) -> bool:  # type: ignore[override]
        return self.way.join(burst, EncodedMessage(frame, TransferFormat.TEXT))


class Member:
    """A connection and its client."""

    def __init__(self, number: int, end_of_turn: EndOfTurn) -> None:
        self.way = SocketWay()
        self.transport = SocketTransport(self.way)
        self.connection = ClassicConnection(
            connection_id=str(number),
            engine=ClassicEngine(epoch="E"),
            hub_protocol=ClassicHubProtocol("hub"),
            options=ClassicSettings(),
            clock=Clock(),
            end_of_turn=end_of_turn,
        )
        self.connection.attach(self.transport, cursor=None, groups_token=None, init=True)
        self.transport.log.clear()

    def frames(self) -> list[dict[str, Any]]:
        """What the socket got."""
        return [json.loads(frame) for frame in self.way.read().decode().split("frame:")[1:]]


@pytest.fixture
def members() -> Iterator[list[Member]]:
    end_of_turn = EndOfTurn()
    made = [Member(number, end_of_turn) for number in range(MANY)]
    yield made
    for member in made:
        member.way.close()


def send(members: list[Member], text: str = "hello") -> None:
    shared = message(text)
    for member in members:
        member.connection.enqueue(shared)


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_one_frame_each_is_a_burst(members: list[Member]) -> None:
    send(members)
    assert not any(member.frames() for member in members)
    await turn()
    assert [member.frames() for member in members] == [[{"C": "E-1", "M": ["hello"]}]] * MANY
    assert not any(member.transport.log for member in members)


async def test_messages_of_one_turn_share_a_frame(members: list[Member]) -> None:
    send(members, "one")
    send(members, "two")
    await turn()
    assert [member.frames() for member in members] == [[{"C": "E-2", "M": ["one", "two"]}]] * MANY


async def test_few_write_one_by_one(members: list[Member]) -> None:
    send(members[:-1])
    await turn()
    assert [member.transport.messages for member in members] == [["hello"]] * (MANY - 1) + [[]]
    assert not any(member.frames() for member in members)


async def test_who_has_more_than_one_frame_writes_them_all_in_order(members: list[Member]) -> None:
    texts = [str(number) for number in range(25)]
    for text in texts:
        members[0].connection.enqueue(message(text))
    send(members[1:])
    await turn()
    assert members[0].transport.messages + [text for frame in members[0].frames() for text in frame["M"]] == texts
    assert [member.frames() for member in members[1:]] == [[{"C": "E-1", "M": ["hello"]}]] * (MANY - 1)


async def test_who_cannot_join_writes_for_himself(members: list[Member]) -> None:
    members[3].way.is_busy = True
    send(members)
    await turn()
    assert members[3].transport.messages == ["hello"]
    assert members[3].frames() == []
    assert all(member.frames() for member in members if member is not members[3])


async def test_one_that_fails_keeps_no_other_from_writing(members: list[Member], caplog: pytest.LogCaptureFixture) -> None:
    def fail(burst: Burst, frame: bytes) -> bool:
        raise ValueError("broken")

    members[0].transport.join = fail  # type: ignore[method-assign, assignment]
    send(members)
    await turn()
    assert "0: writing failed" in caplog.text
    assert [member.frames() for member in members[1:]] == [[{"C": "E-1", "M": ["hello"]}]] * (MANY - 1)


async def test_the_next_turn_has_a_callback_of_its_own(members: list[Member]) -> None:
    for number in range(1, 4):
        send(members)
        await turn()
        assert [member.frames() for member in members] == [[{"C": f"E-{number}", "M": ["hello"]}]] * MANY
