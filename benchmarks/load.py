"""The load generator: a closed loop of keep-alive HTTP/1.1 connections, in a process of its own.

Each of `concurrency` connections has one request in flight and sends the next when the answer is in. A run is bounded
by time and by count, and a request by a timeout, so it ends whatever the server does. Every answer is checked: status
200 and the bytes of the expected result; every 64th is parsed and compared as a whole. What fails a check is an error
and is in no other figure.

    python -m benchmarks.load http://127.0.0.1:8000/t/bench/mcp --revision 2026-07-28 --concurrency 16 --seconds 5
"""

import argparse
import asyncio
import gc
import json
import math
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.wire import LEGACY, MODERN, Exchange, Target, calls, lists, read_response

_FULL_CHECK_EVERY = 64
_WATCH_INTERVAL = 0.1
_RECONNECT_AFTER = 0.02
_GRACE = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What ends a run: seconds of warm-up and of measurement, measured requests, errors; and one request's timeout."""

    seconds: float = 2.0
    warmup: float = 0.5
    count: int = 1_000_000
    errors: int = 1_000
    timeout: float = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a run measured. Latencies in milliseconds; `answered` includes the warm-up, `ok` does not."""

    ok: int
    answered: int
    errors: dict[str, int]
    first_error: str
    elapsed: float
    throughput: float
    p50: float
    p95: float
    p99: float
    slowest: float
    answer_bytes: int  # size of the last answer that was compared as a whole
    generator_cpu: float  # share of one core the generator used; near 1.0 it measures itself


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile of sorted samples: the smallest one that `percent` of all do not exceed."""
    if not ordered:
        return math.nan
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


@dataclass(kw_only=True)
class Run:
    """The state the connections of one run share."""

    exchanges: Sequence[Exchange]
    bounds: Bounds
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)
    first_error: str = ""
    answered: int = 0
    sent: int = 0
    opened: float = 0.0  # when measurement begins, on the perf_counter clock
    closes: float = 0.0
    last: float = 0.0
    answer_bytes: int = 0

    def start(self) -> None:
        self.ring = cycle(self.exchanges)
        self.opened = time.perf_counter() + self.bounds.warmup
        self.closes = self.opened + self.bounds.seconds
        self.last = self.opened

    def next(self, now: float) -> Exchange | None:
        """The next request to send, or None when the run is over."""
        if now >= self.closes or self.sent >= self.bounds.count or self.errors.total() >= self.bounds.errors:
            return None
        if now >= self.opened:
            self.sent += 1
        return next(self.ring)

    def succeeded(self, started: float, now: float) -> None:
        self.answered += 1
        if started >= self.opened:
            self.latencies.append(now - started)
            self.last = now

    def failed(self, why: str, detail: str) -> None:
        self.errors[why] += 1
        self.first_error = self.first_error or f"{why}: {detail[:400]}"

    def figures(self, cpu: float) -> Figures:
        ordered = sorted(1000 * latency for latency in self.latencies)
        elapsed = self.last - self.opened
        return Figures(
            ok=len(ordered),
            answered=self.answered,
            errors=dict(self.errors),
            first_error=self.first_error,
            elapsed=elapsed,
            throughput=len(ordered) / elapsed if elapsed else 0.0,
            p50=percentile(ordered, 50),
            p95=percentile(ordered, 95),
            p99=percentile(ordered, 99),
            slowest=percentile(ordered, 100),
            answer_bytes=self.answer_bytes,
            generator_cpu=cpu,
        )


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.exchange: Exchange | None = None
        self.started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class
        self._send()

    def _send(self) -> None:
        self.started = time.perf_counter()
        self.exchange = self.run.next(self.started)
        if self.exchange is None:
            self.transport.close()
        else:
            self.transport.write(self.exchange.request)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            return
        self.buffer = self.buffer + data if self.buffer else data
        response = read_response(self.buffer)
        if response is None:
            return
        now = time.perf_counter()
        self.buffer = b""
        self._check(self.exchange, *response, now)
        self._send()

    def _check(self, exchange: Exchange, status: int, body: bytes, now: float) -> None:
        sampled = self.run.answered % _FULL_CHECK_EVERY == 0
        if sampled:
            self.run.answer_bytes = len(body)
        if status != 200:
            self.run.failed(f"status {status}", body.decode(errors="replace"))
        elif (sampled or exchange.needle not in body) and not exchange.accepts(body):
            self.run.failed("wrong answer", body.decode(errors="replace"))
        else:
            self.run.succeeded(self.started, now)

    def expire(self, now: float) -> None:
        """Give up on a request that has waited longer than the timeout."""
        if self.exchange is not None and now - self.started > self.run.bounds.timeout:
            self.exchange = None
            self.run.failed("timeout", f"no answer within {self.run.bounds.timeout} s")
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.exchange is not None:
            self.run.failed("connection lost", repr(exc))
        if not self.closed.done():
            self.closed.set_result(None)


async def _keep_connected(run: Run, host: str, port: int, live: set[Connection]) -> None:
    """Hold one connection open until the run is over; connect again when the server closed it."""
    loop = asyncio.get_running_loop()
    while time.perf_counter() < run.closes and run.errors.total() < run.bounds.errors:
        try:
            _, connection = await loop.create_connection(lambda: Connection(run), host, port)
        except OSError as exc:
            run.failed("connection refused", str(exc))
            await asyncio.sleep(_RECONNECT_AFTER)
            continue
        live.add(connection)
        await connection.closed
        live.discard(connection)
        if run.sent >= run.bounds.count:
            return


async def _watch(live: set[Connection]) -> None:
    while True:
        await asyncio.sleep(_WATCH_INTERVAL)
        now = time.perf_counter()
        for connection in tuple(live):
            connection.expire(now)


async def drive(url: str, exchanges: Sequence[Exchange], concurrency: int, bounds: Bounds) -> Figures:
    """Run the closed loop against `url` and return its figures."""
    run = Run(exchanges=exchanges, bounds=bounds)
    live: set[Connection] = set()
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    run.start()
    began, cpu = time.perf_counter(), time.process_time()
    watch = asyncio.create_task(_watch(live))
    try:
        async with asyncio.timeout(bounds.warmup + bounds.seconds + bounds.timeout + _GRACE):
            await asyncio.gather(*(_keep_connected(run, host, port, live) for _ in range(concurrency)))
    finally:
        watch.cancel()
    return run.figures((time.process_time() - cpu) / (time.perf_counter() - began))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description="Load one MCP endpoint, print JSON.")
    parser.add_argument("url")
    parser.add_argument("--api-key")
    parser.add_argument("--revision", choices=(MODERN, LEGACY), default=MODERN)
    parser.add_argument("--method", choices=("tools/call", "tools/list"), default="tools/call")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--count", type=int, default=1_000_000)
    given = parser.parse_args(arguments)
    target = Target(url=given.url, api_key=given.api_key, revision=given.revision)
    bounds = Bounds(seconds=given.seconds, warmup=given.warmup, count=given.count)
    exchanges = calls(target) if given.method == "tools/call" else lists(target, _catalog_names())
    gc.disable()  # the run is bounded; the generator's own pauses must not look like the server's
    figures = uvloop.run(drive(given.url, exchanges, given.concurrency, bounds))
    json.dump(asdict(figures), sys.stdout)


def _catalog_names() -> frozenset[str]:
    from benchmarks.catalog import TOOLS

    return frozenset(tool.__name__ for tool in TOOLS)


if __name__ == "__main__":
    main()
