"""Connections without a hub: bytes both ways."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from signalr_channels.connections.connection import Connection
from signalr_channels.hubs.connection_handler import ConnectionHandler, HandlerSession, RawConnection
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.raw import RawEngine
from tests.unit.scripted import TIMEOUT, Clock, ScriptedTransport, settle

pytestmark = pytest.mark.usefixtures("no_task_left")


class Peer:
    """A connection that a handler serves."""

    def __init__(self, handler: type[ConnectionHandler], buffer_size: int) -> None:
        self.transport = ScriptedTransport()
        engine: Any = RawEngine()
        self.connection = Connection(connection_id="one", engine=engine, transport=self.transport, clock=Clock())
        self.connecting: list[int] = []
        context = HubCallerContext(self.connection, "anna", {"path": "/raw"})
        self.session = HandlerSession(
            handler, self.connection, context, buffer_size=buffer_size, on_connecting=lambda: self.connecting.append(1)
        )
        self.finishing: asyncio.Task[None] | None = None
        self.connection.on_end = self._ended

    def _ended(self) -> None:
        self.finishing = asyncio.ensure_future(self.session.finish())

    async def finished(self) -> None:
        assert self.finishing is not None
        await asyncio.wait_for(self.finishing, TIMEOUT)


@asynccontextmanager
async def serving(handler: type[ConnectionHandler], buffer_size: int = 1000) -> AsyncIterator[Peer]:
    peer = Peer(handler, buffer_size)
    try:
        yield peer
    finally:
        peer.connection.receive_eof(CloseReason.SERVER_SHUTDOWN)
        await peer.session.cancel_calls()
        await peer.finished()


class Echo(ConnectionHandler):
    async def on_connected(self, connection: RawConnection) -> None:
        await connection.asend(str(connection.context.user).encode())
        async for data in connection:
            await connection.asend(data.upper())


async def test_chunks_go_both_ways_in_order() -> None:
    async with serving(Echo) as peer:
        await settle()
        assert peer.connecting == [1]
        for chunk in (b"one", "zwei", b"\xff"):
            peer.session.receive(chunk)
        await settle()
        assert peer.transport.written == [b"anna", b"ONE", b"ZWEI", b"\xff"]


async def test_a_connection_ends_when_its_handler_returns() -> None:
    class Once(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None:
            await connection.asend(await connection.__anext__())

    async with serving(Once) as peer:
        peer.session.receive(b"x")
        await settle()
        await peer.finished()
        assert peer.transport.written == [b"x"]
        assert peer.transport.close_code == 1000
        assert peer.connection.disconnect is not None
        assert peer.connection.disconnect.reason is CloseReason.CLOSED_BY_APP


async def test_a_handler_that_fails_is_logged_and_ends_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None:
            raise ValueError("broken handler")

    with caplog.at_level(logging.ERROR, "signalr_channels.hubs"):
        async with serving(Broken) as peer:
            await settle()
            await peer.finished()
            assert peer.transport.close_code == 1011
            assert peer.connection.disconnect is not None
            assert peer.connection.disconnect.reason is CloseReason.HUB_ERROR
    assert "broken handler" in caplog.text


async def test_a_handler_sees_the_end_after_what_came_before() -> None:
    seen: list[Any] = []

    class Collecting(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None:
            seen.extend([data async for data in connection])
            seen.append(connection.context.is_aborted)
            await connection.asend(b"nobody reads this")

    async with serving(Collecting) as peer:
        peer.session.receive(b"a")
        peer.session.receive(b"b")
        peer.connection.receive_eof(CloseReason.CLIENT_GONE)
        await peer.finished()
        assert seen == [b"a", b"b", True]
        assert peer.transport.written == []


async def test_a_client_that_sends_faster_than_it_is_served_is_read_no_further() -> None:
    gate = asyncio.Event()

    class Gated(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None:
            await gate.wait()
            async for _ in connection:
                pass

    async with serving(Gated, buffer_size=3) as peer:
        peer.session.receive(b"abc")
        assert not peer.session.is_congested
        peer.session.receive(b"d")
        assert peer.session.is_congested
        reading = asyncio.ensure_future(peer.session.wait_ready())
        await settle()
        assert not reading.done()
        gate.set()
        await asyncio.wait_for(reading, TIMEOUT)


async def test_a_handler_waits_for_a_client_that_does_not_read() -> None:
    sent: list[int] = []

    class Flooding(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None:
            for number in range(10):
                await connection.asend(b"x", binary=True)
                sent.append(number)

    async with serving(Flooding) as peer:
        peer.transport.pause()
        await settle()
        assert sent == []
        peer.transport.resume()
        await settle()
        assert sent == list(range(10))
        assert peer.transport.written == [b"x"] * 10


async def test_a_handler_without_a_method_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Nothing(ConnectionHandler):
        pass

    async with serving(Nothing) as peer:
        await settle()
        await peer.finished()
    assert "has no on_connected()" in caplog.text


async def test_a_connection_ends_if_its_handler_was_cancelled() -> None:
    class Cancelled(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await task

    async with serving(Cancelled) as peer:
        await settle()
        await peer.finished()
        assert peer.connection.disconnect is not None
        assert peer.connection.disconnect.reason is CloseReason.HUB_ERROR


async def test_several_tasks_may_read_one_connection() -> None:
    read: list[bytes] = []

    class Shared(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None:
            async def work() -> None:
                async for data in connection:
                    read.append(data)

            await asyncio.gather(work(), work())

    async with serving(Shared) as peer:
        await settle()
        for chunk in (b"a", b"b", b"c"):
            peer.session.receive(chunk)
            await settle()
        peer.connection.receive_eof(CloseReason.CLIENT_GONE)
        await peer.finished()
        assert read == [b"a", b"b", b"c"]
