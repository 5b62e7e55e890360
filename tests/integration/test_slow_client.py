"""A client that does not read ends alone: nobody waits for it, and what waits for it is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.integration.raw import HANDSHAKE, SEPARATOR, call
from tests.live import PeerSite, serve_peer_site

DEADLINE = 60.0
BROADCASTS = 300
SIZE = 32 * 1024 - 200  # a message of 32 KiB with all around it
MIB = 2**20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PeerSite]:
    """A process of its own, whose memory is its own."""
    database = tmp_path / "db.sqlite3"
    with serve_peer_site(database) as server:
        yield PeerSite(server, database)


class DeafClient:
    """Shakes hands and then reads nothing, with a small receive buffer of the kernel."""

    def __init__(self, site: PeerSite) -> None:
        self.user_agent = f"deaf {uuid.uuid4().hex}"
        self._address = ("127.0.0.1", site.server.port)
        self.socket = socket.socket()

    def shake_hands(self, path: str) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(self._address)
        self.socket.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nUser-Agent: {self.user_agent}\r\n\r\n".encode()
        )
        self._read_until(b"\r\n\r\n")
        self.send(HANDSHAKE)
        self._read_until(b"{}\x1e")

    def _read_until(self, end: bytes) -> None:
        received = b""
        while not received.endswith(end):
            byte = self.socket.recv(1)
            assert byte, received
            received += byte

    def send(self, text: str) -> None:
        """One masked text frame of up to 64 KiB; the mask is zero."""
        data = text.encode()
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self.socket.sendall(b"\x81" + length + bytes(4) + data)


@contextlib.contextmanager
def deaf_clients(number: int, site: PeerSite, path: str) -> Iterator[list[DeafClient]]:
    with contextlib.ExitStack() as sockets:
        clients = []
        for _ in range(number):
            client = DeafClient(site)
            sockets.enter_context(contextlib.closing(client.socket))
            client.shake_hands(path)
            clients.append(client)
        yield clients


@contextlib.asynccontextmanager
async def hearing_client(site: PeerSite, path: str) -> Any:
    address = f"ws{site.url.removeprefix('http')}/{path}"
    async with connect(address, compression=None, max_size=None, ping_interval=None, proxy=None) as client:
        await client.send(HANDSHAKE)
        assert await client.recv() == "{}" + SEPARATOR
        yield client


async def next_message(client: ClientConnection) -> Any:
    while (message := json.loads((await client.recv(decode=True)).removesuffix(SEPARATOR))) == {"type": 6}:
        pass
    return message


async def hear_broadcasts(client: ClientConnection) -> None:
    """Read every broadcast, in order and whole."""
    for number in range(BROADCASTS):
        message = await next_message(client)
        assert message["target"] == "message"
        assert message["arguments"] == [f"{number:03}" + "x" * SIZE]


async def broadcast(client: ClientConnection) -> None:
    """Send every broadcast, each when the one before is done, and read what comes."""
    for number in range(BROADCASTS):
        await client.send(call("broadcast", f"{number:03}" + "x" * SIZE))
        assert (await next_message(client))["target"] == "message"
        assert (await next_message(client)) == {"type": 3, "invocationId": "0", "result": None}


class MemoryWatch:
    """By how many bytes the resident memory of the server process grew at most, looked at again and again while it is open."""

    def __init__(self, site: PeerSite) -> None:
        self._process = psutil.Process(site.server.pid)
        self._first = self._process.memory_info().rss
        self.growth = 0

    async def __aenter__(self) -> MemoryWatch:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *args: object) -> None:
        self._look()
        self._task.cancel()
        await asyncio.wait([self._task])

    def _look(self) -> None:
        self.growth = max(self.growth, self._process.memory_info().rss - self._first)

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(0.01)


async def test_broadcasts_reach_all_but_the_deaf(site: PeerSite) -> None:
    with deaf_clients(5, site, "bench") as deaf:
        async with hearing_client(site, "bench") as one, hearing_client(site, "bench") as two, hearing_client(site, "bench") as sender:
            async with MemoryWatch(site) as memory:
                await asyncio.wait_for(asyncio.gather(hear_broadcasts(one), hear_broadcasts(two), broadcast(sender)), DEADLINE)
            # What waits is shared by all five; 10 MiB and more if it were not bounded.
            assert memory.growth < 6 * MIB
            for client in deaf:
                event = await asyncio.to_thread(site.wait_for_event, user_agent=client.user_agent, kind="disconnected")
                assert event["reason"] == "slow_consumer"
                assert "MAXIMUM_BUFFERED_BYTES" in event["detail"]
            assert len(site.lifetime_events(reason="slow_consumer")) == len(deaf)


async def test_results_that_nobody_reads_do_not_pile_up(site: PeerSite) -> None:
    """Unlike broadcasts these are not shared by their receivers: 100 MiB if they were kept."""
    with deaf_clients(1, site, "everything-impatient") as [deaf]:
        async with MemoryWatch(site) as memory:
            for _ in range(200):
                deaf.send(call("Big", MIB // 2))
            event = await asyncio.to_thread(site.wait_for_event, user_agent=deaf.user_agent, kind="disconnected")
        assert event["reason"] == "slow_consumer"
        assert memory.growth < 20 * MIB
        async with hearing_client(site, "peer") as client:
            await client.send(call("Echo", "others go on"))
            assert (await next_message(client))["result"] == "others go on"


async def test_one_write_that_takes_too_long(site: PeerSite) -> None:
    """The server takes one message of any size; the next one then waits. It is too small for the queue, but this hub gives it a second."""
    with deaf_clients(1, site, "everything-impatient") as [deaf]:
        deaf.send(call("Big", 32 * MIB))
        deaf.send(call("Echo", "behind it"))
        event = await asyncio.to_thread(site.wait_for_event, user_agent=deaf.user_agent, kind="disconnected")
        assert event["reason"] == "slow_consumer"
        assert "TRANSPORT_SEND_TIMEOUT" in event["detail"]
