"""The figures this project must reach to ship, and whether a run reached them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from bench.suites import Run, SuiteName

OURS = "ours"

Outcome = Literal["PASS", "FAIL", "not measured", "too noisy"]

Rule = Literal["times cheaper", "share of cost", "at least", "at most"]
"""
``times cheaper``: the other's figure over ours, at least the floor. ``share of cost``: ours over the other's, at most the floor.
The last two compare our figure with the floor itself.
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One row of the table."""

    suite: SuiteName
    case: str
    text: str
    rule: Rule
    floor: float
    unit: str = ""
    figure: str = "cpu_us"
    ours: str = OURS
    other: str = ""
    control: str = ""
    """A server whose own figure must be under the floor, or the machine was too busy to judge ours."""

    def of(self, ours: float, other: float) -> float:
        """The value that the rule compares with the floor."""
        if self.rule == "times cheaper":
            return other / ours
        return ours / other if self.rule == "share of cost" else ours

    def is_met(self, value: float) -> bool:
        return value >= self.floor if self.rule in ("times cheaper", "at least") else value <= self.floor


TARGETS: tuple[Target, ...] = (
    Target(suite="echo", case="depth 1", text="hub echo vs raw ASGI, depth 1", rule="times cheaper", floor=0.60, other="raw ASGI"),
    Target(suite="echo", case="depth 10", text="hub echo vs raw ASGI, depth 10", rule="times cheaper", floor=0.55, other="raw ASGI"),
    Target(suite="echo", case="depth 1", text="hub echo vs aiosignalr, depth 1", rule="times cheaper", floor=2.0, other="aiosignalr"),
    Target(suite="echo", case="depth 10", text="hub echo vs aiosignalr, depth 10", rule="times cheaper", floor=2.0, other="aiosignalr"),
    Target(suite="echo", case="depth 1", text="hub echo vs Channels consumer, depth 1", rule="times cheaper", floor=3.0, other="Channels"),
    Target(
        suite="echo", case="depth 10", text="hub echo vs Channels consumer, depth 10", rule="times cheaper", floor=3.0, other="Channels"
    ),
    Target(suite="echo", case="depth 1", text="hub echo, share of .NET's CPU, depth 1", rule="share of cost", floor=0.8, other=".NET"),
    Target(suite="echo", case="depth 10", text="hub echo, share of .NET's CPU, depth 10", rule="share of cost", floor=0.8, other=".NET"),
    Target(suite="fan", case="N=1000", text="send to 1,000 vs raw ASGI in turn", rule="times cheaper", floor=0.75, other="raw ASGI"),
    Target(suite="fan", case="N=1000", text="send to 1,000 vs Channels group_send", rule="times cheaper", floor=25, other="Channels"),
    Target(suite="fan", case="N=3000", text="send to 3,000 vs Channels group_send", rule="times cheaper", floor=70, other="Channels"),
    Target(suite="fan", case="N=1000", text="send to 1,000 vs aiosignalr", rule="times cheaper", floor=2.3, other="aiosignalr"),
    Target(suite="fan", case="N=1000", text="send to 1,000, share of .NET's CPU", rule="share of cost", floor=0.5, other=".NET"),
    Target(
        suite="fanrate",
        case="N=1000, 20 a second",
        text="p99 at 20 broadcasts/s to 1,000",
        rule="at most",
        floor=25,
        figure="p99_ms",
        unit="ms",
        control="raw ASGI",
    ),
    Target(
        suite="slow",
        case="N=1000, 1 does not read",
        text="deliveries to the others while 1 of 1,000 does not read",
        rule="at least",
        floor=100,
        figure="delivered_percent",
        unit="%",
    ),
    Target(suite="idle", case="N=5000", text="idle connection", rule="at most", floor=28, figure="kib_per_connection", unit="KiB"),
    Target(suite="idle", case="N=5000", text="CPU with 5,000 idle connections", rule="at most", floor=2, figure="cpu_percent", unit="%"),
    Target(
        suite="idle",
        case="N=5000",
        text="connect and handshake vs raw ASGI accept",
        rule="times cheaper",
        floor=0.6,
        figure="connect_cpu_us",
        other="raw ASGI",
    ),
    Target(
        suite="backplane",
        case="N=1000",
        text="Redis pub/sub vs Channels on it",
        rule="times cheaper",
        floor=14,
        ours="ours, pubsub",
        other="Channels, pubsub",
    ),
    Target(
        suite="backplane",
        case="N=1000",
        text="Redis core vs Channels on it",
        rule="times cheaper",
        floor=7,
        ours="ours, core",
        other="Channels, core",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run says about one target."""

    target: Target
    value: float | None
    low: float | None
    high: float | None
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """The runs of one server in one case."""

    by_repetition: dict[int, float]
    errors: list[str]

    @property
    def median(self) -> float | None:
        return statistics.median(self.by_repetition.values()) if self.by_repetition else None


def collect(runs: Iterable[Run], suite: str, case: str, server: str, figure: str) -> Evidence:
    values: dict[int, float] = {}
    errors = []
    for run in runs:
        if (run.suite, run.case, run.server) != (suite, case, server):
            continue
        value = run.figures.get(figure)
        if value is not None:
            values[run.repetition] = value
        else:
            errors.append(run.error or f"no {figure}")
    return Evidence(values, errors)


def judge(target: Target, runs: list[Run], missing: Callable[[str], str]) -> Verdict:
    """
    Compare medians with the floor; ``low`` and ``high`` are the extremes of the single repetitions.

    Args:
        runs: All runs of all suites.
        missing: Why a server could not be run at all; empty if it could.
    """
    ours = collect(runs, target.suite, target.case, target.ours, target.figure)
    other = collect(runs, target.suite, target.case, target.other, target.figure) if target.other else ours
    for name, evidence in ((target.ours, ours), (target.other, other)):
        if evidence.median is None:
            return without_figure(target, name, evidence, missing(name))
    assert ours.median is not None and other.median is not None
    value = target.of(ours.median, other.median)
    shared = ours.by_repetition.keys() & other.by_repetition.keys()
    single = [target.of(ours.by_repetition[n], other.by_repetition[n]) for n in shared]
    failures = len(ours.errors) + (len(other.errors) if target.other else 0)
    outcome: Outcome = "PASS" if target.is_met(value) and not ours.errors else "FAIL"
    note = f"{failures} runs failed" if failures else ""
    control = collect(runs, target.suite, target.case, target.control, target.figure).median if target.control else None
    if control is not None:
        note = f"{target.control}: {control:.1f} {target.unit}"
        # What the least application cannot do on this machine at this hour says nothing about ours.
        outcome = "too noisy" if outcome == "FAIL" and not target.is_met(control) and not ours.errors else outcome
    return Verdict(target=target, value=value, low=min(single, default=None), high=max(single, default=None), outcome=outcome, note=note)


def without_figure(target: Target, name: str, evidence: Evidence, missing: str) -> Verdict:
    """A server that was run and gave nothing fails the target, and so does ours if it cannot be run; another's absence does not."""
    failed = bool(evidence.errors) or (bool(missing) and name.startswith(OURS))
    note = missing or (f"{name}: {evidence.errors[0]}" if evidence.errors else "")
    return Verdict(target=target, value=None, low=None, high=None, outcome="FAIL" if failed else "not measured", note=note)
