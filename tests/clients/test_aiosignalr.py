"""aiosignalr on all transports and in both hub protocols, against live server processes and through a proxy that fails."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.clients.python_clients import COUNTED, DEADLINE, FAILED, NO_METHOD, TEXT, access_token, within
from tests.live import PeerSite
from tests.proxy import Proxy

if sys.version_info < (3, 11):
    pytest.skip("aiosignalr needs Python 3.11", allow_module_level=True)

from aiosignalr.client import HubConnection, RetryContext, RetryPolicy
from aiosignalr.errors import HubException, NegotiationError, SignalRError

AIOSIGNALR = [
    pytest.param("WebSockets", "json", id="webSockets-json"),
    pytest.param("WebSockets", "messagepack", id="webSockets-messagepack"),
    pytest.param("ServerSentEvents", "json", id="serverSentEvents-json"),
    pytest.param("LongPolling", "json", id="longPolling-json"),
    pytest.param("LongPolling", "messagepack", id="longPolling-messagepack"),
]
aiosignalr_ways = pytest.mark.parametrize(("transport", "protocol"), AIOSIGNALR)
aiosignalr_json = pytest.mark.parametrize(("transport", "protocol"), [way for way in AIOSIGNALR if way.values[1] == "json"])


class Patient(RetryPolicy):
    """Tries again until the deadline."""

    def next_retry_delay(self, context: RetryContext) -> float | None:
        return 0.1 if context.elapsed_time < DEADLINE else None


class AioClient:
    """A client of aiosignalr, and what it was told."""

    def __init__(self, protocol: str, *, retries: bool = False, stateful: bool = False) -> None:
        self.connection = HubConnection(protocol=protocol)
        if retries:
            self.connection.with_retry_policy(Patient())
        if stateful:
            self.connection.with_stateful_reconnect()
        self.messages: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.states: asyncio.Queue[str] = asyncio.Queue()
        self.connection.on("Message", lambda kind, text: self.messages.put_nowait((kind, text)))
        self.connection.on_close = lambda error: self.states.put_nowait("closed")
        self.connection.on_reconnecting = lambda error: self.states.put_nowait("reconnecting")
        self.connection.on_reconnected = lambda: self.states.put_nowait("reconnected")

    async def invoke(self, method: str, *arguments: Any) -> Any:
        return await within(self.connection.invoke(method, *arguments))

    async def failure(self, method: str, *arguments: Any) -> str:
        with pytest.raises(HubException) as caught:
            await self.invoke(method, *arguments)
        return str(caught.value)

    async def next_message(self) -> tuple[str, str]:
        return await within(self.messages.get())

    async def next_state(self) -> str:
        return await within(self.states.get())


@contextlib.asynccontextmanager
async def aio_connected(
    url: str, transport: str, protocol: str, *, token: Callable[[], str] | None = None, **options: bool
) -> AsyncIterator[AioClient]:
    client = AioClient(protocol, **options)
    await within(client.connection.start(url, transports={transport}, access_token_factory=token))
    session = client.connection._session
    try:
        yield client
    finally:
        await within(client.connection.stop())
        # A connection that was closed by the server leaves its HTTP session open (0.1.1).
        assert session is not None
        await session.close()


@aiosignalr_ways
async def test_calls(peer_site: PeerSite, transport: str, protocol: str) -> None:
    async with aio_connected(f"{peer_site.url}/transports", transport, protocol) as client:
        assert await client.invoke("Add", 2, -3) == -1
        assert await client.invoke("Echo", TEXT) == TEXT
        assert await client.invoke("Nothing") is None
        assert len(await client.invoke("Big", 30_000)) == 30_000  # it takes no more than 32 KiB
        assert await client.failure("FailHub", "Sorry, Zoë.") == FAILED
        assert await client.failure("Nope") == NO_METHOD
        await client.connection.send("ToCaller", "sent")
        assert await client.next_message() == ("ToCaller", "sent")
        assert await asyncio.gather(*(client.invoke("Add", i, 1) for i in range(50))) == list(range(1, 51))


@aiosignalr_ways
async def test_keeps_every_kind_of_value(peer_site: PeerSite, transport: str, protocol: str) -> None:
    record: dict[str, Any] = {"Int": -5, "Long": 2**62, "Double": 1.25, "Bool": True, "Text": "é", "List": [1, 2], "Map": {"a b": 1}}
    if protocol == "json":
        record |= {"Bytes": "AAECgP8=", "Color": 1, "Money": 12.5, "When": "2000-01-02T03:04:05Z"}
    else:
        record |= {"Bytes": bytes(range(256)), "Color": "Green", "Money": "12.50"}
    async with aio_connected(f"{peer_site.url}/transports", transport, protocol) as client:
        result = await client.invoke("EchoRecord", record)
        assert {**result, **record} == result


@aiosignalr_ways
async def test_streams(peer_site: PeerSite, transport: str, protocol: str) -> None:
    async with aio_connected(f"{peer_site.url}/transports", transport, protocol) as client:
        assert [i async for i in await client.connection.stream("Count", 100, 0)] == list(range(100))
        failing = await client.connection.stream("CountFail", 3)
        assert [await within(anext(failing)) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(HubException) as caught:
            await within(anext(failing))
        assert str(caught.value) == COUNTED


@aiosignalr_json
async def test_uploads_cancels_and_answers(peer_site: PeerSite, transport: str, protocol: str) -> None:
    """In MessagePack its headers of stream items, completions and cancellations are no map but a number (0.1.1), and end the connection."""
    async with aio_connected(f"{peer_site.url}/transports", transport, protocol) as client:
        async with client.connection.client_stream("Sum") as stream:
            for i in range(20):
                await stream.send_item(i)
        assert stream.result == 190
        client.connection.on("Ask", lambda n: n * 2)
        assert await client.invoke("AskClient", await client.invoke("GetConnectionId"), 21) == 42
        name = f"aiosignalr {transport}"
        forever = await client.connection.stream("ForeverFor", name)
        assert await within(anext(forever)) == 0
        await forever.aclose()
        await wait_for_log(peer_site, f"stream of {name} ended")


async def wait_for_log(site: PeerSite, line: str) -> None:
    deadline = asyncio.get_running_loop().time() + DEADLINE
    while line not in (await asyncio.to_thread(read_log, site)):
        assert asyncio.get_running_loop().time() < deadline, f"not in the log: {line}"
        await asyncio.sleep(0.05)  # the log tells nobody of new lines


def read_log(site: PeerSite) -> str:
    with urllib.request.urlopen(f"{site.url}/events", timeout=DEADLINE) as response:
        return str(response.read().decode())


@aiosignalr_ways
async def test_stops(peer_site: PeerSite, transport: str, protocol: str) -> None:
    async with aio_connected(f"{peer_site.url}/transports", transport, protocol) as client:
        connection_id = await client.invoke("GetConnectionId")
    event = await asyncio.to_thread(peer_site.wait_for_event, connection_id=connection_id, kind="disconnected")
    assert event["reason"] == "client_closed"


@aiosignalr_ways
async def test_with_a_token(peer_site: PeerSite, transport: str, protocol: str) -> None:
    user = f"aiosignalr-{transport}-{protocol}"
    token = await asyncio.to_thread(access_token, peer_site, user)
    async with aio_connected(f"{peer_site.url}/secure", transport, protocol, token=lambda: token) as client:
        assert await client.invoke("GetUserName") == user
    with pytest.raises(NegotiationError, match="401"):
        await within(HubConnection(protocol=protocol).start(f"{peer_site.url}/secure", transports={transport}))


async def test_is_offered_no_binary_event_stream(peer_site: PeerSite) -> None:
    connection = HubConnection(protocol="messagepack")
    with pytest.raises(SignalRError, match="No compatible transport"):
        await within(connection.start(f"{peer_site.url}/transports", transports={"ServerSentEvents"}))


@aiosignalr_ways
async def test_comes_back_as_somebody_new_after_a_cut(peer_site: PeerSite, transport: str, protocol: str) -> None:
    async with (
        Proxy(peer_site.server.port) as proxy,
        aio_connected(f"{proxy.url}/transports", transport, protocol, retries=True) as client,
    ):
        first = await client.invoke("GetConnectionId")
        await proxy.refuse()
        proxy.cut()
        assert await client.next_state() == "reconnecting"
        await proxy.mend()
        assert await client.next_state() == "reconnected"
        second = await client.invoke("GetConnectionId")
        assert second != first
        await client.invoke("ToClient", second, "hello again")
        assert await client.next_message() == ("ToClient", "hello again")


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_loses_nothing_with_stateful_reconnect(peer_site: PeerSite, protocol: str) -> None:
    async with (
        Proxy(peer_site.server.port) as proxy,
        aio_connected(f"{proxy.url}/transports", "WebSockets", protocol, stateful=True) as client,
    ):
        connection_id = await client.invoke("GetConnectionId")
        items = []
        async for item in await client.connection.stream("Count", 200, 4):
            items.append(item)
            await client.connection.send("ToCaller", str(item))
            if item % 50 == 25:
                proxy.cut()
        assert items == list(range(200))
        assert [await client.next_message() for _ in items] == [("ToCaller", str(i)) for i in items]
        assert await client.invoke("GetConnectionId") == connection_id
