"""Processes that look for the owner of a connection in the same moment agree on one, over each channel layer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from signalr_channels.backplane import names
from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.seeking import OwnerSearch
from tests.contracts.sites import TIMEOUT, Backplane, close_layer

pytestmark = pytest.mark.usefixtures("no_task_left")

ADDRESS = names.everyone("signalr", "(owners)")
IDS = [f"connection {number}" for number in range(25)]


class Process:
    """A server process, as far as owners are concerned."""

    def __init__(self, name: str, layer: Any) -> None:
        self.layer = layer
        self.relay = Relay(layer, process=name, ack_timeout=TIMEOUT)
        self.open: set[str] = set()
        self.search = OwnerSearch(self.relay, ADDRESS, "(owners)", self.open.__contains__)
        self.relay.register("(owners)", self._hear)

    def _hear(self, message: Any) -> Awaitable[None] | None:
        return self.search.hear(message)

    async def join(self) -> None:
        self.relay.hold(ADDRESS)
        await self.relay.settle(ADDRESS)
        self.search.joined()

    async def find(self, connection_id: str, delay: float = 0.0) -> str | None:
        await asyncio.sleep(delay)
        owner = await self.search.find(connection_id, may_claim=True)
        if owner == self.relay.channel:
            self.open.add(connection_id)
            self.search.settled(connection_id)
        return owner

    async def stop(self) -> None:
        await self.relay.stop()
        await close_layer(self.layer)


@pytest.fixture(params=["in-memory layer", "core", "pubsub"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[list[Process]]:
    """Three processes that have just joined."""
    redis_url = "" if request.param == "in-memory layer" else request.getfixturevalue("redis_url")
    backplane = Backplane(request.param, redis_url)
    processes = [Process(f"process-{number}", backplane.make_layer()) for number in range(3)]
    for process in processes:
        await process.join()
    yield processes
    for process in processes:
        await process.stop()


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.6], ids=["at once", "nearly at once", "while others wait"])
async def test_each_connection_has_one_owner_whom_all_know(site: list[Process], delay: float) -> None:
    async def ask(connection_id: str, first: int) -> set[str | None]:
        asked = [site[(first + number) % 3].find(connection_id, number * delay) for number in range(3)]
        return set(await asyncio.gather(*asked))

    found = await asyncio.gather(*(ask(connection_id, number) for number, connection_id in enumerate(IDS)))
    owners = [[process.relay.channel for process in site if connection_id in process.open] for connection_id in IDS]
    assert [len(each) for each in owners] == [1] * len(IDS)
    assert found == [set(each) for each in owners]


async def test_who_asks_later_is_sent_to_the_owner(site: list[Process]) -> None:
    near, far, _ = site
    assert await near.find("one") == near.relay.channel
    began = asyncio.get_running_loop().time()
    assert await far.find("one") == near.relay.channel
    assert asyncio.get_running_loop().time() - began < 1.0
