"""The tests' Postgres: one throw-away cluster for all test processes, one migrated database for each.

Migrating takes longer than most tests, so it is done once in a run; every database is a copy of what came of it.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mcphub.stack.cluster import APP, OWNER
from mcphub.stack.postgres import Postgres

FOLDER = Path(os.environ.get("TEST_DATA_DIR", "") or Path(__file__).resolve().parent.parent / ".data" / "test")

_TEMPLATE = "TEST_TEMPLATE"
"""The variable that tells the processes of a run the name of what they copy."""

Found = TypeVar("Found")

_kept: dict[Path, Postgres] = {}


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """A migrated database for this process, named in the environment before the settings are read."""
    # Kept for good: another test process may hold the server open longer than this one lives.
    postgres = _kept.setdefault(FOLDER, Postgres(FOLDER, durable=False))
    let_go = postgres.use()
    try:
        with _migrated(postgres):
            os.environ |= _copied(postgres, "test") | {"DATA_DIR": tempfile.mkdtemp(prefix="mcphub-test-")}
            yield
    finally:
        let_go()


@contextlib.contextmanager
def doomed() -> Iterator[tuple[dict[str, str], Callable[[], None]]]:
    """A second migrated database: the environment that names it, and how to take it away under its users."""
    postgres = _kept[FOLDER]
    environment = _copied(postgres, "doomed")
    drop = partial(_drop, postgres, _name("doomed"))
    try:
        yield environment, drop
    finally:
        drop()


@contextlib.contextmanager
def _migrated(postgres: Postgres) -> Iterator[None]:
    """The template of this run: made by the process that comes first, which is the one that starts the others."""
    if _TEMPLATE in os.environ:
        yield
        return
    _sweep(postgres)
    _hash_lightly(postgres)
    name = f"migrated_{os.getpid()}"
    _drop(postgres, name)  # of a run that was killed, and had this very number
    postgres.create_database(name)
    try:
        manage = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        environment = os.environ | _urls(postgres, name)
        subprocess.run(manage, env=environment, cwd=Path(__file__).parent.parent, check=True)
        os.environ[_TEMPLATE] = name
        yield
    finally:
        _drop(postgres, name)


def _hash_lightly(postgres: Postgres) -> None:
    """Let no connection spend thousands of rounds on the password of a throw-away role: there are that many of them."""
    with _superuser(postgres) as conn:
        if conn.info.server_version < 160000:
            return  # which knows no other number
        conn.execute("SET scram_iterations = 1")
        for role in (APP, OWNER):
            password = sql.Literal(postgres.state.passwords[role])
            conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), password))


def _sweep(postgres: Postgres) -> None:
    """Take away the templates of runs that were killed."""
    with _superuser(postgres) as conn:
        found = conn.execute("SELECT datname FROM pg_database WHERE datname ~ '^migrated_[0-9]+$'").fetchall()
    for (name,) in found:
        if not psutil.pid_exists(int(name.removeprefix("migrated_"))):
            _drop(postgres, name)


def _copied(postgres: Postgres, kind: str) -> dict[str, str]:
    """A database of this process, new and migrated: the environment that names it."""
    name = _name(kind)
    _drop(postgres, name)
    with _superuser(postgres) as conn:
        conn.execute(f'CREATE DATABASE "{name}" TEMPLATE "{os.environ[_TEMPLATE]}" OWNER {OWNER}'.encode())
    postgres.create_database(name)  # who may enter is not copied
    return _urls(postgres, name)


def _name(kind: str) -> str:
    return f"{kind}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


def _urls(postgres: Postgres, name: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres.url(APP, name), "DATABASE_OWNER_URL": postgres.url(OWNER, name)}


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
    with _superuser(postgres) as conn:
        conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def _superuser(postgres: Postgres) -> psycopg.Connection:
    return psycopg.connect(postgres.superuser_url, autocommit=True)
