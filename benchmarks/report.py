"""The table and the verdict."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.measure import Row
from benchmarks.servers import HUB_GOVERNED, HUB_TOKEN
from benchmarks.wire import LEGACY, MODERN

# What a governed, recorded call may cost beside the bare SDK: its throughput on the same revision, and its p99.
TARGETS = {f"tools/call {MODERN}": 0.8, f"tools/call {LEGACY}": 1.5}
TARGET_CONCURRENCY = frozenset({16, 64})
TARGET_P99 = 2.0
TARGET_BESIDE = {HUB_TOKEN: 0.95, HUB_GOVERNED: 0.9}
"""What an OAuth token may cost beside an API key, and what 50 rules, six limits and cleaning may: the throughput over
the key's alone."""
_CELLS = {HUB_TOKEN: ", by token", HUB_GOVERNED: ", governed"}
_GENERATOR_LIMIT = 0.8

_HEAD = (
    f"{'scenario':<22} {'conc':>4} {'server':<9} {'req/s':>8} {'p50':>8} {'p95':>8} {'p99':>8} "
    f"{'CPU':>7} {'PG CPU':>7} {'RSS MB':>7} {'errors':>6} {'ratio':>6} {'p99 x':>6}"
)
UNITS = "p50, p95, p99 in ms; CPU and PG CPU in ms per call; ratio and p99 x against the bare SDK on the same revision."


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    what: str
    met: bool

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'}  {self.what}"


def head() -> str:
    return f"{_HEAD}\n{'-' * len(_HEAD)}"


def line(row: Row) -> str:
    postgres = f"{row.postgres_cpu_ms:7.3f}" if row.server != "sdk" else f"{'-':>7}"
    return (
        f"{row.scenario:<22} {row.concurrency:>4} {row.server:<9} {row.throughput:8.0f} {row.p50:8.2f} {row.p95:8.2f} "
        f"{row.p99:8.2f} {row.cpu_ms:7.3f} {postgres} {row.rss_mb:7.0f} {row.errors:>6} "
        f"{_optional(row.ratio)} {_optional(row.p99_ratio)}"
    )


def _optional(value: float | None) -> str:
    return f"{'-':>6}" if value is None else f"{value:6.2f}"


def verdicts(rows: Iterable[Row]) -> list[Verdict]:
    """One line per target that these rows can answer; the targets hold at concurrency 16 and 64."""
    found: list[Verdict] = []
    for row in rows:
        target = TARGETS.get(row.scenario)
        if target is None or row.server == "sdk" or row.concurrency not in TARGET_CONCURRENCY:
            continue
        cell = f"{row.scenario} at {row.concurrency}{_CELLS.get(row.server, '')}"
        ratio = math.nan if row.ratio is None else row.ratio
        p99 = math.nan if row.p99_ratio is None else row.p99_ratio
        found += [
            Verdict(what=f"{cell}: {ratio:.2f} of the SDK's throughput, at least {target}", met=ratio >= target),
            Verdict(what=f"{cell}: {p99:.2f} times the SDK's p99, at most {TARGET_P99}", met=p99 <= TARGET_P99),
        ]
        if row.key_ratio is not None:
            least = TARGET_BESIDE[row.server]
            beside = f"{cell}: {row.key_ratio:.3f} of a key's throughput, at least {least}"
            found.append(Verdict(what=beside, met=row.key_ratio >= least))
    return found


def warnings(rows: Sequence[Row]) -> list[str]:
    """What a reader has to know before believing the table."""
    said = [f"{row.server}, {row.scenario} at {row.concurrency}: {row.first_error}" for row in rows if row.first_error]
    busiest = max((row.generator_cpu for row in rows), default=0.0)
    if busiest > _GENERATOR_LIMIT:
        said.append(f"the generator used {busiest:.0%} of its core: the fastest rows are bounded by it")
    return said
