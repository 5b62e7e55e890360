"""Broadcasts to more connections than go one by one: each gets all of them, whole and in order, whatever others do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from signalr_channels.connections.burst import MANY
from tests.integration.raw import HANDSHAKE, SEPARATOR, call
from tests.live import PEER_SITE, PeerSite, Process, free_port, peer_site_environment, running, server_command

CERTIFICATE = Path(__file__).with_name("localhost.pem")
DEADLINE = 60.0
RECEIVERS = 3 * MANY
BROADCASTS = 200
CALLS_AT_ONCE = 8


@contextlib.asynccontextmanager
async def clients(number: int, url: str, tls: ssl.SSLContext | None) -> AsyncIterator[list[ClientConnection]]:
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(number):
            client = await stack.enter_async_context(connect(url, ssl=tls, compression=None, ping_interval=None, proxy=None))
            await client.send(HANDSHAKE)
            assert await client.recv() == "{}" + SEPARATOR
            made.append(client)
        yield made


async def messages(client: ClientConnection) -> AsyncIterator[Any]:
    while True:
        frame = await client.recv(decode=True)
        for record in frame.split(SEPARATOR)[:-1]:
            yield json.loads(record)


async def publish(client: ClientConnection) -> None:
    """Several calls of the publisher are on the way at once, so several broadcasts fall into one turn of the server."""
    for first in range(0, BROADCASTS, CALLS_AT_ONCE):
        for number in range(first, first + CALLS_AT_ONCE):
            await client.send(call("broadcast", f"{number}", invocation_id=None))


async def hear(client: ClientConnection) -> None:
    """All broadcasts in order, and the answers to calls made meanwhile in theirs."""
    asked = answered = heard = 0
    async for message in messages(client):
        if message.get("target") == "message":
            assert message["arguments"] == [f"{heard}"]
            heard += 1
            if heard % 10 == 0:
                await client.send(call("echo", f"{asked}", invocation_id=f"{asked}"))
                asked += 1
        elif message["type"] == 3:
            assert message == {"type": 3, "invocationId": f"{answered}", "result": f"{answered}"}
            answered += 1
        if heard == BROADCASTS and answered == BROADCASTS // 10:
            return


async def leave(client: ClientConnection) -> None:
    """Hear a few, then cut the network."""
    async for message in messages(client):
        if message.get("arguments") == [f"{CALLS_AT_ONCE}"]:
            client.transport.abort()
            return


async def run(url: str, tls: ssl.SSLContext | None = None) -> None:
    async with clients(RECEIVERS, url, tls) as (publisher, *receivers):
        leaving, staying = receivers[:MANY], receivers[MANY:]
        jobs = [publish(publisher), hear(publisher), *map(hear, staying), *map(leave, leaving)]
        await asyncio.wait_for(asyncio.gather(*jobs), DEADLINE)


def test_all_who_stay_hear_all_broadcasts_in_order(peer_site: PeerSite) -> None:
    asyncio.run(run(f"ws{peer_site.url.removeprefix('http')}/bench"))


def test_over_tls_too(tmp_path: Path) -> None:
    """There nothing may be written to a socket but what TLS has encrypted."""
    port = free_port()
    command = [*server_command(PEER_SITE, port), "--ssl-certfile", str(CERTIFICATE), "--ssl-keyfile", str(CERTIFICATE)]
    with running(Process(command, port, peer_site_environment(tmp_path / "db.sqlite3"))):
        asyncio.run(run(f"wss://127.0.0.1:{port}/bench", ssl.create_default_context(cafile=CERTIFICATE)))
