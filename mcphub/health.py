"""Two questions a supervisor asks: does the process live, and can it serve."""

import logging

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from psycopg_pool import PoolTimeout

log = logging.getLogger(__name__)


def livez(request: HttpRequest) -> JsonResponse:
    """The process answers. Says nothing about anything it depends on."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers, is migrated, and can take a ledger row; else 503 naming what is missing."""
    checks = {"database": _database(), "migrations": "not asked", "ledger": "not asked"}
    if checks["database"] == "ok":
        checks |= {"migrations": _migrations(), "ledger": _ledger()}
    ready = all(answer == "ok" for answer in checks.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": checks}, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (Error, PoolTimeout):
        log.warning("readyz: the database does not answer", exc_info=True)
        return "does not answer"
    return "ok"


def _migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error:
        return "cannot be read"
    return f"{len(pending)} not applied; run manage.py migrate" if pending else "ok"


def _ledger() -> str:
    """Appending nothing proves the grant and the function, and that the database takes writes."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT audit_append('[]'::jsonb), pg_is_in_recovery()")
            return "read-only" if cursor.fetchone()[1] else "ok"
    except Error:
        return "cannot be written"
