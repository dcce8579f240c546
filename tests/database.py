"""The tests' Postgres: one throw-away cluster for all test processes, one migrated database for each."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mcphub.stack.postgres import Postgres

FOLDER = Path(os.environ.get("TEST_DATA_DIR", "") or Path(__file__).resolve().parent.parent / ".data" / "test")

Found = TypeVar("Found")

_kept: dict[Path, Postgres] = {}


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """An empty database for this process, named in the environment before the settings are read."""
    # Kept for good: another test process may hold the server open longer than this one lives.
    postgres = _kept.setdefault(FOLDER, Postgres(FOLDER, durable=False))
    let_go = postgres.use()
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    try:
        _drop(postgres, name)
        postgres.create_database(name)
        os.environ |= {
            "DATABASE_URL": postgres.url("mcphub_app", name),
            "DATABASE_OWNER_URL": postgres.url("mcphub_owner", name),
            "DATA_DIR": tempfile.mkdtemp(prefix="mcphub-test-"),
        }
        yield
    finally:
        let_go()


@contextlib.contextmanager
def doomed() -> Iterator[tuple[dict[str, str], Callable[[], None]]]:
    """A second migrated database: the environment that names it, and how to take it away under its users."""
    postgres = _kept[FOLDER]
    name = f"doomed_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    environment = {
        "DATABASE_URL": postgres.url("mcphub_app", name),
        "DATABASE_OWNER_URL": postgres.url("mcphub_owner", name),
    }
    _drop(postgres, name)
    postgres.create_database(name)
    try:
        manage = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        subprocess.run(manage, env={**os.environ, **environment}, cwd=Path(__file__).parent.parent, check=True)
        yield environment, lambda: _drop(postgres, name)
    finally:
        _drop(postgres, name)


def apart(ask: Callable[[], Found]) -> Found:
    """What `ask` finds in the database, asked in a thread that gives its connection back."""
    from django.db import connections

    try:
        return ask()
    finally:
        connections.close_all()


def held_by_others() -> int:
    """How many connections of Django's pool other threads than this one have."""
    from django.db import connection, connections

    counted = connections["default"].pool.get_stats()  # type: ignore[attr-defined]
    return int(counted["pool_size"]) - int(counted["pool_available"]) - int(connection.connection is not None)


def superuser_conninfo() -> str:
    """This process's database as the owner of the whole cluster, for what the owner of a database may not do."""
    database = conninfo_to_dict(os.environ["DATABASE_URL"])["dbname"]
    return make_conninfo(_kept[FOLDER].superuser_url, dbname=database)


def _drop(postgres: Postgres, name: str) -> None:
    with psycopg.connect(postgres.superuser_url, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
