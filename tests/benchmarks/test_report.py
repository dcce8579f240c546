"""The comparison: ratios, medians and the verdict."""

from dataclasses import replace

import pytest

from benchmarks.load import Figures
from benchmarks.measure import SCENARIOS, Effort, Row, Sample, Scenario, measure
from benchmarks.report import verdicts, warnings
from benchmarks.servers import Server
from benchmarks.wire import MODERN

FIGURES = Figures(
    ok=100,
    answered=110,
    errors={},
    first_error="",
    elapsed=1.0,
    throughput=100.0,
    p50=1.0,
    p95=2.0,
    p99=4.0,
    slowest=5.0,
    answer_bytes=10,
    generator_cpu=0.1,
)
ROW = Row(
    scenario=f"tools/call {MODERN}",
    concurrency=16,
    server="hub",
    throughput=80.0,
    p50=1.0,
    p95=1.0,
    p99=1.0,
    cpu_ms=0.5,
    postgres_cpu_ms=0.1,
    rss_mb=100.0,
    requests=100,
    errors=0,
    first_error="",
    answer_bytes=10,
    generator_cpu=0.1,
    ratio=0.8,
    p99_ratio=2.0,
)


def met(row: Row) -> list[bool]:
    return [one.met for one in verdicts([row])]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [True, True]),
        ({"ratio": 0.79}, [False, True]),
        ({"p99_ratio": 2.01}, [True, False]),
        ({"ratio": None, "p99_ratio": None}, [False, False]),
        ({"scenario": "tools/call 2025-11-25", "ratio": 1.49}, [False, True]),
        ({"scenario": "tools/call 2025-11-25", "ratio": 1.5, "concurrency": 64}, [True, True]),
        ({"scenario": "tools/list 2026-07-28", "ratio": 0.1}, []),
        ({"concurrency": 1, "ratio": 0.1}, []),
        ({"server": "sdk"}, []),
        ({"server": "hub token", "key_ratio": 0.95}, [True, True, True]),
        ({"server": "hub token", "key_ratio": 0.949}, [True, True, False]),
    ],
)
def test_a_target_is_met_at_its_bound_and_missed_beyond_it(change: dict[str, object], expected: list[bool]) -> None:
    assert met(replace(ROW, **change)) == expected  # type: ignore[arg-type]


def test_errors_and_a_busy_generator_are_said() -> None:
    busy = replace(ROW, generator_cpu=0.95, first_error="status 503: busy", errors=1)
    assert [("503" in said, "95%" in said) for said in warnings([busy])] == [(True, False), (False, True)]
    assert warnings([ROW]) == []


def test_ratios_compare_rounds_measured_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    # The machine halves its speed in the second round and the order turns around: the ratio stays a half.
    speeds = iter([1000.0, 500.0, 250.0, 500.0, 1000.0, 500.0])
    order: list[str] = []

    def sample(server: Server, _scenario: Scenario, _concurrency: int, _effort: Effort) -> Sample:
        order.append(server.name)
        figures = replace(FIGURES, throughput=next(speeds))
        return Sample(figures=figures, cpu_ms=1.0, postgres_cpu_ms=0.0, rss_mb=1.0)

    monkeypatch.setattr("benchmarks.measure._sample", sample)
    servers = [Server(name=name, url="", pid=0) for name in ("sdk", "hub")]
    sdk, hub = measure(servers, SCENARIOS[0], 16, Effort(rounds=3, seconds=1, warmup=0))
    assert order == ["sdk", "hub", "hub", "sdk", "sdk", "hub"]
    assert (sdk.throughput, sdk.ratio) == (1000.0, None)
    assert (hub.throughput, hub.ratio, hub.p99_ratio) == (500.0, 0.5, 1.0)
