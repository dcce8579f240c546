"""The one door to held calls for pages: which of them a person sees, and which are theirs to decide.

Runs inside a scope of the tenants that the person reaches.
"""

import datetime
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db.models import Count, Q, QuerySet

from jobs import approvals
from jobs.models import Approval, Note
from lib import db
from policy.values import USUAL_REVIEWERS
from tenants import queries as tenant_queries
from tenants.models import Group, Member, User
from tenants.queries import READERS

_MOST_CHOICES = 50
_NOBODY = Q(pk__in=[])


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which of them a list should have; what is empty is any. mine: only what the reader may decide."""

    tool: str = ""
    member: str = ""
    host: str = ""
    state: str = Approval.State.WAITING
    mine: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What a list can be narrowed to."""

    tools: Sequence[str] = ()
    members: Sequence[str] = ()
    hosts: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Nav:
    """For the frame of every page. shown: whether the inbox is for this person. count: how many wait for them."""

    shown: bool = False
    count: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Whose held calls a person sees. decides: those that their roles and groups let them decide, and did when they
    were held; knows: of which they may know the arguments, as the ledger tells them or they were asked to decide, or
    it is their own; sees: those that their roles and groups name them for, and all of the tenants whose jobs they
    read. reads: the tenants whose ledger they read, as members."""

    decides: Q = field(default_factory=lambda: _NOBODY)
    knows: Q = field(default_factory=lambda: _NOBODY)
    sees: Q = field(default_factory=lambda: _NOBODY)
    reviews: bool = False
    reads: frozenset[int] = frozenset()


def reach(user: User) -> Reach:
    """By the memberships of now; platform staff sees every tenant's and decides none by that alone."""
    decides, knows, sees, reviews, read = _NOBODY, _NOBODY, _NOBODY, False, set()
    for member in Member.objects.filter(user=user, active=True, user__is_active=True):
        groups = list(Group.objects.filter(tenant_id=member.tenant_id, members=member).values_list("name", flat=True))
        named = Q(roles__contains=[member.role]) | Q(groups__overlap=groups)
        theirs = Q(tenant_id=member.tenant_id) & named
        decides |= theirs & Q(reviewers__contains=[member.pk])
        reads = Q(tenant_id=member.tenant_id) if member.role in READERS else _NOBODY
        read |= {member.tenant_id} if member.role in READERS else set()
        knows |= reads | Q(member_id=member.pk)
        sees |= reads | theirs
        reviews = reviews or member.role in USUAL_REVIEWERS or bool(groups)
    if user.is_superuser:
        sees = Q(tenant_id__in=tenant_queries.tenants_reached_by(user.pk))
    return Reach(decides=decides, knows=knows | decides, sees=sees | decides, reviews=reviews, reads=frozenset(read))


def listing(user: User, wanted: Wanted, *, before: datetime.datetime | None = None, most: int) -> list[Approval]:
    """What is waiting the longest comes first where only what waits is wanted, else the newest."""
    rows = _narrowed(_rows().filter(reach(user).decides if wanted.mine else reach(user).sees), wanted)
    if wanted.state == Approval.State.WAITING:
        return list(rows.order_by("created_at", "pk")[:most])
    rows = rows.filter(created_at__lt=before) if before is not None else rows
    return list(rows.order_by("-created_at", "-pk")[:most])


def choices(user: User) -> Choices:
    """Of what the reader sees, whatever its state."""
    rows = Approval.objects.filter(reach(user).sees)

    def of(column: str) -> list[str]:
        return [one for one in rows.order_by(column).values_list(column, flat=True).distinct()[:_MOST_CHOICES] if one]

    return Choices(tools=of("tool"), members=of("member__user__username"), hosts=of("job__client"))


def find(user: User, approval_id: uuid.UUID) -> Approval | None:
    """One that this person sees; None alike for one that is absent and one that is not theirs to see."""
    return _rows().filter(reach(user).sees, pk=approval_id).first()


def of_job(job_id: uuid.UUID) -> Approval | None:
    """That of a job which the reader was seen to be let see."""
    return _rows().filter(job_id=job_id).first()


def notes(approval: Approval) -> list[Note]:
    return list(approval.notes.select_related("author"))


def may_break(approval: Approval, user: User) -> bool:
    """Whether they may release it alone, as an owner of its tenant since before it was held."""
    return approvals.releasers(approval).filter(user=user).exists()


def nav(user: User) -> Nav:
    """Opens a scope of its own, so that it works on every page."""
    with db.tenant_scope(tenant_queries.tenants_reached_by(user.pk)):
        found = reach(user)
        count = Approval.objects.filter(found.decides, state=Approval.State.WAITING).count()
        return Nav(shown=found.reviews or bool(count), count=count)


def mark(rows: Sequence[Approval]) -> str:
    """What changes when anything changes that a page shows of them."""
    seen = [(str(one.pk), one.state, one.job.changed_at.isoformat(), getattr(one, "said", 0)) for one in rows]
    return hashlib.sha256(orjson.dumps(seen)).hexdigest()[:16]


def _narrowed(rows: QuerySet[Approval], wanted: Wanted) -> QuerySet[Approval]:
    given: Mapping[str, Any] = {
        "tool": wanted.tool,
        "member__user__username": wanted.member,
        "job__client": wanted.host,
        "state": wanted.state,
    }
    return rows.filter(**{column: value for column, value in given.items() if value})


def _rows() -> QuerySet[Approval]:
    beside = ("tenant", "member__user", "job__version__tool", "job__version__connection", "decided_by")
    return Approval.objects.select_related(*beside).defer("job__arguments", "job__result").annotate(said=Count("notes"))
