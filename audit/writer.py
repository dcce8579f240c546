"""The ledger writer: concurrent rows in one commit, and every caller waits for its own row and no longer."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, LiteralString

import orjson
import psycopg
from django.conf import settings

from audit.entries import instance
from lib import db
from lib.batch import Batch

log = logging.getLogger(__name__)

Row = dict[str, Any]

HEARTBEAT = 5.0
"""Seconds between signs of life."""
PARTITIONS_EVERY = 3600.0
"""Seconds between looks at whether the coming months have a partition."""
_SWEEP_SECONDS = 60.0
_MOST_ROWS = 200
FIRST: LiteralString = "SELECT audit_append(%s::jsonb)"
AGAIN: LiteralString = "SELECT audit_append_again(%s::jsonb)"
"""For a batch whose commit went unanswered: it may have landed, and must not land twice."""
_UNSTORABLE = (psycopg.DataError, psycopg.IntegrityError, orjson.JSONEncodeError)
"""What one row may do to a whole batch; the rows are then tried one by one, so that it harms no other."""
# Anything else of psycopg's is worth trying again: db.UNREACHABLE, not migrated yet, a right not granted yet.

_writers: dict[asyncio.AbstractEventLoop, "Writer"] = {}


class LedgerUnavailable(Exception):
    """The row is not durable: Postgres cannot be reached, or cannot hold it. Nothing may run that is not recorded."""


class Writer:
    """One per event loop. `await write(row)` returns when the row is committed."""

    def __init__(self, room: int):
        self._started: Batch[Row, None] = Batch(self._insert, most=_MOST_ROWS, room=room)
        # Without a bound of its own: a call waits for its own closing row, so there are no more of them than calls
        # that run, and a cancelled call must not lose its row while it waits for room.
        self._closing: Batch[Row, None] = Batch(self._insist, most=_MOST_ROWS, room=sys.maxsize)
        self._room = room
        self._open: set[str | None] = set()
        self._stopping = False

    async def write(self, row: Row) -> None:
        """Record something that has not happened yet; raises LedgerUnavailable when it could not be recorded."""
        await self._started(row)

    async def begin(self, row: Row) -> asyncio.Future[None]:
        """The same, in two steps. Cancelled here, nothing is recorded; once this returns, the row is on its way and
        must be concluded. The future raises LedgerUnavailable."""
        future = await self._started.put(row)
        self._open.add(row.get("call_id"))
        return future

    async def conclude(self, row: Row) -> None:
        """Record something that has happened: tried until it is durable, however long Postgres is away."""
        await self._closing(row)
        self._open.discard(row.get("call_id"))

    async def disown(self, row: Row) -> None:
        """Record, whenever that becomes possible, that what may have been begun was not run; waits for nothing.

        For a row whose commit went unanswered. While Postgres is away for long, only as many are kept as fit.
        """
        if len(self._closing) < self._room:
            (await self._closing.put(row)).add_done_callback(partial(self._disowned, row.get("call_id")))

    def _disowned(self, call_id: str | None, landed: asyncio.Future[None]) -> None:
        if not landed.cancelled() and landed.exception() is None:  # asking marks it as seen
            self._open.discard(call_id)

    @property
    def settled(self) -> bool:
        """Whether every call that was begun has its end in the ledger."""
        return not self._open

    async def close(self) -> None:
        """Let everything land, but do not wait for a Postgres that is gone."""
        self._stopping = True
        await self._started.drain()
        await self._closing.drain()

    async def _insert(self, rows: Sequence[Row]) -> Sequence[BaseException | None]:
        try:
            await db.lane("ledger started").fetch(FIRST, [orjson.dumps(rows).decode()])
            return [None] * len(rows)
        except _UNSTORABLE as problem:
            if len(rows) == 1:
                _tell(problem)
                raise LedgerUnavailable("the ledger cannot hold this call; nothing was run") from problem
            return await _one_by_one(self._insert, rows)
        except psycopg.Error as problem:
            raise LedgerUnavailable("the ledger cannot be written; nothing was run") from problem

    async def _insist(self, rows: Sequence[Row]) -> Sequence[BaseException | None]:
        pause, statement = 0.05, FIRST
        while True:
            try:
                await db.lane("ledger finished").fetch(statement, [orjson.dumps(rows).decode()])
                return [None] * len(rows)
            except _UNSTORABLE as problem:
                if len(rows) == 1:
                    _tell(problem)
                    raise
                return await _one_by_one(self._insist, rows)
            except psycopg.Error:
                if self._stopping:
                    log.exception("%d ledger rows were lost: Postgres is gone while the hub stops", len(rows))
                    raise
                log.warning("the ledger cannot be written; %d rows wait", len(rows))
                await asyncio.sleep(pause)
                pause, statement = min(pause * 2, 2.0), AGAIN


async def _one_by_one(
    work: Callable[[Sequence[Row]], Awaitable[Sequence[BaseException | None]]], rows: Sequence[Row]
) -> list[BaseException | None]:
    """Each row by itself; the one that cannot be stored answers its own caller with the reason."""
    return [await _alone(work, row) for row in rows]


async def _alone(
    work: Callable[[Sequence[Row]], Awaitable[Sequence[BaseException | None]]], row: Row
) -> BaseException | None:
    try:
        return (await work([row]))[0]
    except Exception as problem:
        return problem


def _tell(problem: Exception) -> None:
    """By its name only: what Postgres says of it may quote the row."""
    log.error("a ledger row cannot be stored: %s", type(problem).__name__)


def writer() -> Writer:
    """The writer of the running event loop."""
    try:
        return _writers[asyncio.get_running_loop()]
    except KeyError:
        raise RuntimeError("no ledger writer runs on this event loop; enter mcphub.lifespan first") from None


@asynccontextmanager
async def open_writer() -> AsyncIterator[Writer]:
    """Run the writer of this event loop, its sign of life and its sweeper."""
    loop = asyncio.get_running_loop()
    await beat()
    await make_partitions()
    _writers[loop] = opened = Writer(settings.LEDGER_QUEUE)
    pulse = asyncio.create_task(_pulse())
    try:
        yield opened
    finally:
        pulse.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pulse
        await opened.close()
        del _writers[loop]
        if opened.settled:
            with contextlib.suppress(*db.UNREACHABLE):
                await db.lane("sign of life").fetch("SELECT audit_farewell(%s)", [instance()])


async def beat(who: uuid.UUID | None = None) -> None:
    """Say that this process (or `who`) lives; its lock is held for as long as the connection that this goes by."""
    await db.lane("sign of life").fetch(
        "SELECT audit_heartbeat(%s, %s, %s)", [who or instance(), socket.gethostname(), os.getpid()]
    )


async def make_partitions() -> None:
    """See that this month and the next two have a partition; left to the next time when somebody reads the ledger."""
    async with db.pooled() as conn:
        await conn.execute("SELECT audit_partitions(2)")


async def sweep(who: uuid.UUID | None = None) -> int:
    """Declare interrupted what processes that are gone had started and never finished; how many calls that were.

    Gone is who has been silent for 20 s (the migration says so) and whose lock nobody holds. Does nothing until this
    process has itself been heard for as long without a break: when Postgres was away, everybody was silent.
    """
    async with db.pooled(seconds=_SWEEP_SECONDS) as conn:
        cursor = await conn.execute("SELECT audit_sweep(%s)", [who or instance()])
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _pulse() -> None:
    made = time.monotonic()
    while True:
        await asyncio.sleep(HEARTBEAT)
        try:
            await beat()
            if time.monotonic() - made >= PARTITIONS_EVERY:
                await make_partitions()
                made = time.monotonic()
            if found := await sweep():
                log.warning("%d calls were interrupted by a process that is gone", found)
        except db.UNREACHABLE:
            log.warning("no sign of life could be given: Postgres cannot be reached")
        except Exception:  # or this process would fall silent for good
            log.exception("no sign of life could be given")
