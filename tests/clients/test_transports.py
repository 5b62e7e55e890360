"""
Microsoft's JavaScript client on every transport and in every hub protocol, against live server processes and through a proxy that fails.

Each file of ``node/transports`` is run once for each way of connecting that it is meant for, all of these side by side when the first of
their tests is asked for; each Node test then reports its own result. ``WAY`` in a file's environment names the transport and the protocol.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.clients.test_node import FOLDER, Outcomes, names_of_tests, run_node
from tests.clients.test_node import node as node_executable
from tests.live import PEER_SITE, ROOT, free_port, missing, peer_site_environment, serve_peer_site, server_command

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

FILES = {name: FOLDER / "node" / "transports" / f"{name}.test.mjs" for name in WAYS}
IMPATIENT = {"DISCONNECT_TIMEOUT": 3}
SITES = {"lost": "impatient", "silence": "impatient", "stateful": "impatient", "shutdown": "of its own"}
"""Which site a file is run against, other than the one process that serves the rest."""

node = node_executable  # the same fixture


def node_tests() -> Iterator[Any]:
    for file, ways in WAYS.items():
        for way in ways:
            for name in names_of_tests(FILES[file]):
                yield pytest.param(file, way, name, id=f"{file}{f' over {way}' if way else ''}: {name}")


@pytest.fixture(scope="module")
def site_environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, str]]]:
    """Starts a site once, and gives what its Node tests find in their environment."""
    known: dict[str, dict[str, str]] = {}
    with contextlib.ExitStack() as processes:

        def start(site: str) -> dict[str, str]:
            database = tmp_path_factory.mktemp("site") / "db.sqlite3"
            if site == "of its own":
                port = free_port()
                command = {"SERVER_COMMAND": json.dumps(server_command(PEER_SITE, port)), "SERVER_PORT": str(port)}
                return {**peer_site_environment(database), **command}
            if site == "impatient":
                server = processes.enter_context(serve_peer_site(database, PEER_SIGNALR=json.dumps(IMPATIENT)))
                return {"PEER_URL": server.url}
            return {"PEER_URL": request.getfixturevalue("peer_site").url}

        def environment(site: str) -> dict[str, str]:
            if site not in known:
                known[site] = start(site)
            return known[site]

        yield environment


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, node: str, site_environment: Callable[[str], dict[str, str]]
) -> Iterator[Callable[[str, str], Outcomes]]:
    """Runs a file for each of its ways that was selected, once."""
    if not (FOLDER / "node_modules" / "@microsoft" / "signalr-protocol-msgpack").is_dir():
        missing("The npm package @microsoft/signalr-protocol-msgpack (run npm ci in tests/clients)")
    calls = [item.callspec.params for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    selected = {(params["file"], params["way"]) for params in calls}
    known: dict[tuple[str, str], Future[Outcomes]] = {}
    with ThreadPoolExecutor(len(EVERY_WAY)) as threads:

        def run(file: str, way: str) -> Outcomes:
            if (file, way) not in known:
                environment = {**site_environment(SITES.get(file, "")), "PYTHON": sys.executable, "ROOT": str(ROOT)}
                for one in WAYS[file]:
                    if (file, one) in selected:
                        known[file, one] = threads.submit(run_node, node, FILES[file], {**environment, "WAY": one})
            return known[file, way].result()

        yield run


@pytest.mark.parametrize(("file", "way", "name"), list(node_tests()))
def test_javascript_client(file: str, way: str, name: str, outcomes: Callable[[str, str], Outcomes]) -> None:
    outcome = outcomes(file, way)[name]
    if not outcome.passed:
        pytest.fail(outcome.text, pytrace=False)
