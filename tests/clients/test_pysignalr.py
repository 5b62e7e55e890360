"""pysignalr, the asyncio client, against a live server process. It negotiates version 0 and so knows only one id."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pysignalr.client import SignalRClient
from pysignalr.exceptions import AuthorizationError

from tests.clients.refused_calls import REFUSED_CALLS
from tests.live import PeerSite, free_port, serve_peer_site

DEADLINE = 15.0


class Client:
    """A client, what it was told, and how often it connected."""

    def __init__(self, url: str, **options: Any) -> None:
        self.client = SignalRClient(url, **options)
        self.opened: asyncio.Queue[None] = asyncio.Queue()
        self.messages: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[str] = asyncio.Queue()
        self.client.on_open(self._on_open)
        self.client.on_error(self._on_error)
        self.client.on("Message", self.messages.put)

    async def _on_open(self) -> None:
        await self.opened.put(None)

    async def _on_error(self, message: Any) -> None:
        await self.errors.put(message.error)

    async def ignore(self, message: Any) -> None:
        """A callback, which makes the call one that is answered."""

    async def invoke(self, method: str, *arguments: Any) -> Any:
        """Call a hub method and wait for its result."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def completed(message: Any) -> None:
            result.set_result(message.result)

        await self.client.send(method, list(arguments), completed)
        return await asyncio.wait_for(result, DEADLINE)

    async def next_message(self) -> list[Any]:
        return await asyncio.wait_for(self.messages.get(), DEADLINE)

    async def next_error(self) -> str:
        return await asyncio.wait_for(self.errors.get(), DEADLINE)

    async def wait_opened(self) -> None:
        await asyncio.wait_for(self.opened.get(), DEADLINE)


@contextlib.asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Client]:
    client = Client(url, **options)
    running = asyncio.create_task(client.client.run())
    opening = asyncio.create_task(client.wait_opened())
    try:
        await asyncio.wait([running, opening], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        yield client
    finally:
        for task in (running, opening):
            task.cancel()
        await asyncio.wait([running, opening])
        # The client (1.3) has no way to stop, and leaves its web socket to the garbage collector.
        web_socket = client.client._transport._ws
        if web_socket is not None:
            await web_socket.close()


async def test_calls_and_results(peer_site: PeerSite) -> None:
    async with connected(f"{peer_site.url}/peer") as client:
        assert await client.invoke("Add", 2, 3) == 5
        assert await client.invoke("Echo", "漢字 😀 \x1e \u2028") == "漢字 😀 \x1e \u2028"
        assert await client.invoke("Nothing") is None
        assert len(await client.invoke("Big", 200_000)) == 200_000


async def test_messages_to_caller_others_and_groups(peer_site: PeerSite) -> None:
    async with connected(f"{peer_site.url}/peer") as one, connected(f"{peer_site.url}/peer") as two:
        await one.client.send("ToCaller", ["fire and forget"])
        assert await one.next_message() == ["ToCaller", "fire and forget"]
        await one.invoke("Join", "pysignalr")
        await two.invoke("Join", "pysignalr")
        await one.invoke("ToOthersInGroup", "pysignalr", "to two")
        assert await two.next_message() == ["ToOthersInGroup", "to two"]
        await two.invoke("ToClient", await one.invoke("GetConnectionId"), "to one")
        assert await one.next_message() == ["ToClient", "to one"]
        await two.invoke("Leave", "pysignalr")
        await one.invoke("ToGroup", "pysignalr", "to one again")
        assert await one.next_message() == ["ToGroup", "to one again"]
        assert two.messages.empty()


@pytest.mark.parametrize(("method", "arguments", "text"), REFUSED_CALLS)
async def test_errors(peer_site: PeerSite, method: str, arguments: list[Any], text: str) -> None:
    async with connected(f"{peer_site.url}/peer") as client:
        await client.client.send(method, arguments, client.ignore)
        assert await client.next_error() == text
        assert await client.invoke("Echo", "still here") == "still here"


async def test_a_hub_that_asks_for_a_login_is_closed_to_it(peer_site: PeerSite) -> None:
    with pytest.raises(AuthorizationError):
        async with connected(f"{peer_site.url}/staff"):
            pass


async def test_it_reconnects_after_the_server_closed_it(peer_site: PeerSite) -> None:
    """It first tries its old token, which opens nothing more, and then negotiates anew."""
    async with connected(f"{peer_site.url}/peer") as client:
        first = await client.invoke("GetConnectionId")
        await client.client.send("AbortMe", [])
        await client.wait_opened()
        assert await client.invoke("GetConnectionId") != first


async def test_it_reconnects_after_the_server_process_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back with the id it had: tokens are signed, so the new process knows it although the old one told it nothing."""
    monkeypatch.setattr("websockets.asyncio.client.backoff", lambda: itertools.repeat(0.2))  # instead of up to five seconds
    port, database = free_port(), tmp_path / "db.sqlite3"
    with contextlib.ExitStack() as processes:
        server = processes.enter_context(serve_peer_site(database, port=port))
        async with connected(f"{server.url}/peer") as client:
            server.kill()
            processes.enter_context(serve_peer_site(database, port=port))
            await client.wait_opened()
            assert await client.invoke("Echo", "back") == "back"
