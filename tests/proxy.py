"""
A TCP proxy between a client and a server, which loses connections on command.

In Python: ``async with Proxy(port) as proxy``. For other languages ``python -m tests.proxy`` reads one JSON command a line, answers each
with a line, and ends at the end of its input. ``{"do": "open", "target": PORT}`` makes a proxy and answers with its port;
``{"do": NAME, "port": PORT, …}`` calls a method of :class:`Proxy`, or asks for its ``status``. For tests without an event loop there is
:func:`proxy_in_thread`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

CHUNK = 65536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
DEADLINE = 10.0


class Link:
    """One connection through the proxy: a socket on either side."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._is_cut = asyncio.Event()
        self.is_frozen = False

    async def run(self) -> None:
        """Forward both ways until both sides have ended."""
        writer = self._writers[0]
        try:
            await self._proxy.is_flowing.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._proxy.target)
            self._writers.append(far_writer)
            await asyncio.gather(self._pump(self._reader, far_writer, "up"), self._pump(far_reader, writer, "down"))
        except OSError:
            # One side has lost its socket, and so the other loses its own, if it can hear of it.
            if self.is_frozen:
                await self._is_cut.wait()
            else:
                self.cut()
        finally:
            for one in self._writers:
                one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        proxy = self._proxy
        while data := await reader.read(CHUNK):
            if proxy.delay:
                await asyncio.sleep(proxy.delay)
            if self.is_frozen:
                continue
            data, is_last = proxy.spend(direction, data)
            writer.write(data)
            await writer.drain()
            if is_last:
                proxy.cut()
        if not self.is_frozen:
            writer.write_eof()

    def cut(self) -> None:
        """Reset both sides: no orderly end, nothing more is delivered."""
        self._is_cut.set()
        for writer in self._writers:
            reset(writer)

    def abandon(self) -> None:
        """Reset the client's side and leave the server's open."""
        self.is_frozen = True
        reset(self._writers[0])


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection so that its other side reads an error instead of an end."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it may be closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


class Proxy:
    """
    Forwards connections to a port of this machine.

    Attributes:
        port: Where it listens.
        target: Where it forwards to.
        accepted: How many connections it has had.
        delay: Seconds by which it holds back what it forwards, in either direction.
        is_flowing: Set unless new connections are held.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.accepted = 0
        self.delay = 0.0
        self.is_flowing = asyncio.Event()
        self.is_flowing.set()
        self._budgets: dict[str, int] = {}
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Proxy:
        await self.mend()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def mend(self) -> None:
        """Take new connections, and let those on hold through. Frozen ones stay lost."""
        self.is_flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def hold(self) -> None:
        """Take new connections, and let them wait."""
        self.is_flowing.clear()

    def cut(self) -> None:
        """Reset every connection."""
        for link in tuple(self._links):
            link.cut()

    def cut_after(self, direction: str, size: int) -> None:
        """Reset every connection when so many more bytes have gone ``up`` to the server, or ``down`` to the client."""
        self._budgets[direction] = size

    def freeze(self) -> None:
        """Leave the connections that are open half-open: their sockets stay, and nothing passes any more, not even an end."""
        for link in self._links:
            link.is_frozen = True

    def abandon(self) -> None:
        """Reset every connection for the client only: the server has it half-open, and hears nothing of its end."""
        for link in tuple(self._links):
            link.abandon()

    def cut_frozen(self) -> None:
        """Reset the connections that were left half-open."""
        for link in tuple(self._links):
            if link.is_frozen:
                link.cut()

    async def wait_accepted(self, count: int) -> None:
        """Return when there have been so many connections in all."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.accepted >= count)

    async def stop(self) -> None:
        """Refuse new connections, and lose the open ones."""
        await self.refuse()
        tasks = tuple(self._links.values())
        self.cut()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def status(self) -> dict[str, int]:
        return {"port": self.port, "accepted": self.accepted, "open": len(self._links)}

    def spend(self, direction: str, data: bytes) -> tuple[bytes, bool]:
        """What of some data may still pass, and whether it is the last that does."""
        left = self._budgets.get(direction)
        if left is None:
            return data, False
        if len(data) < left:
            self._budgets[direction] = left - len(data)
            return data, False
        del self._budgets[direction]
        return data[:left], True

    def _make_link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Link:
        return Link(self, reader, writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = self._make_link(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        async with self._changed:
            self.accepted += 1
            self._changed.notify_all()
        try:
            await link.run()
        except asyncio.CancelledError:
            # By stop(), which waits for it. Streams would report a task of theirs that ends so.
            pass
        finally:
            del self._links[link]


@contextlib.contextmanager
def proxy_in_thread(target: int) -> Iterator[tuple[Proxy, Callable[[Callable[[], Any]], Any]]]:
    """
    A proxy in a loop of its own.

    Yields the proxy, and a function that calls another in that loop, such as ``call(proxy.cut)``.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(function: Callable[[], Any]) -> Any:
        async def inside() -> Any:
            result = function()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(inside(), loop).result(DEADLINE)

    async def make() -> Proxy:
        return Proxy(target)

    try:
        proxy = call(make)
        call(proxy.mend)
        try:
            yield proxy, call
        finally:
            call(proxy.stop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE)
        loop.close()


class Commands:
    """Proxies that are driven by lines of JSON."""

    def __init__(self) -> None:
        self._proxies: dict[int, Proxy] = {}

    async def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one thing, and say how the proxy is then."""
        name = command["do"]
        if name == "open":
            proxy = Proxy(command["target"])
            await proxy.mend()
            self._proxies[proxy.port] = proxy
            return proxy.status()
        proxy = self._proxies[command["port"]]
        if name == "delay":
            proxy.delay = command["seconds"]
        elif name == "cut_after":
            proxy.cut_after(command["direction"], command["size"])
        elif name in ("abandon", "cut", "cut_frozen", "freeze", "hold"):
            getattr(proxy, name)()
        elif name in ("mend", "refuse", "stop"):
            await getattr(proxy, name)()
        elif name == "wait_accepted":
            await proxy.wait_accepted(command["count"])
        elif name != "status":
            raise ValueError(f"unknown command {name!r}")
        return proxy.status()

    async def stop(self) -> None:
        for proxy in self._proxies.values():
            await proxy.stop()


async def main() -> None:
    """Obey the standard input."""
    commands = Commands()
    running: set[asyncio.Task[None]] = set()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def answer(command: dict[str, Any]) -> None:
        try:
            result: dict[str, Any] = await commands.obey(command)
        except (KeyError, ValueError, OSError) as error:
            result = {"error": repr(error)}
        print(json.dumps({"id": command.get("id"), **result}), flush=True)

    while line := await reader.readline():
        # Side by side, since some wait for what others bring about.
        task = asyncio.create_task(answer(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
    await commands.stop()


if __name__ == "__main__":
    asyncio.run(main())
