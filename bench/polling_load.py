"""
The load generator for long polling: ``python -m bench.polling_load --port N --path /x --connections N --message TEXT ...``.

Each SignalR connection has two keep-alive HTTP connections, one for polls and one for posts, and one call in flight: it polls and posts
``--message`` at the same time, and polls on until a record contains ``--expect``. That is one round trip. With ``--greeting`` it
negotiates and shakes hands first; without, it makes its connection id up. Prints one JSON object with the names of ``load/load.c``.

It needs several times the CPU of that one, so it may well set the rate; what is judged is the server's CPU, which does not depend on it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
RECORD_SEPARATOR = b"\x1e"
PING = b'{"type":6}'
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The run cannot give a figure."""


@dataclass(kw_only=True)
class Window:
    """What happens between two readings of the server's CPU."""

    open: bool = False
    latencies: list[float] = field(default_factory=list)
    """Seconds of each round trip that ended inside."""
    unexpected: int = 0
    """Records that were neither the answer nor a ping."""


class Http:
    """One keep-alive HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> Http:
        return cls(*await asyncio.open_connection(HOST, port))

    async def request(self, method: str, target: str, body: bytes = b"") -> bytes:
        """
        Send a request and read the body of its answer.

        Raises:
            Failed: The status is not 200.
        """
        length = f"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len(body)}\r\n" if method == "POST" else ""
        self.writer.write(f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\n{length}\r\n".encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        answer = await self.read_body(head)
        if not head.startswith(b"http/1.1 200"):
            raise Failed(f"{method} {target}: {head.splitlines()[0].decode()}: {answer[:200].decode(errors='replace')}")
        return answer

    async def read_body(self, head: bytes) -> bytes:
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if found:
            return await self.reader.readexactly(int(rest.partition(b"\r\n")[0]))
        if b"\r\ntransfer-encoding: chunked" not in head:
            return b""
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body


class Client:
    """One SignalR connection over long polling."""

    def __init__(self, options: argparse.Namespace, window: Window, number: int) -> None:
        self.options = options
        self.window = window
        self.target = f"{options.path}?id={number}"
        self.message = options.message.encode()
        self.expect = options.expect.encode()

    async def connect(self) -> None:
        self.polls, self.posts = await Http.open(self.options.port), await Http.open(self.options.port)
        if not self.options.greeting:
            return
        negotiated = json.loads(await self.posts.request("POST", f"{self.options.path}/negotiate?negotiateVersion=1"))
        if "connectionToken" not in negotiated:
            raise Failed(f"the negotiation was refused: {negotiated}")
        self.target = f"{self.options.path}?id={negotiated['connectionToken']}"
        await self.polls.request("GET", self.target)  # the first poll is answered at once, with nothing
        await self.posts.request("POST", self.target, self.options.greeting.encode())
        while not (reply := await self.polls.request("GET", self.target)):
            continue
        if b'"error"' in reply:
            raise Failed(f"the greeting was refused: {reply.decode(errors='replace')}")

    async def call_for_ever(self) -> None:
        while True:
            started = time.monotonic()
            await asyncio.gather(self.posts.request("POST", self.target, self.message), self.poll_until_answered())
            if self.window.open:
                self.window.latencies.append(time.monotonic() - started)

    async def poll_until_answered(self) -> None:
        while not self.is_answered_by(await self.polls.request("GET", self.target)):
            continue

    def is_answered_by(self, body: bytes) -> bool:
        answered = False
        for record in body.split(RECORD_SEPARATOR):
            if self.expect in record:
                answered = True
            elif record and not record.startswith(PING):
                self.window.unexpected += 1
        return answered


def server_cpu(pids: Sequence[int]) -> float:
    """utime + stime of the processes, in seconds."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError as error:
            raise Failed(f"server process {pid} is gone") from error
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


async def measure(options: argparse.Namespace) -> dict[str, float | None]:
    window = Window()
    clients = [Client(options, window, number) for number in range(options.connections)]
    connecting, connect_cpu = time.monotonic(), server_cpu(options.pids)
    await asyncio.gather(*(client.connect() for client in clients))
    connecting, connect_cpu = time.monotonic() - connecting, server_cpu(options.pids) - connect_cpu
    calls = asyncio.gather(*(client.call_for_ever() for client in clients))
    await run_for(calls, options.warm)
    started, cpu, own = time.monotonic(), server_cpu(options.pids), time.process_time()
    window.open = True
    await run_for(calls, options.secs)
    window.open = False
    seconds, cpu, own = time.monotonic() - started, server_cpu(options.pids) - cpu, time.process_time() - own
    calls.cancel()
    messages = len(window.latencies)
    if messages < 2:
        raise Failed("no reply within the window")
    percentiles = statistics.quantiles(window.latencies, n=100)
    return {
        "connections": options.connections,
        "connect_seconds": connecting,
        "connects_per_second": options.connections / connecting,
        "connect_cpu_us": connect_cpu / options.connections * 1e6,
        "seconds": seconds,
        "messages": messages,
        "per_second": messages / seconds,
        "cpu_seconds": cpu,
        "cpu_us": cpu / messages * 1e6,
        "cpu_percent": cpu / seconds * 100,
        "p50_ms": percentiles[49] * 1e3,
        "p99_ms": percentiles[98] * 1e3,
        "max_ms": max(window.latencies) * 1e3,
        "load_cpu_percent": own / seconds * 100,
        "unexpected": window.unexpected,
    }


async def run_for(calls: asyncio.Future[list[None]], seconds: float) -> None:
    """Let the calls run; they end early only by failing, and then their error is raised."""
    done, _ = await asyncio.wait([calls], timeout=seconds)
    if done:
        await calls


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.polling_load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pids", type=lambda text: [int(item) for item in text.split(",")], required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--message", required=True)
    parser.add_argument("--expect", required=True)
    parser.add_argument("--greeting", default="")
    parser.add_argument("--replies", type=int, default=1, help="taken for the sake of load.c; one record answers the greeting")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--secs", type=float, default=2.0)
    parser.add_argument("--limit", type=float, default=120.0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        figures = asyncio.run(asyncio.wait_for(measure(options), options.limit))
    except (Failed, OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
