"""One cell of the comparison: both servers, measured in turns, and the medians of the rounds."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.load import Figures
from benchmarks.servers import HUB, HUB_GOVERNED, HUB_TOKEN, ROOT, BenchError, Server
from benchmarks.wire import LEGACY, MODERN, Method, Revision

_SLACK_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    name: str
    method: Method
    revision: Revision


SCENARIOS = tuple(
    Scenario(name=f"{method} {revision}", method=method, revision=revision)
    for method in ("tools/call", "tools/list")
    for revision in (MODERN, LEGACY)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How long each round measures and warms up, and how many rounds there are."""

    rounds: int
    seconds: float
    warmup: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One round of one server. CPU in milliseconds per answered request."""

    figures: Figures
    cpu_ms: float
    postgres_cpu_ms: float
    rss_mb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The medians over the rounds of one server in one cell. Ratios are medians of the rounds' own ratios to the SDK
    measured next to it, so that a machine that slows down for a while slows both sides of a ratio. key_ratio: the
    throughput with a token, or with all that governs, over that with a key alone, in the same way."""

    scenario: str
    concurrency: int
    server: str
    throughput: float
    p50: float
    p95: float
    p99: float
    cpu_ms: float
    postgres_cpu_ms: float
    rss_mb: float
    requests: int
    errors: int
    first_error: str
    answer_bytes: int
    generator_cpu: float
    ratio: float | None = None
    p99_ratio: float | None = None
    key_ratio: float | None = None


def measure(servers: Sequence[Server], scenario: Scenario, concurrency: int, effort: Effort) -> list[Row]:
    """Measure the servers in turns. The first is the one the others are compared with."""
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for turn in range(effort.rounds):
        # Every second round goes the other way, so that neither always follows the other.
        for server in servers if turn % 2 == 0 else reversed(servers):
            samples[server.name].append(_sample(server, scenario, concurrency, effort))
    reference = samples[servers[0].name]
    rows = [
        _row(server.name, scenario, concurrency, samples[server.name], reference if server is not servers[0] else None)
        for server in servers
    ]
    keyed = {
        name: _ratio(samples.get(name, ()), samples.get(HUB), lambda s: s.figures.throughput)
        for name in (HUB_TOKEN, HUB_GOVERNED)
    }
    return [replace(row, key_ratio=keyed.get(row.server)) for row in rows]


def _sample(server: Server, scenario: Scenario, concurrency: int, effort: Effort) -> Sample:
    cpu, postgres_cpu = server.cpu(), server.postgres_cpu()
    figures = _load(server, scenario, concurrency, effort)
    answered = max(figures.answered, 1)
    return Sample(
        figures=figures,
        cpu_ms=1000 * (server.cpu() - cpu) / answered,
        postgres_cpu_ms=1000 * (server.postgres_cpu() - postgres_cpu) / answered,
        rss_mb=server.rss() / 2**20,
    )


def _load(server: Server, scenario: Scenario, concurrency: int, effort: Effort) -> Figures:
    options = {
        "--revision": scenario.revision,
        "--method": scenario.method,
        "--concurrency": str(concurrency),
        "--seconds": str(effort.seconds),
        "--warmup": str(effort.warmup),
        **({"--api-key": server.api_key} if server.api_key else {}),
    }
    command = [sys.executable, "-m", "benchmarks.load", server.url]
    command += [part for option in options.items() for part in option]
    limit = effort.seconds + effort.warmup + _SLACK_SECONDS
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=limit, check=False)
    if done.returncode != 0:
        raise BenchError(f"the load generator failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    return Figures(**json.loads(done.stdout))


def _row(
    name: str, scenario: Scenario, concurrency: int, samples: Sequence[Sample], reference: Sequence[Sample] | None
) -> Row:
    def middle(read: Callable[[Sample], float]) -> float:
        return median(read(sample) for sample in samples)

    return Row(
        scenario=scenario.name,
        concurrency=concurrency,
        server=name,
        throughput=middle(lambda s: s.figures.throughput),
        p50=middle(lambda s: s.figures.p50),
        p95=middle(lambda s: s.figures.p95),
        p99=middle(lambda s: s.figures.p99),
        cpu_ms=middle(lambda s: s.cpu_ms),
        postgres_cpu_ms=middle(lambda s: s.postgres_cpu_ms),
        rss_mb=max(sample.rss_mb for sample in samples),
        requests=sum(sample.figures.ok for sample in samples),
        errors=sum(sum(sample.figures.errors.values()) for sample in samples),
        first_error=next((s.figures.first_error for s in samples if s.figures.first_error), ""),
        answer_bytes=samples[-1].figures.answer_bytes,
        generator_cpu=max(sample.figures.generator_cpu for sample in samples),
        ratio=_ratio(samples, reference, lambda s: s.figures.throughput),
        p99_ratio=_ratio(samples, reference, lambda s: s.figures.p99),
    )


def _ratio(
    samples: Sequence[Sample], reference: Sequence[Sample] | None, read: Callable[[Sample], float]
) -> float | None:
    if not reference or not samples:
        return None
    pairs = [(read(sample), read(base)) for sample, base in zip(samples, reference, strict=True)]
    # A round in which the other answered nothing has no ratio; its errors are in its own row.
    ratios = [value / base for value, base in pairs if base > 0]
    return median(ratios) if ratios else None
