"""
Running Node tests under pytest: every Node test is a pytest test of its own.

A module names its runs (a file, the site it is run against, the way it connects) and turns them into parameters with :func:`node_tests`.
The Node process of a run is started when the first of its tests is asked for, and each test then reports its own result.
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live import PEER_SITE, ROOT, Server, balance, free_port, missing, peer_site_environment, serve_peer_site, server_command

FOLDER = Path(__file__).parent
TEST_NAME = re.compile(r"^ *test\('((?:[^'\\]|\\.)+)'", re.MULTILINE)
FILE_TIMEOUT = 90.0


@dataclass(frozen=True)
class Run:
    """
    One run of a file of Node tests.

    Attributes:
        file: Its path below ``node``, without the ending that all have.
        site: The site it is run against; see :class:`Sites`.
        way: What it finds as ``WAY`` in its environment: the transport, and the hub protocol if there is a choice.
    """

    file: str
    site: str = ""
    way: str = ""

    @property
    def path(self) -> Path:
        return FOLDER / "node" / f"{self.file}.test.mjs"

    def __str__(self) -> str:
        return f"{Path(self.file).name}{f' on {self.site}' if self.site else ''}{f' over {self.way}' if self.way else ''}"


@dataclass(frozen=True)
class Outcome:
    """What one Node test came to."""

    passed: bool
    text: str


Outcomes = dict[str, Outcome]
Environment = dict[str, str]


def names_of_tests(path: Path) -> list[str]:
    """The names of a file's tests; subtests are none of our business."""
    names = [name.replace("\\'", "'") for name in TEST_NAME.findall(path.read_text())]
    assert len(names) == len(set(names)), f"{path.name} has two tests of one name"
    return names


def node_tests(runs: Iterable[Run]) -> list[Any]:
    """Parameters ``run`` and ``name`` for every test of these runs."""
    return [pytest.param(run, name, id=f"{run}: {name}") for run in runs for name in names_of_tests(run.path)]


def node_executable(*packages: str) -> str:
    """Where Node is, if these npm packages are there too."""
    found = shutil.which("node")
    if found is None:
        missing("Node.js")
    for package in packages:
        if not (FOLDER / "node_modules" / package).is_dir():
            missing(f"The npm package {package} (run npm ci in tests/clients)")
    return str(found)


class Sites:
    """
    Sites that Node tests are run against, each started once.

    ``""`` is the one process that serves the rest of the suite. ``"of its own"`` is none: the file starts and ends a process itself, and
    finds its command in the environment. ``"pubsub"`` and ``"core"`` are two processes on that channel layer, and with ``"balanced over"``
    in front there is a balancer without sticky sessions before them. Any other name is one process with settings that the module gives.
    """

    def __init__(
        self,
        request: pytest.FixtureRequest,
        folders: pytest.TempPathFactory,
        settings: Mapping[str, Environment] | None = None,
    ) -> None:
        """
        Args:
            request: Of the module's fixture; gives the Redis and the site of the suite when they are needed.
            folders: Where databases go.
            settings: By name of a site, the environment of its processes.
        """
        self._request = request
        self._folders = folders
        self._settings = settings or {}
        self._processes = contextlib.ExitStack()
        self._servers: list[Server] = []
        self._known: dict[str, Environment] = {}

    def environment(self, site: str) -> Environment:
        """What Node tests find in their environment."""
        if site not in self._known:
            self._known[site] = self._start(site)
        return self._known[site]

    def stop(self) -> None:
        """End the processes. None of them may have let an exception out."""
        outputs = [server.output() for server in self._servers]
        self._processes.close()
        for output in outputs:
            assert "Exception in ASGI application" not in output, output

    def _start(self, site: str) -> Environment:
        database = self._folders.mktemp("site") / "db.sqlite3"
        settings = self._settings.get(site, {})
        if site == "":
            return {"PEER_URL": self._request.getfixturevalue("peer_site").url}
        if site == "of its own":
            port = free_port()
            command = {"SERVER_COMMAND": json.dumps(server_command(PEER_SITE, port)), "SERVER_PORT": str(port)}
            return {**peer_site_environment(database, **settings), **command}
        layer = site.split()[-1]
        if layer not in ("core", "pubsub"):
            return {"PEER_URL": self._serve(database, settings).url}
        settings = {"PEER_LAYER": layer, "REDIS_URL": self._request.getfixturevalue("redis_url"), **settings}
        servers = [self._serve(database, settings) for _ in range(2)]
        found = {**peer_site_environment(database, **settings), "PEER_URLS": " ".join(server.url for server in servers)}
        if site.startswith("balanced"):
            balancer = self._processes.enter_context(balance([server.port for server in servers]))
            found["PEER_URL"] = f"http://127.0.0.1:{balancer.port}"
        return found

    def _serve(self, database: Path, settings: Mapping[str, Any]) -> Server:
        server = self._processes.enter_context(serve_peer_site(database, **settings))
        self._servers.append(server)
        return server


def by_file(run: Run) -> tuple[str, str]:
    """The ways of a file belong together."""
    return run.file, run.site


def by_site(run: Run) -> str:
    """All that is run against one site belongs together."""
    return run.site


class Runs:
    """Makes runs, each once: those that belong together side by side, when the first of their tests is asked for."""

    def __init__(
        self, node: str, sites: Sites, selected: Iterable[Run], threads: ThreadPoolExecutor, group: Callable[[Run], object] = by_file
    ) -> None:
        """
        Args:
            node: The executable.
            sites: What the runs are made against.
            selected: The runs that any test of the session asks for.
            threads: Where they are waited for.
            group: Equal for runs that belong together.
        """
        self._node = node
        self._sites = sites
        self._selected = list(dict.fromkeys(selected))
        self._threads = threads
        self._group = group
        self._known: dict[Run, Future[Outcomes]] = {}

    def outcome(self, run: Run, name: str) -> Outcome:
        """What a test came to."""
        if run not in self._known:
            environment = self._sites.environment(run.site)
            for one in self._selected:
                if self._group(one) == self._group(run):
                    self._known[one] = self._threads.submit(run_node, self._node, one.path, {**environment, "WAY": one.way})
        return self._known[run].result()[name]

    def check(self, run: Run, name: str) -> None:
        """Fail as a Node test did."""
        outcome = self.outcome(run, name)
        if not outcome.passed:
            pytest.fail(outcome.text, pytrace=False)


@contextlib.contextmanager
def node_runs(
    request: pytest.FixtureRequest,
    folders: pytest.TempPathFactory,
    node: str,
    settings: Mapping[str, Environment] | None = None,
    *,
    group: Callable[[Run], object] = by_file,
    at_once: int = 8,
) -> Iterator[Runs]:
    """
    The runs of a module's tests, for a fixture of the module.

    Args:
        request: Of the fixture.
        folders: As :class:`Sites` wants them.
        node: As :class:`Runs` wants it.
        settings: As :class:`Sites` wants them.
        group: As :class:`Runs` wants it.
        at_once: How many runs go on at a time.
    """
    items = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    selected: list[Any] = [item.callspec.params["run"] for item in items]
    sites = Sites(request, folders, settings)
    try:
        with ThreadPoolExecutor(at_once) as threads:
            yield Runs(node, sites, selected, threads, group)
    finally:
        sites.stop()


def run_node(node: str, path: Path, env: Environment) -> Outcomes:
    """Run one file to its end, or to its deadline."""
    with tempfile.TemporaryDirectory(prefix="signalr-node-") as folder:
        report = Path(folder) / "report"
        options = ["--test-reporter", "./node/reporter.mjs", "--test-reporter-destination", str(report)]
        process = subprocess.Popen(
            [node, *options, str(path)],
            cwd=FOLDER,
            # Python processes that the tests start find the project whatever their working directory is.
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "ROOT": str(ROOT), **env},
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
