"""The secrets that the hub keeps for a tenant beside those of its connections: each floor above says where its own
are, so that no tool's result holds them."""

import logging
from collections.abc import Iterable
from typing import Any, LiteralString

from django.db import connection
from psycopg import AsyncConnection

from lib import seal

log = logging.getLogger(__name__)

_queries: list[LiteralString] = []


def register(query: LiteralString) -> None:
    """Have what this gives of a tenant, its one parameter, be known: a sealed secret in each row.

    Where it may give something else, the tenant's catalog version has to move.
    """
    _queries.append(query)


async def of_tenant(conn: AsyncConnection[Any], tenant_id: int) -> list[str]:
    """All of them, opened; within a transaction of the tenant's."""
    return _opened([row[0] for query in _queries for row in await (await conn.execute(query, [tenant_id])).fetchall()])


def of_tenant_now(tenant_id: int) -> list[str]:
    """The same on Django's connection, within the tenant's scope."""
    with connection.cursor() as cursor:
        return _opened([row[0] for query in _queries for row in cursor.execute(query, [tenant_id]).fetchall()])


def _opened(sealed: Iterable[bytes]) -> list[str]:
    opened = []
    for one in sealed:
        try:
            opened.append(seal.unseal(one))
        except seal.SealError as problem:  # so nobody can use it either
            log.error("a secret that results are cleaned of: %s", problem)  # noqa: TRY400
    return opened
