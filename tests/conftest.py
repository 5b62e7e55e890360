"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import Process, Server, redis_server, serve


@pytest.fixture(scope="session")
def redis() -> Iterator[Process]:
    """A real Redis."""
    with redis_server() as process:
        yield process


@pytest.fixture(scope="session")
def redis_url(redis: Process) -> str:
    return f"redis://127.0.0.1:{redis.port}/0"


@pytest.fixture(scope="session")
def peer_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The peer site on uvicorn, with a migrated database."""
    with serve_peer_site(tmp_path_factory.mktemp("peer-site") / "db.sqlite3") as server:
        yield server


def serve_peer_site(database: object, **env: str):
    import subprocess
    import sys

    from tests.live import ROOT

    environment = {"PEER_DATABASE": str(database), "DJANGO_SETTINGS_MODULE": "tests.peer_site.settings", **env}
    import os

    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity", "0"], cwd=ROOT, env={**os.environ, **environment}, check=True, timeout=60
    )
    return serve("tests.peer_site.asgi:application", env=environment)
