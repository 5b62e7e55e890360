"""Python clients on every transport and in every hub protocol they have, against live server processes and through a proxy that fails."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from aiosignalr.client import HubConnection, RetryContext, RetryPolicy
from aiosignalr.errors import HubException, NegotiationError, SignalRError
from pysignalr.protocol.json import JSONProtocol
from pysignalr.protocol.messagepack import MessagepackProtocol
from signalrcore.subject import Subject
from signalrcore.types import HttpTransportType, HubProtocolEncoding

from tests.clients import test_pysignalr as pysignalr
from tests.clients import test_signalrcore as signalrcore
from tests.live import PeerSite
from tests.proxy import Proxy

DEADLINE = 15.0
NO_METHOD = "Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist."
FAILED = "An unexpected error occurred invoking 'FailHub' on the server. HubException: Sorry, Zoë."
COUNTED = "An error occurred on the server while streaming results. HubException: counted"
TEXT = "漢字 😀 \x1e \u2028"

T = TypeVar("T")


async def within(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, DEADLINE)


def access_token(site: PeerSite, user: str, seconds: int = 60) -> str:
    with urllib.request.urlopen(f"{site.url}/token?user={user}&seconds={seconds}", timeout=DEADLINE) as response:
        return str(response.read().decode())


# pysignalr has web sockets only.

pysignalr_protocols = pytest.mark.parametrize("protocol", [JSONProtocol, MessagepackProtocol])


@pysignalr_protocols
async def test_pysignalr_calls(peer_site: PeerSite, protocol: type[Any]) -> None:
    async with pysignalr.connected(f"{peer_site.url}/transports", protocol=protocol()) as client:
        assert await client.invoke("Add", 2, -3) == -1
        assert await client.invoke("Echo", TEXT) == TEXT
        assert await client.invoke("Echo", None) is None
        assert len(await client.invoke("Big", 200_000)) == 200_000
        await client.client.send("ToCaller", ["fire and forget"])
        assert await client.next_message() == ["ToCaller", "fire and forget"]
        for method, arguments, text in [("FailHub", ["Sorry, Zoë."], FAILED), ("Nope", [], NO_METHOD)]:
            await client.client.send(method, arguments, client.ignore)
            assert await client.next_error() == text
        assert await client.invoke("Echo", "still here") == "still here"


async def test_pysignalr_sends_and_receives_bytes_and_maps(peer_site: PeerSite) -> None:
    # It cannot read timestamps (msgpack's Timestamp goes in, but nothing that can be sent again comes out).
    record = {"Int": -5, "Long": 2**62, "Double": 1.25, "Bool": True, "Text": "é", "Bytes": bytes(range(256)), "Money": "12.50",
              "Color": "Green", "List": [1, 2], "Map": {"a b": 1}, "Child": {"Text": "child"}}  # fmt: skip
    async with pysignalr.connected(f"{peer_site.url}/transports", protocol=MessagepackProtocol()) as client:
        result = await client.invoke("EchoRecord", record)
        assert {**result, "Child": None} == {**result, **record, "Child": None}
        assert result["Child"]["Text"] == "child"


@pysignalr_protocols
async def test_pysignalr_streams(peer_site: PeerSite, protocol: type[Any]) -> None:
    async with pysignalr.connected(f"{peer_site.url}/transports", protocol=protocol()) as client:
        items: list[Any] = []
        ends: asyncio.Queue[Any] = asyncio.Queue()

        async def next_item(item: Any) -> None:
            items.append(item)

        await client.client.stream("Count", [100, 0], next_item, ends.put)
        assert (await within(ends.get())).error is None
        assert items == list(range(100))
        items.clear()
        await client.client.stream("CountFail", [3], next_item, None, ends.put)
        assert (await within(ends.get())).error == COUNTED
        assert items == [0, 1, 2]


@pysignalr_protocols
async def test_pysignalr_uploads(peer_site: PeerSite, protocol: type[Any]) -> None:
    """It asks for no result (1.3), so the hub's messages tell how far it came."""
    async with pysignalr.connected(f"{peer_site.url}/transports", protocol=protocol()) as client:
        async with client.client.client_stream("SumSoFar") as stream:
            for i in range(20):
                await stream.send(i)
        assert [await client.next_message() for _ in range(21)] == [["SumSoFar", str(sum(range(i + 1)))] for i in range(20)] + [
            ["SumSoFar", "190 in all"]
        ]


@pysignalr_protocols
async def test_pysignalr_answers(peer_site: PeerSite, protocol: type[Any]) -> None:
    async with pysignalr.connected(f"{peer_site.url}/transports", protocol=protocol()) as client:

        async def answer(arguments: list[Any]) -> int | None:
            return arguments[0] * 2 if arguments[0] else None

        client.client.on("Ask", answer)
        connection_id = await client.invoke("GetConnectionId")
        assert await client.invoke("AskClient", connection_id, 21) == 42
        await client.client.send("AskClient", [connection_id, 0], client.ignore)
        assert (await client.next_error()).endswith(" HubException: Client didn't provide a result.")


@pysignalr_protocols
async def test_pysignalr_hears_its_groups_and_its_user(peer_site: PeerSite, protocol: type[Any]) -> None:
    headers = {"Authorization": f"Bearer {access_token(peer_site, 'pysignalr')}"}
    async with pysignalr.connected(f"{peer_site.url}/secure", protocol=protocol(), headers=headers) as client:
        assert await client.invoke("GetUserName") == "pysignalr"
        await client.invoke("Join", "red")
        await client.invoke("ToGroup", "red", "to red")
        await client.invoke("ToUser", "pysignalr", "to me")
        assert [await client.next_message() for _ in range(2)] == [["ToGroup", "to red"], ["ToUser", "to me"]]


@pysignalr_protocols
async def test_pysignalr_comes_back_as_somebody_new_after_a_cut(peer_site: PeerSite, protocol: type[Any]) -> None:
    """With the token of the connection that was lost first, which opens nothing more."""
    async with (
        Proxy(peer_site.server.port) as proxy,
        pysignalr.connected(f"{proxy.url}/transports", protocol=protocol(), retry_sleep=0.1, retry_multiplier=1) as client,
    ):
        first = await client.invoke("GetConnectionId")
        await client.invoke("Join", "red")
        proxy.cut()
        await client.wait_opened()
        second = await client.invoke("GetConnectionId")
        assert second != first
        await client.invoke("ToGroup", "red", "to nobody")
        await client.invoke("ToClient", second, "hello again")
        assert await client.next_message() == ["ToClient", "hello again"]
    event = await asyncio.to_thread(peer_site.wait_for_event, connection_id=first, kind="disconnected")
    assert event["reason"] == "client_gone"


# signalrcore has all transports. Its long polling (1.0.2) takes one message out of each answer and leaves the others until the next one,
# sends no token with its polls, and looks for 0x1E in MessagePack as well, so there it waits for the handshake for ever.

SIGNALRCORE = [
    pytest.param(HttpTransportType.web_sockets, HubProtocolEncoding.text, id="webSockets-json"),
    pytest.param(HttpTransportType.web_sockets, HubProtocolEncoding.binary, id="webSockets-messagepack"),
    pytest.param(HttpTransportType.server_sent_events, HubProtocolEncoding.text, id="serverSentEvents-json"),
    pytest.param(HttpTransportType.long_polling, HubProtocolEncoding.text, id="longPolling-json"),
]
signalrcore_ways = pytest.mark.parametrize(("transport", "encoding"), SIGNALRCORE)
signalrcore_ways_but_polls = pytest.mark.parametrize(("transport", "encoding"), SIGNALRCORE[:3])


@contextlib.contextmanager
def started(url: str, transport: HttpTransportType, encoding: HubProtocolEncoding, **options: Any) -> Iterator[signalrcore.Client]:
    client = signalrcore.Client(url, transport=transport, **options)
    client.connection.preferred_protocol = encoding
    client.connection.start()
    assert client.next_state() == "open"
    try:
        yield client
    finally:
        # See test_signalrcore.py: stop() waits for whatever the server sends next.
        client.connection.send("AbortMe", [])
        assert client.next_state() == "closed"
        # A client of server-sent events that the server has ended leaves its socket to the garbage collector (1.0.2).
        if transport is HttpTransportType.server_sent_events:
            client.connection.transport._client.sock.close()


@signalrcore_ways
def test_signalrcore_calls(peer_site: PeerSite, transport: HttpTransportType, encoding: HubProtocolEncoding) -> None:
    with started(f"{peer_site.url}/transports", transport, encoding) as client:
        assert client.invoke("Add", 2, -3) == -1
        assert client.invoke("Echo", "é 漢字 😀") == "é 漢字 😀"
        assert client.invoke("Nothing") is None
        assert len(client.invoke("Big", 200_000)) == 200_000
        for method, arguments, text in [("FailHub", ["Sorry, Zoë."], FAILED), ("Nope", [], NO_METHOD)]:
            client.connection.invoke(method, arguments)
            assert client.next_error() == text
        assert client.invoke("Echo", "still here") == "still here"


@signalrcore_ways_but_polls
def test_signalrcore_streams(peer_site: PeerSite, transport: HttpTransportType, encoding: HubProtocolEncoding) -> None:
    with started(f"{peer_site.url}/transports", transport, encoding) as client:
        events: queue.Queue[Any] = queue.Queue()
        # Slowly, since it has called before it says who listens (1.0.2).
        stream = client.connection.stream("Count", [5, 100])
        stream.subscribe({"next": events.put, "complete": lambda _: events.put("complete"), "error": events.put})
        assert [events.get(timeout=DEADLINE) for _ in range(6)] == [0, 1, 2, 3, 4, "complete"]
        client.connection.stream("CountFail", [0])
        assert client.next_error() == COUNTED


@pytest.mark.parametrize(("transport", "encoding"), [SIGNALRCORE[0], SIGNALRCORE[2]])
def test_signalrcore_uploads(peer_site: PeerSite, transport: HttpTransportType, encoding: HubProtocolEncoding) -> None:
    """
    It asks for no result (1.0.2), so the hub's messages tell how far it came.

    In MessagePack it leaves the invocation id out of what starts an upload.
    """
    with started(f"{peer_site.url}/transports", transport, encoding) as client:
        numbers = Subject()
        client.connection.send("SumSoFar", numbers)
        for i in range(5):
            numbers.next(i)
        numbers.complete()
        assert [client.next_message()[1] for _ in range(6)] == ["0", "1", "3", "6", "10", "10 in all"]


@signalrcore_ways
def test_signalrcore_hears_others(peer_site: PeerSite, transport: HttpTransportType, encoding: HubProtocolEncoding) -> None:
    url, group = f"{peer_site.url}/transports", f"signalrcore {transport.name} {encoding.name}"
    with started(url, transport, encoding) as client, signalrcore.connected(url) as other:
        connection_id = client.invoke("GetConnectionId")
        client.invoke("Join", group)
        other.invoke("ToGroup", group, "to the group")
        assert client.next_message() == ["ToGroup", "to the group"]
        other.invoke("ToClient", connection_id, "to one")
        assert client.next_message() == ["ToClient", "to one"]
        client.invoke("Leave", group)
        other.invoke("ToGroup", group, "to nobody")
        other.invoke("ToClient", connection_id, "the last")
        assert client.next_message() == ["ToClient", "the last"]


@signalrcore_ways_but_polls
def test_signalrcore_with_a_token(peer_site: PeerSite, transport: HttpTransportType, encoding: HubProtocolEncoding) -> None:
    user = f"signalrcore-{transport.name}-{encoding.name}"
    factory = {"access_token_factory": lambda: access_token(peer_site, user)}
    with started(f"{peer_site.url}/secure", transport, encoding, **factory) as client:
        assert client.invoke("GetUserName") == user


# aiosignalr has all transports.

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
async def test_aiosignalr_calls(peer_site: PeerSite, transport: str, protocol: str) -> None:
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
async def test_aiosignalr_keeps_every_kind_of_value(peer_site: PeerSite, transport: str, protocol: str) -> None:
    record: dict[str, Any] = {"Int": -5, "Long": 2**62, "Double": 1.25, "Bool": True, "Text": "é", "List": [1, 2], "Map": {"a b": 1}}
    if protocol == "json":
        record |= {"Bytes": "AAECgP8=", "Color": 1, "Money": 12.5, "When": "2000-01-02T03:04:05Z"}
    else:
        record |= {"Bytes": bytes(range(256)), "Color": "Green", "Money": "12.50"}
    async with aio_connected(f"{peer_site.url}/transports", transport, protocol) as client:
        result = await client.invoke("EchoRecord", record)
        assert {**result, **record} == result


@aiosignalr_ways
async def test_aiosignalr_streams(peer_site: PeerSite, transport: str, protocol: str) -> None:
    async with aio_connected(f"{peer_site.url}/transports", transport, protocol) as client:
        assert [i async for i in await client.connection.stream("Count", 100, 0)] == list(range(100))
        failing = await client.connection.stream("CountFail", 3)
        assert [await within(anext(failing)) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(HubException) as caught:
            await within(anext(failing))
        assert str(caught.value) == COUNTED


@aiosignalr_json
async def test_aiosignalr_uploads_cancels_and_answers(peer_site: PeerSite, transport: str, protocol: str) -> None:
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
async def test_aiosignalr_stops(peer_site: PeerSite, transport: str, protocol: str) -> None:
    async with aio_connected(f"{peer_site.url}/transports", transport, protocol) as client:
        connection_id = await client.invoke("GetConnectionId")
    event = await asyncio.to_thread(peer_site.wait_for_event, connection_id=connection_id, kind="disconnected")
    assert event["reason"] == "client_closed"


@aiosignalr_ways
async def test_aiosignalr_with_a_token(peer_site: PeerSite, transport: str, protocol: str) -> None:
    user = f"aiosignalr-{transport}-{protocol}"
    token = await asyncio.to_thread(access_token, peer_site, user)
    async with aio_connected(f"{peer_site.url}/secure", transport, protocol, token=lambda: token) as client:
        assert await client.invoke("GetUserName") == user
    with pytest.raises(NegotiationError, match="401"):
        await within(HubConnection(protocol=protocol).start(f"{peer_site.url}/secure", transports={transport}))


async def test_aiosignalr_is_offered_no_binary_event_stream(peer_site: PeerSite) -> None:
    connection = HubConnection(protocol="messagepack")
    with pytest.raises(SignalRError, match="No compatible transport"):
        await within(connection.start(f"{peer_site.url}/transports", transports={"ServerSentEvents"}))


@aiosignalr_ways
async def test_aiosignalr_comes_back_as_somebody_new_after_a_cut(peer_site: PeerSite, transport: str, protocol: str) -> None:
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
async def test_aiosignalr_loses_nothing_with_stateful_reconnect(peer_site: PeerSite, protocol: str) -> None:
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
