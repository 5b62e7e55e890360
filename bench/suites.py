"""What is measured: suites of cases, run on each contender in turn, repetition by repetition."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal, get_args

from bench import contenders, machine, processes
from bench.contenders import Contender, Purpose
from bench.generator import Figures, LoadFailed, run_load
from bench.processes import Process, ServerFailed

SuiteName = Literal["echo", "messagepack", "streaming", "polling", "fan", "fanrate", "slow", "idle", "backplane", "classic"]
SUITE_NAMES: tuple[SuiteName, ...] = get_args(SuiteName)

ECHO_CONNECTIONS = 50
STREAM_CONNECTIONS = 20
POLLING_CONNECTIONS = 20
FAN_CONNECTIONS = 1000
FAN_CONNECTIONS_LARGE = 3000
IDLE_CONNECTIONS = 5000
BROADCASTS_PER_SECOND = 20
SCHEDULE_SECONDS = 5.0
"""At least, where broadcasts leave on a schedule: 100 of them carry a 99th percentile, and fill the buffers before a slow client."""
HOLD_SECONDS = 15.0
"""Idle connections are held for one keep-alive interval of SignalR, so that its pings are in the figure."""
WARM_CONNECTIONS = 50


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run of the load generator."""

    name: str
    purpose: Purpose
    options: tuple[str | float, ...]
    connections: int


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Cases for a set of servers."""

    name: SuiteName
    cases: tuple[Case, ...]
    servers: tuple[Contender, ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One figure set, or the reason why there is none."""

    suite: SuiteName
    case: str
    server: str
    repetition: int
    figures: Figures = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the command line asks for."""

    repetitions: int
    seconds: float
    connections: int | None
    """Instead of each suite's own number."""
    warm_up: float
    """Seconds of load before a server that compiles its code while it runs is measured."""
    redis_url: str
    """Of the Redis started for this run; empty where none is needed."""

    def scheduled_seconds(self) -> float:
        return max(self.seconds, SCHEDULE_SECONDS)


def echo_suite(plan: Plan) -> Suite:
    connections = plan.connections or ECHO_CONNECTIONS
    depths: tuple[tuple[str, tuple[str | float, ...]], ...] = (
        ("depth 1", ("--depth", 1)),
        ("depth 10", ("--depth", 10)),
        ("depth 10, batched", ("--depth", 10, "--batch")),
    )
    cases = tuple(
        Case(
            name=name,
            purpose="echo",
            connections=connections,
            options=("--mode", "echo", "--connections", connections, "--warm", 0.7, "--secs", plan.seconds, *depth),
        )
        for name, depth in depths
    )
    servers = (contenders.raw(), contenders.ours(), contenders.aiosignalr(), contenders.channels(), contenders.dotnet())
    return Suite(name="echo", cases=cases, servers=servers)


def compared_with_dotnet() -> tuple[Contender, ...]:
    """For what neither Channels nor aiosignalr does alike: only Microsoft's server is a peer here."""
    return (contenders.raw(), contenders.ours(), contenders.dotnet())


def messagepack_suite(plan: Plan) -> Suite:
    connections = plan.connections or ECHO_CONNECTIONS
    options = ("--mode", "echo", "--connections", connections, "--warm", 0.7, "--secs", plan.seconds)
    cases = tuple(
        Case(name=f"depth {depth}", purpose="messagepack", connections=connections, options=(*options, "--depth", depth))
        for depth in (1, 10)
    )
    return Suite(name="messagepack", cases=cases, servers=compared_with_dotnet())


def streaming_suite(plan: Plan) -> Suite:
    connections = plan.connections or STREAM_CONNECTIONS
    options = ("--mode", "stream", "--connections", connections, "--warm", 0.7, "--secs", plan.seconds)
    case = Case(name=f"{contenders.STREAM_ITEMS} items", purpose="stream", connections=connections, options=options)
    return Suite(name="streaming", cases=(case,), servers=compared_with_dotnet())


def polling_suite(plan: Plan) -> Suite:
    connections = plan.connections or POLLING_CONNECTIONS
    options = ("--connections", connections, "--warm", 0.7, "--secs", plan.seconds)
    case = Case(name="POST and poll", purpose="polling", connections=connections, options=options)
    return Suite(name="polling", cases=(case,), servers=compared_with_dotnet())


def fan_case(plan: Plan, connections: int) -> Case:
    options = ("--mode", "fan", "--connections", connections, "--warm", 0.7, "--secs", plan.seconds)
    return Case(name=f"N={connections}", purpose="fan", connections=connections, options=options)


def fan_suite(plan: Plan, connections: int) -> Suite:
    servers = [contenders.raw(), contenders.ours(), contenders.channels()]
    if connections <= FAN_CONNECTIONS:
        servers += [contenders.aiosignalr(), contenders.dotnet()]
    return Suite(name="fan", cases=(fan_case(plan, connections),), servers=tuple(servers))


def scheduled_case(plan: Plan, name: str, purpose: Purpose, slow: int) -> Case:
    connections = plan.connections or FAN_CONNECTIONS
    options = ("--mode", "fan", "--connections", connections, "--rate", BROADCASTS_PER_SECOND, "--slow", slow)
    times = ("--warm", 0.5, "--secs", plan.scheduled_seconds())
    return Case(name=f"N={connections}, {name}", purpose=purpose, connections=connections, options=(*options, *times))


def scheduled_servers() -> tuple[Contender, ...]:
    """Without Channels, whose consumers cannot keep up with 20 broadcasts a second to 1,000."""
    return (contenders.raw(), contenders.ours(), contenders.aiosignalr(), contenders.dotnet())


def fanrate_suite(plan: Plan) -> Suite:
    return Suite(name="fanrate", cases=(scheduled_case(plan, "20 a second", "fan", 0),), servers=scheduled_servers())


def slow_suite(plan: Plan) -> Suite:
    cases = (scheduled_case(plan, "all read", "slow", 0), scheduled_case(plan, "1 does not read", "slow", 1))
    return Suite(name="slow", cases=cases, servers=scheduled_servers())


def idle_suite(plan: Plan) -> Suite:
    connections = plan.connections or IDLE_CONNECTIONS
    options = ("--mode", "idle", "--connections", connections, "--secs", HOLD_SECONDS)
    case = Case(name=f"N={connections}", purpose="echo", connections=connections, options=options)
    servers = (contenders.raw(), contenders.ours(), contenders.aiosignalr(), contenders.channels(), contenders.dotnet())
    return Suite(name="idle", cases=(case,), servers=servers)


def backplane_suite(plan: Plan) -> Suite:
    connections = plan.connections or FAN_CONNECTIONS
    layers = ("pubsub", "core")
    servers = [make(layer, plan.redis_url) for layer in layers for make in (contenders.ours, contenders.channels)]
    return Suite(name="backplane", cases=(fan_case(plan, connections),), servers=tuple(servers))


def classic_suites(plan: Plan) -> list[Suite]:
    """Two, so that each kind of load has a warm-up of its own."""
    servers = (contenders.raw(), contenders.ours(), contenders.classic_dotnet())
    connections = plan.connections or ECHO_CONNECTIONS
    options = ("--mode", "echo", "--connections", connections, "--warm", 0.7, "--secs", plan.seconds)
    echo = tuple(
        Case(name=f"echo, depth {depth}", purpose="classic echo", connections=connections, options=(*options, "--depth", depth))
        for depth in (1, 10)
    )
    fan = fan_case(plan, plan.connections or FAN_CONNECTIONS)
    fan = dataclasses.replace(fan, name=f"broadcast, {fan.name}", purpose="classic fan")
    return [Suite(name="classic", cases=echo, servers=servers), Suite(name="classic", cases=(fan,), servers=servers)]


def suites_for(name: SuiteName | Literal["all"], plan: Plan) -> list[Suite]:
    """The suites behind a name; ``all`` takes the group send at both sizes that have a target."""
    sizes = [plan.connections] if plan.connections else [FAN_CONNECTIONS]
    if name == "all" and not plan.connections:
        sizes.append(FAN_CONNECTIONS_LARGE)
    makers: dict[SuiteName, Callable[[], list[Suite]]] = {
        "echo": lambda: [echo_suite(plan)],
        "messagepack": lambda: [messagepack_suite(plan)],
        "streaming": lambda: [streaming_suite(plan)],
        "polling": lambda: [polling_suite(plan)],
        "fan": lambda: [fan_suite(plan, size) for size in sizes],
        "fanrate": lambda: [fanrate_suite(plan)],
        "slow": lambda: [slow_suite(plan)],
        "idle": lambda: [idle_suite(plan)],
        "backplane": lambda: [backplane_suite(plan)],
        "classic": lambda: classic_suites(plan),
    }
    chosen = SUITE_NAMES if name == "all" else (name,)
    return [suite for each in chosen for suite in makers[each]()]


def run_suite(suite: Suite, plan: Plan, wanted: Callable[[Contender], bool]) -> Iterator[Run]:
    """Each repetition takes every server once, each in a fresh process, so that a slow minute of the machine falls on all."""
    for repetition in range(plan.repetitions):
        for server in suite.servers:
            if wanted(server) and not server.missing:
                yield from run_server(suite, server, repetition, plan)


def run_server(suite: Suite, server: Contender, repetition: int, plan: Plan) -> Iterator[Run]:
    port = machine.free_port()
    with ExitStack() as stack:
        try:
            process = stack.enter_context(server.start(port))
            warm_up(server, process, port, suite.cases[0], plan)
        except (ServerFailed, LoadFailed) as error:
            for case in suite.cases:
                yield Run(suite=suite.name, case=case.name, server=server.name, repetition=repetition, error=str(error))
            return
        for case in suite.cases:
            yield run_case(suite, server, process, port, case, repetition)


def run_case(suite: Suite, server: Contender, process: Process, port: int, case: Case, repetition: int) -> Run:
    try:
        figures = run_load(port, server.endpoint(case.purpose), process.pids(), *case.options)
    except LoadFailed as error:
        said = process.said()
        text = f"{error}; the server said: {said}" if said else str(error)
        return Run(suite=suite.name, case=case.name, server=server.name, repetition=repetition, error=text)
    return Run(suite=suite.name, case=case.name, server=server.name, repetition=repetition, figures=figures)


def warm_up(server: Contender, process: Process, port: int, case: Case, plan: Plan) -> None:
    """Load before the measured run, so that neither compiling nor first allocations are charged to it."""
    seconds = plan.warm_up if server.compiles_while_running else 0.0
    options: Sequence[str | float] = ("--mode", "idle", "--connections", WARM_CONNECTIONS, "--secs", 0.1)
    purpose: Purpose = "classic echo" if contenders.is_classic(case.purpose) else "echo"
    if seconds and case.purpose == "echo":
        options = ("--mode", "echo", "--connections", WARM_CONNECTIONS, "--warm", 0, "--secs", seconds)
    elif seconds and case.purpose in ("messagepack", "stream", "polling", "classic echo"):
        purpose = case.purpose
        options = (*case.options, "--warm", 0, "--secs", seconds)  # the later of two counts
    elif seconds:
        purpose = case.purpose
        options = ("--mode", "fan", "--connections", case.connections, "--warm", 0, "--secs", seconds)
    run_load(port, server.endpoint(purpose), process.pids(), *options)


def redis_needed(name: SuiteName | Literal["all"]) -> bool:
    return name in ("backplane", "all")


def start_redis(stack: ExitStack) -> str:
    """Start a Redis for this run; its URL, or an empty text where there is no Redis to start."""
    if processes.redis_program() is None:
        return ""
    port = machine.free_port()
    stack.enter_context(processes.redis(port))
    return f"redis://{processes.HOST}:{port}/0"
