"""Microsoft's JavaScript client against live server processes: one pytest test per Node test of ``node/*.test.mjs``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.node_runner import FOLDER, Run, Runs, node_executable, node_runs, node_tests

FILES = sorted(path.name.removesuffix(".test.mjs") for path in (FOLDER / "node").glob("*.test.mjs"))
SITES = {
    "no_stickiness": ("balanced over pubsub", "balanced over core"),
    "origins": ("with an origin",),
    "restarts": ("of its own",),
    "two_processes": ("pubsub", "core"),
}
"""Which sites a file is run against, other than the one process that serves the rest."""

SETTINGS = {"with an origin": {"PEER_ORIGINS": "https://app.example.com"}}
# Those of the other generation are run by test_classic_node.py.
RUNS = [Run(file, site) for file in FILES if not file.startswith("classic_") for site in SITES.get(file, ("",))]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with node_runs(request, tmp_path_factory, node_executable("@microsoft/signalr"), SETTINGS) as runs:
        yield runs


@pytest.mark.parametrize(("run", "name"), node_tests(RUNS))
def test_javascript_client(run: Run, name: str, runs: Runs) -> None:
    runs.check(run, name)
