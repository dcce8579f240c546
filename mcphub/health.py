"""Two questions a supervisor asks: does the process live, and can it serve."""

import logging
from functools import cache
from typing import Any

import psycopg
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, JsonResponse

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
    checks = _checks()
    ready = all(answer == "ok" for answer in checks.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": checks}, status=200 if ready else 503)


def _checks() -> dict[str, str]:
    """Asks on a connection of its own: those of the pages may all be taken, and that is no reason not to be ready."""
    try:
        with psycopg.connect(db.conninfo(), connect_timeout=_PATIENCE, autocommit=True) as conn:
            # Appending nothing proves the grant and the function.
            row = conn.execute("SELECT audit_append('[]'::jsonb), pg_is_in_recovery()").fetchone()
            if row and row[1]:
                return {"database": "ok", "ledger": "read-only"}
            return {"database": "ok", "ledger": "ok", "migrations": _migrations(conn)}
    except psycopg.OperationalError:
        log.warning("readyz: the database does not answer", exc_info=True)
        return {"database": "does not answer"}
    except psycopg.Error:
        log.warning("readyz: the ledger cannot be written", exc_info=True)
        return {"database": "ok", "ledger": "cannot be written; run manage.py migrate"}


def _migrations(conn: psycopg.Connection[Any]) -> str:
    try:
        applied = conn.execute("SELECT app, name FROM django_migrations").fetchall()
    except psycopg.ProgrammingError:
        return "cannot be read"
    pending = _shipped().difference(applied)
    return f"{len(pending)} not applied; run manage.py migrate" if pending else "ok"


@cache
def _shipped() -> frozenset[tuple[str, str]]:
    """The migrations of this version, by app and name."""
    return frozenset(MigrationLoader(None).graph.nodes)
