"""
Where one row of the lifetime table is played: a page with a classic client, the proxy before it, and a server.

What a row does is a tuple of steps, made by the functions of this module that :func:`step` decorates.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec

from playwright.async_api import BrowserContext, Page, Request, Response, Route

from tests.browser.classic_proxy import PAGE, PageProxy
from tests.browser.classic_servers import DISCONNECT_TIMEOUT, KEEP_ALIVE, OTHER_SERVER, ClassicServer, Record
from tests.live import ROOT

P = ParamSpec("P")

PACKAGES = ROOT / "tests" / "clients" / "node_modules"
SCRIPTS = [
    PACKAGES / "jquery" / "dist" / "jquery.min.js",
    PACKAGES / "signalr" / "jquery.signalR.min.js",
    ROOT / "tests" / "browser" / "classic.js",
]
AT_ONCE = 3.0
"""Seconds that are enough for what waits for no timer, and too few for any timer."""
DEADLINE = 25.0
LOOK_INTERVAL = 50
"""Milliseconds."""


@dataclass
class Stage:
    page: Page
    proxy: PageProxy
    server: ClassicServer
    transport: str
    ids: Record = field(default_factory=Record)
    """Of the connections of this page, as they were negotiated."""
    requests: Record = field(default_factory=Record)
    """Paths with queries."""
    polls: Record = field(default_factory=Record)
    """Urls of the polls that wait on the server, which has sent their headers."""
    errors: list[str] = field(default_factory=list)
    """Exceptions in the page that nobody caught."""
    sender: Stage | None = None
    """The page of another client."""
    lost_at: float = 0.0
    """When the server had its last sign of life from the client."""
    start_answer: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """The status that a start request is answered with that was held back; 0 is for the server to answer."""

    @property
    def log(self) -> list[str]:
        return self.server.log_of(self.ids.lines)

    async def last_id(self) -> str:
        """Of the last connection."""
        await self.ids.wait(lambda: bool(self.ids.lines))
        return self.ids.lines[-1]

    async def open(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._note_request)
        self.page.on("response", self._note_response)
        self.page.on("requestfinished", self._note_end)
        self.page.on("requestfailed", self._note_end)
        await self.page.goto(self.proxy.url + PAGE)
        for script in SCRIPTS:
            await self.page.add_script_tag(path=script)

    async def begin(self, transport: str, options: dict[str, Any]) -> None:
        """Let the client start. Forever frame is for browsers without event sources."""
        has_event_source = self.transport != "foreverFrame"
        await self.page.evaluate("begin", {"transport": transport, "hasEventSource": has_event_source, **options})

    async def happened(self, text: str | None, times: int) -> None:
        await self.page.evaluate("([text, times]) => happened(text, times)", [text, times])

    async def happenings(self) -> list[str]:
        return list(await self.page.evaluate("happenings"))

    async def call(self, *args: Any) -> Any:
        return await self.page.evaluate("args => call(...args)", list(args))

    async def logged(self, line: str, times: int = 1) -> None:
        await self.server.log.wait(lambda: self.log.count(line) >= times)

    async def polling(self) -> None:
        """Wait until a poll waits on the server, which sends its headers then."""
        await self.polls.wait(lambda: bool(self.polls.lines))

    def _note_request(self, request: Request) -> None:
        self.requests.add(request.url.removeprefix(self.proxy.url))

    def _note_end(self, request: Request) -> None:
        self.polls.replace([url for url in self.polls.lines if url != request.url])

    async def _note_response(self, response: Response) -> None:
        if "/poll?" in response.url:
            self.polls.add(response.url)
        if "/negotiate?" in response.url:
            self.ids.add((await response.json())["ConnectionId"])


@contextlib.asynccontextmanager
async def open_stage(context: BrowserContext, server: ClassicServer, transport: str, sender: Stage | None = None) -> AsyncIterator[Stage]:
    proxy = PageProxy(server.port)
    async with proxy:
        stage = Stage(await context.new_page(), proxy, server, transport, sender=sender)
        await stage.open()
        yield stage
        await stage.page.close()


@dataclass(frozen=True)
class Step:
    label: str
    play: Callable[[Stage], Awaitable[None]]

    def __str__(self) -> str:
        return self.label


def step(function: Callable[Concatenate[Stage, P], Awaitable[None]]) -> Callable[P, Step]:
    """Makes steps of what is done on a stage, given everything else there is to know."""

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Step:
        words = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return Step(f"{function.__name__}({', '.join(words)})", lambda stage: function(stage, *args, **kwargs))

    return make


# The client.


@step
async def begin(stage: Stage, /, **options: Any) -> None:
    """Let the client start."""
    await stage.begin(stage.transport, options)


@step
async def start(stage: Stage, /, transport: str | None = None, **options: Any) -> None:
    """Let the client start, and wait until it has, on the transport of the stage."""
    await stage.begin(transport or stage.transport, options)
    await stage.happened("started", 1)
    assert await stage.page.evaluate("connection.transport.name") == stage.transport


@step
async def stop(stage: Stage) -> None:
    if OTHER_SERVER and stage.transport == "longPolling":
        # Microsoft's overlooks a stop that comes between polls.
        await stage.polling()
    await stop_now(stage)


@step
async def stop_at_once(stage: Stage) -> None:
    """While there is no poll, if there are polls at all."""
    await stop_now(stage)


async def stop_now(stage: Stage) -> None:
    await stage.page.evaluate("() => { connection.stop(); }")


@step
async def start_again(stage: Stage) -> None:
    await stage.begin(stage.transport, {})
    await stage.happened("started", 2)
    await stage.ids.wait(lambda: len(set(stage.ids.lines)) == 2)


@step
async def happens(stage: Stage, text: str, times: int = 1) -> None:
    """Wait for what the client tells."""
    await stage.happened(text, times)


@step
async def call(stage: Stage, *args: Any, result: Any) -> None:
    """Call a hub method."""
    assert await stage.call(*args) == result


@step
async def call_aside(stage: Stage, *args: Any) -> None:
    """Call a hub method without waiting for its end."""
    await stage.page.evaluate("args => callAside(...args)", list(args))


@step
async def last_error_is(stage: Stage, text: str) -> None:
    assert await stage.page.evaluate("connection.lastError.message") == text


@step
async def close_page(stage: Stage) -> None:
    await stage.page.close()


@step
async def leave_page(stage: Stage) -> None:
    await stage.page.goto("about:blank")


@step
async def crash(stage: Stage) -> None:
    """End the process of the page."""
    session = await stage.page.context.new_cdp_session(stage.page)
    is_over = asyncio.Event()
    stage.page.on("crash", lambda _: is_over.set())
    stage.lost_at = time.monotonic()
    crashing = asyncio.create_task(session.send("Page.crash"))  # nobody is left to answer
    await is_over.wait()
    crashing.cancel()


@step
async def sleep(stage: Stage, seconds: float) -> None:
    """Put the page to sleep, as of a laptop with its lid closed, and wake it up."""
    session = await stage.page.context.new_cdp_session(stage.page)
    is_asleep = asyncio.Event()
    session.on("Debugger.paused", lambda _: is_asleep.set())
    await session.send("Debugger.enable")
    await session.send("Debugger.pause")
    await is_asleep.wait()
    await asyncio.sleep(seconds)
    await session.send("Debugger.disable")


# Time.


@step
async def idle(stage: Stage, seconds: float) -> None:
    """Let time pass: that nothing comes of it is what is tested."""
    await asyncio.sleep(seconds)


# Other clients.


@step
async def told(stage: Stage, *texts: str) -> None:
    """Let another client send messages to this one."""
    assert stage.sender is not None
    for text in texts:
        await stage.sender.call("ToClient", await stage.last_id(), text)


@step
async def told_early(stage: Stage, text: str) -> None:
    """Let another client send a message, and wait until this one has it, although it has not started and tells nothing of it."""
    assert stage.sender is not None
    cursor = await stage.page.evaluate("connection.messageId")
    await stage.sender.call("ToClient", await stage.last_id(), text)
    # Pages behind others have no animation frames to look at it.
    await stage.page.wait_for_function("cursor => connection.messageId !== cursor", arg=cursor, polling=LOOK_INTERVAL)


@step
async def join(stage: Stage) -> None:
    """Into a group of its own."""
    await stage.call("Join", await stage.last_id())


@step
async def group_told(stage: Stage, text: str) -> None:
    """Let another client send a message to the group, or this one if there is no other."""
    await (stage.sender or stage).call("ToGroup", await stage.last_id(), text)


@step
async def closed(stage: Stage, error: str) -> None:
    """Let another client have the server close this connection."""
    assert stage.sender is not None
    await stage.sender.call("Close", await stage.last_id(), error)


# The network.


@step
async def cut(stage: Stage) -> None:
    """Lose all connections at once, and let both sides know."""
    stage.proxy.cut()
    stage.lost_at = time.monotonic()


@step
async def refuse(stage: Stage) -> None:
    """Refuse new connections."""
    await stage.proxy.refuse()


@step
async def mend(stage: Stage) -> None:
    """Let new connections through."""
    await stage.proxy.mend()


@step
async def pause(stage: Stage) -> None:
    """Hold everything back."""
    stage.proxy.is_passing.clear()


@step
async def resume(stage: Stage) -> None:
    stage.proxy.is_passing.set()


@step
async def freeze(stage: Stage) -> None:
    """Let nothing pass any more on connections that are open, and let nobody know."""
    stage.proxy.freeze()


@step
async def swallow(stage: Stage) -> None:
    """Let nothing pass any more at all, and let nobody know."""
    stage.proxy.swallow()


@step
async def cut_frozen(stage: Stage) -> None:
    """Let the server know of the connections that are lost."""
    stage.proxy.cut_frozen()
    stage.lost_at = time.monotonic()


@step
async def refuse_upgrades(stage: Stage) -> None:
    stage.proxy.refuses_upgrades = True


@step
async def lose_answers_to_upgrades(stage: Stage) -> None:
    """Let the server have requests for web sockets, and the client no answers."""
    stage.proxy.loses_answers_to_upgrades = True


@step
async def hold_upgrades(stage: Stage) -> None:
    """Hold requests for web sockets back."""
    stage.proxy.upgrades_pass.clear()


@step
async def release_upgrades(stage: Stage) -> None:
    stage.proxy.upgrades_pass.set()


# Requests, which the browser has here and there answered by the test.


@step
async def requested(stage: Stage, path: str, times: int = 1) -> None:
    """Wait for requests of the page."""
    await stage.requests.wait(lambda: sum(path in request for request in stage.requests.lines) >= times)


@step
async def polling(stage: Stage) -> None:
    """Wait until a poll waits on the server, if there are polls."""
    if stage.transport == "longPolling":
        await stage.polling()


@step
async def one_token(stage: Stage) -> None:
    """All transports were tried with the token of one negotiation."""
    assert len(stage.ids.lines) == 1
    tokens = {request.split("connectionToken=")[1].split("&")[0] for request in stage.requests.lines if "connectionToken=" in request}
    assert len(tokens) == 1


@step
async def block(stage: Stage, path: str) -> None:
    """Lose requests to a path, up to some place in the query, in the network."""
    await stage.page.route(f"**{path}*", lambda route: route.abort("connectionfailed"))


@step
async def unblock(stage: Stage) -> None:
    await stage.page.unroute_all()


@step
async def answer(stage: Stage, path: str, status: int) -> None:
    """Answer requests to a path in place of the server."""
    await stage.page.route(f"**{path}?*", lambda route: route.fulfill(status=status, body=""))


@step
async def fail_after(stage: Stage, path: str) -> None:
    """Let requests to a path reach the server, and its answer be lost."""

    async def handle(route: Route) -> None:
        await route.fetch()
        await route.fulfill(status=502, body="")

    await stage.page.route(f"**{path}?*", handle)


@step
async def hold_start(stage: Stage) -> None:
    """Hold the request back that ends the start."""

    async def handle(route: Route) -> None:
        status = await stage.start_answer
        if status:
            await route.fulfill(status=status, body="")
        else:
            await route.continue_()

    await stage.page.route("**/start?*", handle)


@step
async def release_start(stage: Stage) -> None:
    stage.start_answer.set_result(0)


@step
async def fail_start(stage: Stage) -> None:
    """Answer the request that is held back in place of the server."""
    stage.start_answer.set_result(500)


@step
async def negotiate_with(stage: Stage, /, **timeouts: float) -> None:
    """Let the client have other timeouts than the server, in seconds."""

    async def handle(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(response=response, body=json.dumps({**await response.json(), **timeouts}))

    await stage.page.route("**/negotiate?*", handle, times=1)


# The server.


@step
async def logged(stage: Stage, line: str, times: int = 1) -> None:
    """Wait for a callback."""
    await stage.logged(line, times)


@step
async def nothing_logged(stage: Stage) -> None:
    assert stage.log == []


@step
async def logged_at_once(stage: Stage, line: str) -> None:
    await asyncio.wait_for(stage.logged(line), AT_ONCE)


@step
async def given_up(stage: Stage) -> None:
    """Wait until the server gives the connection up, which is not before its timeout."""
    await stage.logged("disconnected False")
    waited = time.monotonic() - stage.lost_at
    # It looks twice per keep-alive interval who is there, and may have seen the client one such time before.
    assert waited > DISCONNECT_TIMEOUT - KEEP_ALIVE / 2, waited


@step
async def restarted(stage: Stage, number: signal.Signals) -> None:
    """Wait until the server has ended by a signal, and another process has taken its place."""
    await stage.server.restart(number)
