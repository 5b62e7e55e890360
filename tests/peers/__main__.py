"""
``python -m tests.peers FOLDER``: judge the peer site by a folder of .NET peers.

The folder holds ``unpack`` (which unpacks the programs), ``wire/wire.py`` with its cases and recordings of both generations, and a README
with the contract. What differs has to be in ``known_differences.json`` with a reason, and what is in there has to differ still: the list
only shrinks. What ``docs/conformance-classic.md`` says a judge shows has to be shown.

The two generations are judged at once, each at a process of its own: their sites have other timeouts, and both broadcast.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import serve_peer_site
from tests.peers.evidence import unproven

KNOWN = Path(__file__).with_name("known_differences.json")
SCENARIO_TIMEOUT = "15"
RUN_TIMEOUT = 900
CLASSIC_TIMEOUTS = {"PEER_DISCONNECT_TIMEOUT": "6", "PEER_KEEP_ALIVE": "2", "PEER_CONNECTION_TIMEOUT": "8"}
"""Those of the server that was recorded."""


@dataclass
class Known:
    """One entry of the list: a pattern over names, and why these differ."""

    pattern: str
    reason: str
    hits: int = 0

    def matches(self, name: str) -> bool:
        return re.fullmatch(self.pattern, name) is not None


@dataclass
class Verdict:
    """What one judge said."""

    judge: str
    known: list[Known]
    names: list[str] = field(default_factory=list)
    """Of all scenarios or cases that were run."""
    differing: set[str] = field(default_factory=set)
    """Names of those that differ, also where that is no fault."""
    unexpected: list[str] = field(default_factory=list)

    def differs(self, name: str, text: str) -> None:
        self.differing.add(name)
        for entry in self.known:
            if entry.matches(name):
                entry.hits += 1
                return
        self.unexpected.append(f"{name}\n{text}")

    def report(self, *, whole: bool) -> bool:
        stale = [entry for entry in self.known if not entry.hits] if whole else []
        missing = unproven(self.judge, self.names, self.differing) if whole else []
        expected = sum(entry.hits for entry in self.known)
        counts = f"{expected} known differences, {len(self.unexpected)} unexpected, {len(stale)} stale entries"
        print(f"{self.judge}: {len(self.names)} run, {counts}")
        for text in self.unexpected:
            print(f"  unexpected: {text}")
        for entry in stale:
            print(f"  no longer differs, take it off the list: {entry.pattern}")
        for text in missing:
            print(f"  {text}")
        return not self.unexpected and not stale and not missing


@dataclass(frozen=True)
class Judge:
    """A program that judges, and what it is told."""

    program: str
    """``peer``, ``peer11`` or ``wire``."""
    is_classic: bool = False
    known: str = "core-client"
    """Its section of the list."""


JUDGES = {
    "peer": Judge("peer"),
    "peer11": Judge("peer11"),
    "wire": Judge("wire", known="wire"),
    "classic-client": Judge("peer", is_classic=True, known="classic-client"),
    "wire-classic": Judge("wire", is_classic=True, known="wire-classic"),
}


def unpack(folder: Path, target: Path) -> list[Path]:
    """Unpack the programs; ``PEER_DIR`` says where, so that they are unpacked once."""
    environment = {**os.environ, "PEER_DIR": str(target)}
    result = subprocess.run(
        [sys.executable, str(folder / "unpack")], env=environment, check=True, capture_output=True, text=True, timeout=300
    )
    return [Path(line) for line in result.stdout.splitlines()]


def run_client(command: list[str], verdict: Verdict, only: str) -> None:
    """Run a .NET client's scenarios: a JSON line each."""
    command = [*command, "--timeout", SCENARIO_TIMEOUT, *(["--only", only] if only else [])]
    result = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False)
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    if not lines or "passed" not in lines[-1]:
        verdict.unexpected.append(f"{verdict.judge} did not finish: {result.stdout[-500:]}{result.stderr[-500:]}")
        return
    for line in lines[:-1]:
        name = "/".join(line[part] for part in ("scenario", "transport", "protocol") if part in line)
        if line["ok"] is None:
            continue
        verdict.names.append(name)
        if not line["ok"]:
            verdict.differs(name, f"    {line['detail']}")


def run_wire(folder: Path, base: str, verdict: Verdict, only: str, *, is_classic: bool) -> None:
    """
    Replay the recordings: those of the core generation with JSON compared as values, those of the classic one byte for byte.

    A case that may differ by what the recording says does not count.
    """
    tool = [sys.executable, str(folder / "wire" / "wire.py")]
    recording = folder / "wire" / "recorded" / ("classic.json" if is_classic else "core.json")
    cases = ["--cases", str(folder / "wire" / ("cases_classic.py" if is_classic else "cases.py")), *(["--only", only] if only else [])]
    command = [*tool, "compare", str(recording), base, *cases, *([] if is_classic else ["--loose"])]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    listed = subprocess.run([*tool, "list", *cases], capture_output=True, text=True, timeout=60, check=True, env=environment)
    verdict.names = [line.split("   ")[0].rstrip() for line in listed.stdout.splitlines()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False, env=environment)
    summary = re.search(r"(\d+) of (\d+) cases differ", result.stderr)
    if summary is None:
        verdict.unexpected.append(f"wire.py did not finish: {result.stderr[-1000:]}")
        return
    for name, lines in differing_cases(result.stdout):
        if any(line.startswith("may differ") for line in lines[:1]):
            verdict.differing.add(name)
        else:
            verdict.differs(name, "\n".join(lines[:11]))


def differing_cases(output: str) -> Iterator[tuple[str, list[str]]]:
    """Cases that differ, and how, from what ``wire.py compare`` prints."""
    for block in output.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if lines:
            yield lines[0].split("   ")[0], lines[1:]


def judge_generation(
    names: list[str], folder: Path, programs: dict[str, Path], database: Path, options: Any, known: dict[str, Any]
) -> list[Verdict]:
    """Let some judges of one generation look at a site that is served for them, one after another."""
    verdicts = []
    is_classic = JUDGES[names[0]].is_classic
    with serve_peer_site(database, **(CLASSIC_TIMEOUTS if is_classic else {})) as server:
        for name in names:
            judge = JUDGES[name]
            verdict = Verdict(name, [Known(**entry) for entry in known[judge.known]])
            verdicts.append(verdict)
            if judge.program == "wire":
                run_wire(folder, server.url, verdict, options.only, is_classic=is_classic)
            elif is_classic:
                urls = ["--url", f"{server.url}/signalr", "--detailed-url", f"{server.url}/detailed", "--transport", "all"]
                run_client([str(programs[judge.program]), "classic-client", "run", *urls], verdict, options.only)
            else:
                extra = known["core-client-arguments"][name]
                run_client([str(programs[judge.program]), "core-client", "run", "--base", server.url, *extra], verdict, options.only)
    return verdicts


def main() -> int:
    """Run every judge of the folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", metavar="REGEX", help="scenarios and cases whose name matches")
    parser.add_argument("--judge", choices=JUDGES, action="append", help="all of them by default")
    options = parser.parse_args()
    known = json.loads(KNOWN.read_text())
    chosen = options.judge or list(JUDGES)
    unpacked = Path(os.environ.get("PEER_DIR") or Path(__file__).resolve().parents[2] / "bench" / "build" / "peers")
    needs_programs = any(JUDGES[name].program != "wire" for name in chosen)
    programs = {path.name: path for path in unpack(options.folder, unpacked)} if needs_programs else {}
    generations = [[name for name in chosen if JUDGES[name].is_classic is is_classic] for is_classic in (False, True)]
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch, ThreadPoolExecutor(len(generations)) as pool:
        running = [
            pool.submit(judge_generation, names, options.folder, programs, Path(scratch) / f"{names[0]}.sqlite3", options, known)
            for names in generations
            if names
        ]
        reports = [verdict.report(whole=not options.only) for generation in running for verdict in generation.result()]
    good = all(reports)
    print("peers: good" if good else "peers: differences that are not on the list")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
