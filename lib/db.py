"""The two ways to Postgres, and the one way to say whose rows a transaction may touch.

Django's ORM serves pages and commands, in threads. The hot path uses psycopg's async pool. Both say whose rows they
work on by setting `mcphub.tenants` for the transaction, which every row-level security policy reads; a transaction
that sets nothing sees no tenant's rows at all.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

SETTING = "mcphub.tenants"

Pool = AsyncConnectionPool[AsyncConnection[Any]]

_pools: dict[asyncio.AbstractEventLoop, Pool] = {}


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
    """Open the async pool of the running event loop; whoever owns the loop's lifespan calls this once."""
    loop = asyncio.get_running_loop()
    conninfo = make_conninfo(**_parameters())
    pool: Pool = AsyncConnectionPool(
        conninfo, min_size=1, max_size=size, open=False, timeout=10, kwargs={"autocommit": True, "prepare_threshold": 0}
    )
    async with pool:
        _pools[loop] = pool
        try:
            yield pool
        finally:
            del _pools[loop]


def pool() -> Pool:
    """The pool of the running event loop."""
    try:
        return _pools[asyncio.get_running_loop()]
    except KeyError:
        raise RuntimeError("no database pool is open on this event loop; enter mcphub.lifespan first") from None


@asynccontextmanager
async def tenant_transaction(tenant_id: int) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection inside a transaction that sees one tenant's rows, all of them as of the same moment."""
    async with pool().connection() as conn, conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await conn.execute("SELECT set_config(%s, %s, true)", [SETTING, _array([tenant_id])])
        yield conn


def _parameters() -> dict[str, Any]:
    """What Django connects with, in libpq's words, so that both ways lead to the same database."""
    database = settings.DATABASES["default"]
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    options = {key: value for key, value in database["OPTIONS"].items() if key != "pool"}
    return {**options, **{libpq: database[key] for libpq, key in names.items() if database[key]}}
