"""
Every transition of a classic connection that a client can show, with the jQuery client in Chromium.

Most rows wait for timers, so all are played at the same time, each in a page of its own; each is a test of its own all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright

from tests.browser.classic_rows import WS, Row, rows
from tests.browser.classic_servers import OTHER_SERVER, ClassicServer
from tests.browser.classic_stage import AT_ONCE, DEADLINE, SCRIPTS, Stage, open_stage
from tests.browser.demo_site import CHROMIUM_FLAGS
from tests.live import missing

IS_OURS = not OTHER_SERVER
PAGES_AT_ONCE = 2
"""That open; a browser that opens more at once is slower in all."""

PROCESSES = ["--renderer-process-limit=12"]
"""Fewer than pages, to spare memory; not one, since browsers slow web sockets down in a process where many have failed."""

CASES = [(row, transport) for row in rows() if row.is_ours in (None, IS_OURS) for transport in row.transports]
Case = tuple[Row, str]

pytestmark = pytest.mark.timeout(180)


class Show:
    """Plays all rows at the same time."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser = browser
        self._context: BrowserContext | None = None
        self._folder = folder
        self._opening = asyncio.Semaphore(PAGES_AT_ONCE)
        self._closing = contextlib.AsyncExitStack()
        self._sender: Stage | None = None
        self._servers: dict[str, ClassicServer] = {}

    async def play(self, cases: list[Case]) -> dict[Case, BaseException | None]:
        """
        Play the rows, and look at each once more when all are over, for what may have come late.

        Returns:
            The failures.
        """
        async with self._closing:
            await self._prepare(cases)
            stages = await asyncio.gather(*(self._play(*case) for case in cases), return_exceptions=True)
            checks = [self._check_again(*case, stage) for case, stage in zip(cases, stages, strict=True)]
            return dict(zip(cases, await asyncio.gather(*checks, return_exceptions=True), strict=True))

    async def _prepare(self, cases: list[Case]) -> None:
        guests = [row.name if row.needs_restart else "" for row, _ in cases]
        for name in {"", *guests}:
            self._servers[name] = await self._closing.enter_async_context(ClassicServer(self._folder, guests.count(name)).serve())
        self._context = await self._browser.new_context()
        self._sender = await self._closing.enter_async_context(open_stage(self._context, self._servers[""], WS))
        await self._sender.begin(WS, {})
        await self._sender.happened("started", 1)

    async def _play(self, row: Row, transport: str) -> Stage:
        server = self._servers[row.name if row.needs_restart else ""]
        async with self._opening:
            # A context is a profile with processes of its own, and takes much longer to open than a page.
            context = await self._browser.new_context() if row.needs_process else self._context
            assert context is not None
            opening = open_stage(context, server, transport, None if row.needs_restart else self._sender)
            stage = await self._closing.enter_async_context(opening)
        for step in row.steps:
            try:
                await asyncio.wait_for(step.play(stage), DEADLINE)
            except Exception as error:
                reason = "does not come" if isinstance(error, asyncio.TimeoutError) else "fails"
                told = [] if stage.page.is_closed() or row.events is None else await stage.happenings()
                raise AssertionError(f"{step} {reason}; the client told {told}, the server logged {stage.log}") from error
        await self._wait_for_the_end(row, stage)
        await self._check(row, stage)
        return stage

    async def _wait_for_the_end(self, row: Row, stage: Stage) -> None:
        # What does not come in time shows in the comparison that follows.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stage.server.log.wait(lambda: len(stage.log) >= len(expected_log(row))), AT_ONCE)
        events = row.events_on(stage.transport)
        if events is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stage.happened(None, len(events)), AT_ONCE)

    async def _check(self, row: Row, stage: Stage) -> None:
        assert stage.errors == []
        assert stage.log == expected_log(row), f"the server logged {stage.log}"
        expected = row.events_on(stage.transport)
        if expected is not None:
            told = await stage.happenings()
            is_as_expected = len(told) == len(expected) and all(map(fnmatch.fnmatchcase, told, map(escaped, expected)))
            assert is_as_expected, f"the client told {told} instead of {expected}"

    async def _check_again(self, row: Row, transport: str, stage: Stage | BaseException) -> None:
        if isinstance(stage, BaseException):
            raise stage
        await self._check(row, stage)


def expected_log(row: Row) -> list[str]:
    return list(row.log if IS_OURS or row.their_log is None else row.their_log)


def escaped(pattern: str) -> str:
    """A pattern in which only ``*`` has a meaning."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


@pytest.fixture(scope="module")
def failures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Case, BaseException | None]:
    """What went wrong in the rows that are asked for."""
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("Chromium")
    if not all(path.exists() for path in SCRIPTS):
        missing("The classic client or jQuery (run npm ci in tests/clients)")
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and item.module is request.module]
    cases = [case for item in here for case in CASES if case == (item.callspec.params["row"], item.callspec.params["transport"])]

    async def show() -> dict[Case, BaseException | None]:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=[*CHROMIUM_FLAGS, *PROCESSES])
            return await Show(browser, tmp_path_factory.mktemp("classic")).play(cases)

    return asyncio.run(show())


@pytest.mark.parametrize(("row", "transport"), [pytest.param(row, transport, id=f"{row.name}-{transport}") for row, transport in CASES])
def test_lifetime(row: Row, transport: str, failures: Mapping[Case, BaseException | None]) -> None:
    failure = failures[row, transport]
    if failure is not None:
        raise failure
