"""
Microsoft's JavaScript client against live server processes: one pytest test per Node test of ``node/*.test.mjs``.

The Node process of a file is started when the first of its tests is asked for, and each test then reports its own result.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live import PEER_SITE, ROOT, balance, free_port, missing, peer_site_environment, serve_peer_site, server_command

FOLDER = Path(__file__).parent
FILES = {path.name.removesuffix(".test.mjs"): path for path in sorted((FOLDER / "node").glob("*.test.mjs"))}
TEST_NAME = re.compile(r"^ *test\('((?:[^'\\]|\\.)+)'", re.MULTILINE)
FILE_TIMEOUT = 90.0

SITES = {
    "no_stickiness": ("balanced over pubsub", "balanced over core"),
    "origins": ("with an origin",),
    "restarts": ("of its own",),
    "two_processes": ("pubsub", "core"),
}
"""Which sites a file is run against, other than the one process that serves the rest."""


@dataclass(frozen=True)
class Outcome:
    """What one Node test came to."""

    passed: bool
    text: str


Outcomes = dict[str, Outcome]


def names_of_tests(path: Path) -> list[str]:
    """The names of a file's tests; subtests are none of our business."""
    names = [name.replace("\\'", "'") for name in TEST_NAME.findall(path.read_text())]
    assert len(names) == len(set(names)), f"{path.name} has two tests of one name"
    return names


def node_tests() -> Iterator[Any]:
    for file, path in FILES.items():
        for site in SITES.get(file, ("",)):
            for name in names_of_tests(path):
                yield pytest.param(file, site, name, id=f"{file}{f' on {site}' if site else ''}: {name}")


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        missing("Node.js")
    if not (FOLDER / "node_modules" / "@microsoft" / "signalr").is_dir():
        missing("The npm package @microsoft/signalr (run npm ci in tests/clients)")
    return str(found)


@pytest.fixture(scope="module")
def site_environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, str]]]:
    """Starts a site once, and gives what its Node tests find in their environment."""
    known: dict[str, dict[str, str]] = {}
    with contextlib.ExitStack() as processes:

        def start(site: str) -> dict[str, str]:
            database = tmp_path_factory.mktemp("site") / "db.sqlite3"
            if site == "":
                return {"PEER_URL": request.getfixturevalue("peer_site").url}
            if site == "with an origin":
                server = processes.enter_context(serve_peer_site(database, PEER_ORIGINS="https://app.example.com"))
                return {"PEER_URL": server.url}
            if site == "of its own":
                port = free_port()
                command = {"SERVER_COMMAND": json.dumps(server_command(PEER_SITE, port)), "SERVER_PORT": str(port)}
                return {**peer_site_environment(database), **command}
            layer = {"PEER_LAYER": site.split()[-1], "REDIS_URL": request.getfixturevalue("redis_url")}
            servers = [processes.enter_context(serve_peer_site(database, **layer)) for _ in range(2)]
            if site.startswith("balanced"):
                balancer = processes.enter_context(balance([server.port for server in servers]))
                return {"PEER_URL": f"http://127.0.0.1:{balancer.port}"}
            urls = " ".join(server.url for server in servers)
            return {**peer_site_environment(database, **layer), "PEER_URLS": urls, "PYTHON": sys.executable}

        def environment(site: str) -> dict[str, str]:
            if site not in known:
                known[site] = start(site)
            return known[site]

        yield environment


@pytest.fixture(scope="module")
def outcomes(node: str, site_environment: Callable[[str], dict[str, str]]) -> Callable[[str, str], Outcomes]:
    """Runs a file against a site, once."""
    known: dict[tuple[str, str], Outcomes] = {}

    def run(file: str, site: str) -> Outcomes:
        if (file, site) not in known:
            known[file, site] = run_node(node, FILES[file], site_environment(site))
        return known[file, site]

    return run


def run_node(node: str, path: Path, env: dict[str, str]) -> Outcomes:
    """Run one file to its end, or to its deadline."""
    with tempfile.TemporaryDirectory(prefix="signalr-node-") as folder:
        report = Path(folder) / "report"
        options = ["--test-reporter", "./node/reporter.mjs", "--test-reporter-destination", str(report)]
        process = subprocess.Popen(
            [node, *options, str(path)],
            cwd=FOLDER,
            # Python processes that the tests start find the project whatever their working directory is.
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=FILE_TIMEOUT)
        except subprocess.TimeoutExpired:
            # With the servers it started, which are of its session.
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f"\n{path.name} took over {FILE_TIMEOUT:g} s"
        lines = report.read_text().splitlines() if report.exists() else []
    return read_report(names_of_tests(path), lines, output)


def read_report(names: list[str], lines: list[str], output: str) -> Outcomes:
    """The outcomes by name. What is reported beside them are subtests, which come before their test, and suites, which come last."""
    outcomes: Outcomes = {}
    others: list[str] = []
    for line in lines:
        result = json.loads(line)
        text = f"{result['name']}: {result['text']}"
        if result["name"] in names:
            outcomes[result["name"]] = Outcome(result["passed"], "\n\n".join([*others, text, output]))
            others = []
        elif not result["passed"]:
            others.append(text)
    missing_text = "\n\n".join(["Node did not report this test.", *others, output])
    return {name: outcomes.get(name, Outcome(False, missing_text)) for name in names}


@pytest.mark.parametrize(("file", "site", "name"), list(node_tests()))
def test_javascript_client(file: str, site: str, name: str, outcomes: Callable[[str, str], Outcomes]) -> None:
    outcome = outcomes(file, site)[name]
    if not outcome.passed:
        pytest.fail(outcome.text, pytrace=False)
