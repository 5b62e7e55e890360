"""
Microsoft's JavaScript client on every transport and in every hub protocol, against live server processes and through a proxy that fails.

Each file of ``node/transports`` is run once for each way of connecting that it is meant for, all of these side by side when the first of
their tests is asked for; each Node test then reports its own result. ``WAY`` in a file's environment names the transport and the protocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.clients.node_runner import Run, Runs, node_executable, node_runs, node_tests

WEB_SOCKETS = ("webSockets json", "webSockets messagepack")
DIRECT = ("direct json", "direct messagepack")
EVENTS = ("serverSentEvents json",)
POLLS = ("longPolling json", "longPolling messagepack")
EVERY_WAY = (*WEB_SOCKETS, *DIRECT, *EVENTS, *POLLS)

WAYS = {
    "calls": EVERY_WAY,
    "streams": EVERY_WAY,
    "tokens": EVERY_WAY,
    "lost": EVERY_WAY,
    "silence": (*WEB_SOCKETS, *DIRECT, *EVENTS),  # nobody pings over long polling
    "stateful": WEB_SOCKETS,
    "together": ("",),
    "shutdown": ("",),
}
"""The files, and the ways each is run for; ``""`` for one that connects in all of them itself."""

SITES = {"lost": "an impatient site", "silence": "an impatient site", "stateful": "an impatient site", "shutdown": "of its own"}
"""Which site a file is run against, other than the one process that serves the rest."""

SETTINGS = {"an impatient site": {"PEER_SIGNALR": json.dumps({"DISCONNECT_TIMEOUT": 3})}}
RUNS = [Run(f"transports/{file}", SITES.get(file, ""), way) for file, ways in WAYS.items() for way in ways]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    node = node_executable("@microsoft/signalr", "@microsoft/signalr-protocol-msgpack")
    with node_runs(request, tmp_path_factory, node, SETTINGS) as runs:
        yield runs


@pytest.mark.parametrize(("run", "name"), node_tests(RUNS))
def test_javascript_client(run: Run, name: str, runs: Runs) -> None:
    runs.check(run, name)
