"""Fixtures of the conformance tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.stage import hub
from tests.live import PeerSite, serve_peer_site
from tests.tasks import no_task_left

__all__ = ["hub", "no_task_left"]

pytest.register_assert_rewrite("tests.conformance.table")


@pytest.fixture(scope="session")
def classic_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerSite]:
    """The peer site with the shortest times that the classic generation allows, which the recordings were made with too."""
    database = tmp_path_factory.mktemp("classic-peer-site") / "db.sqlite3"
    times = {"PEER_DISCONNECT_TIMEOUT": "6", "PEER_KEEP_ALIVE": "2", "PEER_CONNECTION_TIMEOUT": "8"}
    with serve_peer_site(database, PEER_SIGNALR='{"HISTORY_FLUSH_INTERVAL": 0.02}', **times) as server:
        yield PeerSite(server, database)
