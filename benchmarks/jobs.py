"""What jobs cost: from accepting to starting, how many a second, and following them by each way.

A part of `make bench`; alone: `python -m benchmarks --only jobs`. Client, server, workers and Postgres share the
machine.
"""

import asyncio
import itertools
import resource
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import psycopg

from benchmarks.load import percentile
from benchmarks.servers import Server, database, long_hub
from benchmarks.wire import LEGACY, MODERN
from mcphub.stack.postgres import Postgres

TARGET_START = 25.0
"""Milliseconds from accepting to starting, at the median."""
TARGET_STATEMENTS = 10.0
"""Transactions a second that a thousand waiting hosts may cause, beside what the idle hub does; were each to look once
a second, it would be a thousand."""
_TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
_WORKERS = 2
_MORE_WORKERS = 4
_WAIT_SECONDS = 25.0
_FOLLOWED = 100
_OPEN = 1000
_SOCKETS = 4096
_ids = itertools.count(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """settle: seconds before transactions are counted. Postgres' idle sessions report theirs up to ten seconds late, so
    with less some of what came before is counted too."""

    started: int
    finished: int
    seconds: float
    settle: float


FULL = Effort(started=400, finished=2000, seconds=8.0, settle=11.0)
QUICK = Effort(started=40, finished=200, seconds=3.0, settle=2.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """target: what it must not exceed, None where nothing was promised."""

    what: str
    value: float
    unit: str
    target: float | None = None

    @property
    def met(self) -> bool:
        return self.target is None or self.value <= self.target

    def __str__(self) -> str:
        promised = "" if self.target is None else f"   {'met' if self.met else 'MISSED'}, at most {self.target:g}"
        return f"{self.what:<58} {self.value:>9.2f} {self.unit}{promised}"


def measure(effort: Effort) -> list[Figure]:
    """On Postgres servers of their own; jobs are followed without any worker, whose polling would be counted too."""
    figures = _with(_WORKERS, effort, _Bench.starting)
    figures += _with(_MORE_WORKERS, effort, _Bench.finishing)
    figures += _with(0, effort, _Bench.following)
    return figures + _with(0, effort, _Bench.waiting)


def _with(workers: int, effort: Effort, part: Callable[["_Bench"], Coroutine[Any, Any, list[Figure]]]) -> list[Figure]:
    with database() as postgres, long_hub(postgres, workers) as server:
        return asyncio.run(part(_Bench(server, postgres, effort)))


class _Bench:
    def __init__(self, server: Server, postgres: Postgres, effort: Effort) -> None:
        self._server = server
        self._postgres = postgres
        self._effort = effort
        self._numbers = itertools.count(1)

    async def starting(self) -> list[Figure]:
        """Twenty jobs a second, one after the other, nothing else to do."""
        async with self._session() as session:
            for _ in range(self._effort.started):
                began = time.perf_counter()
                await self._job(session)
                await asyncio.sleep(max(0.0, 0.05 - (time.perf_counter() - began)))
            await self._all_ended()
        waited = sorted(float(row[0]) for row in self._ask(_STARTED))
        return [
            Figure(what="accepted to started, p50", value=percentile(waited, 50), unit="ms", target=TARGET_START),
            Figure(what="accepted to started, p95", value=percentile(waited, 95), unit="ms"),
        ]

    async def finishing(self) -> list[Figure]:
        """As many as they can, all accepted at once."""
        async with self._session() as session:

            async def host() -> None:
                for _ in range(self._effort.finished // 16):
                    await self._job(session)

            await asyncio.gather(*(host() for _ in range(16)))
            await self._all_ended()
        ((count, seconds),) = self._ask(_FINISHED)
        said = f"jobs a second, {_MORE_WORKERS} workers, a tool that does nothing"
        return [Figure(what=said, value=float(count) / float(seconds), unit="/s")]

    async def following(self) -> list[Figure]:
        """A hundred hosts follow a hundred jobs that wait, by each way in turn; what one costs in a minute."""
        figures = []
        async with self._session() as session:
            jobs = await self._held(session)
            idle = await self._cost(session, jobs, _nothing, _Cost(cpu_ms=0.0, transactions=0.0))
            for what, follow in self._ways():
                cost = await self._cost(session, jobs, follow, idle)
                figures += [
                    Figure(what=f"following for a minute by {what}", value=cost.cpu_ms, unit="ms CPU"),
                    Figure(what="  transactions in that minute", value=cost.transactions, unit=""),
                ]
        return figures

    async def waiting(self) -> list[Figure]:
        """A thousand open requests that wait for a job."""
        async with self._session() as session:
            jobs = await self._held(session)
            idle = await self._transactions(self._effort.seconds)
            before = self._server.rss()
            follow = self._asking("get_job_status")
            waits = [asyncio.create_task(follow(session, jobs[n % len(jobs)])) for n in range(_OPEN)]
            while int(self._ask(_BEGUN)[0][0]) < _OPEN:  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.1)
            await asyncio.sleep(self._effort.settle)
            memory = self._server.rss() - before
            busy = await self._transactions(self._effort.seconds)
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        beside = max(0.0, busy - idle)
        return [
            Figure(what=f"memory of {_OPEN} open waits", value=memory / 2**20, unit="MB"),
            Figure(what="  transactions a second", value=beside, unit="/s", target=TARGET_STATEMENTS),
        ]

    def _ways(self) -> list[tuple[str, "_Follow"]]:
        return [
            ("asking tasks/get each second", self._polling),
            ("get_job_status", self._asking("get_job_status")),
            ("tasks/result (2025-11-25)", self._result),
            ("server-sent events", self._events),
            ("subscriptions/listen", self._listening),
        ]

    async def _cost(
        self, session: aiohttp.ClientSession, jobs: Sequence[str], follow: "_Follow", idle: "_Cost"
    ) -> "_Cost":
        """Of one follower in a minute, without what the hub spends when nobody follows anything."""
        followers = [asyncio.create_task(follow(session, job)) for job in jobs]
        await asyncio.sleep(self._effort.settle)
        cpu, counted, began = self._server.cpu(), self._commits(), time.perf_counter()
        await asyncio.sleep(self._effort.seconds)
        minutes = (time.perf_counter() - began) / 60 * len(jobs)
        cost = _Cost(
            cpu_ms=max(0.0, 1000 * (self._server.cpu() - cpu) / minutes - idle.cpu_ms),
            transactions=max(0.0, (self._commits() - counted) / minutes - idle.transactions),
        )
        for task in followers:
            task.cancel()
        for problem in await asyncio.gather(*followers, return_exceptions=True):
            if isinstance(problem, Exception):
                raise problem
        return cost

    async def _held(self, session: aiohttp.ClientSession) -> list[str]:
        """Jobs that wait for good."""
        return [await self._job(session) for _ in range(_FOLLOWED)]

    async def _polling(self, session: aiohttp.ClientSession, job: str) -> None:
        while True:
            assert "result" in await self._post(session, MODERN, "tasks/get", {"taskId": job})
            await asyncio.sleep(1.0)

    def _asking(self, tool: str) -> "_Follow":
        async def follow(session: aiohttp.ClientSession, job: str) -> None:
            arguments = {"job_id": job, "wait_seconds": _WAIT_SECONDS}
            while True:
                assert "result" in await self._post(
                    session, LEGACY, "tools/call", {"name": tool, "arguments": arguments}
                )

        return follow

    async def _result(self, session: aiohttp.ClientSession, job: str) -> None:
        await self._post(session, LEGACY, "tasks/result", {"taskId": job})

    async def _events(self, session: aiohttp.ClientSession, job: str) -> None:
        base, _, rest = self._server.url.partition("/t/")
        headers = {"Authorization": f"Bearer {self._server.api_key}"}
        url = f"{base}/api/v1/t/{rest.removesuffix('/mcp')}/jobs/{job}/events"
        async with session.get(url, headers=headers) as response:
            assert response.status == 200, await response.text()
            async for _ in response.content:
                pass

    async def _listening(self, session: aiohttp.ClientSession, job: str) -> None:
        params = {"notifications": {"taskIds": [job]}}
        async with session.post(
            self._server.url,
            json=_message(MODERN, "subscriptions/listen", params),
            headers=self._headers(MODERN, "subscriptions/listen", params),
        ) as response:
            assert response.status == 200, await response.text()
            async for _ in response.content:
                pass

    async def _job(self, session: aiohttp.ClientSession) -> str:
        call = {"name": "give_back", "arguments": {"number": next(self._numbers)}}
        answer = await self._post(session, MODERN, "tools/call", call)
        return str(answer["result"]["taskId"])

    async def _post(
        self, session: aiohttp.ClientSession, revision: str, method: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        body, headers = _message(revision, method, params), self._headers(revision, method, params)
        async with session.post(self._server.url, json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    def _headers(self, revision: str, method: str, params: dict[str, Any]) -> dict[str, str]:
        headers = {
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {self._server.api_key}",
            "MCP-Protocol-Version": revision,
        }
        named = params.get("name") or params.get("taskId")
        return headers | (
            {"Mcp-Method": method} | ({"Mcp-Name": str(named)} if named else {}) if revision == MODERN else {}
        )

    def _session(self) -> aiohttp.ClientSession:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(_SOCKETS, hard)), hard))
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, sock_connect=30)
        )

    async def _all_ended(self) -> None:
        left = self._left()
        while left:
            await asyncio.sleep(0.1)
            left = self._left()

    def _left(self) -> int:
        return int(self._ask("SELECT count(*) FROM jobs_job WHERE ended_at IS NULL")[0][0])

    async def _transactions(self, seconds: float) -> float:
        """A second, of the hub."""
        before = self._commits()
        await asyncio.sleep(seconds)
        return (self._commits() - before) / seconds

    def _commits(self) -> int:
        """Asked in another database, so that asking does not count."""
        with psycopg.connect(self._postgres.superuser_url, autocommit=True) as conn:
            row = conn.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = 'mcphub'").fetchone()
        return int(row[0]) if row else 0

    def _ask(self, query: str) -> list[Any]:
        with psycopg.connect(self._postgres.owner_url, autocommit=True) as conn:
            return conn.execute(query.encode()).fetchall()


_Follow = Callable[[aiohttp.ClientSession, str], Coroutine[Any, Any, None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cost:
    cpu_ms: float
    transactions: float


async def _nothing(session: aiohttp.ClientSession, job: str) -> None:
    """Follow nothing."""


_BEGUN = "SELECT count(*) FROM audit_entry WHERE event = 'call.started' AND tool = 'get_job_status'"
_STARTED = "SELECT 1000 * extract(epoch FROM begun_at - created_at) FROM jobs_job ORDER BY created_at OFFSET 20"
_FINISHED = "SELECT count(*), extract(epoch FROM max(ended_at) - min(created_at)) FROM jobs_job"


def _message(revision: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    if revision == MODERN:
        said = {
            "protocolVersion": MODERN,
            "clientInfo": {"name": "mcphub-bench", "version": "1"},
            "clientCapabilities": _TASKS,
        }
        params = {**params, "_meta": {f"io.modelcontextprotocol/{name}": value for name, value in said.items()}}
    return {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": params}
