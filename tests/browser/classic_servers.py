"""
Classic servers with the hubs of the contract, and the log of their hub callbacks.

Ours by default. With ``CLASSIC_SERVER`` any other, such as Microsoft's: the command that starts it, with ``{port}`` where the port goes. It
must have the timeouts below, and tokens that outlive the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from tests.live import PEER_SITE, Process, free_port, peer_site_environment, server_command

DISCONNECT_TIMEOUT = 6.0
KEEP_ALIVE = 2.0
CONNECTION_TIMEOUT = 8.0
KEEP_ALIVE_TIMEOUT = 2 * KEEP_ALIVE

OTHER_SERVER = os.environ.get("CLASSIC_SERVER", "")
TIMEOUTS = {
    "PEER_DISCONNECT_TIMEOUT": f"{DISCONNECT_TIMEOUT:g}",
    "PEER_KEEP_ALIVE": f"{KEEP_ALIVE:g}",
    "PEER_CONNECTION_TIMEOUT": f"{CONNECTION_TIMEOUT:g}",
}
READ_INTERVAL = 0.1


class Record:
    """Lines that can be waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def add(self, line: str) -> None:
        self.replace([*self.lines, line])

    def replace(self, lines: list[str]) -> None:
        if lines != self.lines:
            self.lines = lines
            self._changed.set()
            self._changed = asyncio.Event()

    async def wait(self, is_so: Callable[[], bool]) -> None:
        """Return once something is so, which only new lines can change."""
        while not is_so():
            await self._changed.wait()


class ClassicServer:
    """
    A server, in one process after another on the same port.

    Attributes:
        log: What ``/events`` of the process that runs now tells: ``connected ID``, ``reconnected ID``, ``disconnected ID True|False``.
    """

    def __init__(self, folder: Path, guests: int) -> None:
        self.port = free_port()
        self.log = Record()
        self._folder = folder
        self._guests = guests
        self._arrived = 0
        self._is_restarted = asyncio.Event()
        self._process: Process | None = None

    def log_of(self, ids: Sequence[str]) -> list[str]:
        """The callbacks of some connections, without their ids."""
        lines = [line.split() for line in self.log.lines]
        return [" ".join([words[0], *words[2:]]) for words in lines if words[1:2] and words[1] in ids]

    async def restart(self, number: signal.Signals) -> None:
        """End the process by a signal and start another, once all guests have asked for it."""
        self._arrived += 1
        if self._arrived == self._guests:
            await asyncio.to_thread(self._end, number)
            await asyncio.to_thread(self._begin)
            self._is_restarted.set()
        await self._is_restarted.wait()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[ClassicServer]:
        await asyncio.to_thread(self._begin)
        reading = asyncio.create_task(self._read_log())
        try:
            yield self
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await asyncio.to_thread(self._end, signal.SIGTERM)

    def _begin(self) -> None:
        if OTHER_SERVER:
            self._process = Process(shlex.split(OTHER_SERVER.format(port=self.port)), self.port)
        else:
            environment = peer_site_environment(self._folder / f"{self.port}.sqlite3", **TIMEOUTS)
            self._process = Process(server_command(PEER_SITE, self.port), self.port, environment)
        self._process.wait_ready()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            if number == signal.SIGKILL:
                self._process.kill()
            else:
                self._process.stop()
            self._process.log.close()
            self._process = None

    async def _read_log(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # while there is no process
                self.log.replace(await asyncio.to_thread(self._fetch_log))
            await asyncio.sleep(READ_INTERVAL)  # servers do not tell of new lines

    def _fetch_log(self) -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/events", timeout=READ_INTERVAL * 50) as answer:
            return list(json.load(answer))
