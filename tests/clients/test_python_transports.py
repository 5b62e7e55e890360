"""
Python clients on every transport and in every hub protocol they have, against live server processes and through a proxy that fails.

aiosignalr, which not every Python has, has a module of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import pytest
from pysignalr.protocol.json import JSONProtocol
from pysignalr.protocol.messagepack import MessagepackProtocol
from signalrcore.subject import Subject
from signalrcore.types import HttpTransportType, HubProtocolEncoding

from tests.clients import test_pysignalr as pysignalr
from tests.clients import test_signalrcore as signalrcore
from tests.clients.python_clients import COUNTED, DEADLINE, FAILED, NO_METHOD, TEXT, access_token, within
from tests.live import PeerSite
from tests.proxy import Proxy

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
