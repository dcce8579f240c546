"""Jobs as programs meet them over HTTP. No worker may claim these: the tenants are allowed to run none."""

import uuid
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

from jobs.models import Allowance
from jobs.results import Kept
from jobs.sealed import seal_result
from tenants.models import Tenant, User
from tests.cast import Cast
from tests.jobs.place import Place, Placed
from tests.postgres import as_owner, rows
from tools.models import Tool
from tools.values import Result

DONE = Result.of_text("done")


@dataclass(frozen=True, kw_only=True)
class Front:
    """A hub, acme's and beta's tool `echo`, and whoever comes."""

    base: str
    cast: Cast
    tools: dict[int, Tool]

    def client(self, user: User, tenant: Tenant | None = None, **headers: str) -> httpx2.Client:
        """A program with a key of this person, at the tenant's `/api/v1/t/<slug>/`."""
        tenant = tenant or self.cast.acme
        return self.with_key(self.cast.key(user, tenant)[1], tenant, **headers)

    def with_key(self, key: str | None, tenant: Tenant | None = None, **headers: str) -> httpx2.Client:
        presented = {"authorization": f"Bearer {key}"} if key else {}
        url = f"{self.base}/api/v1/t/{(tenant or self.cast.acme).slug}/"
        return httpx2.Client(base_url=url, headers=presented | headers, timeout=30)

    def job(self, user: User, tenant: Tenant | None = None, **given: Any) -> Placed:
        """A job that waits."""
        tenant = tenant or self.cast.acme
        place = Place(
            cast=self.cast,
            tenant=tenant,
            user=user,
            credential="key:0",
            member_id=self.cast.member(tenant, user).pk,
        )
        return place.accept(self.tools[tenant.pk], {"text": "hello"}, **given)


def front(cast: Cast, base: str) -> Front:
    tools = {}
    for tenant in (cast.acme, cast.beta):
        tools[tenant.pk] = cast.tool(tenant)
        with cast.see(tenant):
            Allowance.objects.create(tenant=tenant, running=0)
    return Front(base=base, cast=cast, tools=tools)


def claim(job: Placed) -> int:
    """As a worker does; its fence."""
    with as_owner() as conn:
        ((fence,),) = rows(
            conn,
            "UPDATE jobs_job SET state = 'running', fence = fence + 1, attempts = attempts + 1,"
            " holder = gen_random_uuid(), started_at = now(), begun_at = now(), lease_until = now() + interval '1 hour'"
            " WHERE id = %s AND state = 'queued' RETURNING fence",
            job.id,
        )
    return int(fence)


def end(
    job: Placed,
    state: str = "succeeded",
    result: Result | Kept | None = DONE,
    *,
    reason: str = "",
    error: dict[str, Any] | None = None,
    fence: int | None = None,
) -> None:
    """Claimed, unless it was, and ended as a worker does."""
    kept = Kept(inline=seal_result(result), key="", size=0) if isinstance(result, Result) else result
    fence = claim(job) if fence is None else fence
    with as_owner() as conn:
        ((said,),) = rows(
            conn,
            "SELECT jobs_finish(%s, %s, %s, %s, %s, %s, %s, %s::jsonb)",
            job.id,
            fence,
            state,
            reason,
            kept.inline if kept else None,
            kept.key if kept else "",
            kept.size if kept else 0,
            orjson.dumps(error).decode() if error else None,
        )
    assert said == "done"


def change(job: Placed | uuid.UUID, assignment: str, *parameters: Any) -> None:
    """The row as time or somebody else would leave it."""
    job_id = job if isinstance(job, uuid.UUID) else job.id
    with as_owner() as conn:
        conn.execute(f"UPDATE jobs_job SET {assignment} WHERE id = %s", [*parameters, job_id])  # noqa: S608
