"""
A network that can fail, for the buttons of the lifetime page.

It is simulated at the server's door: ``UnreliableNetwork`` stands between the ASGI server and the hubs, and lets pass, drops or holds back
what the classic client of one visit and the server say to each other. Everything else goes straight through, and each server process has
a network of its own.
"""

from __future__ import annotations

import asyncio
import uuid
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from demo_project.lifetime.visits import visit_of

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

MOST_EVENTS = 1000
"""How many events may be on the way from the server before it has to wait, as for a client that does not read."""


class Line:
    """
    The network between the server and the classic client of one visit.

    It belongs to the event loop, and calls must come from there.
    """

    def __init__(self) -> None:
        self.is_cut = asyncio.Event()
        """Set while it is: what is open is closed, and new requests fail."""
        self.flows = asyncio.Event()
        """Not set while nothing gets through; it is kept, and gets through later."""
        self.flows.set()
        self._mending: asyncio.TimerHandle | None = None

    def cut(self, seconds: float) -> None:
        self.mend()
        self.is_cut.set()
        self._mending = asyncio.get_running_loop().call_later(seconds, self.mend)

    def hold(self, seconds: float) -> None:
        self.mend()
        self.flows.clear()
        self._mending = asyncio.get_running_loop().call_later(seconds, self.mend)

    def mend(self) -> None:
        if self._mending is not None:
            self._mending.cancel()
            self._mending = None
        self.is_cut.clear()
        self.flows.set()


_lines: weakref.WeakValueDictionary[uuid.UUID, Line] = weakref.WeakValueDictionary()


def line_of(visit: uuid.UUID) -> Line:
    """The line of a visit. It is forgotten when nothing is on it and it needs no mending."""
    line = _lines.get(visit)
    if line is None:
        line = _lines[visit] = Line()
    return line


class UnreliableNetwork:
    """
    An ASGI application around the one that serves the hubs.

    Args:
        application: The hubs, and what is behind them.
        path: Where the classic clients connect, such as ``signalr``.
    """

    def __init__(self, application: Application, path: str) -> None:
        self._application = application
        self._path = f"/{path}/"

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        visit = visit_of(scope) if scope["type"] in ("http", "websocket") and scope["path"].startswith(self._path) else None
        if visit is None:
            await self._application(scope, receive, send)
        else:
            await Passage(line_of(visit), scope, receive, send).run(self._application)


class Passage:
    """One request or web socket on its way over a line."""

    def __init__(self, line: Line, scope: Any, receive: Receive, send: Send) -> None:
        self._line = line
        self._scope = scope
        self._receive = receive
        self._send = send
        self._to_server: asyncio.Queue[Event] = asyncio.Queue()
        self._may_come = asyncio.Semaphore(1)
        """One event at a time: as long as the server does not take it, the client has to wait with the rest."""
        self._to_client: asyncio.Queue[Event] = asyncio.Queue(MOST_EVENTS)
        self._sending = asyncio.Lock()
        self._disconnect: Event | None = None
        self._is_lost = False
        """Nothing that the server says gets to the client any more."""
        self._is_begun = False
        self._is_complete = False

    async def run(self, application: Application) -> None:
        await self._line.flows.wait()
        if self._line.is_cut.is_set():
            await self._refuse()
            return
        serving = asyncio.create_task(self._serve(application))
        helping = [asyncio.create_task(help()) for help in (self._carry_to_server, self._carry_to_client, self._fail_when_cut)]
        tasks = [serving, *helping]
        pending = set(tasks)
        try:
            while not serving.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, application: Application) -> None:
        await application(self._scope, self._receive_late, self._send_late)
        await self._to_client.join()

    async def _receive_late(self) -> Event:
        if self._disconnect is None:
            event = await self._to_server.get()
            self._may_come.release()
            if not event["type"].endswith(".disconnect"):
                return event
            self._disconnect = event
        return self._disconnect

    async def _send_late(self, event: Event) -> None:
        if not self._is_lost:
            await self._to_client.put(event)

    async def _carry_to_server(self) -> None:
        is_open = True
        while is_open:
            await self._may_come.acquire()
            event = await self._receive()
            await self._line.flows.wait()
            self._to_server.put_nowait(event)
            is_open = not event["type"].endswith(".disconnect")

    async def _carry_to_client(self) -> None:
        while True:
            event = await self._to_client.get()
            await self._line.flows.wait()
            async with self._sending:
                if not self._is_lost:
                    await self._deliver(event)
            self._to_client.task_done()

    async def _deliver(self, event: Event) -> None:
        kind = event["type"]
        self._is_begun = True
        self._is_complete = kind == "websocket.close" or (kind == "http.response.body" and not event.get("more_body", False))
        try:
            await self._send(event)
        except OSError:
            self._is_lost = True  # the client has left

    async def _fail_when_cut(self) -> None:
        await self._line.is_cut.wait()
        async with self._sending:
            self._is_lost = True
            if self._scope["type"] == "websocket":
                self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1006, "reason": ""})
            else:
                self._to_server.put_nowait({"type": "http.disconnect"})
            if not self._is_complete:
                await self._end()

    async def _refuse(self) -> None:
        if self._scope["type"] == "websocket":
            await self._receive()  # websocket.connect, which comes before an answer
        await self._end()

    async def _end(self) -> None:
        """The nearest thing to a lost connection that an ASGI application can bring about."""
        if self._scope["type"] == "websocket":
            await self._send({"type": "websocket.close"})
        elif self._is_begun:
            await self._send({"type": "http.response.body", "body": b""})
        else:
            headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
            await self._send({"type": "http.response.start", "status": 503, "headers": headers})
            await self._send({"type": "http.response.body", "body": b"The network is cut."})
