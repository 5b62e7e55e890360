"""``on_disconnected`` is waited for, but not for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from signalr_channels.hubs import endings
from signalr_channels.hubs.endings import cancel_calls, run_last
from tests.unit.scripted import TIMEOUT, settle

pytestmark = pytest.mark.usefixtures("no_task_left")


class Stubborn:
    """A hook that does not mind being cancelled."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.door = asyncio.Event()
        self.error: Exception | None = None

    async def hook(self) -> None:
        while not self.door.is_set():
            try:
                await self.door.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(endings, "GRACE", 0.01)
    yield
    assert not endings._abandoned


async def test_a_hook_that_swallows_its_cancellation_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    stubborn = Stubborn()
    await asyncio.wait_for(run_last(stubborn.hook(), "c1", "chat.hubs.ChatHub", 0.01), TIMEOUT)
    assert stubborn.cancelled == 1
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    for words in ("c1", "on_disconnected of chat.hubs.ChatHub", "0.01 s (ON_DISCONNECTED_TIMEOUT)", "goes on"):
        assert words in record.getMessage()
    stubborn.door.set()
    await settle()
    assert len(caplog.records) == 1


async def test_what_it_raises_later_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    stubborn = Stubborn()
    stubborn.error = ValueError("much later")
    await asyncio.wait_for(run_last(stubborn.hook(), "c1", "ChatHub", 0.01), TIMEOUT)
    assert "much later" not in caplog.text
    stubborn.door.set()
    await settle()
    assert "ValueError: much later" in caplog.text


async def test_a_process_that_stops_does_not_wait_for_it_either(caplog: pytest.LogCaptureFixture) -> None:
    stubborn = Stubborn()
    ending = asyncio.ensure_future(run_last(stubborn.hook(), "c1", "ChatHub", 30))
    await settle()
    ending.cancel()
    await asyncio.wait([ending], timeout=TIMEOUT)
    assert ending.cancelled()
    assert stubborn.cancelled == 1
    assert "on_disconnected of ChatHub was cancelled, since the server process stops, but it goes on" in caplog.text
    stubborn.door.set()
    await settle()


async def test_a_hook_may_tidy_up_in_its_grace(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(endings, "GRACE", TIMEOUT)
    tidied = []

    async def hook() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    await run_last(hook(), "c1", "ChatHub", 0.01)
    assert tidied == [True]
    assert "took over 0.01 s (ON_DISCONNECTED_TIMEOUT) and was cancelled" in caplog.text
    assert "goes on" not in caplog.text


async def test_calls_are_not_waited_for_either_when_the_process_stops(caplog: pytest.LogCaptureFixture) -> None:
    stubborn, obedient = Stubborn(), asyncio.ensure_future(asyncio.Event().wait())
    calls = [asyncio.ensure_future(stubborn.hook()), obedient]
    await settle()
    await asyncio.wait_for(cancel_calls(calls, "c1"), TIMEOUT)
    assert obedient.cancelled()
    assert stubborn.cancelled == 1
    [record] = caplog.records
    assert "c1: 1 calls go on" in record.getMessage()
    stubborn.door.set()
    await calls[0]


async def test_where_no_call_runs_nothing_is_waited_for() -> None:
    await asyncio.wait_for(cancel_calls([], "c1"), TIMEOUT)
