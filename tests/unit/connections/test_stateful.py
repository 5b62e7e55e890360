"""A connection that outlives its transport: stateful reconnect, over fake transports."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from signalr_channels.connections.connection import LONGEST_HOLD, Connection
from signalr_channels.protocols.core.engine import CoreEngine
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import Completion, Invocation
from tests.unit.scripted import JSON, TIMEOUT, Clock, ScriptedTransport, decode, eventually, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

HANDSHAKE = '{"protocol":"json","version":2}\x1e'
PING = '{"type":6}\x1e'


def ack(sequence_id: int) -> str:
    return f'{{"type":8,"sequenceId":{sequence_id}}}\x1e'


class Peer:
    """A connection whose client may come back, and the transports it has had."""

    def __init__(self, *, buffer_size: int = 100_000, handshake: bool = True, **options: Any) -> None:
        self.clock = Clock()
        self.transport = ScriptedTransport()
        engine = CoreEngine(hub_protocols=[JSON], stateful_buffer_size=buffer_size, now=self.clock())
        self.connection = Connection(connection_id="one", engine=engine, transport=self.transport, clock=self.clock, **options)
        if handshake:
            self.connection.receive(HANDSHAKE)
            self.connection.receive(PING)  # the client counts from now on
            self.transport.written.clear()

    def send(self, *targets: str) -> None:
        for target in targets:
            self.connection.send(Invocation(target=target, arguments=[]))

    def come_back(self) -> ScriptedTransport:
        self.transport = ScriptedTransport()
        self.connection.attach(self.transport)
        return self.transport

    def heard(self) -> list[Any]:
        """Targets of invocations, and numbers of sequences, in the order in which they were written to the present transport."""
        result: list[Any] = []
        for data in self.transport.written:
            for part in data.split(b"\x1e")[:-1]:
                message = decode(part + b"\x1e")
                result.append(message["sequenceId"] if message["type"] == 9 else message.get("target", message["type"]))
        return result


async def test_version_2_of_the_protocol_makes_it_stateful() -> None:
    assert Peer().connection.is_stateful
    peer = Peer(handshake=False)
    peer.connection.receive('{"protocol":"json","version":1}\x1e')
    assert not peer.connection.is_stateful


async def test_messages_wait_until_the_client_counts() -> None:
    peer = Peer(handshake=False)
    peer.connection.receive(HANDSHAKE)
    peer.send("a", "b")
    assert peer.transport.written == [b"{}\x1e"]
    peer.connection.receive(PING)
    assert peer.transport.written[1:] != []
    peer.transport.written.pop(0)
    assert peer.heard() == ["a", "b"]


async def test_messages_wait_for_a_silent_client_only_for_a_moment() -> None:
    peer = Peer(handshake=False)
    peer.connection.receive(HANDSHAKE)
    peer.send("a")
    started = asyncio.get_running_loop().time()
    await eventually(lambda: len(peer.transport.written) == 2)
    assert asyncio.get_running_loop().time() - started >= LONGEST_HOLD * 0.9


async def test_what_was_not_acknowledged_comes_again_on_the_next_transport() -> None:
    peer = Peer()
    peer.send("a", "b", "c")
    peer.connection.receive(ack(1))
    peer.connection.detach()
    assert not peer.connection.is_closed
    peer.send("d")
    first = peer.come_back()
    assert peer.heard() == [2, "b", "c", "d"]
    assert len(first.written) == 2  # what the client may have missed is one message, which starts with the number
    peer.send("e")
    assert peer.heard()[-1] == "e"


async def test_a_client_that_missed_nothing_is_told_the_next_number() -> None:
    peer = Peer()
    peer.send("a", "b")
    peer.connection.receive(ack(2))
    peer.connection.detach()
    peer.come_back()
    assert peer.heard() == [3]


async def test_nothing_is_written_while_there_is_no_transport() -> None:
    peer = Peer()
    peer.connection.detach()
    peer.clock.now = 5.0
    peer.send("a")
    peer.connection.tick(100.0)
    assert peer.transport.written == []
    assert peer.connection.detached_at == 0.0


async def test_no_more_is_sent_than_the_client_acknowledges() -> None:
    size = len(JSON.encode(Invocation(target="a", arguments=[])))
    peer = Peer(buffer_size=2 * size - 1)
    peer.send("a", "b", "c", "d")
    assert peer.heard() == ["a", "b"]
    peer.connection.receive(ack(1))
    assert peer.heard() == ["a", "b", "c"]
    peer.connection.receive(ack(3))
    assert peer.heard() == ["a", "b", "c", "d"]


async def test_a_client_that_never_acknowledges_is_too_slow() -> None:
    size = len(JSON.encode(Invocation(target="a", arguments=[])))
    peer = Peer(maximum_buffered_bytes=3 * size)
    peer.send("a", "b", "c")
    assert not peer.connection.is_closed
    peer.send("d")
    assert peer.connection.disconnect is not None
    assert peer.connection.disconnect.reason is CloseReason.SLOW_CONSUMER


async def test_a_message_that_comes_twice_counts_once() -> None:
    peer = Peer()
    call = '{"type":1,"invocationId":"0","target":"A","arguments":[]}\x1e'
    assert len(peer.connection.receive(call)) == 1
    peer.connection.detach()
    peer.come_back()
    assert peer.connection.receive('{"type":9,"sequenceId":1}\x1e' + call) == []
    assert len(peer.connection.receive(call)) == 1


async def test_half_a_message_of_a_lost_transport_is_forgotten() -> None:
    peer = Peer()
    call = '{"type":1,"invocationId":"0","target":"A","arguments":[]}\x1e'
    assert peer.connection.receive(call[:20]) == []
    peer.connection.detach()
    peer.come_back()
    assert len(peer.connection.receive('{"type":9,"sequenceId":1}\x1e' + call)) == 1


async def test_a_new_transport_replaces_one_that_is_still_there() -> None:
    peer = Peer()
    peer.send("a")
    old = peer.transport
    peer.come_back()
    assert old.close_code == 1000
    assert peer.heard() == [1, "a"]
    peer.send("b")
    assert peer.heard() == [1, "a", "b"]
    assert len(old.written) == 1


async def test_a_write_that_was_blocked_does_not_disturb_the_next_transport() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a", "b")
    await settle()  # the task that writes has begun
    new = ScriptedTransport()
    new.pause()
    peer.connection.detach()
    peer.transport = new
    peer.connection.attach(new)
    peer.send("c")
    await settle()
    assert peer.connection.is_congested
    peer.send("d")
    new.resume()
    await asyncio.wait_for(peer.connection.drain(), TIMEOUT)
    assert peer.heard() == [1, "a", "b", "c", "d"]


@pytest.mark.parametrize("is_read_later", [False, True])
async def test_a_transport_that_does_not_read_is_cut_when_another_one_comes(is_read_later: bool) -> None:
    peer = Peer()
    old = peer.transport
    old.pause()
    peer.send("a")
    await settle()
    new = peer.come_back()
    assert old.is_aborted
    if is_read_later:
        new.pause()
    peer.send("b", "c")
    await settle()  # what was blocked on the old one has failed
    if is_read_later:
        new.resume()
        await asyncio.wait_for(peer.connection.drain(), TIMEOUT)
    peer.send("d")
    assert peer.heard() == [1, "a", "b", "c", "d"]
    assert old.written == []


async def test_what_was_collected_for_a_lost_transport_comes_only_with_the_replay() -> None:
    peer = Peer()
    peer.connection.cork()
    peer.send("a")
    peer.connection.detach()
    peer.come_back()
    assert peer.heard() == [1, "a"]
    peer.connection.uncork()
    assert peer.heard() == [1, "a"]


async def test_whoever_drains_goes_on_when_the_transport_is_lost() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a")
    waiting = asyncio.ensure_future(peer.connection.drain())
    await settle()
    peer.connection.detach()
    await asyncio.wait_for(waiting, TIMEOUT)
    assert not peer.connection.is_congested


async def test_answers_are_replayed_as_well() -> None:
    peer = Peer()
    peer.connection.send(Completion(invocation_id="0", result=1))
    peer.connection.detach()
    peer.come_back()
    assert peer.heard() == [1, 3]


async def test_a_connection_may_end_while_it_has_no_transport() -> None:
    peer = Peer()
    peer.connection.detach()
    peer.connection.close(CloseReason.CLOSED_BY_ADMIN)
    assert peer.connection.is_closed
    assert peer.transport.written == []
    assert peer.transport.close_code is None


async def test_being_dropped_says_nothing_so_that_the_client_comes_back() -> None:
    peer = Peer()
    peer.connection.drop(CloseReason.SERVER_SHUTDOWN, code=1012)
    assert peer.transport.written == []
    assert peer.transport.close_code == 1012
    assert peer.connection.disconnect is not None
    assert peer.connection.disconnect.allows_reconnect


async def test_what_waits_for_the_client_to_count_is_written_before_the_end() -> None:
    peer = Peer(handshake=False)
    peer.connection.receive(HANDSHAKE)
    peer.send("a")
    peer.connection.close(CloseReason.HUB_ERROR, error="Sorry.")
    assert peer.transport.written.pop(0) == b"{}\x1e"
    assert peer.heard() == ["a", 7]
    assert peer.transport.close_code == 1000


async def test_what_waits_for_an_acknowledgement_is_written_before_the_end() -> None:
    size = len(JSON.encode(Invocation(target="a", arguments=[])))
    peer = Peer(buffer_size=2 * size - 1)
    peer.send("a", "b", "c", "d")
    assert peer.heard() == ["a", "b"]
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    assert peer.heard() == ["a", "b", "c", "d", 7]
