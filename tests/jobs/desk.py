"""Jobs of one tenant, and a hand that does what a worker does to them, as often and as far as a test says.

No worker may claim these: the tenant is allowed to run none. So nothing here needs processes.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.rows import dict_row

from jobs import calls
from jobs.models import Allowance
from jobs.sealed import seal_result
from jobs.values import NOT_FOLLOWED, Answer, Follow, Handle, View
from tenants.caller import Caller
from tenants.models import Tenant, User
from tests.calling import Enter, enter
from tests.cast import Cast
from tools.catalog import Catalog, catalog
from tools.values import Origin, Report, Result, Silent

FOLLOWING = Follow(declared=True)
_ORIGIN = Origin(via="mcp", address="192.0.2.7", client="test-host/1")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where a member calls tools as a host does."""

    entered: Enter

    @property
    def caller(self) -> Caller:
        return self.entered.caller

    def by(self, **fields: Any) -> "Desk":
        """The same member with another credential, or other scopes."""
        return Desk(entered=replace(self.entered, caller=replace(self.caller, **fields)))

    async def catalog(self) -> Catalog:
        return await catalog(self.caller.tenant_id, self.entered.version)

    async def call(
        self, name: str, arguments: dict[str, Any], *, follow: Follow = NOT_FOLLOWED, report: Report | None = None
    ) -> Answer:
        return await calls.run(
            self.caller,
            name,
            arguments,
            catalog=await self.catalog(),
            origin=_ORIGIN,
            report=report or Silent(),
            follow=follow,
        )

    async def start(self, name: str = "echo", **arguments: Any) -> View:
        """A job that waits to be claimed."""
        handle = await self.call(name, arguments, follow=FOLLOWING)
        assert isinstance(handle, Handle), handle
        return handle.view


def desk(cast: Cast, user: User, tenant: Tenant | None = None) -> Desk:
    """Prepared outside the event loop, once the tenant has its tools."""
    return Desk(entered=enter(cast, user, tenant))


def keep_workers_away(cast: Cast, tenant: Tenant, *, queued: int = 1000) -> None:
    with cast.see(tenant):
        Allowance.objects.update_or_create(tenant=tenant, defaults={"running": 0, "queued": queued})


class Hand:
    """Takes single jobs and ends them, by the functions that workers use; as the owner, to see everything."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]):
        self._conn = conn

    async def take(self, job: View) -> int:
        """Claim this very job; its fence."""
        rows = await self.rows(
            "UPDATE jobs_job SET state = 'running', fence = fence + 1, attempts = attempts + 1,"
            " holder = gen_random_uuid(), started_at = now(), lease_until = now() + interval '1 hour'"
            " WHERE id = %s AND state = 'queued' RETURNING fence",
            job.id,
        )
        return int(rows[0]["fence"])

    async def begin(self, job: View) -> int:
        fence = await self.take(job)
        (row,) = await self.rows("SELECT jobs_begin(%s, %s) AS begun", job.id, fence)
        assert row["begun"]
        return fence

    async def finish(self, job: View, fence: int, state: str = "succeeded", result: Result | None = None) -> str:
        kept = seal_result(result) if result else None
        reason = "" if state in ("succeeded", "failed") else state
        (row,) = await self.rows(
            "SELECT jobs_finish(%s, %s, %s, %s, %s, '', 0, NULL) AS said", job.id, fence, state, reason, kept
        )
        return str(row["said"])

    async def end(self, job: View, state: str = "succeeded", result: Result | None = None) -> None:
        """All of it at once."""
        said = await self.finish(job, await self.begin(job), state, result or Result.of_text("done"))
        assert said == "done"

    async def row(self, job_id: uuid.UUID) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM jobs_job WHERE id = %s", job_id)
        return row

    async def events(self, job: View) -> list[str]:
        """What the ledger says of the job, in order."""
        found = await self.rows("SELECT event FROM audit_entry WHERE subject = %s ORDER BY id", f"job {job.id}")
        return [row["event"] for row in found]

    async def rows(self, query: str, *parameters: Any) -> Sequence[dict[str, Any]]:
        async with self._conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query, parameters)
            return await cursor.fetchall() if cursor.description is not None else []


async def told_of(job: View, listener: psycopg.AsyncConnection[Any], state: str) -> list[str]:
    """What was notified until the job was said to be so: they come in the order in which they were told, by and by."""
    told = []
    async with aclosing(listener.notifies(timeout=30)) as notifications:
        async for one in notifications:
            told.append(one.payload)
            news = json.loads(one.payload)
            if (news.get("j"), news.get("s")) == (str(job.id), state):
                break
    return told


@asynccontextmanager
async def hand() -> AsyncIterator[Hand]:
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as conn:
        yield Hand(conn)
