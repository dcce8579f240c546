"""The ledger writer: concurrent rows in one commit, and every caller waits for its own row and no longer."""

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
from django.conf import settings
from psycopg_pool import PoolClosed, PoolTimeout

from audit.entries import INSTANCE
from lib import db
from lib.batch import Batch

log = logging.getLogger(__name__)

Row = dict[str, Any]

HEARTBEAT = 5.0
"""Seconds between signs of life."""
SILENCE = "20 seconds"
"""How long a process must be silent before what it left open is declared interrupted."""
_MOST_ROWS = 200
_UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed)

_writers: dict[asyncio.AbstractEventLoop, "Writer"] = {}


class LedgerUnavailable(Exception):
    """The row is not durable: Postgres cannot be reached. Nothing may run that is not recorded."""


class Writer:
    """One per event loop. `await write(row)` returns when the row is committed."""

    def __init__(self, room: int):
        self._started: Batch[Row, None] = Batch(self._insert, most=_MOST_ROWS, room=room)
        self._closing: Batch[Row, None] = Batch(self._insist, most=_MOST_ROWS, room=room)
        self._stopping = False

    async def write(self, row: Row) -> None:
        """Record something that has not happened yet; raises LedgerUnavailable when it could not be recorded."""
        try:
            await self._started(row)
        except _UNREACHABLE as problem:
            raise LedgerUnavailable("the ledger cannot be written; nothing was run") from problem

    async def conclude(self, row: Row) -> None:
        """Record something that has happened: tried until it is durable, however long Postgres is away."""
        await self._closing(row)

    async def close(self) -> None:
        """Let everything land, but do not wait for a Postgres that is gone."""
        self._stopping = True
        await self._started.drain()
        await self._closing.drain()

    async def _insert(self, rows: Sequence[Row]) -> Sequence[None]:
        async with db.pool().connection() as conn:
            await conn.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps(rows).decode()])
        return [None] * len(rows)

    async def _insist(self, rows: Sequence[Row]) -> Sequence[None]:
        pause = 0.05
        while True:
            try:
                return await self._insert(rows)
            except _UNREACHABLE:
                if self._stopping:
                    log.exception("%d ledger rows were lost: Postgres is gone while the hub stops", len(rows))
                    raise
                log.warning("the ledger cannot be written; %d rows wait", len(rows))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)


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
    _writers[loop] = opened = Writer(settings.LEDGER_QUEUE)
    await beat()
    pulse = asyncio.create_task(_pulse())
    try:
        yield opened
    finally:
        pulse.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pulse
        await opened.close()
        del _writers[loop]


async def beat(instance: uuid.UUID = INSTANCE) -> None:
    """Say that this process lives, and make sure the coming months have a partition."""
    async with db.pool().connection() as conn:
        await conn.execute("SELECT audit_heartbeat(%s, %s, %s)", [instance, socket.gethostname(), os.getpid()])
        await conn.execute("SELECT audit_partitions(2)")


async def sweep(silence: str = SILENCE) -> int:
    """Declare interrupted what silent processes had started and never finished; how many calls that were."""
    async with db.pool().connection() as conn:
        cursor = await conn.execute("SELECT audit_sweep(%s::interval)", [silence])
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _pulse() -> None:
    while True:
        await asyncio.sleep(HEARTBEAT)
        try:
            await beat()
            if found := await sweep():
                log.warning("%d calls were interrupted by a process that is gone", found)
        except _UNREACHABLE:
            log.warning("no sign of life could be given: Postgres cannot be reached")
