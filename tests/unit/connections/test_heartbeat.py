"""The one ticking task of a process."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from signalr_channels.connections.heartbeat import Heartbeat
from tests.unit.scripted import TIMEOUT, Clock

pytestmark = pytest.mark.usefixtures("no_task_left")


def test_a_beat_reaches_every_listener_in_order() -> None:
    heard: list[tuple[str, float]] = []
    heartbeat = Heartbeat(Clock())
    heartbeat.add(lambda now: heard.append(("first", now)))
    heartbeat.add(lambda now: heard.append(("second", now)))
    heartbeat.tick(7.0)
    assert heard == [("first", 7.0), ("second", 7.0)]


def test_a_listener_that_fails_is_logged_and_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[float] = []

    def fail(now: float) -> None:
        raise ValueError("broken listener")

    heartbeat = Heartbeat(Clock())
    heartbeat.add(fail)
    heartbeat.add(heard.append)
    with caplog.at_level(logging.ERROR, "signalr_channels.connections"):
        heartbeat.tick(1.0)
        heartbeat.tick(2.0)
    assert heard == [1.0, 2.0]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "broken listener" in caplog.text


async def test_it_ticks_with_the_time_of_its_clock() -> None:
    clock = Clock(100.0)
    heartbeat = Heartbeat(clock, interval=0.001)
    heard: asyncio.Queue[float] = asyncio.Queue()
    heartbeat.add(heard.put_nowait)
    heartbeat.start()
    heartbeat.start()  # once is enough
    assert await asyncio.wait_for(heard.get(), TIMEOUT) == 100.0
    clock.now = 200.0
    while await asyncio.wait_for(heard.get(), TIMEOUT) != 200.0:
        pass
    await heartbeat.stop()


async def test_it_can_be_stopped_more_than_once_and_started_again() -> None:
    heartbeat = Heartbeat(Clock(), interval=0.001)
    beat = asyncio.Event()
    heartbeat.add(lambda now: beat.set())
    await heartbeat.stop()
    heartbeat.start()
    await asyncio.wait_for(beat.wait(), TIMEOUT)
    await heartbeat.stop()
    await heartbeat.stop()
    beat.clear()
    heartbeat.start()
    await asyncio.wait_for(beat.wait(), TIMEOUT)
    await heartbeat.stop()


async def test_after_a_standstill_one_beat_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients said meanwhile is read first."""
    monkeypatch.setattr("signalr_channels.connections.heartbeat.LATE", 0.1)
    loop = asyncio.get_running_loop()
    beats: list[float] = []
    heartbeat = Heartbeat(loop.time, interval=0.05)
    heartbeat.add(beats.append)
    started = loop.time()
    heartbeat.start()
    loop.call_soon(time.sleep, 0.3)

    async def wait() -> None:
        while not beats:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.001)

    await asyncio.wait_for(wait(), TIMEOUT)
    await heartbeat.stop()
    assert beats[0] - started >= 0.34
