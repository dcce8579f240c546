"""The load generator tells the truth: about errors, about percentiles, and about when to stop."""

import asyncio
import itertools
import json
import math
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.load import Bounds, Figures, drive, percentile
from benchmarks.wire import LEGACY, MODERN, Exchange, Revision, Target, calls, lists, read_response

Answer = Callable[[dict[str, Any]], bytes | None]
"""What the server writes for a request; None closes the connection, no bytes leave it waiting."""

BRIEF = Bounds(seconds=30, warmup=0, count=300, timeout=5)


def http(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


def chunked(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def message(request: dict[str, Any], total: int, **more: Any) -> bytes:
    data = {"sum": total}
    result = {"content": [{"type": "text", "text": json.dumps(data)}], "structuredContent": data, **more}
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}, separators=(",", ":")).encode()


def total(request: dict[str, Any]) -> int:
    arguments = request["params"]["arguments"]
    return int(arguments["a"]) + int(arguments["b"])


def right(request: dict[str, Any]) -> bytes:
    return http(message(request, total(request)))


class Server:
    """An HTTP server on loopback that answers as it is told and counts what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(json.loads(await reader.readexactly(length)))
                answer = self.answer(self.requests[-1])
                if answer is None:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


async def load(answer: Answer, *, bounds: Bounds = BRIEF, concurrency: int = 4) -> tuple[Figures, Server]:
    server = Server(answer)
    async with server.running() as url:
        exchanges = calls(Target(url=url, revision=MODERN))
        return await drive(url, exchanges, concurrency, bounds), server


async def test_right_answers_are_counted_and_nothing_else() -> None:
    figures, server = await load(right)
    assert (figures.ok, figures.answered, figures.errors) == (300, 300, {})
    assert len(server.requests) == 300
    assert 0 < figures.p50 <= figures.p95 <= figures.p99 <= figures.slowest
    assert figures.throughput == pytest.approx(300 / figures.elapsed)


async def test_an_answer_in_an_event_stream_counts_like_a_plain_one() -> None:
    def stream(request: dict[str, Any]) -> bytes:
        return chunked(b": ping\r\n\r\n", b"event: message\r\ndata: " + message(request, total(request)) + b"\r\n\r\n")

    figures, _ = await load(stream)
    assert (figures.ok, figures.errors) == (300, {})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(lambda _: http(b"busy", 503), "status 503", id="a status that is not 200"),
        pytest.param(lambda request: http(message(request, 0)), "wrong answer", id="a wrong sum"),
        pytest.param(lambda _: http(b'{"jsonrpc":"2.0"'), "wrong answer", id="broken JSON"),
        pytest.param(lambda _: http(b""), "wrong answer", id="an empty body"),
        pytest.param(
            lambda _: http(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}'),
            "wrong answer",
            id="a JSON-RPC error with status 200",
        ),
        pytest.param(lambda _: None, "connection lost", id="a closed connection"),
        pytest.param(lambda _: b"", "timeout", id="no answer"),
    ],
)
async def test_what_is_not_a_right_answer_is_an_error_and_in_no_other_figure(answer: Answer, why: str) -> None:
    timeout = 0.05 if why == "timeout" else 30.0  # which all others are not to run into
    figures, _ = await load(answer, bounds=Bounds(seconds=60, warmup=0, count=8, timeout=timeout))
    assert figures.errors == {why: 8}
    assert figures.first_error.startswith(why)
    assert (figures.ok, figures.throughput) == (0, 0.0)
    assert math.isnan(figures.p99)


async def test_a_single_wrong_sum_among_many_right_ones_is_noticed() -> None:
    def answer(request: dict[str, Any]) -> bytes:
        return http(message(request, total(request) + (request["id"] == 30)))

    figures, _ = await load(answer, bounds=Bounds(seconds=30, warmup=0, count=60, timeout=5), concurrency=1)
    assert (figures.ok, figures.errors) == (59, {"wrong answer": 1})


async def test_a_tool_error_that_holds_the_right_sum_is_noticed_by_the_whole_comparison() -> None:
    figures, _ = await load(lambda request: http(message(request, total(request), isError=True)), concurrency=1)
    assert figures.errors["wrong answer"] >= 300 // 64


async def test_the_connections_of_a_run_have_one_request_in_flight_each() -> None:
    waiting: list[asyncio.StreamWriter] = []
    together: list[int] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        waiting.append(writer)
        if len(waiting) == 16:
            together.append(len(waiting))
            for held in waiting:
                held.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        bounds = Bounds(seconds=30, warmup=0, count=16, timeout=5)
        await drive(url, calls(Target(url=url, revision=MODERN)), 16, bounds)
    assert together == [16]


async def test_a_run_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()  # a clock that goes on with the work, so that a machine that stalls loses no time
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) / 1000, process_time=time.process_time)
    monkeypatch.setattr("benchmarks.load.time", clock)
    figures, server = await load(right, bounds=Bounds(seconds=0.2, warmup=0.1))
    assert 0.1 < figures.elapsed < 0.3
    assert figures.answered == len(server.requests) > figures.ok > 0


async def test_a_run_against_a_server_that_is_gone_ends_after_its_bound_of_errors() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        exchanges = calls(Target(url=url, revision=MODERN))
        figures = await drive(url, exchanges, 2, Bounds(seconds=30, warmup=0, errors=10))
    assert figures.errors.keys() == {"connection refused"}
    assert 10 <= figures.errors["connection refused"] <= 11


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [
        (range(1, 101), 50, 50),
        (range(1, 101), 95, 95),
        (range(1, 101), 99, 99),
        (range(1, 101), 100, 100),
        (range(1, 1001), 99, 990),
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([1.0] * 98 + [50.0, 90.0], 99, 50.0),
    ],
)
def test_a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed(
    samples: Sequence[float], percent: float, expected: float
) -> None:
    assert percentile(samples, percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert math.isnan(percentile([], 99))


@pytest.mark.parametrize("whole", [http(b'{"a":1}'), chunked(b"data: {}", b"\r\n0\r\n\r\n", b"tail")])
def test_a_response_is_read_when_its_last_byte_is_in_and_not_before(whole: bytes) -> None:
    for end in range(len(whole)):
        assert read_response(whole[:end]) is None
    body = b'{"a":1}' if b"content-length" in whole else b"data: {}\r\n0\r\n\r\ntail"
    assert read_response(whole) == (200, body)


def split(exchange: Exchange) -> tuple[list[str], dict[str, Any]]:
    head, body = exchange.request.split(b"\r\n\r\n", 1)
    return head.decode().splitlines(), json.loads(body)


@pytest.mark.parametrize("revision", [MODERN, LEGACY])
def test_a_request_carries_the_headers_of_its_revision(revision: Revision) -> None:
    target = Target(url="http://127.0.0.1:9/t/bench/mcp", api_key="k", revision=revision)
    lines, body = split(calls(target)[0])
    assert lines[0] == "POST /t/bench/mcp HTTP/1.1"
    assert {f"MCP-Protocol-Version: {revision}", "Authorization: Bearer k"} < set(lines)
    modern = revision == MODERN
    assert ("Mcp-Method: tools/call" in lines, "Mcp-Name: add" in lines, "_meta" in body["params"]) == (modern,) * 3


def test_a_list_is_compared_name_by_name() -> None:
    (exchange,) = lists(Target(url="http://127.0.0.1:9/", revision=MODERN), frozenset({"add", "zip"}))

    def listed(*names: str) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": n} for n in names]}}).encode()

    assert exchange.accepts(listed("add", "zip"))
    assert not exchange.accepts(listed("zip"))
    assert not exchange.accepts(listed("add", "zip", "more"))
