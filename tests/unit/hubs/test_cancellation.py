"""Hub code that cancels itself, or something it waits for."""

from __future__ import annotations

import asyncio

from signalr_channels import Disconnect, Hub, hub_method
from signalr_channels.protocols.endings import CloseReason
from tests.unit.scripted import ScriptedServer


class SelfCancellingHub(Hub):
    @hub_method(name="Cancel")
    async def cancel(self) -> None:
        raise asyncio.CancelledError

    @hub_method(name="Echo")
    async def echo(self, text: str) -> str:
        return text

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task  # the usual way to end a task of one's own


async def test_a_method_that_cancels_itself_fails_its_call_only() -> None:
    async with ScriptedServer(SelfCancellingHub) as server:
        client = server.connect()
        client.send({"type": 1, "invocationId": "1", "target": "Cancel", "arguments": []})
        client.send({"type": 1, "invocationId": "2", "target": "Echo", "arguments": ["x"]})
        first, second = client.received()
        assert first == {"type": 3, "invocationId": "1", "error": "An unexpected error occurred invoking 'Cancel' on the server."}
        assert second == {"type": 3, "invocationId": "2", "result": "x"}


async def test_a_connection_is_let_go_although_its_end_was_cancelled() -> None:
    async with ScriptedServer(SelfCancellingHub) as server:
        client = server.connect()
        assert "one" in server.manager.index.connections
        client.connection.receive_eof(CloseReason.CLIENT_GONE)
        await client.finished()
        assert server.manager.index.connections == {}


async def test_a_client_is_turned_away_if_on_connected_was_cancelled() -> None:
    class WaitingHub(Hub):
        async def on_connected(self) -> None:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await task

        async def on_disconnected(self, disconnect: Disconnect) -> None:
            raise AssertionError("it had not connected")

        @hub_method
        async def echo(self, text: str) -> str:
            return text

    async with ScriptedServer(WaitingHub) as server:
        client = server.connect()
        client.invoke("Echo", "x")
        assert await client.receive() == {"type": 7, "error": "Connection closed with an error."}
        await client.finished()
        assert client.connection.disconnect is not None
        assert client.connection.disconnect.reason is CloseReason.HUB_ERROR
