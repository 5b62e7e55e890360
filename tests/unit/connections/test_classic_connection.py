"""One classic connection over fake transports, on a clock that stands still."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from signalr_channels.conf import ClassicSettings
from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.exceptions import ConnectionClosed, SlowConnection
from signalr_channels.protocols.classic.engine import ClassicEngine, InvalidCursor
from signalr_channels.protocols.classic.hub_protocol import ClassicHubProtocol
from signalr_channels.protocols.endings import CloseReason, Disconnect
from tests.unit.scripted import Clock, settle
from tests.unit.scripted_classic import ABORTED, CLOSED, EPOCH, KEEP_ALIVE, FakeClassicTransport, message

pytestmark = pytest.mark.usefixtures("no_task_left")

STREAMS = ("webSockets", "serverSentEvents", "foreverFrame")
INIT = '{"C":"AB-0","S":1,"M":[]}'
EMPTY = '{"C":"AB-0","M":[]}'
ANSWER = b'{"R":1,"I":"0"}'
CLIENT_GONE = Disconnect(reason=CloseReason.CLIENT_GONE, stop_called=False)


class Peer:
    """
    A connection, and the client's end of it.

    Attributes:
        transport: The one attached first.
        ends: How often the end was told.
        losses: The counts of lost messages that were told.
    """

    def __init__(
        self, name: str | None = "webSockets", *, engine: dict[str, Any] | None = None, buffered: int = 1024, **settings: Any
    ) -> None:
        self.clock = Clock()
        self.options = ClassicSettings(**settings)
        self.connection = ClassicConnection(
            connection_id="one",
            engine=ClassicEngine(epoch=EPOCH, **(engine or {})),
            hub_protocol=ClassicHubProtocol(""),
            options=self.options,
            clock=self.clock,
            maximum_buffered_bytes=buffered,
            send_timeout=10.0,
        )
        self.ends = 0
        self.losses: list[int] = []
        self.connection.on_end = self._ended
        self.connection.on_loss = self.losses.append
        self.transport = FakeClassicTransport(name or "webSockets")
        if name is not None:
            self.attach(self.transport, init=True)
            if not self.transport.is_poll:
                self.transport.log.clear()

    def _ended(self) -> None:
        self.ends += 1

    @property
    def disconnect(self) -> Disconnect | None:
        return self.connection.disconnect

    def attach(
        self, transport: FakeClassicTransport | str, cursor: str | None = None, groups_token: str | None = None, *, init: bool = False
    ) -> FakeClassicTransport:
        found = FakeClassicTransport(transport) if isinstance(transport, str) else transport
        self.connection.attach(found, cursor=cursor, groups_token=groups_token, init=init)
        return found

    def poll(self, cursor: str = "AB-0") -> FakeClassicTransport:
        return self.attach("longPolling", cursor)

    def send(self, *texts: str) -> None:
        for text in texts:
            self.connection.enqueue(message(text))

    def tick(self, now: float) -> None:
        self.clock.now = now
        self.connection.tick(now)

    def tick_until(self, end: int) -> list[int]:
        """Beat once a second, as in a server. Gives the seconds at which a sign of life was written to the first transport."""
        beats = []
        for second in range(int(self.clock.now) + 1, end + 1):
            before = self.transport.log.count(KEEP_ALIVE)
            self.tick(second)
            if self.transport.log.count(KEEP_ALIVE) > before:
                beats.append(second)
        return beats


def numbers(start: int, end: int) -> list[str]:
    return [str(number) for number in range(start, end)]


# Attaching


async def test_the_first_transport_gets_its_init_frame_at_once() -> None:
    peer = Peer(None)
    assert peer.connection.attached is None
    assert peer.connection.transport is None
    transport = peer.attach("webSockets", init=True)
    assert peer.connection.attached is transport
    assert peer.connection.transport is transport
    assert transport.log == [INIT]


async def test_a_poll_takes_one_frame_and_is_over() -> None:
    peer = Peer("longPolling")
    assert peer.transport.log == [INIT]
    assert peer.connection.attached is None
    poll = peer.poll()
    assert poll.log == []
    assert peer.connection.attached is not None
    peer.send("a", "b")
    await settle()
    assert poll.log == ['{"C":"AB-2","M":["a","b"]}']
    peer.send("c")
    await settle()
    assert len(poll.log) == 1
    assert peer.poll("AB-2").log == ['{"C":"AB-3","M":["c"]}']


async def test_the_answer_to_a_poll_names_the_delay_before_the_next() -> None:
    peer = Peer("longPolling", LONG_POLL_DELAY=0.25)
    assert peer.transport.log == ['{"C":"AB-0","S":1,"L":250,"M":[]}']
    poll = peer.poll()
    peer.send("a")
    await settle()
    assert poll.log == ['{"C":"AB-1","L":250,"M":["a"]}']


@pytest.mark.parametrize("name", STREAMS)
async def test_another_transport_ends_the_one_before(name: str) -> None:
    peer = Peer(name)
    other = peer.attach("webSockets", "AB-0")
    assert peer.transport.log == [CLOSED]
    peer.send("a")
    await settle()
    assert peer.transport.log == [CLOSED]
    assert other.messages == ["a"]
    assert peer.connection.detached_at is None
    assert peer.ends == 0


async def test_a_second_poll_ends_the_first_with_an_empty_frame_and_gets_what_waits() -> None:
    peer = Peer("longPolling")
    first = peer.poll()
    second = peer.poll()
    assert first.log == [EMPTY]
    peer.send("a")
    await settle()
    assert first.log == [EMPTY]
    assert second.messages == ["a"]


async def test_a_poll_that_gives_way_keeps_no_message_of_the_same_turn() -> None:
    peer = Peer("longPolling")
    first = peer.poll()
    peer.send("a")
    second = peer.poll()
    assert first.log == [EMPTY]
    assert second.messages == ["a"]


async def test_a_transport_that_does_not_read_is_cut_when_another_one_comes() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a")
    await settle()
    assert peer.connection.is_congested
    other = peer.attach("webSockets", "AB-0")
    assert peer.transport.log == [ABORTED]
    assert other.messages == ["a"]
    assert not peer.connection.is_congested


async def test_a_new_transport_does_not_wait_for_the_end_of_the_one_before() -> None:
    peer = Peer()
    peer.transport.pause()  # its buffer is full, but nothing of ours waits
    other = peer.attach("webSockets", "AB-0")
    peer.send("a")
    await settle()
    assert other.messages == ["a"]
    peer.tick(11)
    assert peer.connection.attached is not None
    assert not other.is_ended
    peer.transport.resume()
    await settle()
    assert other.messages == ["a"]


@pytest.mark.parametrize("cursor", ["AB-x", "AB"])
async def test_a_broken_cursor_is_told_and_the_connection_waits_for_a_better_one(cursor: str) -> None:
    peer = Peer()
    with pytest.raises(InvalidCursor):
        peer.attach("webSockets", cursor)
    assert peer.transport.log == [CLOSED]
    assert peer.connection.attached is None
    assert peer.connection.detached_at == 0.0
    peer.send("a")
    assert peer.attach("webSockets", "AB-0").messages == ["a"]


async def test_nothing_is_attached_to_a_connection_that_has_ended() -> None:
    peer = Peer()
    peer.connection.stop()
    with pytest.raises(ConnectionClosed):
        peer.attach("webSockets", "AB-0")
    assert peer.connection.attached is None


@pytest.mark.parametrize("name", [*STREAMS, "longPolling"])
async def test_frames_are_ascii_wherever_the_transport_asks_for_it(name: str) -> None:
    peer = Peer(name)
    transport = peer.poll() if name == "longPolling" else peer.transport
    peer.send("ü")
    await settle()
    assert transport.messages == ["ü"]
    assert transport.log[-1].isascii() is (name != "webSockets")


# Writing


async def test_messages_of_one_turn_share_frames_of_ten() -> None:
    peer = Peer()
    peer.send(*numbers(0, 25))
    assert peer.transport.log == []
    await settle()
    assert [frame["M"] for frame in peer.transport.frames] == [numbers(0, 10), numbers(10, 20), numbers(20, 25)]


@pytest.mark.parametrize("limits", [{"maximum_messages": 30}, {"maximum_bytes": 30 * len('"100"')}])
async def test_messages_share_frames_also_when_the_buffer_is_full_of_what_was_written(limits: dict[str, int]) -> None:
    peer = Peer(engine=limits)
    for start in range(100, 200, 10):
        peer.send(*numbers(start, start + 10))
        await settle()
    assert [frame["M"] for frame in peer.transport.frames] == [numbers(start, start + 10) for start in range(100, 200, 10)]
    assert peer.losses == []


async def test_a_poll_takes_250_messages_and_the_next_one_the_rest() -> None:
    peer = Peer("longPolling")
    peer.send(*numbers(0, 300))
    poll = peer.poll()
    assert poll.messages == numbers(0, 250)
    assert peer.poll(poll.cursor).messages == numbers(250, 300)


async def test_so_many_messages_of_one_turn_do_not_wait_for_its_end() -> None:
    peer = Peer()
    peer.send(*numbers(0, 65))
    assert peer.transport.messages == numbers(0, 64)
    await settle()
    assert peer.transport.messages == numbers(0, 65)


async def test_nothing_is_lost_in_one_turn_to_a_client_that_reads() -> None:
    peer = Peer(engine={"maximum_messages": 32})
    peer.send(*numbers(0, 200))
    await settle()
    assert peer.transport.messages == numbers(0, 200)
    assert peer.losses == []


async def test_long_messages_of_one_turn_are_not_lost_to_a_client_that_reads() -> None:
    peer = Peer(engine={"maximum_bytes": 1000})
    texts = [str(number) * 400 for number in range(5)]
    peer.send(*texts)
    await settle()
    assert peer.transport.messages == texts
    assert peer.losses == []


async def test_a_client_that_reads_is_written_to_without_a_task() -> None:
    peer = Peer()
    tasks = asyncio.all_tasks()
    peer.send("a")
    await settle()
    peer.connection.reply(ANSWER, peer.transport)
    assert peer.transport.log == ['{"C":"AB-1","M":["a"]}', ANSWER.decode()]
    assert asyncio.all_tasks() == tasks


async def test_a_client_that_does_not_read_gets_later_what_waited_in_order() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a")
    await settle()
    peer.send("b", "c")
    await settle()
    peer.connection.reply(ANSWER, peer.transport)
    assert peer.transport.log == []
    assert peer.connection.is_congested
    peer.transport.resume()
    await settle()
    assert peer.transport.messages == ["a", "b", "c"]
    assert peer.transport.answers == [json.loads(ANSWER)]
    assert not peer.connection.is_congested


async def test_what_was_sent_before_an_answer_is_written_before_it() -> None:
    peer = Peer()
    peer.send("a", "b")
    peer.connection.reply(ANSWER, peer.transport)
    await settle()
    assert peer.transport.log == ['{"C":"AB-2","M":["a","b"]}', ANSWER.decode()]


async def test_an_answer_is_lost_with_its_socket() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a")
    await settle()
    peer.connection.reply(ANSWER, peer.transport)
    peer.connection.lose_transport(peer.transport)
    peer.connection.reply(ANSWER, peer.transport)  # nobody is there
    other = peer.attach("webSockets", "AB-0")
    peer.connection.reply(ANSWER, peer.transport)
    peer.connection.reply(ANSWER, None)
    await settle()
    assert other.log == ['{"C":"AB-1","M":["a"]}']
    peer.connection.reply(ANSWER, other)
    assert other.answers == [json.loads(ANSWER)]


async def test_the_groups_token_is_told_with_the_next_frame_or_in_one_of_its_own() -> None:
    peer = Peer()
    peer.connection.announce_groups("token")
    peer.send("a")
    await settle()
    peer.connection.announce_groups("other")
    await settle()
    peer.connection.announce_groups("other")
    await settle()
    assert peer.transport.log == ['{"C":"AB-1","G":"token","M":["a"]}', '{"C":"AB-1","G":"other","M":[]}']


async def test_a_change_of_groups_ends_a_poll() -> None:
    peer = Peer("longPolling")
    poll = peer.poll()
    peer.connection.announce_groups("token")
    await settle()
    assert poll.log == ['{"C":"AB-0","G":"token","M":[]}']
    assert peer.attach("longPolling", "AB-0", "token").log == []


async def test_a_write_that_fails_is_a_lost_transport() -> None:
    for error in (OSError("gone"), RuntimeError("Unexpected ASGI message")):
        peer = Peer()
        peer.transport.error = error
        peer.clock.now = 3.0
        peer.send("a")
        await settle()
        assert peer.connection.attached is None
        assert peer.connection.detached_at == 3.0
        assert peer.ends == 0
        assert peer.attach("webSockets", "AB-0").messages == ["a"]


async def test_a_write_that_fails_late_is_a_lost_transport() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a")
    await settle()
    peer.transport.error = OSError("gone")
    peer.transport.resume()
    await settle()
    assert peer.connection.attached is None
    assert not peer.connection.is_congested
    assert peer.attach("webSockets", "AB-0").messages == ["a"]


async def test_a_late_error_of_a_transport_that_was_followed_by_another_one_changes_nothing() -> None:
    peer = Peer()
    peer.transport.error = OSError("gone")  # so closing it fails
    other = peer.attach("webSockets", "AB-0")
    peer.connection.lose_transport(peer.transport)
    peer.send("a")
    await settle()
    assert peer.connection.attached is not None
    assert other.messages == ["a"]


async def test_an_error_that_is_our_fault_is_not_taken_for_a_lost_transport() -> None:
    peer = Peer()
    peer.transport.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        peer.connection.reply(ANSWER, peer.transport)


# Clients that do not read


async def test_a_client_that_reads_too_slowly_is_ended_when_the_buffer_is_full() -> None:
    peer = Peer(engine={"maximum_messages": 32})
    peer.transport.pause()
    peer.send("first")
    await settle()
    peer.send(*numbers(0, 32))
    assert peer.ends == 0
    peer.send("one too many")
    await settle()
    assert peer.ends == 1
    assert peer.transport.log == [ABORTED]
    disconnect = peer.disconnect
    assert disconnect is not None
    assert (disconnect.reason, disconnect.stop_called, disconnect.allows_reconnect) == (CloseReason.SLOW_CONSUMER, False, False)
    assert isinstance(disconnect.exception, SlowConnection)
    assert peer.connection.is_final


async def test_answers_that_wait_are_bounded_as_well() -> None:
    peer = Peer(buffered=100)
    peer.transport.pause()
    peer.connection.reply(b'{"I":"0"}', peer.transport)
    for _ in range(10):
        peer.connection.reply(b'{"I":"123"}', peer.transport)
        assert peer.ends == (1 if peer.connection.is_closed else 0)
    assert peer.disconnect is not None
    assert peer.disconnect.reason is CloseReason.SLOW_CONSUMER
    assert peer.transport.log == [ABORTED]
    await settle()


async def test_an_answer_of_any_length_is_written_to_a_client_that_reads() -> None:
    peer = Peer(buffered=100)
    peer.connection.reply(b'{"R":"' + b"x" * 1000 + b'","I":"0"}', peer.transport)
    assert len(peer.transport.answers) == 1
    assert peer.ends == 0


async def test_a_write_that_takes_too_long_costs_the_transport_and_then_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    peer = Peer()
    peer.tick(5)
    peer.transport.pause()
    peer.send("a")
    await settle()
    peer.tick(15)
    assert peer.connection.attached is not None
    assert peer.transport.log == []
    with caplog.at_level(logging.WARNING):
        peer.tick(16)
    assert "TRANSPORT_SEND_TIMEOUT" in caplog.text
    assert peer.transport.log == [ABORTED]
    assert peer.connection.attached is None
    assert peer.ends == 0
    peer.tick(16 + 34)
    assert peer.ends == 0
    peer.tick(16 + 35)
    assert peer.disconnect == Disconnect(reason=CloseReason.SLOW_CONSUMER, stop_called=False)


async def test_a_client_that_was_too_slow_may_come_back() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a")
    await settle()
    peer.tick(11)
    other = peer.attach("webSockets", "AB-0")
    assert other.messages == ["a"]
    peer.connection.lose_transport(other)
    peer.tick(11 + 35)
    assert peer.disconnect == CLIENT_GONE  # and its slowness is forgotten


async def test_each_write_has_its_own_time() -> None:
    peer = Peer()
    for start in (0, 8, 16, 24):
        peer.tick(start)
        peer.transport.pause()
        peer.send("a")
        await settle()
        peer.tick(start + 8)
        peer.transport.resume()
        await settle()
    assert peer.connection.attached is not None
    assert peer.transport.messages == ["a"] * 4


# What is lost


async def test_what_the_buffer_does_not_hold_for_a_client_that_is_away_is_told_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    peer = Peer(engine={"maximum_messages": 32})
    peer.send("a", "b", "c")
    await settle()
    peer.connection.lose_transport(peer.transport)
    peer.send(*numbers(0, 40))
    assert peer.ends == 0
    with caplog.at_level(logging.WARNING):
        other = peer.attach("webSockets", "AB-1")
    assert other.messages == numbers(8, 40)
    assert peer.losses == [10]  # "b" and "c", which it was given and never had, and eight more
    assert "one: 10 messages were lost" in caplog.text


async def test_nothing_is_told_where_nothing_is_lost() -> None:
    peer = Peer(engine={"maximum_messages": 32})
    peer.connection.lose_transport(peer.transport)
    peer.send(*numbers(0, 32))
    assert peer.attach("webSockets", "AB-0").messages == numbers(0, 32)
    assert peer.losses == []


# Signs of life


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_is_written_to_every_keep_alive_whether_idle_or_not(name: str) -> None:
    peer = Peer(name)
    assert peer.tick_until(25) == [10, 20]
    peer.send("a")
    await settle()
    assert peer.tick_until(35) == [30]


async def test_a_poll_gets_signs_of_life_as_well() -> None:
    peer = Peer("longPolling")
    peer.transport = peer.poll()
    assert peer.tick_until(35) == [10, 20, 30]
    assert peer.connection.attached is not None


async def test_a_new_transport_begins_to_count_anew() -> None:
    peer = Peer()
    peer.tick_until(7)
    peer.transport = peer.attach("webSockets", "AB-0")
    assert peer.tick_until(20) == [17]


async def test_without_keep_alive_there_are_none() -> None:
    peer = Peer(KEEP_ALIVE=None)
    assert peer.tick_until(100) == []


async def test_a_blocked_client_is_sent_none() -> None:
    peer = Peer()
    peer.tick(3)
    peer.transport.pause()
    peer.send("a")
    await settle()
    peer.tick(10)
    peer.tick(12)
    peer.transport.resume()
    await settle()
    assert peer.transport.log == ['{"C":"AB-1","M":["a"]}']
    peer.tick(13)
    assert peer.transport.log[1:] == [KEEP_ALIVE]


async def test_a_sign_of_life_that_fails_is_a_lost_transport() -> None:
    peer = Peer()
    peer.transport.error = OSError("gone")
    peer.tick(10)
    assert peer.connection.detached_at == 10
    peer.tick(44)
    assert peer.ends == 0
    peer.tick(45)
    assert peer.disconnect == CLIENT_GONE


# CONNECTION_TIMEOUT


@pytest.mark.parametrize("keep_alive", [10.0, None])
async def test_a_poll_is_answered_empty_after_the_connection_timeout(keep_alive: float | None) -> None:
    peer = Peer("longPolling", KEEP_ALIVE=keep_alive, CONNECTION_TIMEOUT=20, LONG_POLL_DELAY=0.5)
    peer.tick(5)
    poll = peer.poll()
    peer.tick(24)
    assert peer.connection.attached is not None
    peer.tick(25)
    assert [entry for entry in poll.log if entry != KEEP_ALIVE] == ['{"C":"AB-0","L":500,"M":[]}']
    assert peer.connection.attached is None
    assert peer.ends == 0


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_ends_after_the_connection_timeout_only_without_keep_alive(name: str) -> None:
    peer = Peer(name, CONNECTION_TIMEOUT=20)
    peer.tick_until(100)
    assert peer.connection.attached is not None
    silent = Peer(name, CONNECTION_TIMEOUT=20, KEEP_ALIVE=None)
    silent.tick(19)
    assert silent.transport.log == []
    silent.tick(20)
    assert silent.transport.log == [CLOSED]
    assert silent.connection.attached is None
    assert silent.ends == 0
    silent.tick(54)
    assert silent.ends == 0
    silent.tick(55)
    assert silent.disconnect == CLIENT_GONE


# DISCONNECT_TIMEOUT


@pytest.mark.parametrize("name", STREAMS)
async def test_a_client_whose_stream_was_lost_has_five_seconds_more_than_the_disconnect_timeout(name: str) -> None:
    peer = Peer(name, DISCONNECT_TIMEOUT=12)
    peer.tick(100)
    peer.connection.lose_transport(peer.transport)
    peer.tick(116.9)
    assert peer.ends == 0
    assert not peer.connection.is_closed
    peer.tick(117)
    assert peer.disconnect == CLIENT_GONE
    assert peer.ends == 1
    assert peer.connection.is_final
    peer.tick(200)
    assert peer.ends == 1


@pytest.mark.parametrize("delay", [0.0, 2.0])
async def test_a_client_that_polls_has_the_delay_more(delay: float) -> None:
    peer = Peer("longPolling", DISCONNECT_TIMEOUT=12, LONG_POLL_DELAY=delay)
    peer.tick(11.9 + delay)
    assert peer.ends == 0
    peer.tick(12 + delay)
    assert peer.disconnect == Disconnect(reason=CloseReason.POLL_TIMEOUT, stop_called=False)


async def test_a_poll_whose_client_left_is_a_poll_that_did_not_come_back() -> None:
    peer = Peer("longPolling")
    poll = peer.poll()
    peer.connection.lose_transport(poll, CloseReason.CLIENT_GONE)
    peer.tick(30)
    assert peer.disconnect == Disconnect(reason=CloseReason.POLL_TIMEOUT, stop_called=False)


@pytest.mark.parametrize("reason", [CloseReason.PROTOCOL_ERROR, CloseReason.MESSAGE_TOO_BIG, CloseReason.CLIENT_GONE])
async def test_why_the_transport_was_lost_is_the_reason_of_the_end(reason: CloseReason) -> None:
    peer = Peer()
    peer.connection.lose_transport(peer.transport, reason)
    peer.tick(35)
    assert peer.disconnect == Disconnect(reason=reason, stop_called=False)


async def test_a_client_that_comes_back_in_time_begins_to_count_anew() -> None:
    peer = Peer()
    peer.connection.lose_transport(peer.transport, CloseReason.MESSAGE_TOO_BIG)
    peer.tick(34)
    other = peer.attach("webSockets", "AB-0")
    peer.tick(40)
    peer.connection.lose_transport(other)
    peer.tick(74)
    assert peer.ends == 0
    peer.tick(75)
    assert peer.disconnect == CLIENT_GONE


async def test_a_transport_that_came_in_between_makes_the_loss_before_it_forgotten() -> None:
    peer = Peer(KEEP_ALIVE=None, CONNECTION_TIMEOUT=20)
    peer.connection.lose_transport(peer.transport, CloseReason.MESSAGE_TOO_BIG)
    peer.attach("webSockets", "AB-0")
    peer.tick(20)
    assert peer.connection.attached is None
    peer.tick(55)
    assert peer.disconnect == CLIENT_GONE


async def test_a_transport_is_lost_once() -> None:
    peer = Peer()
    peer.connection.lose_transport(peer.transport)
    peer.tick(20)
    peer.connection.lose_transport(peer.transport)
    assert peer.connection.detached_at == 0.0


async def test_a_connection_whose_transport_never_comes_ends() -> None:
    peer = Peer(None)
    peer.tick(34)
    assert peer.ends == 0
    peer.tick(35)
    assert peer.disconnect == CLIENT_GONE


async def test_a_transport_that_was_followed_by_another_one_can_leave() -> None:
    peer = Peer()
    other = peer.attach("serverSentEvents", "AB-0")
    peer.connection.lose_transport(peer.transport)
    assert peer.connection.attached is not None
    assert peer.connection.transport is other


# Endings


@pytest.mark.parametrize("name", STREAMS)
async def test_a_client_that_stops_has_its_stream_ended_at_once(name: str) -> None:
    peer = Peer(name)
    peer.connection.stop()
    assert peer.transport.log == [CLOSED]
    assert peer.disconnect == Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True)
    assert peer.ends == 1
    peer.connection.stop()
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    peer.connection.shut_down()
    assert peer.disconnect == Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True)
    assert peer.ends == 1


async def test_a_client_that_stops_has_its_poll_answered_empty() -> None:
    peer = Peer("longPolling")
    poll = peer.poll()
    peer.connection.stop()
    assert poll.log == [EMPTY]


async def test_a_client_may_stop_between_transports() -> None:
    for name in ("webSockets", "longPolling"):
        peer = Peer(name)
        peer.connection.lose_transport(peer.transport)
        peer.connection.stop()
        assert peer.disconnect == Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True)


async def test_a_client_that_does_not_read_and_stops_is_cut() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a")
    await settle()
    peer.connection.stop()
    assert peer.transport.log == [ABORTED]
    await settle()


@pytest.mark.parametrize("name", [*STREAMS, "longPolling"])
async def test_a_client_that_is_closed_is_told_to_stop(name: str) -> None:
    peer = Peer(name)
    transport = peer.poll() if name == "longPolling" else peer.transport
    error = ConnectionClosed("Not in here.")
    peer.connection.close(CloseReason.CLOSED_BY_APP, error="„Raus!“", exception=error)
    farewell = transport.frames[0]
    assert farewell == {"D": 1, "E": "„Raus!“", "M": []}
    assert transport.log[0].isascii()
    assert transport.log[1:] == ([] if name == "longPolling" else [CLOSED])
    assert peer.connection.is_final
    assert peer.disconnect == Disconnect(reason=CloseReason.CLOSED_BY_APP, stop_called=False, exception=error)
    assert peer.ends == 1


async def test_without_a_text_the_client_is_told_a_general_one() -> None:
    peer = Peer()
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    assert peer.transport.frames[0]["E"] == "The connection was closed by the server."


@pytest.mark.parametrize("name", STREAMS)
async def test_a_client_that_may_come_back_is_told_nothing(name: str) -> None:
    peer = Peer(name)
    peer.connection.close(CloseReason.CLOSED_BY_APP, error="x", allow_reconnect=True)
    assert peer.transport.log == [CLOSED]
    assert not peer.connection.is_final
    assert peer.disconnect == Disconnect(reason=CloseReason.CLOSED_BY_APP, stop_called=False, allows_reconnect=True)


async def test_a_poll_of_a_client_that_may_come_back_is_answered_with_t() -> None:
    peer = Peer("longPolling")
    poll = peer.poll()
    peer.connection.close(CloseReason.CLOSED_BY_APP, allow_reconnect=True)
    assert poll.log == ['{"C":"AB-0","T":1,"M":[]}']


async def test_what_was_sent_before_the_end_is_written_before_it() -> None:
    for allow_reconnect in (False, True):
        peer = Peer()
        peer.send("a", "b")
        peer.connection.close(CloseReason.CLOSED_BY_APP, allow_reconnect=allow_reconnect)
        await settle()
        assert peer.transport.envelopes[0]["M"] == ["a", "b"]
        assert peer.transport.log[-1] == CLOSED


async def test_a_farewell_that_takes_time_is_written_before_the_end_of_the_transport() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.connection.close(CloseReason.CLOSED_BY_APP, error="x")
    await settle()
    assert peer.transport.log == []
    peer.transport.resume()
    await settle()
    assert [frame["E"] for frame in peer.transport.frames] == ["x"]
    assert peer.transport.log[1:] == [CLOSED]


async def test_a_client_that_does_not_read_is_cut_without_a_farewell() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.send("a")
    await settle()
    peer.connection.close(CloseReason.CLOSED_BY_APP, error="x")
    assert peer.transport.log == [ABORTED]
    assert peer.ends == 1
    await settle()


@pytest.mark.parametrize("name", STREAMS)
async def test_a_server_that_stops_ends_streams_and_lets_the_client_come_back(name: str) -> None:
    peer = Peer(name)
    peer.connection.shut_down()
    assert peer.transport.log == [CLOSED]
    assert not peer.connection.is_final
    assert peer.disconnect == Disconnect(reason=CloseReason.SERVER_SHUTDOWN, stop_called=False, allows_reconnect=True)


async def test_a_server_that_stops_answers_polls_with_t() -> None:
    peer = Peer("longPolling")
    poll = peer.poll()
    peer.connection.shut_down()
    assert poll.log == ['{"C":"AB-0","T":1,"M":[]}']


async def test_nothing_is_written_after_the_end() -> None:
    peer = Peer()
    peer.connection.stop()
    peer.send("a")
    peer.connection.announce_groups("token")
    peer.connection.reply(ANSWER, peer.transport)
    peer.connection.lose_transport(peer.transport)
    peer.tick(1000)
    await settle()
    assert peer.transport.log == [CLOSED]
    assert peer.ends == 1


async def test_a_transport_that_is_gone_at_the_end_does_not_keep_the_end_from_coming() -> None:
    peer = Peer()
    peer.transport.error = OSError("gone")
    peer.connection.close(CloseReason.CLOSED_BY_APP, error="x")
    assert peer.ends == 1
    assert peer.transport.log == []
