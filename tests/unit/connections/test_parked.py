"""What is kept of a connection before its transport opens."""

from __future__ import annotations

import asyncio

from signalr_channels.connections.parked import ParkedData
from tests.unit.scripted import TIMEOUT


async def test_what_came_early_is_handed_over_in_order() -> None:
    parked = ParkedData(7.0)
    assert parked.since == 7.0
    parked.add(b"one")
    parked.add(b"two")
    assert parked.size == 6
    assert not parked.opened.done()
    assert parked.take() == b"onetwo"
    assert parked.size == 0
    await asyncio.wait_for(parked.opened, TIMEOUT)


async def test_it_may_be_taken_twice() -> None:
    parked = ParkedData(0.0)
    parked.add(b"one")
    assert (parked.take(), parked.take()) == (b"one", b"")
