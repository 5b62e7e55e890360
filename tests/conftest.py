"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import PeerSite, Process, redis_server, serve_peer_site

__all__ = ["serve_peer_site"]


@pytest.fixture(scope="session")
def redis() -> Iterator[Process]:
    """A real Redis."""
    with redis_server() as process:
        yield process


@pytest.fixture(scope="session")
def redis_url(redis: Process) -> str:
    return f"redis://127.0.0.1:{redis.port}/0"


@pytest.fixture(scope="session")
def peer_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerSite]:
    """The peer site on uvicorn, in one process."""
    database = tmp_path_factory.mktemp("peer-site") / "db.sqlite3"
    with serve_peer_site(database, PEER_SIGNALR='{"HISTORY_FLUSH_INTERVAL": 0.02}') as server:  # many tests wait for their row
        yield PeerSite(server, database)
