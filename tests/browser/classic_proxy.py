"""The proxy between one page and a server: it serves the page too, so that page and hubs have one origin, and it can be silent."""

from __future__ import annotations

import asyncio
import re

from tests.proxy import CHUNK, Link, Proxy, reset

PAGE = "/classic-page"
LAST_CHUNK = b"0\r\n\r\n"
FOREVER_FRAME = b"foreverFrame"
RECEIVING = re.compile(rb"(?:GET|POST) [^ ]*/(?:connect|reconnect|poll)\?transport=(\w+)")
BODY = b"<!doctype html><html><head><title>Classic</title><link rel='icon' href='data:,'></head><body></body></html>"


def response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def is_upgrade(head: bytes) -> bool:
    """Whether a request asks for a web socket."""
    return b"\r\nupgrade: websocket\r\n" in head.lower()


class PageLink(Link):
    """One connection of the page."""

    def __init__(self, proxy: PageProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(proxy, reader, writer)
        self._page_proxy = proxy
        self.is_frozen = proxy.is_black_hole
        self._receives: bytes | None = None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        proxy = self._page_proxy
        is_first = direction == "up"
        while data := await reader.read(CHUNK):
            await proxy.is_passing.wait()
            if is_first and (answer := await self._answer(data)):
                self._writers[0].write(answer)
                break
            if direction == "up":
                self._note(data)
            if not self.is_frozen:
                writer.write(data)
                await writer.drain()
            if is_first and proxy.loses_answers_to_upgrades and is_upgrade(data):
                self.is_frozen = True
            is_first = False
        if not self.is_frozen:
            writer.write_eof()

    def end(self) -> None:
        """End what the client receives, and reset the server's side. Chromium is silent about a frame that is reset."""
        if self._receives == FOREVER_FRAME:
            self._writers[0].write(LAST_CHUNK)
            self._writers[0].write_eof()
            reset(self._writers[1])
        else:
            self.cut()

    @property
    def is_receiving(self) -> bool:
        """Whether this is where the client receives, or has before."""
        return self._receives is not None

    def _note(self, request: bytes) -> None:
        """Remember the transport of a request that receives. The rest of a form or a message looks like none."""
        if match := RECEIVING.match(request):
            self._receives = match[1]

    async def _answer(self, head: bytes) -> bytes | None:
        """What the proxy itself has to say to the first request of a connection. Browsers upgrade on new connections only."""
        if head.startswith(f"GET {PAGE} ".encode()):
            return response("200 OK", BODY)
        if is_upgrade(head):
            if self._page_proxy.refuses_upgrades:
                return response("403 Forbidden", b"")
            await self._page_proxy.upgrades_pass.wait()
        return None


class PageProxy(Proxy):
    """
    Forwards the connections of one page.

    Attributes:
        is_passing: Set unless what comes is held back, in both directions.
        is_black_hole: Whether nothing passes on new connections, now or ever.
        refuses_upgrades: Whether web sockets are refused, as some proxies do.
        loses_answers_to_upgrades: Whether web sockets are asked for, and nothing comes back.
        upgrades_pass: Set unless what asks for web sockets is held back.
    """

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.is_passing = asyncio.Event()
        self.is_passing.set()
        self.is_black_hole = False
        self.refuses_upgrades = False
        self.loses_answers_to_upgrades = False
        self.upgrades_pass = asyncio.Event()
        self.upgrades_pass.set()

    async def mend(self) -> None:
        self.is_black_hole = False
        await super().mend()

    def cut(self) -> None:
        for link in tuple(self._links):
            assert isinstance(link, PageLink)
            link.end()

    def freeze(self) -> None:
        """Let nothing pass any more where the client receives. Other connections are reset, lest it sends there."""
        for link in tuple(self._links):
            assert isinstance(link, PageLink)
            if link.is_receiving:
                link.is_frozen = True
            else:
                link.cut()

    def swallow(self) -> None:
        """Let nothing pass any more, and let nobody know: all sockets stay open, and new ones are taken."""
        self.is_black_hole = True
        self.freeze()

    def _make_link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> PageLink:
        return PageLink(self, reader, writer)
