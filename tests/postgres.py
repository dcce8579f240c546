"""Direct ways into the tests' database, past Django: as the application role and as the owner of the tables."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

CANCEL = (
    "WITH here AS MATERIALIZED (SELECT set_config('mcphub.tenants', ARRAY[%s::bigint]::text, true))"
    " SELECT jobs_cancel(%s, %s, 'olga') AS state FROM here"
)
"""In a tenant's scope, ask one of its jobs to stop: the tenant, the job, the tenant."""


@contextmanager
def as_app(*, autocommit: bool = True) -> Iterator[Connection]:
    """The role the hub runs as."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=autocommit) as conn:
        yield conn


@contextmanager
def as_owner(*, autocommit: bool = True) -> Iterator[Connection]:
    """The role that owns the tables; policies do not bind it."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=autocommit) as conn:
        yield conn


def rows(conn: Connection, query: str, *parameters: Any) -> list[Any]:
    return conn.execute(query, parameters).fetchall()


def end_sessions_of_the_hub() -> int:
    """End every session of the application role but the asking one, as a restart of Postgres does; how many."""
    with as_app() as conn:
        ended = rows(
            conn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()",
        )
    return len(ended)


def lose_what_is_not_logged() -> None:
    """What a crash does to unlogged tables."""
    with as_owner() as conn:
        unlogged = rows(
            conn,
            "SELECT quote_ident(relname) FROM pg_class"
            " WHERE relpersistence = 'u' AND relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )
        assert unlogged
        for (table,) in unlogged:
            conn.execute(f"DELETE FROM {table}")  # noqa: S608 - of ours
