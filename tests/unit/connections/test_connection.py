"""One connection over a fake transport, on a clock that stands still."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from signalr_channels.connections.connection import Connection
from signalr_channels.exceptions import HubException, LocalProtocolError, RemoteProtocolError, SlowConnection
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.core.engine import ConnectionFailed, CoreEngine, HandshakeCompleted
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.protocols.messages import Close, Completion, Invocation, Ping
from signalr_channels.protocols.raw import RawEngine
from tests.unit.scripted import HANDSHAKE, JSON, TIMEOUT, Clock, ScriptedTransport, decode, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

RESPONSE = b"{}\x1e"
PING = b'{"type":6}\x1e'
CLOSE = b'{"type":7}\x1e'


class Peer:
    """A connection, and the client's end of it."""

    def __init__(self, *, handshake: bool = True, transport: Any = None, engine: dict[str, Any] | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.transport = transport if transport is not None else ScriptedTransport()
        self.connection = Connection(
            connection_id="one",
            engine=CoreEngine(hub_protocols=[JSON], now=self.clock(), **(engine or {})),
            transport=self.transport,
            clock=self.clock,
            **options,
        )
        if handshake:
            self.connection.receive(HANDSHAKE)
            self.transport.written.clear()

    def tick(self, now: float) -> None:
        self.clock.now = now
        self.connection.tick(now)

    def targets(self) -> list[str]:
        """Targets of the invocations that were written."""
        return [decode(data)["target"] for data in self.transport.written]


def invocation(target: str) -> Invocation:
    return Invocation(target=target, arguments=[])


def encoded(target: str) -> EncodedMessage:
    return EncodedMessage(JSON.encode(invocation(target)), TransferFormat.TEXT)


# Incoming


async def test_the_handshake_response_is_written_before_anything_else() -> None:
    peer = Peer(handshake=False)
    assert peer.connection.hub_protocol is None
    events = peer.connection.receive(HANDSHAKE + '{"type":1,"target":"A","arguments":[]}\x1e')
    assert [type(event) for event in events] == [HandshakeCompleted, Invocation]
    assert peer.connection.hub_protocol is JSON
    peer.connection.send(invocation("a"))
    assert peer.transport.written == [RESPONSE, encoded("a").data]


async def test_a_refused_handshake_ends_the_connection() -> None:
    peer = Peer(handshake=False)
    peer.connection.receive("{}\x1e")
    assert peer.transport.written == [b'{"error":"An unexpected error occurred during connection handshake."}\x1e']
    assert peer.transport.close_code == 1000
    disconnect = peer.connection.disconnect
    assert disconnect is not None
    assert (disconnect.reason, disconnect.stop_called, disconnect.allows_reconnect) == (CloseReason.HANDSHAKE_ERROR, False, False)


async def test_a_fault_is_left_to_whoever_reads_the_events() -> None:
    peer = Peer()
    call, failure = peer.connection.receive('{"type":1,"invocationId":"0","target":"A","arguments":[]}\x1egarbage\x1e')
    assert isinstance(call, Invocation)
    assert isinstance(failure, ConnectionFailed)
    assert failure.exception is not None
    assert not peer.connection.is_closed
    peer.connection.send(Completion(invocation_id="0", result=1))
    peer.connection.fail(failure.reason, failure.exception, allow_reconnect=failure.allows_reconnect)
    assert [decode(data) for data in peer.transport.written] == [
        {"type": 3, "invocationId": "0", "result": 1},
        {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True},
    ]
    assert peer.transport.close_code == 1000
    assert peer.connection.disconnect == Disconnect(
        reason=CloseReason.PROTOCOL_ERROR, stop_called=False, exception=failure.exception, allows_reconnect=True
    )


async def test_what_comes_after_the_end_is_dropped() -> None:
    peer = Peer()
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    assert peer.connection.receive('{"type":1,"target":"A","arguments":[]}\x1e') == []


# Writing


async def test_a_client_that_reads_is_written_to_at_once_and_without_a_task() -> None:
    peer = Peer()
    tasks = asyncio.all_tasks()
    peer.connection.send(invocation("a"))
    peer.connection.enqueue(encoded("b"))
    peer.connection.send(invocation("c"))
    assert peer.targets() == ["a", "b", "c"]
    assert not peer.connection.is_congested
    assert asyncio.all_tasks() == tasks


async def test_a_client_that_does_not_read_is_written_to_later_and_in_order() -> None:
    peer = Peer()
    peer.connection.send(invocation("a"))
    peer.transport.pause()
    for target in "bcd":
        peer.connection.send(invocation(target))
    peer.connection.enqueue(encoded("e"))
    await settle()
    assert peer.targets() == ["a"]
    assert peer.connection.is_congested
    peer.transport.resume()
    peer.connection.send(invocation("f"))  # the client reads again, but what waited goes first
    await asyncio.wait_for(peer.connection.drain(), TIMEOUT)
    peer.connection.send(invocation("g"))
    assert peer.targets() == list("abcdefg")
    assert not peer.connection.is_congested


async def test_a_client_may_stop_reading_again_while_the_queue_is_written() -> None:
    class Choking(ScriptedTransport):
        async def write(self, message: EncodedMessage) -> None:
            await super().write(message)
            if len(self.written) == 2:
                self.pause()

    peer = Peer(transport=Choking())
    peer.transport.pause()
    for target in "abcd":
        peer.connection.send(invocation(target))
    peer.transport.resume()
    await settle()
    assert peer.targets() == ["a", "b"]
    peer.connection.send(invocation("e"))
    peer.transport.resume()
    await asyncio.wait_for(peer.connection.drain(), TIMEOUT)
    assert peer.targets() == list("abcde")


async def test_one_slow_client_delays_no_other() -> None:
    slow, fast = Peer(), Peer()
    slow.transport.pause()
    for peer in (slow, fast):
        peer.connection.enqueue(encoded("a"))
    assert fast.targets() == ["a"]
    slow.transport.resume()
    await asyncio.wait_for(slow.connection.drain(), TIMEOUT)


async def test_nothing_is_written_before_the_handshake_and_after_the_end() -> None:
    peer = Peer(handshake=False)
    peer.connection.send(invocation("a"))
    peer.connection.enqueue(encoded("a"))
    assert peer.transport.written == []
    peer.connection.receive(HANDSHAKE)
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    peer.connection.send(invocation("b"))
    peer.connection.enqueue(encoded("b"))
    assert peer.transport.written == [RESPONSE, CLOSE]


async def test_a_value_that_cannot_be_encoded_harms_nobody() -> None:
    peer = Peer()
    with pytest.raises(LocalProtocolError):
        peer.connection.send(Invocation(target="a", arguments=[object()]))
    peer.connection.send(invocation("b"))
    assert peer.targets() == ["b"]
    assert not peer.connection.is_closed


# A client that is too slow


async def test_a_queue_that_overflows_ends_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    size = len(encoded("a").data)
    peer = Peer(maximum_buffered_bytes=2 * size)
    peer.transport.pause()
    with caplog.at_level(logging.WARNING, "signalr_channels.connections"):
        for target in "abc":  # one is being written, two wait
            peer.connection.send(invocation(target))
        assert not peer.connection.is_closed
        peer.connection.send(invocation("d"))
    disconnect = peer.connection.disconnect
    assert disconnect is not None
    assert disconnect.reason is CloseReason.SLOW_CONSUMER
    assert isinstance(disconnect.exception, SlowConnection)
    assert "MAXIMUM_BUFFERED_BYTES" in str(disconnect.exception)
    assert disconnect.allows_reconnect
    assert not disconnect.stop_called
    assert peer.transport.is_aborted
    assert peer.transport.close_code is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    peer.connection.send(invocation("e"))
    await settle()
    assert peer.transport.written == []


async def test_what_was_written_counts_no_more() -> None:
    size = len(encoded("a").data)
    peer = Peer(maximum_buffered_bytes=2 * size)
    for _ in range(5):
        peer.transport.pause()
        for target in "abc":
            peer.connection.send(invocation(target))
        peer.transport.resume()
        await asyncio.wait_for(peer.connection.drain(), TIMEOUT)
    assert not peer.connection.is_closed
    assert len(peer.transport.written) == 15


async def test_a_write_may_take_so_long_and_no_longer() -> None:
    peer = Peer(send_timeout=10.0)
    peer.clock.now = 100.0
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    peer.tick(110.0)
    assert not peer.connection.is_closed
    peer.tick(110.1)
    disconnect = peer.connection.disconnect
    assert disconnect is not None
    assert disconnect.reason is CloseReason.SLOW_CONSUMER
    assert "TRANSPORT_SEND_TIMEOUT" in str(disconnect.exception)
    assert peer.transport.is_aborted
    await settle()


async def test_each_write_has_the_time_for_itself() -> None:
    class OneByOne(ScriptedTransport):
        async def write(self, message: EncodedMessage) -> None:
            await super().write(message)
            self.pause()

    peer = Peer(handshake=False, transport=OneByOne(), send_timeout=10.0)
    peer.connection.receive(HANDSHAKE)
    for target in "ab":
        peer.connection.send(invocation(target))
    peer.tick(9.0)
    peer.transport.resume()
    await settle()
    peer.tick(18.0)
    assert not peer.connection.is_closed
    peer.tick(19.1)
    assert peer.connection.is_closed
    await settle()


async def test_draining_ends_when_the_connection_does() -> None:
    peer = Peer(send_timeout=10.0)
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    waiting = [asyncio.ensure_future(peer.connection.drain()) for _ in range(2)]
    await settle()
    assert not any(task.done() for task in waiting)
    peer.tick(11.0)
    await asyncio.wait_for(asyncio.gather(*waiting), TIMEOUT)


async def test_draining_ends_even_if_the_connection_overflows_at_once() -> None:
    peer = Peer(maximum_buffered_bytes=1)
    peer.transport.pause()

    async def write_and_drain() -> None:
        peer.connection.send(invocation("a"))
        await peer.connection.drain()

    writing = asyncio.ensure_future(write_and_drain())
    asyncio.get_running_loop().call_soon(peer.connection.send, invocation("b"))  # before the task that writes has begun
    await asyncio.wait_for(writing, TIMEOUT)
    assert peer.connection.is_closed
    assert not peer.connection.is_congested


async def test_one_who_drains_may_be_cancelled_without_harm_to_another() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    first, second = (asyncio.ensure_future(peer.connection.drain()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled() and not second.done()
    peer.transport.resume()
    await asyncio.wait_for(second, TIMEOUT)


async def test_draining_a_client_that_reads_does_not_wait() -> None:
    await asyncio.wait_for(Peer().connection.drain(), TIMEOUT)


# A transport that is lost


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("Unexpected ASGI message")], ids=["OSError", "RuntimeError"])
async def test_a_write_that_fails_loses_the_transport_and_its_end_of_file_ends_the_connection(error: Exception) -> None:
    class Gone(ScriptedTransport):
        writes = 0

        def write(self, message: EncodedMessage) -> Awaitable[None]:
            self.writes += 1
            return super().write(message) if self.writes == 1 else self._fail()

        async def _fail(self) -> None:
            raise error

    peer = Peer(transport=Gone())
    peer.connection.send(invocation("a"))
    peer.connection.send(invocation("b"))
    assert peer.transport.writes == 2
    assert not peer.connection.is_closed
    peer.connection.receive_eof(CloseReason.CLIENT_GONE)
    assert peer.connection.disconnect == Disconnect(reason=CloseReason.CLIENT_GONE, stop_called=False, allows_reconnect=True)
    assert peer.transport.close_code is None


async def test_a_write_that_fails_late_does_the_same_and_drops_what_waited() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    peer.connection.send(invocation("b"))
    peer.transport.abort()
    await asyncio.wait_for(peer.connection.drain(), TIMEOUT)
    peer.connection.send(invocation("c"))
    assert peer.transport.written == []
    assert not peer.connection.is_closed
    peer.connection.receive_eof(CloseReason.CLIENT_GONE)
    assert peer.connection.is_closed


async def test_a_transport_that_is_gone_cannot_be_closed() -> None:
    class Broken(ScriptedTransport):
        async def close(self, *, code: int) -> None:
            raise OSError("gone")

    peer = Peer(transport=Broken())
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    assert peer.connection.is_closed
    assert peer.transport.written == [CLOSE]


async def test_a_blocked_write_does_not_outlive_the_transport() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    peer.connection.send(invocation("b"))
    waiting = asyncio.ensure_future(peer.connection.drain())
    await settle()
    peer.connection.receive_eof(CloseReason.CLIENT_GONE)
    await asyncio.wait_for(waiting, TIMEOUT)
    assert not peer.connection.is_congested


@pytest.mark.parametrize(("reason", "on_purpose"), [(CloseReason.CLIENT_CLOSED, True), (CloseReason.CLIENT_GONE, False)])
async def test_the_end_of_the_transport_ends_the_connection(reason: CloseReason, on_purpose: bool) -> None:
    peer = Peer()
    peer.connection.receive_eof(reason)
    assert peer.connection.disconnect == Disconnect(reason=reason, stop_called=on_purpose, allows_reconnect=True)
    assert peer.connection.closed_at is None
    peer.connection.send(invocation("a"))
    assert peer.transport.written == []


async def test_the_end_of_the_transport_inside_a_message_has_an_exception() -> None:
    peer = Peer()
    peer.connection.receive('{"type":')
    peer.connection.receive_eof(CloseReason.CLIENT_GONE)
    disconnect = peer.connection.disconnect
    assert disconnect is not None
    assert str(disconnect.exception) == "InvalidDataException: Connection terminated while reading a message."


async def test_the_transports_own_error_counts_more() -> None:
    peer = Peer()
    peer.connection.receive('{"type":')
    error = RemoteProtocolError("The frames were wrong.")
    peer.connection.receive_eof(CloseReason.PROTOCOL_ERROR, error)
    assert peer.connection.disconnect == Disconnect(
        reason=CloseReason.PROTOCOL_ERROR, stop_called=False, exception=error, allows_reconnect=True
    )


# Time


async def test_a_connection_is_pinged() -> None:
    peer = Peer(engine={"keep_alive_interval": 15.0})
    peer.tick(14.9)
    assert peer.transport.written == []
    peer.tick(15.0)
    peer.tick(16.0)
    peer.tick(30.0)
    assert peer.transport.written == [PING, PING]


async def test_a_ping_is_skipped_while_a_write_is_under_way() -> None:
    peer = Peer(engine={"keep_alive_interval": 1.0}, send_timeout=10.0)
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    peer.tick(5.0)
    peer.transport.resume()
    await asyncio.wait_for(peer.connection.drain(), TIMEOUT)
    assert peer.targets() == ["a"]
    peer.tick(5.5)
    assert peer.targets() == ["a"]
    peer.tick(6.0)
    assert peer.transport.written[1:] == [PING]


async def test_a_client_that_pinged_and_fell_silent_is_told_and_cut() -> None:
    peer = Peer(engine={"client_timeout_interval": 30.0, "keep_alive_interval": None})
    peer.connection.receive(PING)
    peer.tick(30.0)
    assert not peer.connection.is_closed
    peer.tick(30.1)
    assert [decode(data) for data in peer.transport.written] == [
        {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True}
    ]
    disconnect = peer.connection.disconnect
    assert disconnect is not None
    assert disconnect.reason is CloseReason.PING_TIMEOUT
    assert disconnect.exception is not None
    assert disconnect.allows_reconnect


async def test_silence_does_not_count_while_reading_is_held() -> None:
    peer = Peer(engine={"client_timeout_interval": 30.0, "keep_alive_interval": None})
    peer.connection.receive(PING)
    peer.connection.hold_reading(True)
    for now in range(0, 200, 10):
        peer.tick(float(now))
    assert not peer.connection.is_closed
    peer.clock.now = 200.0
    peer.connection.hold_reading(False)
    peer.tick(230.0)
    assert not peer.connection.is_closed
    peer.tick(230.1)
    assert peer.connection.is_closed


async def test_a_handshake_that_does_not_come_ends_the_connection() -> None:
    peer = Peer(handshake=False, engine={"handshake_timeout": 15.0})
    peer.tick(14.9)
    assert not peer.connection.is_closed
    peer.tick(15.0)
    assert peer.transport.written == [b'{"error":"Handshake was canceled."}\x1e']
    assert peer.transport.close_code == 1000
    assert peer.connection.disconnect is not None
    assert peer.connection.disconnect.reason is CloseReason.HANDSHAKE_TIMEOUT


async def test_nothing_is_due_after_the_end() -> None:
    peer = Peer(engine={"keep_alive_interval": 1.0})
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    peer.tick(1_000.0)
    assert peer.transport.written == [CLOSE]


# Endings


async def test_closing_says_close_and_then_closes_the_transport() -> None:
    peer = Peer()
    peer.clock.now = 7.0
    error = HubException("no")
    peer.connection.close(CloseReason.HUB_ERROR, error="said", exception=error, allow_reconnect=True, code=1001)
    assert [decode(data) for data in peer.transport.written] == [{"type": 7, "error": "said", "allowReconnect": True}]
    assert peer.transport.close_code == 1001
    assert peer.connection.closed_at == 7.0
    assert peer.connection.disconnect == Disconnect(reason=CloseReason.HUB_ERROR, stop_called=False, exception=error, allows_reconnect=True)


async def test_a_connection_that_never_shook_hands_is_closed_without_a_word() -> None:
    peer = Peer(handshake=False)
    peer.connection.close(CloseReason.SERVER_SHUTDOWN, allow_reconnect=True)
    assert peer.transport.written == []
    assert peer.transport.close_code == 1000


@pytest.mark.parametrize("error", [None, HubException("bye")])
async def test_the_clients_close_is_answered(error: Exception | None) -> None:
    peer = Peer()
    assert peer.connection.receive(CLOSE) == [Close()]
    peer.connection.answer_close(error)
    assert peer.transport.written == [CLOSE]
    assert peer.connection.disconnect == Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True, exception=error)


async def test_the_first_reason_counts() -> None:
    peer = Peer()
    ends: list[int] = []
    peer.connection.on_end = lambda: ends.append(1)
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    peer.connection.close(CloseReason.SERVER_SHUTDOWN)
    peer.connection.fail(CloseReason.PROTOCOL_ERROR, RemoteProtocolError("late"))
    peer.connection.answer_close(None)
    peer.connection.receive_eof(CloseReason.CLIENT_GONE)
    assert peer.connection.disconnect is not None
    assert peer.connection.disconnect.reason is CloseReason.CLOSED_BY_APP
    assert peer.transport.written == [CLOSE]
    assert ends == [1]


async def test_what_waits_is_written_before_a_congested_connection_closes() -> None:
    peer = Peer()
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    peer.connection.send(invocation("b"))
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    peer.connection.send(invocation("c"))
    assert peer.connection.is_closed
    assert peer.transport.written == []
    assert peer.transport.close_code is None
    peer.transport.resume()
    await settle()
    assert peer.transport.written == [encoded("a").data, encoded("b").data, CLOSE]
    assert peer.transport.close_code == 1000


async def test_a_congested_connection_that_is_closed_is_cut_when_its_time_is_up(caplog: pytest.LogCaptureFixture) -> None:
    peer = Peer(send_timeout=10.0)
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    peer.connection.close(CloseReason.CLOSED_BY_ADMIN)
    peer.tick(10.1)
    assert peer.transport.is_aborted
    assert peer.connection.disconnect is not None
    assert peer.connection.disconnect.reason is CloseReason.CLOSED_BY_ADMIN
    await settle()
    assert peer.transport.close_code is None


async def test_a_close_frame_that_cannot_be_written_is_not_waited_for_without_end() -> None:
    class StuckAtTheEnd(ScriptedTransport):
        async def close(self, *, code: int) -> None:
            self.pause()
            await super().close(code=code)

    peer = Peer(transport=StuckAtTheEnd(), send_timeout=10.0)
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    await settle()
    assert not peer.transport.is_aborted
    peer.tick(10.1)
    assert peer.transport.is_aborted
    await settle()


async def test_a_close_that_does_not_fit_into_the_queue_cuts_the_connection() -> None:
    peer = Peer(maximum_buffered_bytes=1)
    peer.transport.pause()
    peer.connection.send(invocation("a"))
    peer.connection.close(CloseReason.CLOSED_BY_APP)
    assert peer.transport.is_aborted
    assert peer.connection.is_closed
    await settle()


async def test_input_that_ends_while_the_transport_is_up_is_answered_with_a_close() -> None:
    peer = Peer()
    peer.connection.end_input()
    assert peer.transport.written == [b'{"type":7,"allowReconnect":true}\x1e']
    assert peer.connection.disconnect == Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True, allows_reconnect=True)


async def test_a_ping_is_one_message_for_all_connections() -> None:
    class Remembering(ScriptedTransport):
        def __init__(self) -> None:
            super().__init__()
            self.messages: list[EncodedMessage] = []

        async def write(self, message: EncodedMessage) -> None:
            self.messages.append(message)
            await super().write(message)

    peers = [Peer(transport=Remembering(), engine={"keep_alive_interval": 1.0}) for _ in range(2)]
    for peer in peers:
        peer.tick(1.0)
    first, second = (peer.transport.messages[-1] for peer in peers)
    assert first.data == JSON.encode(Ping())
    assert first is second


async def test_a_fault_ends_a_connection_without_a_hub_as_well() -> None:
    transport = ScriptedTransport()
    connection = Connection(connection_id="one", engine=RawEngine(), transport=transport, clock=Clock())
    fault = ValueError("broken")
    connection.fail(CloseReason.HUB_ERROR, fault)
    connection.fail(CloseReason.HUB_ERROR, ValueError("again"))
    assert connection.disconnect is not None
    assert connection.disconnect.exception is fault
    assert transport.written == []
    assert transport.close_code == 1000
