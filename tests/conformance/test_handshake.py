"""Section 3 of the reference: the handshake, over every transport. What is in the requests is in tests/unit/protocols/test_handshake.py."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from signalr_channels.endpoints import HubEndpoint
from tests.conformance.asgi import Site
from tests.conformance.wire import BINARY, TEXT, frame, raw_socket
from tests.integration.raw import HANDSHAKE, call
from tests.live import PeerSite
from tests.peer_site.hubs import PeerHub, log

MESSAGEPACK = '{"protocol":"messagepack","version":1}\x1e'
ECHO = bytes.fromhex("0e 95 01 80 a130 a44563686f 91 a2c3a9")
REFUSED = b'{"error":"The protocol \'bson\' is not supported."}\x1e'


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    hub = type("OneHub", (PeerHub,), {})
    async with Site(HubEndpoint("hub", hub, {}), HubEndpoint("json", hub, {"HUB_PROTOCOLS": ["json"]})) as site:
        yield site


@pytest.mark.parametrize(
    ("chunk", "answer"),
    [
        (HANDSHAKE + call("Echo", "x"), '{"type":3,"invocationId":"0","result":"x"}\x1e'),
        (MESSAGEPACK.encode() + ECHO, bytes.fromhex("09 95 03 80 a130 03 a2c3a9")),
    ],
    ids=["json", "messagepack"],
)
async def test_the_response_is_a_message_of_its_own(site: Site, chunk: str | bytes, answer: str | bytes) -> None:
    """Although a call came with the request."""
    socket = await site.socket("/hub").accepted()
    socket.send(chunk)
    assert await socket.receive() == ("{}\x1e" if isinstance(answer, str) else b"{}\x1e")
    assert await socket.receive() == answer


def test_the_response_is_a_frame_of_its_own(peer_site: PeerSite) -> None:
    for chunk, opcode in [((HANDSHAKE + call("Echo", "x")).encode(), TEXT), (MESSAGEPACK.encode() + ECHO, BINARY)]:
        for _ in range(5):
            with raw_socket(f"{peer_site.url}/peer") as client:
                client.send(frame(opcode, chunk))
                assert client.receive() == (opcode, b"{}\x1e")
                assert client.receive()[0] == opcode


async def test_a_failure_ends_every_transport(site: Site) -> None:
    """With the error and no Close message, and the hub hears nothing of it."""
    before = log.read()
    request = '{"protocol":"bson","version":1}\x1e' + call("Echo", "x")
    polls, events = await site.polls("/hub", handshake=b""), await site.events("/hub", handshake=b"")
    socket = await site.socket("/hub").accepted()
    socket.send(request)
    for connection in (polls, events):
        assert (await connection.post(request)).status == 200
    assert await socket.receive() == REFUSED.decode()
    assert await socket.closed() == 1000
    assert await events.stream.event() == REFUSED
    assert await events.stream.chunk() is None
    assert (await polls.poll()).brief == (200, REFUSED)
    assert (await polls.poll()).brief == (204, b"")
    assert log.read() == before


async def test_a_protocol_the_hub_does_not_offer_is_unknown(site: Site) -> None:
    socket = await site.socket("/json").accepted()
    socket.send(MESSAGEPACK)
    assert json.loads(str(await socket.receive())[:-1]) == {"error": "The protocol 'messagepack' is not supported."}


async def test_a_client_that_leaves_before_the_handshake_is_not_answered(site: Site) -> None:
    before = log.read()
    socket = await site.socket("/hub").accepted()
    socket.send(HANDSHAKE[:10])
    socket.close()
    await socket.finish()
    assert await socket.is_silent()
    assert log.read() == before
