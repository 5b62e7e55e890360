"""
The classic clients for JavaScript against live server processes: one pytest test per Node test of ``node/classic_*.test.mjs``.

They are Microsoft's (``signalr`` with jQuery, in pages of jsdom), ``signalr-no-jquery`` and ``signalr-client``. A file is run once for each
transport that it is meant for, these side by side; ``WAY`` in its environment names the transport.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.node_runner import Run, Runs, by_site, node_executable, node_runs, node_tests

EVERY_TRANSPORT = ("webSockets", "serverSentEvents", "longPolling")
IMPATIENT = "an impatient site"

RUNS = [
    # Those that wait for timeouts come first.
    *(Run("classic_late", IMPATIENT, way) for way in EVERY_TRANSPORT),
    *(Run("classic_lifetimes", IMPATIENT, way) for way in EVERY_TRANSPORT),
    *(Run("classic_silence", IMPATIENT, way) for way in ("webSockets", "serverSentEvents")),  # of polls the client expects no keep-alives
    *(Run("classic_calls", IMPATIENT, way) for way in EVERY_TRANSPORT),
    *(Run("classic_raw", IMPATIENT, way) for way in EVERY_TRANSPORT),
    *(Run("classic_no_jquery", IMPATIENT, way) for way in EVERY_TRANSPORT),
    Run("classic_pages", IMPATIENT),
    Run("classic_signalr_client", IMPATIENT),
    Run("classic_generations", IMPATIENT),
    Run("classic_restarts", "of its own"),
    *(Run("classic_no_stickiness", f"balanced over {layer}", way) for layer in ("pubsub", "core") for way in EVERY_TRANSPORT),
]
SETTINGS = {
    IMPATIENT: {"PEER_DISCONNECT_TIMEOUT": "6", "PEER_KEEP_ALIVE": "2", "PEER_CONNECTION_TIMEOUT": "8"},
}
PACKAGES = ("@microsoft/signalr", "eventsource", "jquery", "jsdom", "signalr", "signalr-client", "signalr-no-jquery")


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with node_runs(request, tmp_path_factory, node_executable(*PACKAGES), SETTINGS, group=by_site, at_once=6) as runs:
        yield runs


@pytest.mark.parametrize(("run", "name"), node_tests(RUNS))
def test_classic_javascript_client(run: Run, name: str, runs: Runs) -> None:
    runs.check(run, name)
