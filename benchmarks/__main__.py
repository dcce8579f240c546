"""`python -m benchmarks`: the hub against the bare SDK, in one run, on this machine. README.md says how to read it."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks import decide, jobs, machine, report, servers
from benchmarks.measure import SCENARIOS, Effort, Row, Scenario, measure
from mcphub.stack.errors import StackError

JOBS = "jobs"
DECIDE = "decide"
_FULL = Effort(rounds=5, seconds=1.5, warmup=0.5)
_QUICK = Effort(rounds=1, seconds=0.6, warmup=0.2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every target that was measured is met and nothing failed."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if not _chosen(given.only) and not _with(JOBS, given) and not _with(DECIDE, given):
        names = ", ".join([*(scenario.name for scenario in SCENARIOS), JOBS, DECIDE])
        parser.error(f"no scenario holds {given.only!r}: {names}")
    try:
        with ExitStack() as stack:
            compared, facts = _start(stack, given) if _chosen(given.only) else ([], machine.machine())
            _print_facts(facts)
            rows = _measure(compared, given)
        figures = _measure_deciding(given) + _measure_jobs(given)
    except (servers.BenchError, StackError) as exc:
        print(exc, file=sys.stderr)
        return 2
    found = report.verdicts(rows)
    _print_outcome(rows, found)
    if given.json:
        record = {
            "facts": facts,
            "rows": [asdict(row) for row in rows],
            "verdicts": [asdict(one) for one in found],
            "jobs": [asdict(figure) for figure in figures],
        }
        given.json.write_text(json.dumps(record, indent=2) + "\n")
    met = all(one.met for one in found) and all(figure.met for figure in figures)
    return 0 if met and not any(row.errors for row in rows) else 1


def _start(stack: ExitStack, given: argparse.Namespace) -> tuple[list[servers.Server], dict[str, str]]:
    facts = machine.machine()
    compared = [stack.enter_context(servers.baseline(frozen_gc=given.frozen_gc))]
    if not given.baseline_only:
        postgres = stack.enter_context(servers.database())
        facts |= machine.postgres(postgres.superuser_url)
        compared += stack.enter_context(servers.hub(postgres, given.credential))
    return compared, facts


def _measure(compared: Sequence[servers.Server], given: argparse.Namespace) -> list[Row]:
    effort = _effort(given)
    rows: list[Row] = []
    if not compared:
        return rows
    print(f"\n{report.head()}")
    for scenario in _chosen(given.only):
        for concurrency in given.concurrency:
            found = measure(_taking_part(compared, scenario), scenario, concurrency, effort)
            print("\n".join(report.line(row) for row in found), flush=True)
            rows += found
    return rows


def _measure_deciding(given: argparse.Namespace) -> list[jobs.Figure]:
    if not _with(DECIDE, given):
        return []
    print("\nDeciding:")
    figures = decide.measure(quick=given.quick)
    print("\n".join(f"  {figure}" for figure in figures), flush=True)
    return figures


def _measure_jobs(given: argparse.Namespace) -> list[jobs.Figure]:
    if not _with(JOBS, given):
        return []
    print("\nJobs:")
    figures = jobs.measure(jobs.QUICK if given.quick else jobs.FULL)
    print("\n".join(f"  {figure}" for figure in figures), flush=True)
    return figures


def _with(part: str, given: argparse.Namespace) -> bool:
    return not given.baseline_only and (given.only is None or given.only in part)


def _taking_part(compared: Sequence[servers.Server], scenario: Scenario) -> list[servers.Server]:
    """A list is rendered once and sent to all, so the credential says nothing there: one of the hub's is enough."""
    named = {server.name for server in compared}
    if scenario.method != "tools/list" or servers.HUB not in named:
        return list(compared)
    return [server for server in compared if server.name not in (servers.HUB_TOKEN, servers.HUB_GOVERNED)]


def _effort(given: argparse.Namespace) -> Effort:
    usual = _QUICK if given.quick else _FULL
    return Effort(rounds=given.rounds or usual.rounds, seconds=given.seconds or usual.seconds, warmup=usual.warmup)


def _chosen(only: str | None) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if only is None or only in scenario.name]


def _print_facts(facts: dict[str, str]) -> None:
    print(time.strftime("mcphub bench, %Y-%m-%d %H:%M"))
    for name, value in facts.items():
        print(f"  {name:<15} {value}")


def _print_outcome(rows: Sequence[Row], found: Sequence[report.Verdict]) -> None:
    if not rows:
        return
    print(f"\n{report.UNITS}")
    sizes = {(row.scenario, row.server): row.answer_bytes for row in rows}
    print("Answer bytes: " + "; ".join(f"{scenario} {server} {size}" for (scenario, server), size in sizes.items()))
    for said in report.warnings(rows):
        print(f"WARNING: {said}")
    if found:
        print("\nTargets:")
        print("\n".join(f"  {one}" for one in found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The hub against the bare SDK.")
    parser.add_argument("--quick", action="store_true", help="one short round of each: about two minutes")
    parser.add_argument("--only", metavar="TEXT", help="only scenarios whose name holds this, as 'tools/call 2026'")
    parser.add_argument(
        "--credential",
        choices=servers.CREDENTIALS,
        default="all",
        help="what opens the hub: API key, OAuth token; and all that governs a call",
    )
    parser.add_argument("--concurrency", type=_positive, nargs="+", default=[1, 16, 64], metavar="N")
    parser.add_argument("--seconds", type=float, help="measured seconds of each round")
    parser.add_argument("--rounds", type=_positive, help="rounds of each cell; the medians are shown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--frozen-gc", action="store_true", help="give the bare SDK tuned garbage collection too")
    parser.add_argument("--baseline-only", action="store_true", help="measure the bare SDK alone")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError("takes a number from 1 to 1024")
    return value


if __name__ == "__main__":
    sys.exit(main())
