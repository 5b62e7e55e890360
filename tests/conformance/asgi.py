"""
Hubs served in this process: requests and web sockets as ASGI events, and time that is handed in.

``async with Site(HubEndpoint("hub", MyHub, {})) as site``, ``await site.request("POST", "/hub/negotiate")``, ``site.tick(16)``.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from signalr_channels.endpoints import HubEndpoint
from signalr_channels.recorder import Recorder, use_recorder
from signalr_channels.routing import HubRouter
from signalr_channels.runtime import Runtime, get_runtime
from tests.integration.raw import HANDSHAKE, Frame
from tests.unit.scripted import settle

TIMEOUT = 5.0
"""Seconds to wait for what must happen."""

SSE = {"accept": "text/event-stream"}
Application = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def brief(self) -> tuple[int, bytes]:
        """``(status, body)``."""
        return self.status, self.body


class Exchange:
    """One request under way. Its body may follow in pieces, and its answer be read in pieces."""

    def __init__(self, application: Application, scope: dict[str, Any], first: dict[str, Any] | None, *, is_slow: bool = False) -> None:
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if first is not None:
            self._incoming.put_nowait(first)
        self._is_slow = is_slow
        self.task = asyncio.ensure_future(application(scope, self._incoming.get, self._send))

    async def _send(self, event: dict[str, Any]) -> None:
        if self._is_slow:  # as servers that wait for their network
            await settle()
        self._outgoing.put_nowait(event)

    async def _next(self) -> dict[str, Any]:
        event = asyncio.ensure_future(self._outgoing.get())
        await asyncio.wait([event, self.task], timeout=TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if event.done():
            return event.result()
        event.cancel()
        if self.task.done():
            self.task.result()
        raise AssertionError("the application ended silently" if self.task.done() else f"nothing came for {TIMEOUT} s")

    async def is_silent(self) -> bool:
        """Whether nothing comes, although everything had its turn."""
        await settle()
        return self._outgoing.empty()

    async def finish(self) -> None:
        """The application is done with the request."""
        await asyncio.wait_for(self.task, TIMEOUT)

    # HTTP

    def feed(self, body: bytes, *, more: bool = True) -> None:
        """A piece of the request's body."""
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def cut(self) -> None:
        """The client goes away."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def head(self) -> Answer:
        """Status and headers."""
        start = await self._next()
        return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]})

    async def chunk(self) -> bytes | None:
        """The next piece of the answer's body, ``None`` at its end."""
        event = await self._next()
        assert event["type"] == "http.response.body"
        body: bytes = event.get("body", b"")
        return body if event.get("more_body", False) else None

    async def answer(self) -> Answer:
        """The whole answer."""
        head, body = await self.head(), b""
        while True:
            event = await self._next()
            body += event.get("body", b"")
            if not event.get("more_body", False):
                return Answer(head.status, head.headers, body)

    async def event(self) -> bytes:
        """The payload of the next server-sent event; the comment in front is checked and skipped."""
        while (chunk := await self.chunk()) == b":\r\n":
            pass
        assert chunk is not None, "the event stream has ended"
        assert chunk.startswith(b"data: ")
        assert chunk.endswith(b"\r\n\r\n")
        return chunk[len(b"data: ") : -len(b"\r\n\r\n")]


class Socket(Exchange):
    """One web socket."""

    async def accepted(self) -> Socket:
        """The server lets it in."""
        assert (await self._next())["type"] == "websocket.accept"
        return self

    async def outcome(self) -> str:
        """``accepted``, or the status it is refused with."""
        event = await self._next()
        return "accepted" if event["type"] == "websocket.accept" else str(event["status"])

    async def refused(self) -> Answer:
        """The server does not."""
        start = await self._next()
        assert start["type"] == "websocket.http.response.start", start
        body = await self._next()
        return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"])

    def send(self, *frames: Frame) -> None:
        """Messages, text or binary."""
        for frame in frames:
            kind = "text" if isinstance(frame, str) else "bytes"
            self._incoming.put_nowait({"type": "websocket.receive", kind: frame})

    async def receive(self) -> Frame:
        """The next message."""
        event = await self._next()
        assert event["type"] == "websocket.send", event
        text: str | None = event.get("text")
        frame: Frame = text if text is not None else event["bytes"]
        return frame

    async def closed(self) -> int:
        """The server closes it; gives the code. The client answers."""
        event = await self._next()
        assert event["type"] == "websocket.close", event
        code: int = event.get("code", 1000)
        self.close(code)
        await self.finish()
        return code

    def close(self, code: int = 1000) -> None:
        """A Close frame of the client."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code, "reason": ""})

    def vanish(self) -> None:
        """The client is lost without a Close frame."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})


class Site:
    """Some hubs and their runtime, for the length of an ``async with`` block."""

    runtime: Runtime

    def __init__(self, *endpoints: HubEndpoint) -> None:
        self._application: Application = HubRouter(endpoints)
        self._exchanges: list[Exchange] = []

    async def __aenter__(self) -> Site:
        self._recorder = use_recorder(Recorder(synchronous=True))  # events are kept, and told to nobody
        self._recorder.__enter__()
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self.runtime = get_runtime()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.runtime.stop()
        for exchange in self._exchanges:
            exchange.task.cancel()
        if self._exchanges:
            await asyncio.wait([exchange.task for exchange in self._exchanges])
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._recorder.__exit__(None, None, None)

    def tick(self, seconds: float) -> None:
        """A heartbeat, as if so many seconds had passed."""
        self.runtime._heartbeat.tick(self.runtime.clock() + seconds)

    def _scope(self, kind: str, method: str, target: str, headers: Mapping[str, str], user: Any) -> dict[str, Any]:
        path, _, query = target.partition("?")
        scope = {
            "type": kind,
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"host", b"testserver"), *((name.encode(), value.encode()) for name, value in headers.items())],
            "client": ("203.0.113.7", 50000),
            "scheme": "http" if kind == "http" else "ws",
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }
        return scope if user is None else {**scope, "user": user}

    def start(self, method: str, target: str, headers: Mapping[str, str] = {}, *, body: bytes | None = b"", user: Any = None) -> Exchange:
        """Begin a request. With ``None`` for a body, feed it."""
        first = None if body is None else {"type": "http.request", "body": body, "more_body": False}
        exchange = Exchange(self._application, self._scope("http", method, target, headers, user), first)
        self._exchanges.append(exchange)
        return exchange

    async def request(self, method: str, target: str, headers: Mapping[str, str] = {}, *, body: bytes = b"", user: Any = None) -> Answer:
        """A request and its whole answer."""
        exchange = self.start(method, target, headers, body=body, user=user)
        answer = await exchange.answer()
        await exchange.finish()
        return answer

    def socket(self, target: str, headers: Mapping[str, str] = {}, *, user: Any = None, is_slow: bool = False) -> Socket:
        """Begin a web socket."""
        scope = self._scope("websocket", "GET", target, headers, user)
        socket = Socket(self._application, scope, {"type": "websocket.connect"}, is_slow=is_slow)
        self._exchanges.append(socket)
        return socket

    async def negotiate(self, path: str, query: str = "", *, user: Any = None) -> dict[str, Any]:
        """Negotiate version 1."""
        answer = await self.request("POST", f"{path}/negotiate?negotiateVersion=1{query}", user=user)
        assert answer.status == 200, answer
        negotiated: dict[str, Any] = json.loads(answer.body)
        return negotiated

    async def url(self, path: str, query: str = "", *, user: Any = None) -> str:
        """Where a connection that was negotiated now is to be opened."""
        return f"{path}?id={(await self.negotiate(path, query, user=user))['connectionToken']}"

    async def polls(self, path: str, *, handshake: bytes = HANDSHAKE.encode(), user: Any = None) -> Polls:
        """A long-polling connection; with an empty handshake it has none yet."""
        polls = Polls(self, await self.url(path, user=user), user)
        assert (await polls.poll()).brief == (200, b"")
        if handshake:
            assert (await polls.post(handshake)).status == 200
            assert (await polls.poll()).brief == (200, b"{}\x1e")
        return polls

    async def events(self, path: str, *, handshake: bytes = HANDSHAKE.encode(), user: Any = None) -> Events:
        """A connection over server-sent events; with an empty handshake it has none yet."""
        url = await self.url(path, user=user)
        events = Events(self, url, user, self.start("GET", url, SSE, user=user))
        assert (await events.stream.head()).status == 200
        assert await events.stream.chunk() == b":\r\n"
        if handshake:
            assert (await events.post(handshake)).status == 200
            assert await events.stream.event() == b"{}\x1e"
        return events


@dataclass
class Posting:
    """A connection whose client posts what it says."""

    site: Site
    url: str
    user: Any

    async def post(self, body: bytes | str, headers: Mapping[str, str] = {}) -> Answer:
        """Say something."""
        return await self.site.request("POST", self.url, headers, body=body.encode() if isinstance(body, str) else body, user=self.user)

    async def delete(self) -> Answer:
        """Leave."""
        return await self.site.request("DELETE", self.url, user=self.user)


@dataclass
class Polls(Posting):
    """A long-polling connection."""

    def start_poll(self) -> Exchange:
        """Begin to wait."""
        return self.site.start("GET", self.url, user=self.user)

    async def poll(self) -> Answer:
        """Wait."""
        return await self.site.request("GET", self.url, user=self.user)


@dataclass
class Events(Posting):
    """A connection over server-sent events."""

    stream: Exchange
