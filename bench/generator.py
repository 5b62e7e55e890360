"""The load generator: compiled on first use, run once for each figure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine

SOURCE = machine.BENCH / "load" / "load.c"
PROGRAM = machine.BENCH / "build" / "load"
LIMIT_SECONDS = 120

RECORD_SEPARATOR = "\x1e"
GREETING = '{"protocol":"json","version":1}' + RECORD_SEPARATOR
MESSAGEPACK_GREETING = '{"protocol":"messagepack","version":1}' + RECORD_SEPARATOR

Figures = dict[str, float | None]
"""What one run measured, by the names the load generator prints; ``None`` where it does not apply."""


class LoadFailed(Exception):
    """A run ended without a figure; the text is the load generator's."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where and how to talk to one server."""

    path: str
    message: str
    """Sent as one message. A broadcast or a stream's call holds ``#`` and eight digits, which the load generator counts up."""
    expect: str
    """What a record must contain to be the answer."""
    greeting: str
    """The SignalR handshake that comes first, answered by one record; empty for none."""
    done: str = ""
    """What the record contains that ends a stream."""
    binary: bool = False
    """Whether messages are binary, of records behind their length as a VarInt; ``message`` is then bytes as ``os.fsdecode`` gives them."""
    classic: str = ""
    """The hub of an ASP.NET SignalR 2 server mounted at ``path``, to be negotiated with; empty for any other server."""
    polls: bool = False
    """Whether the transport is long polling, for which there is another load generator."""

    def arguments(self) -> list[str]:
        greeting = ["--greeting", self.greeting, "--replies", "1"] if self.greeting else []
        kind = ["--done", self.done] if self.done else ["--binary"] if self.binary else []
        classic = ["--classic", self.classic] if self.classic else []
        return ["--path", self.path, "--message", self.message, "--expect", self.expect, *greeting, *kind, *classic]

    def program(self) -> list[str]:
        """The command of the load generator, without its options."""
        return [sys.executable, "-m", "bench.polling_load"] if self.polls else [str(compile_generator())]


def compile_generator() -> Path:
    """
    Compile the load generator unless the program is newer than its source.

    Raises:
        LoadFailed: There is no C compiler, or it refuses.
    """
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= SOURCE.stat().st_mtime:
        return PROGRAM
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise LoadFailed("a C compiler is needed (gcc, or name one in CC)")
    PROGRAM.parent.mkdir(exist_ok=True)
    # Another name first: a compilation that is cut off leaves no half program.
    unfinished = PROGRAM.with_name(f"load-{os.getpid()}")
    done = subprocess.run([compiler, "-O2", "-o", str(unfinished), str(SOURCE), "-lm"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadFailed(f"{compiler} ended with status {done.returncode}: {done.stderr.strip()}")
    return unfinished.replace(PROGRAM)


def run_load(port: int, endpoint: Endpoint, pids: Sequence[int], *options: str | float) -> Figures:
    """
    Run the load generator once.

    Args:
        port: Of 127.0.0.1.
        endpoint: Path, messages and greeting.
        pids: Processes whose CPU and memory are the server's.
        options: Further options of the program, such as ``"--mode", "echo", "--depth", 10``.

    Raises:
        LoadFailed: It could not connect, a reply never came, or a limit was reached.
    """
    command = [*endpoint.program(), "--port", str(port), "--pids", ",".join(map(str, pids)), *endpoint.arguments()]
    command += ["--limit", str(LIMIT_SECONDS), *map(str, options)]
    said = ""
    try:
        done = subprocess.run(
            machine.pinned(machine.LOAD_CORE, command),
            cwd=machine.ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS + 30,
            check=False,
        )
        said = done.stderr.strip()
        figures = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise LoadFailed(f"no report from the load generator: {error}; {said}") from error
    if "error" in figures:
        raise LoadFailed("; ".join(str(text) for text in figures.values()))
    return {name: value for name, value in figures.items() if name != "unexpected_sample"}
