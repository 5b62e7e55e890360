"""The servers that are compared, and what to say to each."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from bench import machine, processes
from bench.generator import GREETING, MESSAGEPACK_GREETING, RECORD_SEPARATOR, Endpoint

Purpose = Literal["echo", "fan", "slow", "messagepack", "stream", "polling", "classic echo", "classic fan"]

ECHO_TEXT = "hello world 123456"
ECHO = '{"type":1,"invocationId":"42","target":"echo","arguments":["' + ECHO_TEXT + '"]}' + RECORD_SEPARATOR
STREAM_ITEMS = 1000
STREAM = f'{{"type":4,"invocationId":"#00000000","target":"Count","arguments":[{STREAM_ITEMS},0]}}' + RECORD_SEPARATOR
"""The load generator counts the invocation id up, as clients do."""
STREAM_END = '"type":3'
CLASSIC_MOUNT = "/signalr"
CLASSIC_HUB = "bench"


def messagepack_echo() -> str:
    """The same call as ``ECHO`` in MessagePack, behind its length; a byte that is not text is what ``os.fsdecode`` makes of it."""
    text = ECHO_TEXT.encode()
    # [1, {}, "42", "echo", [text], []]: short arrays, maps and texts have their length in the first byte.
    record = b"\x96\x01\x80\xa242\xa4echo\x91" + bytes([0xA0 | len(text)]) + text + b"\x90"
    return os.fsdecode(bytes([len(record)]) + record)


def numbered_text(size: int) -> str:
    """A text of ``size`` characters, beginning with the marker the load generator counts up."""
    return "#00000000 ".ljust(size, "x")


def broadcast(size: int) -> str:
    """A call of ``broadcast`` with an argument of ``size`` characters."""
    return '{"type":1,"target":"broadcast","arguments":["' + numbered_text(size) + '"]}' + RECORD_SEPARATOR


def classic_call(method: str, text: str) -> str:
    """A call as a classic client writes it, without a separator. The invocation id is always 0: nothing here tells answers apart."""
    return f'{{"H":"{CLASSIC_HUB}","M":"{method}","A":["{text}"],"I":0}}'


MESSAGES: dict[Purpose, tuple[str, str]] = {
    "echo": (ECHO, ECHO_TEXT),
    "fan": (broadcast(55), '"arguments"'),
    # Large enough that a few seconds fill the buffers in front of a client that does not read.
    "slow": (broadcast(4096), '"arguments"'),
    "messagepack": (messagepack_echo(), ECHO_TEXT),
    "stream": (STREAM, '"item"'),
    "polling": (ECHO, ECHO_TEXT),
    "classic echo": (classic_call("Echo", ECHO_TEXT), ECHO_TEXT),
    "classic fan": (classic_call("Broadcast", numbered_text(55)), '"A":["'),
}

RAW_PATHS: dict[Purpose, str] = {
    "echo": "/echo",
    "fan": "/fan",
    "slow": "/fan",
    "messagepack": "/echo-bytes",
    "stream": "/count",
    "polling": "/poll",
    "classic echo": "/echo",
    "classic fan": "/fan",
}
"""Where a server that does not speak SignalR does the same."""


def is_classic(purpose: Purpose) -> bool:
    return purpose in ("classic echo", "classic fan")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One server under test. The same messages go to all, so that the kernel's part of the cost is the same."""

    name: str
    command: Callable[[int], list[str]]
    """The command for a port."""
    greets: bool
    """
    Whether it speaks SignalR: a greeting, and the hubs at ``/bench`` and ``/peer``, which streams; in classic suites a negotiation, and the
    hub at ``CLASSIC_MOUNT``. Otherwise see ``RAW_PATHS``.
    """
    environment: dict[str, str] = field(default_factory=dict)
    compiles_while_running: bool = False
    """Whether seconds of load must precede the measuring."""
    is_ready: Callable[[int], bool] | None = None
    """Whether it serves at a port; by default, whether it opens a WebSocket where it echoes."""
    missing: str = ""
    """Why it cannot be run here; empty if it can."""

    def endpoint(self, purpose: Purpose) -> Endpoint:
        message, expect = MESSAGES[purpose]
        if self.greets and is_classic(purpose):
            return Endpoint(path=CLASSIC_MOUNT, message=message, expect=expect, greeting="", classic=CLASSIC_HUB)
        hub = "/peer" if purpose == "stream" else "/bench"
        greeting = MESSAGEPACK_GREETING if purpose == "messagepack" else GREETING
        return Endpoint(
            path=hub if self.greets else RAW_PATHS[purpose],
            message=message,
            expect=expect,
            greeting=greeting if self.greets else "",
            done=STREAM_END if purpose == "stream" else "",
            binary=purpose == "messagepack",
            polls=purpose == "polling",
        )

    def start(self, port: int) -> processes.Process:
        path = self.endpoint("echo").path
        command = self.command(port)
        is_ready = self.is_ready or (lambda port: processes.accepts_websocket(port, path))
        return processes.Process(command, machine.SERVER_CORE, lambda: is_ready(port), self.environment)


def uvicorn(application: str) -> Callable[[int], list[str]]:
    """Uvicorn as the documentation recommends it."""
    options = "--loop uvloop --http httptools --ws websockets-sansio --ws-per-message-deflate false --backlog 4096 --lifespan off"
    quiet = "--no-access-log --log-level warning"
    return lambda port: [sys.executable, "-m", "uvicorn", application, *options.split(), *quiet.split(), "--port", str(port)]


def without(*modules: str) -> str:
    """Which of the modules are not installed, as a sentence; empty if all are."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def ours(layer: str = "memory", redis_url: str = "") -> Contender:
    """This project: the program behind ``make peer-site``, which sets uvicorn's options itself."""
    missing = "" if (machine.ROOT / "tests" / "peer_site" / "__main__.py").exists() else "tests/peer_site does not exist"
    return Contender(
        name="ours" if layer == "memory" else f"ours, {layer}",
        command=lambda port: [sys.executable, "-m", "tests.peer_site", str(port)],
        environment={"PEER_LAYER": layer, "REDIS_URL": redis_url, "PEER_DATABASE": "{folder}/db.sqlite3"},
        greets=True,
        missing=missing,
    )


def channels(layer: str = "memory", redis_url: str = "") -> Contender:
    """Stock Channels consumers on one channel layer."""
    return Contender(
        name="Channels" if layer == "memory" else f"Channels, {layer}",
        command=uvicorn("bench.servers.channels_app:app"),
        environment={"BENCH_LAYER": layer, "REDIS_URL": redis_url},
        greets=False,
        missing=without("channels") if layer == "memory" else without("channels", "channels_redis"),
    )


def raw() -> Contender:
    return Contender(name="raw ASGI", command=uvicorn("bench.servers.raw_asgi:app"), greets=False)


def aiosignalr() -> Contender:
    application = uvicorn("bench.servers.aiosignalr_hub:app")
    return Contender(name="aiosignalr", command=application, greets=True, missing=without("aiosignalr"))


def peer_program() -> tuple[str, str]:
    """The program with Microsoft's servers that the environment's ``PEER`` names, and why it cannot be run; one of them is empty."""
    program = os.path.abspath(os.environ["PEER"]) if os.environ.get("PEER") else ""
    if not program:
        return "", "PEER does not name the .NET peer program"
    return (program, "") if os.access(program, os.X_OK) else ("", f"PEER is not a program: {program}")


def dotnet() -> Contender:
    """Microsoft's ASP.NET Core SignalR server."""
    program, missing = peer_program()
    return Contender(
        name=".NET",
        command=lambda port: [program, "core-server", "--url", f"http://{processes.HOST}:{port}"],
        greets=True,
        compiles_while_running=True,
        missing=missing,
    )


def classic_dotnet() -> Contender:
    """Microsoft's ASP.NET SignalR 2 server. It has the name of the other one, which serves in no suite of this one."""
    program, missing = peer_program()
    return Contender(
        name=".NET",
        # The key its connection tokens are protected with.
        command=lambda port: [program, "classic-server", "--url", f"http://{processes.HOST}:{port}", "--key", "k"],
        greets=True,
        compiles_while_running=True,
        is_ready=lambda port: processes.answers_request(port, f"{CLASSIC_MOUNT}/negotiate?clientProtocol=2.1"),
        missing=missing,
    )
