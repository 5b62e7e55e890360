"""
A load balancer without sticky sessions: every HTTP request goes to the next server process, whatever connection it came on.

``python -m tests.round_robin PORT BACKEND_PORT ...``
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence

CHUNK = 65536
LONGEST_HEAD = 65536


class RoundRobin:
    """Forwards requests to ports in turn. Each gets an upstream connection of its own."""

    def __init__(self, backends: Sequence[int]) -> None:
        self._next: Iterator[int] = itertools.cycle(backends)
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=LONGEST_HEAD)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def run(self) -> None:
        assert self._server is not None
        await self._server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await self._forward(reader, writer):
                pass
        writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection can take another."""
        head = await reader.readuntil(b"\r\n\r\n")
        fields = _fields(head)
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", next(self._next))
        try:
            if "upgrade" in fields.get("connection", "").lower():
                upstream.write(head)
                await asyncio.gather(_pipe(reader, upstream), _pipe(upstream_reader, writer))
                return False
            upstream.write(_with_close(head))
            sending = asyncio.ensure_future(_send_body(reader, upstream, fields))
            answering = asyncio.ensure_future(_answer(upstream_reader, writer))
            gone = asyncio.ensure_future(_client_left(reader, sending))
            try:
                await asyncio.wait([answering, gone], return_when=asyncio.FIRST_COMPLETED)
                return answering.done() and answering.exception() is None
            finally:
                for task in (sending, answering, gone):
                    task.cancel()
                await asyncio.wait([sending, answering, gone])
        finally:
            upstream.close()


async def _client_left(reader: asyncio.StreamReader, sending: asyncio.Future[None]) -> None:
    await asyncio.wait([sending])
    while not reader.at_eof() and not reader._buffer:  # type: ignore[attr-defined] # noqa: ASYNC110 - peeking has no public way
        await asyncio.sleep(0.02)
    if not reader.at_eof():
        await asyncio.Event().wait()  # the next request is there already


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def _with_close(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


async def _send_body(reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, fields: dict[str, str]) -> None:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        while True:
            size = await reader.readline()
            upstream.write(size + await reader.readexactly(int(size.split(b";")[0], 16) + 2))
            await upstream.drain()
            if int(size.split(b";")[0], 16) == 0:
                return
    remaining = int(fields.get("content-length", "0"))
    while remaining:
        data = await reader.read(min(remaining, CHUNK))
        if not data:
            return
        remaining -= len(data)
        upstream.write(data)
        await upstream.drain()


async def _answer(upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await upstream.readuntil(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")]
    writer.write(b"\r\n".join([*lines, b"", b""]))
    await _pipe(upstream, writer, close=False)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, close: bool = True) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    if close:
        writer.close()


async def main(port: int, backends: Sequence[int]) -> None:
    balancer = RoundRobin(backends)
    await balancer.start(port)
    await balancer.run()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), [int(argument) for argument in sys.argv[2:]]))
