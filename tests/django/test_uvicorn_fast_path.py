"""The shorter way on uvicorn: uvicorn's own protocol object, a transport that is written down, and whatever chunks a network makes."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from signalr_channels.connections.burst import Burst
from signalr_channels.consumers.uvicorn_fast_path import FastPath, cut_frames, find_fast_path, frame
from signalr_channels.protocols.base import Data, EncodedMessage, TransferFormat

REQUEST = (
    b"GET /hub HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LARGEST = 70_000
LARGER_THAN_BUFFERS = 20_000_000
"""More bytes than the kernel takes for a client that does not read."""


def client_frame(data: Data, *, opcode: Opcode | None = None, fin: bool = True) -> bytes:
    """A masked frame, made by the websockets library."""
    raw = data.encode() if isinstance(data, str) else data
    if opcode is None:
        opcode = Opcode.TEXT if isinstance(data, str) else Opcode.BINARY
    return Frame(opcode, raw, fin).serialize(mask=True)


class NetworkTransport:
    """What a protocol writes to; calls the method it was given last, as event loops do."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = self.is_paused = False
        self.protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol
        self.data_received = protocol.data_received

    def get_protocol(self) -> Any:
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class CollectingReader:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Data] = []
        self.flushes = 0

    def take(self, messages: Sequence[Data]) -> None:
        self.messages += messages

    def flush(self) -> None:
        self.flushes += 1


class Site:
    """A web socket of an application that reads through the fast path."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.reader = CollectingReader()
        self.received: list[Any] = []
        self.path: FastPath | None = None

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.path = find_fast_path(send)
        if self.path is not None:
            self.path.read_into(self.reader)
        while (event := await receive())["type"] != "websocket.disconnect":
            self.received.append(event)
        self.received.append(event)

    def make_protocol(self) -> WebSocketsSansIOProtocol:
        defaults = {"ws_per_message_deflate": False, "ws_ping_interval": None}
        config = Config(self.application, log_config=None, interface="asgi3", lifespan="off", **{**defaults, **self.options})
        config.load()
        return WebSocketsSansIOProtocol(config, ServerState(), {})

    async def open(self, *, too_early: bytes = b"", headers: bytes = b"") -> NetworkTransport:
        transport = NetworkTransport()
        protocol = self.make_protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.data_received(REQUEST[:-2] + headers + b"\r\n" + too_early)
        await settle()
        assert transport.written.startswith(b"HTTP/1.1 101")
        transport.written = b""
        return transport


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300)
payloads = st.one_of(texts, st.binary(max_size=300), st.sampled_from([125, 126, 127, 65535, 65536, LARGEST]).map(lambda size: "x" * size))


@given(
    messages=st.lists(st.tuples(payloads, st.sampled_from(["whole", "in parts", "after a ping"])), max_size=8),
    cuts=st.lists(st.integers(0)),
)
def test_every_message_comes_once_in_order_however_it_is_cut(messages: list[tuple[Data, str]], cuts: list[int]) -> None:
    stream = b""
    for data, how in messages:
        if how == "after a ping":
            stream += client_frame(b"hello", opcode=Opcode.PING)
        if how == "in parts":
            raw = data.encode() if isinstance(data, str) else data
            middle = len(raw) // 2
            stream += client_frame(raw[:middle], opcode=Opcode.TEXT if isinstance(data, str) else Opcode.BINARY, fin=False)
            stream += client_frame(b"", opcode=Opcode.PING) + client_frame(raw[middle:], opcode=Opcode.CONT)
        else:
            stream += client_frame(data)
    borders = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    chunks = [stream[start:end] for start, end in itertools.pairwise(borders)]

    async def scenario() -> None:
        site = Site()
        transport = await site.open()
        for chunk in chunks:
            transport.data_received(chunk)
        assert site.reader.messages == [data for data, how in messages]
        assert site.reader.flushes == len(chunks)
        pings = sum(how != "whole" for data, how in messages)
        assert transport.written.count(b"\x8a") >= pings
        transport.data_received(client_frame(b"\x03\xe8", opcode=Opcode.CLOSE))
        await settle()
        assert [event["type"] for event in site.received] == ["websocket.disconnect"]

    asyncio.run(scenario())


async def test_whole_messages_of_a_chunk_are_taken_together() -> None:
    site = Site()
    transport = await site.open()
    calls: list[Sequence[Data]] = []
    site.reader.take = calls.append
    transport.data_received(client_frame("a") + client_frame(b"b") + client_frame("c" * 200) + client_frame("d")[:3])
    assert calls == [["a", b"b", "c" * 200]]
    assert not site.received
    transport.data_received(b"")


async def test_what_came_before_it_was_there_goes_the_ordinary_way_first() -> None:
    site = Site()
    late = client_frame("late")
    transport = await site.open(too_early=client_frame("early") + late[:1])
    transport.data_received(late[1:])
    await settle()
    assert [event["text"] for event in site.received] == ["early"]
    assert site.reader.messages == ["late"]
    transport.data_received(client_frame("after"))
    assert site.reader.messages == ["late", "after"]


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("no UTF-8", client_frame(b"\xff\xff", opcode=Opcode.TEXT), 1007),
        ("not masked", Frame(Opcode.TEXT, b"hello world").serialize(mask=False), 1002),
        ("a reserved bit", b"\xc1" + client_frame("hello world")[1:], 1002),
        ("an unknown kind", b"\x83" + client_frame("hello world")[1:], 1002),
        ("a part of nothing", client_frame(b"hello world", opcode=Opcode.CONT), 1002),
        ("two messages at once", client_frame(b"hello", opcode=Opcode.TEXT, fin=False) + client_frame("world"), 1002),
        ("too long", client_frame("x" * 1001), 1009),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_fault_is_refused_by_the_library_behind_what_was_sent_before(name: str, data: bytes, code: int) -> None:
    site = Site(ws_max_size=1000)
    transport = await site.open()
    transport.data_received(client_frame("x" * 1000) + client_frame("good") + data)
    await settle()
    assert site.reader.messages == ["x" * 1000, "good"]
    assert transport.written[:4] == b"\x88" + transport.written[1:2] + code.to_bytes(2, "big")
    assert transport.is_closed
    transport.data_received(client_frame("ignored"))
    assert site.reader.messages == ["x" * 1000, "good"]


async def test_what_follows_our_close_is_dropped() -> None:
    site = Site()
    transport = await site.open()
    protocol = transport.protocol
    take = site.reader.take

    def close_at_once(messages: Sequence[Data]) -> None:
        take(messages)
        coroutine = protocol.send({"type": "websocket.close", "code": 1000})
        with pytest.raises(StopIteration):
            coroutine.send(None)

    site.reader.take = close_at_once
    transport.data_received(client_frame("last"))
    transport.data_received(client_frame("late") + client_frame(b"\x03\xe8", opcode=Opcode.CLOSE))
    await settle()
    assert site.reader.messages == ["last"]
    assert transport.is_closed


async def test_messages_that_wait_for_the_application_are_not_overtaken() -> None:
    site = Site()
    transport = await site.open()
    transport.protocol.queue.put_nowait({"type": "websocket.receive", "text": "waiting"})
    transport.data_received(client_frame("behind it"))
    await settle()
    assert [event["text"] for event in site.received] == ["waiting", "behind it"]
    assert site.reader.messages == []


async def test_headers_of_the_handshake_are_let_go_of_but_for_the_scope() -> None:
    site = Site()
    transport = await site.open()
    assert not list(transport.protocol.request.headers.raw_items())
    assert (b"host", b"x") in [(name.lower(), value) for name, value in transport.protocol.scope["headers"]]


async def test_there_is_none_with_compression_or_on_another_server() -> None:
    site = Site(ws_per_message_deflate=True)
    await site.open(headers=b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert site.path is None

    async def send(event: Any) -> None: ...

    assert find_fast_path(send) is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("is_text", [True, False])
def test_our_frames_are_those_of_the_library(size: int, is_text: bool) -> None:
    data = os.urandom(size)
    assert frame(data, is_text=is_text) == Frame(Opcode.TEXT if is_text else Opcode.BINARY, data).serialize(mask=False)


async def test_writing_waits_for_a_client_that_does_not_read_and_ends_with_the_connection() -> None:
    site = Site()
    transport = await site.open()
    assert site.path is not None
    message = EncodedMessage(b"x", TransferFormat.TEXT)
    assert site.path.write(message)
    assert transport.written == b"\x81\x01x"
    transport.protocol.pause_writing()
    assert not site.path.write(message)
    transport.protocol.resume_writing()
    assert site.path.write(message)
    transport.protocol.connection_lost(None)
    assert not site.path.write(message)
    await settle()


async def test_a_transport_we_do_not_know_joins_no_burst() -> None:
    site = Site()
    await site.open()
    assert site.path is not None
    burst = Burst()
    assert not site.path.join(burst, EncodedMessage(b"x", TransferFormat.TEXT))
    assert not len(burst)


@pytest.mark.parametrize("network", ["tcp", "unix"])
def test_on_uvloop_a_socket_joins_a_burst_when_it_is_next_in_line(tmp_path: Path, network: str) -> None:
    async def run() -> None:
        site = Site()
        loop = asyncio.get_running_loop()
        if network == "tcp":
            server = await loop.create_server(site.make_protocol, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        else:
            server = await loop.create_unix_server(site.make_protocol, tmp_path / "socket")
            reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        path = site.path
        assert path is not None
        message = EncodedMessage(b"x", TransferFormat.TEXT)

        burst = Burst()
        assert path.join(burst, message)
        burst.write()
        assert await reader.readexactly(3) == b"\x81\x01x"

        path.write_rest(bytes(LARGER_THAN_BUFFERS))
        assert not path.join(burst, message)
        await reader.readexactly(LARGER_THAN_BUFFERS)
        assert path.join(burst, message)

        burst = Burst()
        writer.write(client_frame(b"\x03\xe8", opcode=Opcode.CLOSE))  # Close
        await reader.readexactly(4)
        assert not path.join(burst, message)
        writer.close()
        server.close()
        await asyncio.wait_for(server.wait_closed(), 10)

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def test_half_a_header_is_left_for_later() -> None:
    short, long = client_frame("a"), client_frame("a" * 200)
    assert cut_frames(short[:5], LARGEST) == ([], 0)
    assert cut_frames(short + long[:7], LARGEST) == (["a"], len(short))
    assert cut_frames(short + client_frame("a" * 65536), LARGEST) == (["a"], len(short))
