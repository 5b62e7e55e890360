"""Section 2.3 of the reference: web sockets, on the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.asgi import SSE
from tests.conformance.wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, UPGRADE, frame, raw_socket, request
from tests.integration.raw import HANDSHAKE, RawClient, call, negotiate
from tests.live import PeerSite, serve_peer_site

JSON = HANDSHAKE.encode()
MESSAGEPACK = b'{"protocol":"messagepack","version":1}\x1e'
ECHO = bytes.fromhex("0e 95 01 80 a130 a44563686f 91 a2c3a9")
ECHOED = bytes.fromhex("09 95 03 80 a130 03 a2c3a9")
ABORTED = "An exception caused the WebSocket to enter the Aborted state."


def test_what_a_client_offers_is_declined(peer_site: PeerSite) -> None:
    offers = {"Sec-WebSocket-Protocol": "a, b", "Sec-WebSocket-Extensions": "permessage-deflate"}
    with raw_socket(f"{peer_site.url}/peer", headers=offers) as client:
        assert client.head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-protocol" not in client.head.lower()
        assert b"sec-websocket-extensions" not in client.head.lower()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(
    ("handshake", "message", "answer", "answered"),
    [
        (JSON, call("Echo", "x").encode(), b'{"type":3,"invocationId":"0","result":"x"}\x1e', TEXT),
        (MESSAGEPACK, ECHO, ECHOED, BINARY),
    ],
    ids=["json", "messagepack"],
)
def test_frames_are_of_the_protocols_kind_whatever_the_client_sends(
    peer_site: PeerSite, opcode: int, handshake: bytes, message: bytes, answer: bytes, answered: int
) -> None:
    with raw_socket(f"{peer_site.url}/peer") as client:
        client.send(frame(opcode, handshake))
        assert client.receive() == (answered, b"{}\x1e")
        client.send(frame(TEXT if answered == TEXT and opcode == TEXT else BINARY, message))
        assert client.receive() == (answered, answer)


def test_a_handshake_that_fails_is_answered_as_text(peer_site: PeerSite) -> None:
    with raw_socket(f"{peer_site.url}/peer") as client:
        client.send(frame(BINARY, b'{"protocol":"bson","version":1}\x1e'))
        assert client.receive() == (TEXT, b'{"error":"The protocol \'bson\' is not supported."}\x1e')
        assert client.end() == 1000


def test_a_message_may_be_cut_inside_a_character_by_fragments_and_binary_frames(peer_site: PeerSite) -> None:
    message = call("Echo", "x").replace("x", "é").encode()
    cut = message.index("é".encode()) + 1
    for first, second in [
        (frame(TEXT, message[:cut], is_final=False), frame(CONTINUATION, message[cut:])),
        (frame(BINARY, message[:cut]), frame(BINARY, message[cut:])),
    ]:
        with raw_socket(f"{peer_site.url}/peer", handshake=JSON) as client:
            client.send(first)
            client.send(second)
            assert client.receive() == (TEXT, '{"type":3,"invocationId":"0","result":"é"}\x1e'.encode())


@pytest.mark.parametrize(("handshake", "text"), [(JSON, b'{"type":1,"target":"\xc3'), (MESSAGEPACK, ECHO)], ids=["json", "messagepack"])
def test_a_text_message_is_utf8_by_itself(peer_site: PeerSite, handshake: bytes, text: bytes) -> None:
    """That is final, and the hub is told."""
    negotiated = negotiate(f"{peer_site.url}/peer")
    url = f"{peer_site.url}/peer?id={negotiated['connectionToken']}"
    with raw_socket(url, handshake=handshake) as client:
        client.send(frame(TEXT, text))
        assert client.end() in (1007, None)
    event = peer_site.wait_for_event(connection_id=negotiated["connectionId"], kind="disconnected")
    assert event["reason"] == "protocol_error"
    log = request("GET", f"{peer_site.url}/events").body.decode()
    assert f"disconnected {negotiated['connectionId']} {ABORTED}" in log
    assert request("GET", url).status == 404


@pytest.mark.parametrize(
    "breach",
    [
        frame(3, b"x"),
        frame(11, b"x"),
        frame(TEXT, b"x", reserved=0x40),
        frame(CONTINUATION, b"x"),
        frame(PING, b"x" * 126),
        frame(PING, b"x", is_final=False),
        frame(CLOSE, (1005).to_bytes(2, "big")),
        frame(TEXT, JSON, is_masked=False),
    ],
    ids=["reserved", "reserved control", "reserved bit", "stray continuation", "long ping", "fragmented ping", "bad code", "unmasked"],
)
def test_other_breaches_end_the_web_socket(peer_site: PeerSite, breach: bytes) -> None:
    with raw_socket(f"{peer_site.url}/peer") as client:
        client.send(breach)
        assert client.end() in (1002, None)
    with RawClient(f"{peer_site.url}/peer") as other:
        other.echo()


def test_a_long_message_is_one_frame(peer_site: PeerSite) -> None:
    with raw_socket(f"{peer_site.url}/peer", handshake=JSON) as client:
        client.send(frame(TEXT, call("Big", 100_000).encode()))
        opcode, data = client.receive()
        assert (opcode, len(data)) == (TEXT, 100_000 + len('{"type":3,"invocationId":"0","result":""}\x1e'))


def test_a_ping_frame_is_answered(peer_site: PeerSite) -> None:
    with raw_socket(f"{peer_site.url}/peer", handshake=JSON) as client:
        client.send(frame(PING, b"hi"))
        assert client.receive() == (10, b"hi")


@pytest.mark.parametrize(("closing", "answered"), [(b"", 1005), (b"\x03\xe8", 1000), (b"\x0f\xa0enough", 4000)])
def test_a_close_frame_is_answered_at_once(peer_site: PeerSite, closing: bytes, answered: int) -> None:
    """Also while a method runs. The web server gives the code back, as RFC 6455 recommends."""
    with raw_socket(f"{peer_site.url}/peer", handshake=JSON) as client:
        client.send(frame(TEXT, call("Slow", 30_000).encode()))
        client.send(frame(CLOSE, closing))
        started = time.monotonic()
        assert client.end() == answered
        with pytest.raises(EOFError):
            client.receive()
        assert time.monotonic() - started < 3


def test_the_server_closes_with_1000(peer_site: PeerSite) -> None:
    with raw_socket(f"{peer_site.url}/peer", handshake=JSON) as client:
        client.send(frame(TEXT, call("AbortMe").encode()))
        assert client.receive() == (TEXT, b'{"type":7}\x1e')
        assert client.receive() == (CLOSE, b"\x03\xe8")
        client.send(frame(CLOSE, b"\x03\xe8"))
        with pytest.raises(EOFError):
            client.receive()


@pytest.fixture(scope="module")
def hasty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerSite]:
    """A site that waits half a second for an answer to a Close frame."""
    database: Path = tmp_path_factory.mktemp("hasty") / "db.sqlite3"
    with serve_peer_site(database, PEER_SIGNALR='{"WEBSOCKET_CLOSE_TIMEOUT": 0.5}') as server:
        yield PeerSite(server, database)


def test_a_close_frame_that_is_not_answered(hasty_site: PeerSite) -> None:
    with raw_socket(f"{hasty_site.url}/peer", handshake=JSON) as client:
        client.send(frame(TEXT, call("AbortMe").encode()))
        assert client.receive() == (TEXT, b'{"type":7}\x1e')
        started = time.monotonic()
        assert client.end() == 1000
        assert client.end() is None  # cut
        assert 0.4 < time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Connection": "close"}, 200),
        ({"Upgrade": "something"}, 200),
        ({"Sec-WebSocket-Version": "12"}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
    ],
)
def test_an_upgrade_that_is_none(peer_site: PeerSite, change: dict[str, str], status: int) -> None:
    """A poll where the web server lets it through; it refuses by itself what is a web-socket request, but a bad one."""
    token = negotiate(f"{peer_site.url}/peer")["connectionToken"]
    assert request("GET", f"{peer_site.url}/peer?id={token}", {**UPGRADE, **change}).status == status


def test_a_web_socket_that_would_take_events(peer_site: PeerSite) -> None:
    """The web server has made it a web socket before we see it. No stock client sends both."""
    token = negotiate(f"{peer_site.url}/peer")["connectionToken"]
    with raw_socket(f"{peer_site.url}/peer?id={token}", headers=SSE) as client:
        assert client.head.startswith(b"HTTP/1.1 101 ")
