"""How a tenant does, for the admin's first page: its last day by the ledger, and what waits and runs right now."""

from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count
from django.http import HttpRequest

from jobs.models import Job, State
from tenants.administration import named_in, standing
from tenants.models import Tenant
from tools.models import Tool

MOST = 50_000
"""Calls that are looked at: a page must not go through millions of entries each time somebody comes to it."""
_LISTED = 5
_HELD = (State.RUNNING, State.INPUT)

# Newest first, by the index of tenant and time. In one pass: all of it, each tool, each reason of a refusal. What was
# tried in the editor is nobody's call.
_DAY = """
WITH lately AS MATERIALIZED (
    SELECT e.tool, e.reason, e.duration_ms, e.outcome = 'refused' AS refused,
        e.outcome IN ('error', 'timeout', 'interrupted') AS failed
    FROM audit_entry e
    WHERE e.tenant_id = %(tenant)s AND e.at > now() - interval '1 day'
        AND e.event IN ('call.finished', 'call.refused', 'call.interrupted') AND e.version IS DISTINCT FROM 0
    ORDER BY e.at DESC LIMIT %(most)s
)
SELECT CASE grouping(tool, reason) WHEN 3 THEN 'all' WHEN 1 THEN 'tool' ELSE 'reason' END, coalesce(tool, reason),
    count(*) FILTER (WHERE NOT refused), count(*) FILTER (WHERE failed), count(*) FILTER (WHERE refused),
    percentile_disc(0.99) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE NOT refused)
FROM lately GROUP BY GROUPING SETS ((), (tool), (reason))
HAVING grouping(tool, reason) <> 2 OR bool_or(refused)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A tool, or the whole tenant. calls: those that ran; errors: those of them that failed, timed out or were
    interrupted. p99: milliseconds, None where nothing ran."""

    name: str
    calls: int
    errors: int
    refused: int
    p99: float | None

    @property
    def took(self) -> str:
        if self.p99 is None:
            return "none ran"
        return f"{self.p99:.0f} ms" if self.p99 < 10_000 else f"{self.p99 / 1000:.1f} s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """day: of the last day; cut: only the newest MOST calls of it. unpicked: live tools that nobody called in it.
    approvals, queued, running: jobs, now."""

    tenant: Tenant
    day: Line
    cut: bool
    refusals: list[tuple[str, int]]
    slowest: list[Line]
    failing: list[Line]
    unpicked: list[str]
    approvals: int
    queued: int
    running: int


def shown(request: HttpRequest) -> dict[str, Any]:
    """What the first page shows of the tenant that the address names, or of the reader's only one; where there are
    several, the names to choose from."""
    ids = standing(request).read
    names = Tenant.objects.filter(pk__in=ids).order_by("name")
    wanted = request.GET.get("tenant") or (str(next(iter(ids))) if len(ids) == 1 else "")
    key = named_in(wanted, ids)
    found = overview(names.get(pk=key)) if key is not None else None
    return {"overview": found, "most": MOST, "tenants": names if len(ids) > 1 else []}


def overview(tenant: Tenant) -> Overview:
    """Runs in the tenant's scope."""
    lines = _lines(tenant)
    ((_, day),) = [one for one in lines if one[0] == "all"]
    tools = [line for sort, line in lines if sort == "tool"]
    refusals = [(line.name, line.refused) for sort, line in lines if sort == "reason"]
    picked = {line.name for line in tools}
    ran = [line for line in tools if line.calls]
    live = Tool.objects.filter(tenant=tenant, enabled=True, live__isnull=False).order_by("name")
    open_jobs: dict[str, int] = dict(
        Job.objects.filter(tenant=tenant, ended_at=None).order_by().values_list("state").annotate(Count("id"))
    )
    return Overview(
        tenant=tenant,
        day=day,
        cut=day.calls + day.refused >= MOST,
        refusals=sorted(refusals, key=lambda one: -one[1]),
        slowest=sorted(ran, key=lambda one: -(one.p99 or 0))[:_LISTED],
        failing=sorted((one for one in tools if one.errors), key=lambda one: -one.errors)[:_LISTED],
        unpicked=[name for name in live.values_list("live__name", flat=True) if name not in picked],
        approvals=open_jobs.get(State.APPROVAL, 0),
        queued=open_jobs.get(State.QUEUED, 0),
        running=sum(open_jobs.get(state, 0) for state in _HELD),
    )


def _lines(tenant: Tenant) -> list[tuple[str, Line]]:
    with connection.cursor() as cursor:
        cursor.execute(_DAY, {"tenant": tenant.pk, "most": MOST})
        return [
            (sort, Line(name=name or "", calls=calls, errors=errors, refused=refused, p99=p99))
            for sort, name, calls, errors, refused, p99 in cursor.fetchall()
        ]
