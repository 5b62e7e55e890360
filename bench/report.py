"""Tables of a run, in Markdown that is also readable in a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.suites import Run, Suite
from bench.targets import Verdict

LOAD_IS_THE_LIMIT = 85
"""Percent of its core from which the load generator, not the server, sets the rate."""

REFERENCE = "raw ASGI"
PEER = ".NET"
NONE = "-"
BRIEF = 120
"""Characters of a line of an error."""


@dataclass(frozen=True)
class Column:
    """One figure of the load generator, as text."""

    title: str
    figure: str
    digits: int
    spread: bool = False
    """Whether the extremes are shown behind the median."""


COST = Column("server CPU µs/message", "cpu_us", 1, spread=True)
RATE = Column("messages/s", "per_second", 0)
LATENCY = (Column("p50 ms", "p50_ms", 1), Column("p99 ms", "p99_ms", 1))
BUSY = (Column("server core %", "cpu_percent", 0), Column("load core %", "load_cpu_percent", 0))
DELIVERED = Column("delivered %", "delivered_percent", 1)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "echo": (COST, RATE, *LATENCY, *BUSY),
    "messagepack": (COST, RATE, *LATENCY, *BUSY),
    "streaming": (
        Column("server CPU µs/item", "cpu_us", 2, spread=True),
        Column("items/s", "per_second", 0),
        Column("p50 ms/stream", "p50_ms", 1),
        *BUSY,
    ),
    "polling": (
        Column("server CPU µs/round trip", "cpu_us", 1, spread=True),
        Column("round trips/s", "per_second", 0),
        *LATENCY,
        *BUSY,
    ),
    "fan": (COST, RATE, *LATENCY, *BUSY),
    "classic": (COST, RATE, *LATENCY, *BUSY),
    "backplane": (COST, RATE, *LATENCY, *BUSY),
    "fanrate": (COST, RATE, Column("p50 ms", "p50_ms", 1), Column("p99 ms", "p99_ms", 1, spread=True), DELIVERED, *BUSY),
    "slow": (Column("delivered %", "delivered_percent", 1, spread=True), *LATENCY, COST, *BUSY),
    "idle": (
        Column("KiB/connection", "kib_per_connection", 1, spread=True),
        Column("idle CPU %", "cpu_percent", 2, spread=True),
        Column("connects/s", "connects_per_second", 0),
        Column("server CPU µs/connect", "connect_cpu_us", 0, spread=True),
    ),
}
"""Per suite; a message is a reply (echo, messagepack, classic echo) or a delivery (the others)."""


def values(runs: Sequence[Run], figure: str) -> list[float]:
    return [value for run in runs if (value := run.figures.get(figure)) is not None]


def median_of(runs: Sequence[Run], figure: str) -> float | None:
    found = values(runs, figure)
    return statistics.median(found) if found else None


def cell(column: Column, runs: Sequence[Run]) -> str:
    found = values(runs, column.figure)
    if not found:
        return NONE
    text = f"{statistics.median(found):.{column.digits}f}"
    if column.spread and len(found) > 1:
        text += f" [{min(found):.{column.digits}f}-{max(found):.{column.digits}f}]"
    limited = column.figure == RATE.figure and (median_of(runs, "load_cpu_percent") or 0) >= LOAD_IS_THE_LIMIT
    return f"≥ {text}" if limited else text


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"

    return "\n".join([line(header), "| " + " | ".join("-" * width for width in widths) + " |", *map(line, rows)])


def without(row: list[str], index: int) -> list[str]:
    """The row less the column at a negative index."""
    return row[:index] + row[len(row) + index + 1 :]


def suite_table(suite: Suite, runs: Sequence[Run]) -> str:
    columns = COLUMNS[suite.name]
    cost = "connect_cpu_us" if suite.name == "idle" else "cpu_us"
    rows = []
    for case in suite.cases:
        of_case = [run for run in runs if run.suite == suite.name and run.case == case.name]
        reference, peer = (median_of([run for run in of_case if run.server == name], cost) for name in (REFERENCE, PEER))
        for server in suite.servers:
            mine = [run for run in of_case if run.server == server.name]
            if not mine:
                continue
            own = median_of(mine, cost)
            ratio = f"{reference / own:.2f}" if reference and own else NONE
            share = f"{own / peer:.2f}" if peer and own else NONE
            rows.append([case.name, server.name, *(cell(column, mine) for column in columns), ratio, share])
    header = ["case", "server", *(column.title for column in columns), "vs raw", "of .NET's CPU"]
    for index in (-2, -1):
        if all(row[index] == NONE for row in rows):
            header, rows = without(header, index), [without(row, index) for row in rows]
    return render(header, rows) if rows else "Nothing was measured."


def verdict_row(verdict: Verdict) -> list[str]:
    target = verdict.target
    digits = 1 if target.floor > 3 else 2
    unit = f" {target.unit}" if target.unit else "x" if target.rule == "times cheaper" else ""
    sign = "≥" if target.rule in ("times cheaper", "at least") else "≤"
    value = NONE if verdict.value is None else f"{verdict.value:.{digits}f}{unit}"
    spread = NONE if verdict.low is None or verdict.high is None else f"{verdict.low:.{digits}f}-{verdict.high:.{digits}f}"
    return [target.text, value, spread, f"{sign} {target.floor:g}{unit}", verdict.outcome, brief(verdict.note or NONE)]


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    header = ["target", "measured", "single repetitions", "floor to ship", "verdict", "note"]
    return render(header, [verdict_row(verdict) for verdict in verdicts])


FLAWS = {
    "closed": "connections were closed during the run",
    "unexpected": "records were not the expected ones",
    "duplicates": "broadcasts arrived twice",
    "out_of_order": "broadcasts arrived out of order",
}


def brief(error: str) -> str:
    """An error in one line: how it begins and how it ends, which is where a traceback says what happened."""
    lines = error.strip().splitlines()
    ends = [lines[0]] if len(lines) < 2 else [lines[0], lines[-1]]
    return " ... ".join(text.strip()[:BRIEF] for text in ends)


def remarks(runs: Sequence[Run]) -> list[str]:
    """What went wrong in single runs, as sentences; a server that fails in the same way twice is named once."""
    found: dict[tuple[str, ...], str] = {}
    for run in runs:
        where = f"{run.suite}, {run.case}, {run.server}, repetition {run.repetition + 1}"
        if run.error:
            found.setdefault((run.suite, run.server, brief(run.error)), f"{where}: no figure: {brief(run.error)}")
        for figure, text in FLAWS.items():
            if count := run.figures.get(figure):
                found[where, figure] = f"{where}: {count:.0f} {text}"
    return list(found.values())


def markdown(title: str, machine: str, suites: Sequence[Suite], runs: Sequence[Run], verdicts: Sequence[Verdict]) -> str:
    """The whole report."""
    parts = [f"# {title}", machine]
    for suite in suites:
        parts += [f"## {suite.name}, {suite.cases[0].connections} connections", suite_table(suite, runs)]
    if verdicts:
        parts += ["## Targets", verdict_table(verdicts)]
    if notes := remarks(runs):
        parts += ["## Remarks", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"
