"""A hub with the jobs of a test and no others: in a transaction that nobody else sees and that is taken back."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tenants.models import Tenant
from tests.cast import Cast
from tests.postgres import Connection, as_owner, rows
from tools.models import Tool


@dataclass
class Queue:
    """Jobs of tenants, and nothing else in the hub."""

    conn: Connection
    cast: Cast
    tools: dict[int, tuple[int, int]]

    def put(self, tenant: Tenant, count: int = 1, *, priority: int = 0, due: str = "0 s") -> list[uuid.UUID]:
        version, member = self.tools[tenant.pk]
        found = rows(
            self.conn,
            "INSERT INTO jobs_job (id, tenant_id, member_id, version_id, tool, username, credential, client, via,"
            " address, trace, tracestate, scopes, state, reason, priority, idempotent, attempts, most_attempts, fence,"
            " cancelled_by, fingerprint, message, result_key, result_bytes, created_at, changed_at, due_at,"
            " patience_until, keep)"
            " SELECT gen_random_uuid(), %s, %s, %s, 'echo', 'uma', 'cli', '', 'cli', '', '', '', '{}', 'queued', '',"
            " %s, true, 0, 3, 0, '', '', '', '', 0, clock_timestamp(), clock_timestamp(),"
            " clock_timestamp() + %s::interval, clock_timestamp() + interval '1 hour', interval '1 hour'"
            " FROM generate_series(1, %s) RETURNING id",
            tenant.pk,
            member,
            version,
            priority,
            due,
            count,
        )
        return [job for (job,) in found]

    def workers(self, count: int) -> None:
        for _ in range(count):
            self.conn.execute("SELECT jobs_worker_here(gen_random_uuid(), 'here', 1, 1)")

    def claim(self, *, kept: int = 0, usual: int = 1000) -> Any:
        """The row of what is claimed, or None."""
        found = rows(self.conn, "SELECT * FROM jobs_claim(gen_random_uuid(), 60, %s, %s)", kept, usual)
        return found[0] if found else None

    def serve(self) -> int:
        """Claim a job and end it; whose it was."""
        job, tenant, fence = self.claim()
        rows(self.conn, "SELECT jobs_finish(%s, %s, 'succeeded', '', NULL, '', 0, NULL)", job, fence)
        return int(tenant)

    def tenants(self, claims: int, **given: int) -> list[int | None]:
        """Whose jobs so many claims take."""
        return [claimed[1] if (claimed := self.claim(**given)) else None for _ in range(claims)]


def callable_in(cast: Cast) -> dict[int, tuple[int, int]]:
    """By tenant: the version of a tool of acme's and one of beta's, and the member who calls it."""
    found = {}
    for tenant, user in ((cast.acme, cast.uma), (cast.beta, cast.bob)):
        tool = cast.tool(tenant)
        with cast.see(tenant):
            live = Tool.objects.values_list("live_id", flat=True).get(pk=tool.pk)
        assert live is not None
        found[tenant.pk] = (live, cast.member(tenant, user).pk)
    return found


@pytest.fixture(name="queue")
def queue_fixture(cast: Cast) -> Iterator[Queue]:
    tools = callable_in(cast)
    with as_owner(autocommit=False) as conn:
        # A worker that a test before this one killed is started again, and would come with slots of its own.
        conn.execute("LOCK TABLE jobs_worker IN SHARE ROW EXCLUSIVE MODE")
        conn.execute("DELETE FROM jobs_delivery; DELETE FROM jobs_job; DELETE FROM jobs_worker")
        yield Queue(conn, cast, tools)
        conn.rollback()
