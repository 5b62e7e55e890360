"""Clients that leave: what they say when nothing can be written to them any more, and a Close behind calls that still run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from signalr_channels.exceptions import HubException
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.protocols.messages import Invocation
from tests.unit.gates import Gates
from tests.unit.scripted import CLOSE, ScriptedClient, ScriptedServer, eventually, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

CLOSED = Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True)


def make_hub(gates: Gates) -> type[Hub]:
    class StageHub(Hub):
        async def on_connected(self) -> None:
            gates.log.append("connecting")
            await gates.door("connected").wait()

        async def on_disconnected(self, disconnect: Disconnect) -> None:
            gates.log.append(disconnect)

        @hub_method
        async def wait(self, door: str) -> None:
            await gates.door(door).wait()
            gates.log.append(door)

        @hub_method
        async def watch(self) -> AsyncIterator[int]:
            try:
                yield 1
                await gates.door("never").wait()
            finally:
                await gates.door("cleaned").wait()
                gates.log.append("cleaned up")

    gates.open("connected")
    return StageHub


async def connected(server: ScriptedServer, gates: Gates) -> ScriptedClient:
    client = server.connect()
    await client.session.wait_started()
    assert gates.log == ["connecting"]
    gates.log.clear()
    return client


def lose_stream(client: ScriptedClient) -> None:
    """As an event stream is lost: the client may still post."""
    client.connection.detach()
    client.session.lose_reader()


async def test_a_client_that_cannot_be_written_to_is_still_heard(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = await connected(server, gates)
        lose_stream(client)
        client.connection.send(Invocation(target="news", arguments=[]))
        gates.open("first")
        client.invoke("wait", "first")
        await eventually(lambda: gates.log == ["first"])
        assert not client.connection.is_closed
        client.send(CLOSE)
        await client.finished()
        assert client.received() == []
    assert gates.log == ["first", CLOSED]


async def test_streams_end_when_nobody_reads_them_and_may_clean_up(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = await connected(server, gates)
        client.stream("watch")
        await client.receive()
        lose_stream(client)
        await settle()
        client.send(CLOSE)  # which must not interrupt the cleaning
        await client.finished()
        gates.open("cleaned")
        await eventually(lambda: "cleaned up" in gates.log)
    assert gates.log == [CLOSED, "cleaned up"]


async def test_a_close_behind_calls_counts_when_the_transport_is_over(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = await connected(server, gates)
        client.invoke("wait", "first")
        client.invoke("wait", "second")
        client.send(CLOSE)
        await settle()
        assert not client.connection.is_closed
        assert client.session.hear_goodbye()
        gates.open("first", "second")
        await client.finished()
    assert gates.log == ["first", "second", CLOSED]


async def test_a_close_with_an_error_behind_on_connected(gates: Gates) -> None:
    hub = make_hub(gates)
    gates.door("connected").clear()
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.send({**CLOSE, "error": "tired"})
        assert client.session.hear_goodbye()
        gates.open("connected")
        await client.finished()
    connecting, disconnect = gates.log
    assert (connecting, disconnect.reason, disconnect.stop_called) == ("connecting", CloseReason.CLIENT_CLOSED, True)
    assert isinstance(disconnect.exception, HubException)


async def test_there_is_no_goodbye_to_hear_if_none_was_said(gates: Gates) -> None:
    async with ScriptedServer(make_hub(gates)) as server:
        client = await connected(server, gates)
        assert not client.session.hear_goodbye()
        client.invoke("wait", "first")
        client.invoke("wait", "second")
        assert not client.session.hear_goodbye()
        gates.open("first", "second")
        await client.leave()
    assert gates.log[:2] == ["first", "second"]
    assert gates.log[2].reason is CloseReason.CLIENT_GONE
