"""
``python -m tests.peers FOLDER``: judge the peer site by a folder of .NET peers.

The folder holds ``unpack`` (which unpacks the programs), ``wire/wire.py`` with ``recorded/core.json``, and a README with the contract.
What differs has to be in ``known_differences.json`` with a reason, and what is in there has to differ still: the list only shrinks.
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
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import serve_peer_site

KNOWN = Path(__file__).with_name("known_differences.json")
SCENARIO_TIMEOUT = "15"
RUN_TIMEOUT = 900


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
    total: int = 0
    unexpected: list[str] = field(default_factory=list)

    def differs(self, name: str, text: str) -> None:
        for entry in self.known:
            if entry.matches(name):
                entry.hits += 1
                return
        self.unexpected.append(f"{name}\n{text}")

    def report(self, *, whole: bool) -> bool:
        stale = [entry for entry in self.known if not entry.hits] if whole else []
        expected = sum(entry.hits for entry in self.known)
        print(
            f"{self.judge}: {self.total} run, {expected} known differences, {len(self.unexpected)} unexpected, {len(stale)} stale entries"
        )
        for text in self.unexpected:
            print(f"  unexpected: {text}")
        for entry in stale:
            print(f"  no longer differs, take it off the list: {entry.pattern}")
        return not self.unexpected and not stale


def unpack(folder: Path, target: Path) -> list[Path]:
    """Unpack the programs; ``PEER_DIR`` says where, so that they are unpacked once."""
    environment = {**os.environ, "PEER_DIR": str(target)}
    result = subprocess.run(
        [sys.executable, str(folder / "unpack")], env=environment, check=True, capture_output=True, text=True, timeout=300
    )
    return [Path(line) for line in result.stdout.splitlines()]


def core_client(program: Path, base: str, verdict: Verdict, only: str, extra: list[str]) -> None:
    """Run the .NET client's scenarios: a JSON line each."""
    command = [str(program), "core-client", "run", "--base", base, "--timeout", SCENARIO_TIMEOUT, *extra]
    if only:
        command += ["--only", only]
    result = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False)
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    if not lines or "passed" not in lines[-1]:
        verdict.unexpected.append(f"{verdict.judge} did not finish: {result.stdout[-500:]}{result.stderr[-500:]}")
        return
    for line in lines[:-1]:
        if line["ok"] is None:
            continue
        verdict.total += 1
        if not line["ok"]:
            verdict.differs(f"{line['scenario']}/{line['transport']}/{line['protocol']}", f"    {line['detail']}")


def wire(folder: Path, base: str, verdict: Verdict, only: str) -> None:
    """Replay the recordings, JSON compared as values."""
    command = [
        sys.executable,
        str(folder / "wire" / "wire.py"),
        "compare",
        str(folder / "wire" / "recorded" / "core.json"),
        base,
        "--loose",
    ]
    if only:
        command += ["--only", only]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False, env=environment)
    summary = re.search(r"(\d+) of (\d+) cases differ", result.stderr)
    if summary is None:
        verdict.unexpected.append(f"wire.py did not finish: {result.stderr[-1000:]}")
        return
    verdict.total = int(summary[2])
    for name, text in differing_cases(result.stdout):
        verdict.differs(name, text)


def differing_cases(output: str) -> Iterator[tuple[str, str]]:
    """Cases that differ and may not, from what ``wire.py compare`` prints."""
    for block in output.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if lines and not any(line.startswith("may differ") for line in lines[:2]):
            yield lines[0].split("   ")[0], "\n".join(lines[1:12])


def main() -> int:
    """Run every judge of the folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", metavar="REGEX", help="scenarios and cases whose name matches")
    parser.add_argument("--judge", choices=["peer", "peer11", "wire"], action="append", help="all of them by default")
    options = parser.parse_args()
    known = json.loads(KNOWN.read_text())
    judges = options.judge or ["peer", "peer11", "wire"]
    unpacked = Path(os.environ.get("PEER_DIR") or Path(__file__).resolve().parents[2] / "bench" / "build" / "peers")
    good = True
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch, serve_peer_site(Path(scratch) / "db.sqlite3") as server:
        programs = {path.name: path for path in unpack(options.folder, unpacked)} if {"peer", "peer11"} & set(judges) else {}
        for judge in judges:
            verdict = Verdict(judge, [Known(**entry) for entry in known["wire" if judge == "wire" else "core-client"]])
            if judge == "wire":
                wire(options.folder, server.url, verdict, options.only)
            else:
                core_client(programs[judge], server.url, verdict, options.only, known["core-client-arguments"][judge])
            good = verdict.report(whole=not options.only) and good
    print("peers: good" if good else "peers: differences that are not on the list")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
