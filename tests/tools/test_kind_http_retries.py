"""Kind `http` tries again where that does no harm, and for no longer than the call may take."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from lib import fetch as fetching
from tests.tools.upstream import Upstream, answering, connect, run
from tools.errors import UpstreamError, UpstreamTimeout
from tools.kinds import http_send

# Trying again


async def test_a_read_is_repeated_after_a_failure_that_may_pass(upstream: Upstream, waits: list[float]) -> None:
    upstream.answers = [answering(status=503), answering(status=502), answering({"id": 7})]
    assert (await run(upstream, {"path": "/t"})).structured == {"id": 7}
    assert len(upstream.seen) == 3
    assert 0 <= waits[0] <= 0.2
    assert 0 <= waits[1] <= 0.4


@pytest.mark.parametrize(
    ("config", "tool", "sent"),
    [
        ({"method": "GET"}, {}, 3),
        ({"method": "HEAD"}, {}, 3),
        ({"method": "POST"}, {}, 1),
        ({"method": "PUT"}, {}, 1),
        ({"method": "DELETE"}, {}, 1),
        ({"method": "POST"}, {"idempotent": True}, 3),
        ({"method": "POST"}, {"read_only": True}, 3),
        ({"method": "GET", "retries": 0}, {}, 1),
        ({"method": "GET", "retries": 3}, {}, 4),
    ],
)
async def test_only_what_does_no_harm_twice_is_repeated(
    upstream: Upstream, waits: list[float], config: dict[str, Any], tool: dict[str, Any], sent: int
) -> None:
    upstream.answers = [answering(status=503)]
    with pytest.raises(UpstreamError) as problem:
        await run(upstream, {"path": "/t", **config}, **tool)
    assert len(upstream.seen) == sent
    doubtful = config["method"] not in {"GET", "HEAD"} and not tool
    assert ("may have taken effect" in str(problem.value)) == doubtful


@pytest.mark.parametrize("status", [400, 404, 500, 501])
async def test_a_failure_that_stays_is_not_repeated(upstream: Upstream, waits: list[float], status: int) -> None:
    upstream.answers = [answering(status=status)]
    with pytest.raises(UpstreamError):
        await run(upstream, {"path": "/t"})
    assert (len(upstream.seen), waits) == (1, [])


async def test_a_status_that_is_fine_for_the_admin_is_not_repeated(upstream: Upstream, waits: list[float]) -> None:
    upstream.answers = [answering(status=503)]
    await run(upstream, {"path": "/t", "statuses": {"503": "empty"}})
    assert (len(upstream.seen), waits) == (1, [])


def _seconds() -> str:
    return "2"


def _http_date() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)


@pytest.mark.parametrize("given", [_seconds, _http_date])
async def test_retry_after_is_honoured_when_it_fits(
    upstream: Upstream, waits: list[float], given: Callable[[], str]
) -> None:
    upstream.answers = [answering(status=429, headers={"Retry-After": given()}), answering({"id": 7})]
    assert (await run(upstream, {"path": "/t"})).structured == {"id": 7}
    assert len(waits) == 1
    assert 0.5 <= waits[0] <= 3.0  # a date has whole seconds, and some time has passed since


async def test_a_retry_after_beyond_the_deadline_is_told_to_the_model(upstream: Upstream, waits: list[float]) -> None:
    upstream.answers = [answering(status=429, headers={"Retry-After": "120"})]
    with pytest.raises(UpstreamError, match=r"Try again in 120 s\."):
        await run(upstream, {"path": "/t"})
    assert (len(upstream.seen), waits) == (1, [])


async def test_a_write_learns_when_to_try_again(upstream: Upstream) -> None:
    upstream.answers = [answering(status=429, headers={"Retry-After": "1"})]
    with pytest.raises(UpstreamError, match=r"Try again in 1 s\."):
        await run(upstream, {"method": "POST", "path": "/t"})


async def test_a_malformed_retry_after_counts_as_none(upstream: Upstream, waits: list[float]) -> None:
    upstream.answers = [answering(status=503, headers={"Retry-After": "soon"}), answering({"id": 7})]
    assert (await run(upstream, {"path": "/t"})).structured == {"id": 7}
    assert waits[0] <= 0.2


async def test_an_upstream_that_is_down_is_tried_again_and_then_named(
    upstream: Upstream, waits: list[float], unused_tcp_port: int
) -> None:
    connection = connect(upstream, base_url=f"http://127.0.0.1:{unused_tcp_port}")
    for method in ("GET", "POST"):  # nothing was sent, so even a write may be repeated
        waits.clear()
        with pytest.raises(UpstreamError, match="cannot be connected") as problem:
            await run(upstream, {"method": method, "path": "/t"}, connection=connection)
        assert len(waits) == 2
        assert "taken effect" not in str(problem.value)


async def test_a_write_whose_connection_breaks_is_not_repeated(upstream: Upstream, waits: list[float]) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    upstream.answers = [hang_up]
    with pytest.raises(UpstreamError, match="may have taken effect"):
        await run(upstream, {"method": "POST", "path": "/t"}, {"a": 1})
    assert len(upstream.seen) == 1


# Time


async def test_every_attempt_gets_only_the_time_that_is_left(
    upstream: Upstream, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    async def spy(outbound: fetching.Outbound) -> fetching.Inbound:
        given.append(outbound.timeout)
        return await fetching.fetch(outbound)

    monkeypatch.setattr(http_send, "fetch", spy)
    upstream.answers = [answering(status=503)]
    with pytest.raises(UpstreamError):
        await run(upstream, {"path": "/t"})
    assert 5 >= given[0] > given[1] > given[2]


async def test_an_upstream_that_does_not_answer_in_time_is_an_upstream_timeout(upstream: Upstream) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    upstream.answers = [never]
    with pytest.raises(UpstreamTimeout, match="may have taken effect"):
        await run(upstream, {"method": "POST", "path": "/t"}, {"a": 1}, timeout=0.5)
    assert len(upstream.seen) == 1


async def test_cancelling_the_call_hangs_up_on_the_upstream(upstream: Upstream) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    upstream.answers = [slow]
    running = asyncio.create_task(run(upstream, {"path": "/t"}))
    await arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(30):
        await gone.wait()
