"""Two questions a supervisor asks: does the process live, and can it serve."""

import logging

import psycopg
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from psycopg_pool import PoolTimeout

from lib import db
from tenants.middleware import own_transactions

log = logging.getLogger(__name__)

_PATIENCE = 2
"""Seconds to wait for a connection."""


@own_transactions
def livez(request: HttpRequest) -> JsonResponse:
    """The process answers. Says nothing about anything it depends on."""
    return JsonResponse({"status": "ok"})


@own_transactions
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers, takes a ledger row and is migrated; else 503 naming what is missing."""
    checks = _database() or {"database": "ok", "ledger": "ok", "migrations": _migrations()}
    ready = all(answer == "ok" for answer in checks.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": checks}, status=200 if ready else 503)


def _database() -> dict[str, str] | None:
    """What is wrong, or None. Asks on a connection of its own: waiting for a pool would outlast the probe."""
    try:
        with psycopg.connect(db.conninfo(), connect_timeout=_PATIENCE, autocommit=True) as conn:
            # Appending nothing proves the grant and the function.
            row = conn.execute("SELECT audit_append('[]'::jsonb), pg_is_in_recovery()").fetchone()
    except psycopg.OperationalError:
        log.warning("readyz: the database does not answer", exc_info=True)
        return {"database": "does not answer"}
    except psycopg.Error:
        log.warning("readyz: the ledger cannot be written", exc_info=True)
        return {"database": "ok", "ledger": "cannot be written; run manage.py migrate"}
    return {"database": "ok", "ledger": "read-only"} if row and row[1] else None


def _migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (Error, PoolTimeout):
        return "cannot be read"
    return f"{len(pending)} not applied; run manage.py migrate" if pending else "ok"
