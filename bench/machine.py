"""What this machine offers: cores, open files, ports, and a description for the report."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder: the servers' working directory."""

BENCH = Path(__file__).resolve().parent

SPARE_FILES = 256
"""Open files a process needs besides its connections."""

PACKAGES = ("django", "channels", "channels_redis", "redis", "uvicorn", "uvloop", "httptools", "websockets", "msgspec", "aiosignalr")


def cores() -> tuple[int | None, int | None]:
    """The core for servers and the core for load and Redis; ``(None, None)`` where there is one core or nothing to pin with."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2 or shutil.which("taskset") is None:
        return None, None
    return available[0], available[1]


SERVER_CORE, LOAD_CORE = cores()


def pinned(core: int | None, command: list[str]) -> list[str]:
    """The command, held to one core; children inherit it."""
    return command if core is None else ["taskset", "-c", str(core), *command]


def allow_open_files(connections: int) -> None:
    """
    Raise this process's limit of open files, which its children inherit.

    Raises:
        OSError: The hard limit is too low and may not be raised.
    """
    needed = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = hard if hard == resource.RLIM_INFINITY or hard > needed else needed
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, allowed))
        except ValueError as error:
            raise OSError(f"{needed} open files are needed and {hard} allowed: raise `ulimit -Hn`") from error


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def process_tree(root: int) -> list[int]:
    """The process ids of a process and all its descendants, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue  # it ended while we looked
        parent = int(stat.rpartition(")")[2].split()[1])
        children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def describe() -> str:
    """One paragraph on the machine and the versions."""
    pinning = "no pinning (one core)" if SERVER_CORE is None else f"servers on core {SERVER_CORE}, load and Redis on core {LOAD_CORE}"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{processor()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, CPython {platform.python_version()}; {pinning}; "
        f"load average {os.getloadavg()[0]:.1f} at the start. {packages}."
    )
