"""Processes that look for an owner in the same moment agree on one. Time is virtual here: it jumps to the next thing that happens."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.seeking import OwnerSearch
from signalr_channels.backplane.wire import Seek
from signalr_channels.exceptions import BackplaneUnavailable

ID = "one"
GROUP = "everyone"
WINDOW = 1.0


class _Jump(selectors.DefaultSelector):
    """Waits for nothing but remembers how long it would have."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits for ever"
        self.passed += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.passed


class SlowLayer:
    """A channel layer whose messages take a while, each as long as it is told to."""

    def __init__(self, latency: Callable[[], float]) -> None:
        self._latency = latency
        self.channels: dict[str, asyncio.Queue[Any]] = {}
        self.groups: dict[str, set[str]] = {}
        self.is_away = False
        self.sent: list[str] = []

    async def new_channel(self) -> str:
        name = f"channel-{len(self.channels)}"
        self.channels[name] = asyncio.Queue()
        return name

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if self.is_away:
            raise OSError("connection refused")
        self.sent.append(message["type"])
        asyncio.get_running_loop().call_later(self._latency(), self.channels[channel].put_nowait, message)

    async def receive(self, channel: str) -> Any:
        return await self.channels[channel].get()

    async def group_add(self, group: str, channel: str) -> None:
        self.groups.setdefault(group, set()).add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.groups[group].discard(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for channel in sorted(self.groups.get(group, ())):
            await self.send(channel, message)


class Process:
    """A server process, as far as looking for owners is concerned."""

    def __init__(self, name: str, layer: SlowLayer) -> None:
        self.relay = Relay(layer, process=name, ack_timeout=WINDOW)
        self.open: set[str] = set()
        self.search = OwnerSearch(self.relay, GROUP, "(tests)", self.open.__contains__)
        self.relay.register("(tests)", self._hear)

    def _hear(self, message: Any) -> Any:
        assert isinstance(message, Seek)
        return self.search.hear(message)

    async def join(self) -> None:
        self.relay.hold(GROUP)
        await self.relay.settle(GROUP)
        self.search.joined()

    @property
    def channel(self) -> str:
        assert self.relay.channel is not None
        return self.relay.channel

    async def find(self, *, may_claim: bool = True) -> str | None:
        """What a request that comes here does: look, and open the connection if it is ours."""
        owner = await self.search.find(ID, may_claim=may_claim)
        if owner == self.channel and ID not in self.open:
            self.open.add(ID)
            self.search.settled(ID)
        return owner


class Site:
    def __init__(self, count: int, latency: Callable[[], float] = lambda: 0.01) -> None:
        self.layer = SlowLayer(latency)
        self.processes = [Process(f"process-{number}", self.layer) for number in range(count)]

    @property
    def owners(self) -> list[str]:
        return [process.channel for process in self.processes if ID in process.open]

    async def join(self) -> None:
        for process in self.processes:
            await process.join()
        await asyncio.sleep(2 * WINDOW)

    async def stop(self) -> None:
        for process in self.processes:
            await process.relay.stop()


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(scenario())
        left = asyncio.all_tasks(loop)
    finally:
        loop.close()
    assert not left


def play_joined(processes: int, scenario: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
    """Play with a site whose processes have joined."""

    async def joined() -> None:
        site = Site(processes)
        await site.join()
        await scenario(site)
        await site.stop()

    play(joined)


async def at(moment: float, find: Callable[[], Coroutine[Any, Any, str | None]]) -> str | None:
    await asyncio.sleep(moment)
    return await find()


@dataclass(frozen=True)
class Searcher:
    """A request to a process, after so many seconds."""

    process: int
    moment: float


searchers = st.builds(Searcher, st.integers(0, 3), st.floats(0, 2.5 * WINDOW))
latencies = st.lists(st.floats(0, 0.45 * WINDOW), min_size=1, max_size=12)
"""In turn, over and over."""


@settings(max_examples=150, deadline=None)
@given(st.lists(searchers, min_size=2, max_size=8), latencies)
def test_one_owner_is_found_whenever_they_ask_and_however_long_messages_take(who: list[Searcher], taken: list[float]) -> None:
    async def scenario() -> None:
        site = Site(4, itertools.cycle(taken).__next__)
        await site.join()
        found = await asyncio.gather(*(at(each.moment, site.processes[each.process].find) for each in who))
        await site.stop()
        assert len(site.owners) == 1
        assert set(found) == set(site.owners)

    play(scenario)


@settings(max_examples=100, deadline=None)
@given(st.lists(searchers, min_size=2, max_size=6, unique_by=lambda each: each.process), latencies)
def test_one_owner_is_found_by_processes_that_have_just_begun_to_listen(who: list[Searcher], taken: list[float]) -> None:
    async def scenario() -> None:
        site = Site(4, itertools.cycle(taken).__next__)

        async def begin(each: Searcher) -> str | None:
            await asyncio.sleep(each.moment)
            await site.processes[each.process].join()
            return await site.processes[each.process].find()

        found = await asyncio.gather(*map(begin, who))
        await site.stop()
        assert len(site.owners) == 1
        assert set(found) == set(site.owners)

    play(scenario)


def test_the_one_that_asked_first_owns_it_and_the_others_are_told_at_once() -> None:
    async def scenario(site: Site) -> None:
        *others, first = site.processes
        began = asyncio.get_running_loop().time()
        found = await asyncio.gather(first.find(), *(at(0.5 * WINDOW, other.find) for other in others))
        assert found == [first.channel] * 3
        assert asyncio.get_running_loop().time() - began < 1.1 * WINDOW

    play_joined(3, scenario)


def test_who_may_not_claim_learns_who_will() -> None:
    async def scenario(site: Site) -> None:
        one, other = site.processes
        assert await other.find(may_claim=False) is None
        assert await asyncio.gather(one.find(), at(0.5 * WINDOW, lambda: other.find(may_claim=False))) == [one.channel] * 2

    play_joined(2, scenario)


def test_requests_of_one_process_share_a_search() -> None:
    async def scenario(site: Site) -> None:
        [process] = site.processes
        assert await asyncio.gather(*(process.find() for _ in range(5))) == [process.channel] * 5
        assert site.layer.sent == ["signalr.seek"]

    play_joined(1, scenario)


def test_a_request_that_is_gone_leaves_the_search_to_the_next_one() -> None:
    async def scenario(site: Site) -> None:
        [process] = site.processes
        first, second = asyncio.ensure_future(process.find()), asyncio.ensure_future(process.find())
        await asyncio.sleep(0.5 * WINDOW)
        first.cancel()
        assert await second == process.channel

    play_joined(1, scenario)


def test_numbers_of_a_process_that_is_gone_do_not_count() -> None:
    async def scenario(site: Site) -> None:
        gone, other = site.processes
        searching = asyncio.ensure_future(gone.find())
        await asyncio.sleep(0.1 * WINDOW)
        searching.cancel()
        assert await other.find() == gone.channel  # as far as can be known
        other.search.forget(gone.channel, ID)
        assert await other.find() == other.channel

    play_joined(2, scenario)


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "not told"])
def test_numbers_of_long_ago_do_not_count(is_told: bool) -> None:
    async def scenario(site: Site) -> None:
        gone, other = site.processes
        searching = asyncio.ensure_future(gone.find())
        await asyncio.sleep(0.1 * WINDOW)
        searching.cancel()
        if is_told:
            other.search.forget(gone.channel)
        else:
            await asyncio.sleep(3 * WINDOW)
        assert await other.find() == other.channel

    play_joined(2, scenario)


def test_nothing_is_kept_of_old_searches() -> None:
    async def scenario(site: Site) -> None:
        one, other = site.processes
        for number in range(20):
            await one.search.find(f"connection {number}", may_claim=True)
            one.search.settled(f"connection {number}")
        await asyncio.sleep(3 * WINDOW)
        await other.find()
        assert len(one.search._queues) == len(other.search._queues) + 1 == 1

    play_joined(2, scenario)


def test_where_nobody_can_be_asked_nobody_is_found() -> None:
    async def scenario(site: Site) -> None:
        [process] = site.processes
        site.layer.is_away = True
        assert await asyncio.gather(process.find(), process.find(may_claim=False)) == [None, None]
        with pytest.raises(BackplaneUnavailable):
            await process.relay.tell(process.channel, Seek(v=1, hub="", connection_id=ID, reply_to="", request_id=""))

    play_joined(1, scenario)
