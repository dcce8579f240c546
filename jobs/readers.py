"""What a person sees of jobs in pages, and what they may do, as against a host with a credential.

A person is made a Caller with everything their role in the job's tenant may hold, so that the rules are the ones of
`jobs.values`. Platform staff stands as the owner of every tenant. Runs inside a scope of the tenants a person reaches.
"""

import datetime
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import connection
from django.db.models import QuerySet

from access.callers import caller_of
from audit.models import Entry
from jobs import queries
from jobs.models import Job
from jobs.values import View
from tenants import queries as tenant_queries
from tenants.caller import Caller
from tenants.models import Member, Role, Tenant, User
from tenants.scopes import reachable
from tenants.standing import standing_of

CREDENTIAL = "admin"
"""How `access.standing` knows what a member did in pages, with all that their role may hold."""
_SLACK = datetime.timedelta(minutes=1)
"""Between the clocks of the hub's processes and that of Postgres."""
_MOST_ENTRIES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A job before somebody who may see it. member: whether they are of its tenant, not only staff of the platform."""

    view: View
    caller: Caller
    tenant: Tenant
    member: bool


def find(user: User, job_id: uuid.UUID, *, content: bool = False) -> Seen | None:
    """The job as this person may see it; None alike for one that is absent and one that is not theirs to see."""
    tenant_id = Job.objects.filter(pk=job_id).values_list("tenant_id", flat=True).first()
    tenant = Tenant.objects.filter(pk=tenant_id).first() if tenant_id else None
    caller = _caller(user, tenant) if tenant else None
    if tenant is None or caller is None:
        return None
    view = queries.find(caller, str(job_id), content=content)
    return Seen(view=view, caller=caller, tenant=tenant, member=bool(caller.member_id)) if view else None


def mine(user: User, *, before: datetime.datetime | None, most: int) -> list[View]:
    """This person's own jobs in all their tenants, the newest first."""
    found: list[View] = []
    for member in Member.objects.filter(user=user, active=True).select_related("tenant", "user"):
        rows = queries.visible(_as_member(member)).filter(member_id=member.pk)
        found += [queries.view_of(job) for job in _older(rows, before)[:most]]
    return sorted(found, key=lambda view: (view.created_at, view.id), reverse=True)[:most]


def tenant_names(views: Sequence[View]) -> dict[int, str]:
    """Names of the tenants that these jobs are of."""
    return dict(Tenant.objects.filter(pk__in={view.tenant_id for view in views}).values_list("pk", "name"))


def connectable(user: User) -> list[Tenant]:
    """The tenants in which this person can start a job by connecting a host."""
    return list(Tenant.objects.filter(members__user=user, members__active=True, enabled=True).order_by("name"))


def timeline(view: View) -> list[Entry]:
    """What the ledger says of a job and of the attempts at it, oldest first."""
    entries = Entry.objects.filter(
        tenant_id=view.tenant_id,
        subject=f"job {view.id}",
        at__gte=view.created_at - _SLACK,
    )
    return list(entries.order_by("at", "id")[:_MOST_ENTRIES])


def cancel(seen: Seen) -> None:
    """Ask a job to stop; who asks was seen to be allowed to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT jobs_cancel(%s, %s, %s)", [seen.view.id, seen.view.tenant_id, seen.caller.username])


def _older(jobs: QuerySet[Job], before: datetime.datetime | None) -> QuerySet[Job]:
    return jobs if before is None else jobs.filter(created_at__lt=before)


def _caller(user: User, tenant: Tenant) -> Caller | None:
    member = Member.objects.filter(user=user, tenant=tenant, active=True).select_related("tenant", "user").first()
    if standing_of(user).staff:
        return _as_staff(user, tenant, member)
    return _as_member(member) if member else None


def _as_member(member: Member) -> Caller:
    return caller_of(member, credential=CREDENTIAL, client="")


def _as_staff(user: User, tenant: Tenant, member: Member | None) -> Caller:
    reach = reachable(Role.OWNER, tenant_queries.scope_rules(tenant.pk))
    if member is not None:
        return replace(_as_member(member), role=Role.OWNER, scopes=reach, reach=reach)
    return Caller(
        tenant_id=tenant.pk,
        tenant_slug=tenant.slug,
        member_id=0,
        user_id=user.pk,
        username=user.username,
        role=Role.OWNER,
        credential=CREDENTIAL,
        client="",
        scopes=reach,
        reach=reach,
    )
