"""Ways of writing that save time: several messages in one frame, and broadcasts straight to the transport."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from signalr_channels.connections.burst import Burst
from signalr_channels.connections.connection import LONGEST_TURN, Connection
from signalr_channels.connections.outbox import LONGEST_JOINED
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.core.engine import CoreEngine
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import Invocation
from tests.unit.scripted import HANDSHAKE, JSON, TIMEOUT, Clock, ScriptedTransport, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

CLOSE = b'{"type":7}\x1e'


class DirectTransport(ScriptedTransport):
    """Has a shorter way for messages, as long as nothing blocks it. It joins no burst."""

    def __init__(self) -> None:
        super().__init__()
        self.written_directly: list[bytes] = []
        self.is_full = False

    @property
    def direct(self) -> Shorter:
        return Shorter(self)


class Shorter:
    """The way."""

    def __init__(self, transport: DirectTransport) -> None:
        self._transport = transport

    def write(self, message: EncodedMessage) -> bool:
        if self._transport.is_full:
            return False
        self._transport.written_directly.append(message.data)
        self._transport.written.append(message.data)
        return True

    def join(self, burst: Burst, message: EncodedMessage) -> bool:
        return False


def make_connection(transport: ScriptedTransport, *, handshake: str = HANDSHAKE, **engine: Any) -> Connection:
    connection = Connection(connection_id="one", engine=CoreEngine(hub_protocols=[JSON], **engine), transport=transport, clock=Clock())
    if handshake:
        connection.receive(handshake)
        transport.written.clear()
    return connection


def encoded(text: str, size: int = 0) -> EncodedMessage:
    return EncodedMessage(JSON.encode(Invocation(target=text, arguments=["x" * size])), TransferFormat.TEXT)


# Together


async def test_messages_that_are_collected_go_out_in_one_frame() -> None:
    transport = ScriptedTransport()
    connection = make_connection(transport)
    connection.cork()
    connection.enqueue(encoded("a"))
    connection.send(Invocation(target="b", arguments=[]))
    connection.enqueue(encoded("c"))
    assert transport.written == []
    connection.uncork()
    assert transport.written == [encoded("a").data + JSON.encode(Invocation(target="b", arguments=[])) + encoded("c").data]
    connection.enqueue(encoded("d"))
    assert transport.written[1:] == [encoded("d").data]


async def test_one_message_that_was_collected_is_still_shared() -> None:
    class Remembering(ScriptedTransport):
        message: EncodedMessage | None = None

        async def write(self, message: EncodedMessage) -> None:
            self.message = message
            await super().write(message)

    transport = Remembering()
    connection = make_connection(transport)
    message = encoded("a")
    connection.cork()
    connection.enqueue(message)
    connection.uncork()
    assert transport.message is message


async def test_nothing_collected_is_nothing_written() -> None:
    transport = ScriptedTransport()
    connection = make_connection(transport)
    connection.uncork()
    connection.cork()
    connection.cork()
    connection.uncork()
    connection.uncork()
    assert transport.written == []


@pytest.mark.parametrize(
    "sizes",
    [[6000] * 8, [10, LONGEST_JOINED + 1, 10, 10], [LONGEST_JOINED + 1, LONGEST_JOINED + 1], [LONGEST_JOINED - 100] * 3, [0] * 2000],
)
async def test_frames_do_not_grow_without_end_and_keep_the_order(sizes: list[int]) -> None:
    transport = ScriptedTransport()
    connection = make_connection(transport)
    messages = [encoded(f"{number}", size) for number, size in enumerate(sizes)]
    connection.cork()
    for message in messages:
        connection.enqueue(message)
    connection.uncork()
    assert b"".join(transport.written) == b"".join(message.data for message in messages)
    longest = max(len(message.data) for message in messages)
    assert max(map(len, transport.written)) <= max(2 * LONGEST_JOINED, longest)


async def test_the_handshake_response_is_a_frame_of_its_own() -> None:
    transport = ScriptedTransport()
    connection = make_connection(transport, handshake="")
    connection.cork()
    connection.receive(HANDSHAKE + '{"type":1,"target":"A","arguments":[]}\x1e')
    connection.enqueue(encoded("a"))
    connection.uncork()
    assert transport.written == [b"{}\x1e", encoded("a").data]


async def test_what_was_collected_goes_out_before_the_end() -> None:
    transport = ScriptedTransport()
    connection = make_connection(transport)
    connection.cork()
    connection.enqueue(encoded("a"))
    connection.close(CloseReason.CLOSED_BY_APP)
    connection.uncork()
    assert b"".join(transport.written) == encoded("a").data + CLOSE
    assert transport.close_code == 1000


async def test_what_is_collected_for_a_client_that_does_not_read_waits_in_order() -> None:
    transport = ScriptedTransport()
    connection = make_connection(transport)
    transport.pause()
    connection.enqueue(encoded("a"))
    connection.cork()
    connection.enqueue(encoded("b"))
    connection.enqueue(encoded("c"))
    connection.uncork()
    connection.enqueue(encoded("d"))
    transport.resume()
    await asyncio.wait_for(connection.drain(), TIMEOUT)
    assert b"".join(transport.written) == b"".join(encoded(text).data for text in "abcd")


# In turns


async def test_a_lot_written_in_one_turn_of_the_loop_leaves_no_room() -> None:
    connection = make_connection(ScriptedTransport())
    assert connection.has_room
    while connection.has_room:
        connection.enqueue(encoded("a", 10_000))
    assert not connection.is_congested
    connection.start_turn()
    assert connection.has_room


async def test_a_client_that_does_not_read_has_no_room_and_says_when_it_has() -> None:
    transport = ScriptedTransport()
    connection = make_connection(transport)
    told: list[int] = []
    transport.pause()
    connection.enqueue(encoded("a"))
    assert not connection.has_room
    connection.on_drained = lambda: told.append(1)
    connection.start_turn()
    assert not connection.has_room
    transport.resume()
    await settle()
    assert told == [1]
    assert connection.has_room
    transport.pause()
    connection.enqueue(encoded("b"))
    transport.resume()
    await settle()
    assert told == [1]  # it is said once


async def test_a_turn_is_as_long_as_it_is_said_to_be() -> None:
    connection = make_connection(ScriptedTransport())
    connection.start_turn()
    message = encoded("a", LONGEST_TURN // 2 - 200)
    for _ in range(2):
        connection.enqueue(message)
    assert connection.has_room
    connection.enqueue(message)
    assert not connection.has_room


# Straight


async def test_a_broadcast_goes_straight_to_a_transport_that_can_take_it() -> None:
    transport = DirectTransport()
    connection = make_connection(transport)
    connection.enqueue(encoded("a"))
    assert transport.written_directly == [encoded("a").data]


async def test_what_the_shorter_way_does_not_take_goes_the_longer_one() -> None:
    transport = DirectTransport()
    connection = make_connection(transport)
    transport.is_full = True
    connection.enqueue(encoded("a"))
    transport.is_full = False
    connection.enqueue(encoded("b"))
    assert transport.written == [encoded("a").data, encoded("b").data]
    assert transport.written_directly == [encoded("b").data]


async def test_nothing_overtakes_what_waits() -> None:
    transport = DirectTransport()
    connection = make_connection(transport)
    transport.pause()
    transport.is_full = True
    connection.enqueue(encoded("a"))
    transport.is_full = False
    connection.enqueue(encoded("b"))
    transport.resume()
    connection.enqueue(encoded("c"))
    await asyncio.wait_for(connection.drain(), TIMEOUT)
    assert transport.written == [encoded(text).data for text in "abc"]
    assert transport.written_directly == []
    connection.enqueue(encoded("d"))  # the way is free again
    assert transport.written_directly == [encoded("d").data]


async def test_nothing_overtakes_what_is_collected() -> None:
    transport = DirectTransport()
    connection = make_connection(transport)
    connection.cork()
    connection.send(Invocation(target="a", arguments=[]))
    connection.enqueue(encoded("b"))
    assert transport.written_directly == []
    connection.uncork()
    assert b"".join(transport.written) == JSON.encode(Invocation(target="a", arguments=[])) + encoded("b").data


async def test_the_shorter_way_is_closed_before_the_handshake_and_after_the_end() -> None:
    transport = DirectTransport()
    connection = make_connection(transport, handshake="")
    connection.enqueue(encoded("a"))
    connection.receive(HANDSHAKE)
    connection.close(CloseReason.CLOSED_BY_APP)
    connection.enqueue(encoded("b"))
    assert transport.written_directly == []
    assert transport.written == [b"{}\x1e", CLOSE]


@pytest.mark.parametrize("ending", ["eof", "failure"])
async def test_the_shorter_way_is_closed_when_the_transport_is_lost(ending: str) -> None:
    class Breaking(DirectTransport):
        async def write(self, message: EncodedMessage) -> None:
            if len(self.written) == 1:
                raise OSError("gone")
            await super().write(message)

    transport = Breaking()
    connection = make_connection(transport)
    connection.enqueue(encoded("a"))
    if ending == "eof":
        connection.receive_eof(CloseReason.CLIENT_GONE)
    else:
        connection.send(Invocation(target="b", arguments=[]))
    connection.enqueue(encoded("c"))
    assert transport.written_directly == [encoded("a").data]


async def test_what_must_be_counted_goes_the_longer_way() -> None:
    transport = DirectTransport()
    connection = make_connection(transport, handshake='{"protocol":"json","version":2}\x1e', stateful_buffer_size=1000)
    connection.receive('{"type":6}\x1e')
    connection.enqueue(encoded("a"))
    assert transport.written_directly == []
    assert transport.written == [encoded("a").data]
