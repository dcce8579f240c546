"""The two ways to Postgres, and the one way to say whose rows a transaction may touch.

Django's ORM serves pages and commands, in threads. The hot path uses psycopg's async pool. Both say whose rows they
work on by setting `mcphub.tenants` for the transaction, which every row-level security policy reads; a transaction
that sets nothing sees no tenant's rows at all.
"""

import asyncio
import logging
import os
import secrets
import select
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from django.conf import settings
from django.db import connection, connections, transaction
from psycopg import AsyncConnection, AsyncCursor
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

log = logging.getLogger(__name__)

SETTING = "mcphub.tenants"

_SURELY_ALIVE = 0.05
"""Seconds after its last use in which a connection is not looked at again."""

_CONNECT_SECONDS = 10

ANSWER_SECONDS = 10.0
"""How long an answer is waited for before the connection is given up: a backend may stall without closing it."""

STATEMENT_MILLISECONDS = 8000
"""How long Postgres itself works on a lane's statement; shorter, so that it has given up before its client does."""

_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 8000}
"""libpq's own: a network that swallows everything is noticed by this side (seconds; the last in milliseconds)."""

_SERVER_SETTINGS = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
"""The same on the side of Postgres, so that what a vanished host's session holds is let go."""

UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
"""Postgres is away, stalled, starting up, or a standby after a failover; whoever asks again later may be answered.

The pool's PoolTimeout and PoolClosed are among them, as OperationalErrors.
"""

Pool = AsyncConnectionPool[AsyncConnection[Any]]

_pools: dict[asyncio.AbstractEventLoop, Pool] = {}
_lanes: dict[asyncio.AbstractEventLoop, dict[str, "Lane"]] = {}


@contextmanager
def tenant_scope(tenant_ids: Iterable[int]) -> Iterator[None]:
    """A transaction that sees the rows of these tenants and of no other; nests, and restores what it found."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s, true)", [SETTING])
        before = cursor.fetchone()[0] or ""
        set_scope(tenant_ids)
        yield
        if not connection.needs_rollback:  # a rollback restores the setting by itself
            cursor.execute("SELECT set_config(%s, %s, true)", [SETTING, before])


def set_scope(tenant_ids: Iterable[int]) -> None:
    """Name the tenants of the transaction that is already open (outside one this would have no effect)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [SETTING, _array(tenant_ids)])


def widen_scope(tenant_id: int) -> None:
    """Add one tenant to those the open transaction sees."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nullif(current_setting(%s, true), '')::bigint[]", [SETTING])
        set_scope({*(cursor.fetchone()[0] or []), tenant_id})


def _array(tenant_ids: Iterable[int]) -> str:
    return "{" + ",".join(str(int(one)) for one in tenant_ids) + "}"


@asynccontextmanager
async def open_pool(*, size: int = 8) -> AsyncIterator[Pool]:
    """Open the async pool of the running event loop; whoever owns the loop's lifespan calls this once.

    RuntimeError where one is open already: the second, when it closes, would take the first away.
    """
    loop = asyncio.get_running_loop()
    if loop in _pools:
        raise RuntimeError("this event loop has an open database pool already; one lifespan to a loop")
    pool: Pool = AsyncConnectionPool(
        conninfo(),
        min_size=1,
        max_size=size,
        open=False,
        timeout=10,
        check=_check,
        kwargs={"autocommit": True, "prepare_threshold": 0},
    )
    async with pool:
        _pools[loop] = pool
        _lanes[loop] = {}
        try:
            yield pool
        finally:
            del _pools[loop]
            for lane in _lanes.pop(loop).values():
                await lane.close()


def pool() -> Pool:
    """The pool of the running event loop."""
    try:
        return _pools[asyncio.get_running_loop()]
    except KeyError:
        raise RuntimeError("no database pool is open on this event loop; enter mcphub.lifespan first") from None


@asynccontextmanager
async def pooled(*, seconds: float | None = None) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection of the pool, to be used and given back within so many seconds (ANSWER_SECONDS unless told)."""
    async with pool().connection() as conn:
        given_up = _hang_up_later(conn, ANSWER_SECONDS if seconds is None else seconds)
        try:
            yield conn
        finally:
            given_up.cancel()


class Lane:
    """A connection kept for one stream of statements that follow each other: a third of the cost of going by the pool.

    For the hot path's batches, one lane each, on one event loop. A connection that broke while it lay idle (Postgres
    was restarted) is noticed before anything is sent on it, so nobody pays for it with an error. One that does not
    answer is given up, and its session ended, so that what it was told last does not happen late.
    """

    def __init__(self, name: str = "lane") -> None:
        self._name = name
        self._cursor: AsyncCursor[Any] | None = None
        self._used = 0.0
        self._session = ""
        self._abandoned = ""
        self._turn = asyncio.Lock()

    async def fetch(self, query: LiteralString, parameters: Sequence[Any]) -> list[Any]:
        """Run one statement in a transaction of its own and return its rows; raises one of UNREACHABLE in time.

        Who comes while another's statement runs waits: its answer would be taken for the word of a server going away.
        """
        async with self._turn:
            return await self._fetch(query, parameters)

    async def _fetch(self, query: LiteralString, parameters: Sequence[Any]) -> list[Any]:
        cursor = await self._ready()
        given_up = _hang_up_later(cursor.connection, ANSWER_SECONDS)
        try:
            await cursor.execute(query, parameters, prepare=True)
            return await cursor.fetchall()
        except UNREACHABLE:
            self._abandoned = self._session
            await self.close()
            raise
        finally:
            given_up.cancel()

    async def close(self) -> None:
        """Let the connection go; the next statement opens another."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            await cursor.connection.close()

    async def _ready(self) -> AsyncCursor[Any]:
        now = time.monotonic()
        if self._cursor is not None and (self._cursor.connection.closed or self._broke_while_idle(now)):
            await self.close()
        self._used = now
        if self._cursor is None:
            self._cursor = await self._open()
        return self._cursor

    async def _open(self) -> AsyncCursor[Any]:
        self._session = f"mcphub {self._name} {secrets.token_hex(8)}"
        connection = await AsyncConnection.connect(
            conninfo(f"-c statement_timeout={STATEMENT_MILLISECONDS} {_SERVER_SETTINGS}", self._session),
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
        )
        cursor = connection.cursor()
        if self._abandoned:
            await self._end_abandoned(cursor)
        return cursor

    async def _end_abandoned(self, cursor: AsyncCursor[Any]) -> None:
        """End the session that was given up, if it is still there: it may yet read what was sent to it."""
        given_up = _hang_up_later(cursor.connection, ANSWER_SECONDS)
        try:
            await cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s AND usename = current_user",
                [self._abandoned],
            )
            self._abandoned = ""
        except BaseException:
            await cursor.connection.close()
            raise
        finally:
            given_up.cancel()

    def _broke_while_idle(self, now: float) -> bool:
        if self._cursor is None or now - self._used < _SURELY_ALIVE:
            return False
        return _spoken_to(self._cursor.connection.fileno())


def _hang_up_later(connection: AsyncConnection[Any], seconds: float) -> asyncio.TimerHandle:
    """Give the connection up after so long, unless that is cancelled; whoever waits for it gets OperationalError.

    By shutting its socket down, as if Postgres had. Cancelling the task instead would have psycopg ask Postgres to
    cancel the statement and wait for the answer, which a stalled backend does not give either.
    """
    return asyncio.get_running_loop().call_later(seconds, _hang_up, connection, seconds)


def _hang_up(connection: AsyncConnection[Any], seconds: float) -> None:
    if connection.closed:
        return
    log.warning("Postgres has not answered within %g s; the connection is given up", seconds)
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def lane(name: str) -> Lane:
    """The lane of that name on the running event loop; closed with its pool."""
    lanes = _lanes.get(asyncio.get_running_loop())
    if lanes is None:
        raise RuntimeError("no database pool is open on this event loop; enter mcphub.lifespan first")
    if name not in lanes:
        lanes[name] = Lane(name)
    return lanes[name]


def _spoken_to(fileno: int) -> bool:
    """Whether there is something to read: Postgres says nothing unasked, except that it is going away."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return bool(poll.poll(0))


async def _check(connection: AsyncConnection[Any]) -> None:
    """Keeps the pool from handing out a connection that broke while it lay idle; asks nothing of Postgres."""
    if connection.closed or _spoken_to(connection.fileno()):
        await connection.close()  # or the pool would take it back
        raise psycopg.OperationalError("the connection was closed while it was idle")


@asynccontextmanager
async def tenant_transaction(tenant_id: int) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection inside a transaction that sees one tenant's rows, all of them as of the same moment."""
    async with pooled() as conn, conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await conn.execute("SELECT set_config(%s, %s, true)", [SETTING, _array([tenant_id])])
        yield conn


@asynccontextmanager
async def tenant_write(tenant_id: int) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection inside a transaction that may change one tenant's rows, each statement seeing what is committed.

    READ COMMITTED: who takes a lock and then reads must see what the last holder of the lock wrote.
    """
    async with pooled() as conn, conn.transaction():
        await conn.execute("SELECT set_config(%s, %s, true)", [SETTING, _array([tenant_id])])
        yield conn


def look_at_all_when_one_broke() -> None:
    """Tell Django's pool that connections break together; call it once, before the first is opened.

    After a restart of Postgres the pool would find one broken connection at a time and pause for longer after each, so
    that with six of them nobody got one for ten seconds.
    """
    pool = connections["default"].pool  # type: ignore[attr-defined] # the engine for Postgres has one

    def check(found: psycopg.Connection[Any]) -> None:
        try:
            pool.check_connection(found)
        except psycopg.Error:
            pool.check()
            raise

    pool._check = check  # Django sets it, and leaves no other way


def conninfo(server_settings: str = "", application_name: str = "") -> str:
    """What Django connects with, as libpq spells it, so that both ways lead to the same database.

    server_settings: added to the URL's own `options`, which win.
    """
    database = settings.DATABASES["default"]
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    given = {key: value for key, value in database["OPTIONS"].items() if key != "pool"}
    added = {
        "options": f"{server_settings} {given.get('options', '')}".strip(),
        "application_name": application_name or given.get("application_name", ""),
    }
    named = {libpq: database[key] for libpq, key in names.items() if database[key]}
    return make_conninfo(**{**_KEEPALIVE, **given, **{key: value for key, value in added.items() if value}, **named})
