"""Jobs as a worker finds them: accepted by the hub's own function, without a host and without an event loop."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row

from audit import entries
from jobs import wake
from jobs.models import Allowance
from jobs.sealed import seal_arguments, unseal_result
from lib.ids import uuid7
from mcphub import celery
from tenants.models import Tenant, User
from tests.cast import Cast
from tests.postgres import CANCEL, as_app, as_owner, rows
from tests.waiting import until
from tools.models import Tool
from tools.values import Result

celery.app.set_default()  # what bells are rung by

ENDS = ("succeeded", "failed", "cancelled", "interrupted", "expired")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A tenant with a key of one of its members, who calls."""

    cast: Cast
    tenant: Tenant
    user: User
    credential: str
    member_id: int
    scopes: list[str] = field(default_factory=list)

    def accept(self, tool: Tool, arguments: dict[str, Any], **given: Any) -> "Placed":
        """A queued job; `given` overrides its columns. Nobody is called."""
        with self.cast.see(self.tenant):
            version = Tool.objects.select_related("live").get(pk=tool.pk).live
            assert version is not None
        columns = {
            "id": str(uuid7()),
            "tenant_id": self.tenant.pk,
            "member_id": self.member_id,
            "version_id": version.pk,
            "tool": version.name,
            "username": self.user.username,
            "credential": self.credential,
            "client": "tests",
            "via": "mcp",
            "address": "192.0.2.1",
            "trace": "",
            "tracestate": "",
            "scopes": self.scopes,
            "priority": 0,
            "idempotent": version.idempotent or version.read_only,
            "most_attempts": version.most_attempts,
            "preview": None,
            "fingerprint": uuid.uuid4().hex,
        } | given
        entry = {
            "tenant_id": self.tenant.pk,
            "event": "job.accepted",
            "call_id": columns["id"],
            "instance_id": str(entries.instance()),
            "actor": self.user.username,
            "tool": version.name,
        }
        with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
            conn.execute("SELECT set_config('mcphub.tenants', %s, true)", [f"{{{self.tenant.pk}}}"])
            (verdict, job, _, _) = rows(
                conn,
                "SELECT * FROM jobs_accept(%s, %s, %s, 0, 3600, 3600, 8, 1000)",
                orjson.dumps(columns).decode(),
                seal_arguments(arguments),
                orjson.dumps(entry).decode(),
            )[0]
        assert verdict == "new"
        return Placed(id=job)

    def start(self, tool: Tool, arguments: dict[str, Any], **given: Any) -> "Placed":
        """The same, and a worker is called."""
        placed = self.accept(tool, arguments, **given)
        wake.ring_now()
        return placed


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A job, looked at past the policies."""

    id: uuid.UUID

    def row(self) -> dict[str, Any]:
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"], row_factory=dict_row) as conn:
            found = conn.execute("SELECT * FROM jobs_job WHERE id = %s", [self.id]).fetchone()
        assert found is not None
        return found

    def until(self, *states: str, within: float = 30) -> dict[str, Any]:
        """The row once it is in one of these states."""
        return until(lambda: row if (row := self.row())["state"] in states else None, within) or {}

    def until_ended(self, within: float = 30) -> dict[str, Any]:
        return self.until(*ENDS, within=within)

    def result(self) -> Result:
        return unseal_result(self.row()["result"])

    def text(self) -> str:
        (block,) = self.result().content
        return str(getattr(block, "text", block))

    def holder(self) -> int:
        """The pid of the process that runs it; which says only now and then that it is there."""
        asked = "SELECT w.pid FROM jobs_worker w JOIN jobs_job j ON j.holder = w.id WHERE j.id = %s"
        with as_owner() as conn:
            return int(until(lambda: rows(conn, asked, self.id))[0][0])

    def ask_to_stop(self) -> str:
        with as_app() as conn:
            tenant = self.row()["tenant_id"]
            return str(rows(conn, CANCEL, tenant, self.id, tenant)[0][0])

    def events(self) -> list[tuple[str, str]]:
        """What the ledger says of it and of its attempts, in order: event and outcome."""
        with as_owner() as conn:
            return rows(
                conn,
                "SELECT event, outcome FROM audit_entry WHERE subject = %s OR call_id = %s ORDER BY id",
                f"job {self.id}",
                self.id,
            )


def place(cast: Cast, *, scopes: list[str] | None = None) -> Place:
    """Uma's place in acme, with a key of hers."""
    key, _ = cast.key(cast.uma, scopes=scopes)
    return Place(
        cast=cast,
        tenant=cast.acme,
        user=cast.uma,
        credential=f"key:{key.pk}",
        member_id=cast.member(cast.acme, cast.uma).pk,
        scopes=scopes or [],
    )


def marks(path: Path) -> list[int]:
    """Which attempts left their mark."""
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


@contextlib.contextmanager
def held_back(cast: Cast) -> Iterator[None]:
    """Acme's jobs stay in the queue; afterwards they may run, and a worker is called."""
    with cast.see(cast.acme):
        Allowance.objects.update_or_create(tenant=cast.acme, defaults={"running": 0})
    yield
    with cast.see(cast.acme):
        Allowance.objects.filter(tenant=cast.acme).delete()
    wake.ring_now()


def end_what_no_worker_holds() -> None:
    """Jobs that other tests had made as if they ran: each would take the place of one that really does."""
    with as_owner() as conn:
        conn.execute(
            "UPDATE jobs_job SET state = 'interrupted', lease_until = NULL, ended_at = clock_timestamp()"
            " WHERE state IN ('running', 'input_required')"
            " AND (holder IS NULL OR holder NOT IN (SELECT id FROM jobs_worker))"
        )


def worker_pids() -> set[int]:
    """The worker processes that have said they are there."""
    with as_owner() as conn:
        return {pid for (pid,) in rows(conn, "SELECT pid FROM jobs_worker")}


def lose_lease(job: Placed) -> None:
    """As if its holder had been silent for long, and a sweeper had watched all the time."""
    with as_owner() as conn:
        conn.execute("SELECT pg_advisory_lock(hashtext('jobs_sweep'))")
        conn.execute(
            "UPDATE jobs_watch SET last_at = clock_timestamp(), steady_at = clock_timestamp() - interval '1 h'"
        )
        conn.execute("UPDATE jobs_job SET lease_until = clock_timestamp() - interval '1 s' WHERE id = %s", [job.id])
        conn.execute("SELECT jobs_sweep(15)")
