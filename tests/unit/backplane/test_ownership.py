"""Which process owns a connection: claims, ends, connections that begin again or move, and arbiters that are gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from signalr_channels.backplane.ownership import GONE, HERE, Ownership
from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.wire import Claim, Release
from tests.unit.scripted import eventually

pytestmark = pytest.mark.usefixtures("no_task_left")

ID = "one"
AWAY = "specific.away!channel"
"""A process that is not there."""


class Process:
    """A server process, as far as owners are concerned."""

    def __init__(self, name: str, layer: InMemoryChannelLayer) -> None:
        self.relay = Relay(layer, process=name, ack_timeout=0.05)
        self.relay.service = self._serve
        self.ownership = Ownership(self.relay)
        self.claims: list[Claim] = []
        self.releases: list[Release] = []

    def _serve(self, message: Any) -> Any:
        if isinstance(message, Claim):
            self.claims.append(message)
            return self.ownership.answer(message)
        assert isinstance(message, Release)
        self.releases.append(message)
        self.ownership.forget(message.connection_id, owner=message.owner, may_move=message.may_move)
        return None

    @property
    def channel(self) -> str:
        assert self.relay.channel is not None
        return self.relay.channel

    async def locate(self, arbiter: Process | str, **options: Any) -> str | None:
        channel = arbiter if isinstance(arbiter, str) else arbiter.channel
        return await self.ownership.locate(ID, channel, **{"may_claim": True, **options})

    async def release(self, arbiter: Process, *, owner: str | None = None, may_move: bool = False) -> None:
        """The connection has ended here, or in a process that does not answer; the arbiter knows afterwards."""
        count = len(arbiter.releases)
        await self.ownership.release(ID, arbiter.channel, owner=owner, may_move=may_move)
        if arbiter is not self:
            await eventually(lambda: len(arbiter.releases) > count)


@pytest.fixture
async def site() -> AsyncIterator[list[Process]]:
    """An arbiter and two other processes."""
    layer = InMemoryChannelLayer()
    processes = [Process(name, layer) for name in ("arbiter", "near", "far")]
    for process in processes:
        await process.relay.start()
    yield processes
    for process in processes:
        await process.relay.stop()


# Claims


async def test_the_first_that_asks_owns_the_connection_and_the_others_are_sent_there(site: list[Process]) -> None:
    arbiter, near, far = site
    assert await near.locate(arbiter, may_claim=False) is None
    assert await near.locate(arbiter) == HERE
    assert await far.locate(arbiter) == near.channel
    assert await arbiter.locate(arbiter) == near.channel
    assert await near.locate(arbiter) == HERE


async def test_the_arbiter_may_own_it_itself(site: list[Process]) -> None:
    arbiter, near, _ = site
    assert await arbiter.locate(arbiter) == HERE
    assert await near.locate(arbiter) == arbiter.channel


async def test_the_arbiter_is_asked_once(site: list[Process]) -> None:
    arbiter, near, _ = site
    for _ in range(3):
        await near.locate(arbiter)
    assert len(arbiter.claims) == 1


async def test_a_token_without_an_arbiter_is_at_home_where_it_comes(site: list[Process]) -> None:
    _, near, far = site
    assert await near.locate("") == await far.locate("") == HERE
    assert await near.locate("", may_claim=False) is None


async def test_a_token_without_an_arbiter_is_sought_where_there_are_others(site: list[Process]) -> None:
    _, near, far = site
    owner: str | None = far.channel

    async def seek(connection_id: str) -> str | None:
        return owner

    assert await near.locate("", seek=seek) == far.channel
    near.ownership.forget_owner(ID)
    owner = None
    assert await near.locate("", may_claim=False, seek=seek) is None
    assert await near.locate("", seek=seek) == HERE


# The end, and after it


async def test_a_connection_that_has_ended_is_gone_for_everybody(site: list[Process]) -> None:
    arbiter, near, far = site
    await near.locate(arbiter)
    await near.release(arbiter)
    for process in site:
        assert await process.locate(arbiter) == GONE
        assert await process.locate(arbiter, may_claim=False) == GONE
    assert await near.locate(arbiter, may_reopen=True) == HERE
    assert await far.locate(arbiter) == near.channel  # that it was gone is not kept


async def test_a_connection_that_has_ended_may_begin_again_where_that_is_asked_for(site: list[Process]) -> None:
    arbiter, near, far = site
    await near.locate(arbiter)
    await near.release(arbiter)
    assert await far.locate(arbiter, may_reopen=True) == HERE
    assert arbiter.claims[-1].may_reopen
    assert await near.locate(arbiter) == far.channel
    assert await arbiter.locate(arbiter, may_reopen=True) == far.channel  # it lives; nothing is to be reopened


async def test_the_arbiter_may_reopen_a_connection_as_well(site: list[Process]) -> None:
    arbiter, near, _ = site
    await arbiter.locate(arbiter)
    await arbiter.release(arbiter)
    assert await arbiter.locate(arbiter) == GONE
    assert await arbiter.locate(arbiter, may_reopen=True) == HERE
    assert await near.locate(arbiter) == arbiter.channel


async def test_who_may_reopen_and_not_claim_opens_nothing(site: list[Process]) -> None:
    arbiter, near, _ = site
    await arbiter.locate(arbiter)
    await arbiter.release(arbiter)
    assert await near.locate(arbiter, may_claim=False, may_reopen=True) is None
    assert await near.locate(arbiter) == GONE


async def test_a_connection_that_may_move_belongs_to_who_asks_next(site: list[Process]) -> None:
    arbiter, near, far = site
    await near.locate(arbiter)
    await near.release(arbiter, may_move=True)
    assert arbiter.releases[-1].may_move
    assert await far.locate(arbiter, may_claim=False) is None
    assert await far.locate(arbiter) == HERE
    assert await near.locate(arbiter) == far.channel


async def test_of_two_that_miss_the_owner_one_takes_over(site: list[Process]) -> None:
    # Both asked a process that has died; each lets the arbiter know, and asks again.
    arbiter, near, far = site
    assert arbiter.ownership.decide(ID, AWAY, may_claim=True) == AWAY
    assert await near.locate(arbiter) == await far.locate(arbiter) == AWAY
    await far.release(arbiter, owner=AWAY, may_move=True)
    assert await far.locate(arbiter) == HERE
    await near.release(arbiter, owner=AWAY, may_move=True)
    assert await near.locate(arbiter) == far.channel


async def test_a_late_end_of_a_former_owner_does_not_end_what_lives_elsewhere(site: list[Process]) -> None:
    arbiter, near, far = site
    await near.locate(arbiter)
    await far.release(arbiter, owner=near.channel, may_move=True)  # it had no answer from there
    assert await far.locate(arbiter) == HERE
    for may_move in (True, False):
        await near.release(arbiter, may_move=may_move)
        assert await arbiter.locate(arbiter) == far.channel
    await far.release(arbiter)
    assert await arbiter.locate(arbiter) == GONE


async def test_a_process_that_was_sent_to_the_wrong_place_may_ask_again(site: list[Process]) -> None:
    arbiter, near, far = site
    await near.locate(arbiter)
    assert await far.locate(arbiter) == near.channel
    await near.release(arbiter)
    assert await far.locate(arbiter, may_reopen=True) == near.channel  # as it remembers
    far.ownership.forget_owner(ID)
    assert await far.locate(arbiter, may_reopen=True) == HERE
    assert await arbiter.locate(arbiter) == far.channel


async def test_releasing_what_is_not_known_is_harmless(site: list[Process]) -> None:
    arbiter, near, _ = site
    await near.release(arbiter)
    await near.release(arbiter, may_move=True)
    assert await near.locate(arbiter) == HERE


# Processes that stop


async def test_what_a_process_owned_that_stops_belongs_to_who_asks_next(site: list[Process]) -> None:
    arbiter, near, far = site
    await near.locate(arbiter)
    assert await far.locate(arbiter) == near.channel
    for process in (arbiter, far):
        process.ownership.forget_process(near.channel)
    assert await far.locate(arbiter) == HERE


async def test_what_others_own_stays_when_a_process_stops(site: list[Process]) -> None:
    arbiter, near, far = site
    await near.locate(arbiter)
    arbiter.ownership.forget_process(far.channel)
    assert await far.locate(arbiter) == near.channel


# Arbiters that are gone


async def test_where_the_arbiter_is_gone_whoever_may_claim_goes_on(site: list[Process], caplog: pytest.LogCaptureFixture) -> None:
    _, near, _ = site
    assert await near.locate(AWAY, may_claim=False) is None
    with caplog.at_level(logging.WARNING):
        assert await near.locate(AWAY) == HERE
    text = f"The process that negotiated connection {ID}, and maybe others, does not answer"
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [text], "once for each process"
    assert await near.locate(AWAY) == HERE  # from then on without asking


async def test_where_the_arbiter_is_gone_all_are_asked_before_anybody_claims(site: list[Process]) -> None:
    _, near, far = site
    sought: list[str] = []

    async def seek(connection_id: str) -> str | None:
        sought.append(connection_id)
        return far.channel

    assert await near.locate(AWAY, seek=seek) == far.channel
    assert await near.locate(AWAY, seek=seek) == far.channel
    assert sought == [ID]


async def test_where_nobody_has_it_either_the_one_that_sought_owns_it(site: list[Process]) -> None:
    _, near, _ = site

    async def seek(connection_id: str) -> str | None:
        return None

    assert await near.locate(AWAY, may_claim=False, seek=seek) is None
    assert await near.locate(AWAY, seek=seek) == HERE


async def test_nobody_seeks_what_the_arbiter_knows(site: list[Process]) -> None:
    arbiter, near, _ = site

    async def seek(connection_id: str) -> str | None:
        raise AssertionError("sought")

    assert await near.locate(arbiter, seek=seek) == HERE
    await near.release(arbiter)
    assert await near.locate(arbiter, seek=seek) == GONE


async def test_a_connection_whose_arbiter_is_gone_is_let_go_quietly(site: list[Process]) -> None:
    _, near, _ = site
    await near.locate(AWAY)
    await near.ownership.release(ID, AWAY)
    await asyncio.sleep(0)
    assert near.ownership.decide(ID, "other", may_claim=True) == "other"


# A channel layer that is away


class DeadLayer:
    async def new_channel(self) -> str:
        raise OSError("connection refused")

    async def send(self, channel: str, message: Any) -> None:
        raise OSError("connection refused")


async def test_without_a_channel_layer_a_process_serves_what_comes_to_it() -> None:
    ownership = Ownership(Relay(DeadLayer(), process="alone", ack_timeout=0.05))
    assert await ownership.locate(ID, AWAY, may_claim=True) == HERE
    assert await ownership.locate(ID, AWAY, may_claim=False) is None
    await ownership.release(ID, AWAY, may_move=True)
