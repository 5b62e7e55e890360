"""The transport that keeps what is written until the client comes to fetch it."""

from __future__ import annotations

import asyncio

import pytest

from signalr_channels.connections.connection import Connection
from signalr_channels.connections.long_polling import LongPollingTransport, Poll, PollOutcome
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.core.engine import CoreEngine
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import Invocation
from tests.unit.scripted import HANDSHAKE, JSON, TIMEOUT, Clock, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

EMPTY, OVER = Poll(PollOutcome.EMPTY), Poll(PollOutcome.OVER)


def data(text: bytes) -> Poll:
    return Poll(PollOutcome.DATA, text)


def message(text: bytes) -> EncodedMessage:
    return EncodedMessage(text, TransferFormat.TEXT)


def make_transport(buffer_size: int = 100) -> LongPollingTransport:
    return LongPollingTransport(buffer_size, now=0.0)


async def test_a_poll_fetches_what_is_there() -> None:
    transport = make_transport()
    await transport.write(message(b"a"))
    await transport.write(message(b"b"))
    assert await transport.poll(TIMEOUT) == data(b"ab")
    assert await transport.poll(0.001) == EMPTY


async def test_a_poll_waits_for_what_comes() -> None:
    transport = make_transport()
    polling = asyncio.ensure_future(transport.poll(TIMEOUT))
    await settle()
    assert transport.has_poll and not polling.done()
    await transport.write(message(b"a"))
    await transport.write(message(b"b"))
    assert await polling == data(b"ab")
    assert not transport.has_poll


async def test_a_poll_in_vain_is_answered_empty() -> None:
    assert await make_transport().poll(0.001) == EMPTY


async def test_a_newer_poll_ends_the_older_one() -> None:
    transport = make_transport()
    older = asyncio.ensure_future(transport.poll(TIMEOUT))
    await settle()
    newer = asyncio.ensure_future(transport.poll(TIMEOUT))
    assert await older == OVER
    await transport.write(message(b"a"))
    assert await newer == data(b"a")


async def test_a_poll_that_is_given_up_leaves_the_data_to_the_next() -> None:
    transport = make_transport()
    polling = asyncio.ensure_future(transport.poll(TIMEOUT))
    await settle()
    await transport.write(message(b"a"))
    polling.cancel()
    await asyncio.wait([polling])
    await transport.write(message(b"b"))
    assert await transport.poll(TIMEOUT) == data(b"ab")


async def test_the_last_data_is_fetched_and_then_it_is_over() -> None:
    transport = make_transport()
    await transport.write(message(b"a"))
    await transport.close(code=1000)
    assert transport.is_closed
    assert await transport.poll(TIMEOUT) == data(b"a")
    assert await transport.poll(TIMEOUT) == OVER


@pytest.mark.parametrize("ending", ["close", "abort"])
async def test_the_end_is_told_to_a_poll_that_waits(ending: str) -> None:
    transport = make_transport()
    polling = asyncio.ensure_future(transport.poll(TIMEOUT))
    await settle()
    if ending == "close":
        await transport.close(code=1000)
    else:
        transport.abort()
    assert await polling == OVER


async def test_what_is_cut_off_is_lost() -> None:
    transport = make_transport()
    await transport.write(message(b"a"))
    transport.abort()
    assert await transport.poll(TIMEOUT) == OVER


async def test_writers_wait_while_there_is_more_than_fits() -> None:
    transport = make_transport(buffer_size=2)
    await asyncio.wait_for(_write(transport, b"ab"), TIMEOUT)
    writing = [asyncio.ensure_future(_write(transport, text)) for text in (b"c", b"d")]
    await settle()
    assert not any(task.done() for task in writing)
    assert await transport.poll(TIMEOUT) == data(b"abcd")  # it is not lost meanwhile
    await asyncio.wait_for(asyncio.gather(*writing), TIMEOUT)


async def _write(transport: LongPollingTransport, text: bytes) -> None:
    await transport.write(message(text))


async def test_a_connection_over_polls_is_not_congested_by_what_fits() -> None:
    transport = make_transport(buffer_size=250)
    connection = Connection(connection_id="one", engine=CoreEngine(hub_protocols=[JSON]), transport=transport, clock=Clock())
    connection.receive(HANDSHAKE)
    assert await transport.poll(TIMEOUT) == data(b"{}\x1e")
    invocation = Invocation(target="a", arguments=["x" * 60])
    connection.send(invocation)
    assert not connection.is_congested
    for _ in range(3):
        connection.send(invocation)
    assert connection.is_congested
    fetched = await transport.poll(TIMEOUT)
    await asyncio.wait_for(connection.drain(), TIMEOUT)
    rest = await transport.poll(TIMEOUT)
    assert fetched.data + rest.data == JSON.encode(invocation) * 4


async def test_what_the_client_of_a_poll_did_not_get_comes_first_in_the_next() -> None:
    transport = make_transport()
    await transport.write(message(b"a"))
    first = await transport.poll(TIMEOUT)
    await transport.write(message(b"b"))
    transport.put_back(first)
    assert await transport.poll(TIMEOUT) == data(b"ab")
    transport.put_back(EMPTY)
    waiting = asyncio.ensure_future(transport.poll(TIMEOUT))
    await settle()
    assert not waiting.done()
    transport.put_back(first)
    assert await waiting == data(b"a")


async def test_the_end_of_a_connection_is_fetched_after_what_waited() -> None:
    transport = make_transport(buffer_size=10)
    connection = Connection(connection_id="one", engine=CoreEngine(hub_protocols=[JSON]), transport=transport, clock=Clock())
    connection.receive(HANDSHAKE)
    invocation = Invocation(target="a", arguments=["x" * 60])
    for _ in range(3):
        connection.send(invocation)
    connection.close(CloseReason.CLOSED_BY_APP)
    fetched = b""
    while (poll := await transport.poll(TIMEOUT)).outcome is PollOutcome.DATA:
        fetched += poll.data
        await settle()
    assert poll == OVER
    assert fetched == b"{}\x1e" + JSON.encode(invocation) * 3 + b'{"type":7}\x1e'
