"""The one door to jobs for pages, the REST interface and commands: Django's ORM, inside a tenant scope.

`jobs.rows` is the same door for what runs on an event loop. Both make a View here, the one place that unseals.
"""

import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from django.db.models import Case, F, IntegerField, Q, QuerySet, When
from django.db.models.expressions import RawSQL

from jobs import results
from jobs.asking import open_questions
from jobs.models import ENDED, Job, State
from jobs.values import View, lacking, may_see
from lib.seal import SealError
from tenants.caller import Caller
from tenants.queries import READERS
from tools.values import Result

log = logging.getLogger(__name__)

_BEFORE = """(
    SELECT count(*) FROM jobs_job q WHERE q.tenant_id = jobs_job.tenant_id AND q.state = 'queued'
    AND (q.priority > jobs_job.priority
        OR (q.priority = jobs_job.priority AND (q.due_at, q.id) < (jobs_job.due_at, jobs_job.id)))
)"""


def visible(caller: Caller) -> QuerySet[Job]:
    """The jobs that `may_see` lets this Caller see, the newest first, ready for `view_of`; as `rows.listing` does."""
    shown = Q(member_id=caller.member_id, version__scopes__contained_by=sorted(caller.scopes))
    if caller.role in READERS:
        shown |= ~Q(version__scopes__overlap=sorted(lacking(caller)))
    return with_place(Job.objects.filter(shown, tenant_id=caller.tenant_id)).order_by("-created_at", "-id")


def with_place(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """The same jobs with what `view_of` shows beside the row, in one query."""
    return jobs.defer("arguments", "answers").annotate(
        number=F("version__number"),
        needed=F("version__scopes"),
        place=Case(When(state=State.QUEUED, then=RawSQL(_BEFORE, [])), output_field=IntegerField(null=True)),  # noqa: S611
    )


def find(caller: Caller, job_id: str, *, content: bool = False) -> View | None:
    """The job as this Caller may see it; None alike for an id that is unknown, foreign or no id."""
    wanted = parse_id(job_id)
    job = with_place(Job.objects.filter(tenant_id=caller.tenant_id, pk=wanted)).first() if wanted else None
    return seen_by(caller, job, content=content) if job else None


def seen_by(caller: Caller, job: Job, *, content: bool = False) -> View | None:
    """The View, if it is the Caller's to see. Nothing is unsealed before that is known."""
    return view_of(job, content=content) if may_see(caller, _closed(job)) else None


def view_of(job: Job, *, content: bool = False) -> View:
    """What followers get of a row; who may follow it is asked elsewhere (`may_see`).

    content: with its result or error, when it has ended.
    """
    if job.state in ENDED:
        return replace(_closed(job), result=_result(job), error=job.error) if content else _closed(job)
    return replace(_closed(job), asked=_asked(job)) if job.inputs else _closed(job)


def _closed(job: Job) -> View:
    """The View without anything that would have to be unsealed."""
    number, needed, place = _beside(job)
    ended = job.state in ENDED
    return View(
        id=job.pk,
        tenant_id=job.tenant_id,
        member_id=job.member_id,
        username=job.username,
        tool=job.tool,
        number=number,
        state=State(job.state),
        reason=job.reason,
        created_at=job.created_at,
        changed_at=job.changed_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        expires_at=job.expires_at,
        keep=job.keep.total_seconds(),
        attempts=job.attempts,
        most_attempts=job.most_attempts,
        idempotent=job.idempotent,
        progress=job.progress,
        total=job.total,
        message=job.message,
        cancelling=job.cancel_at is not None and not ended,
        forgotten=ended and job.expires_at is None,
        preview=job.preview,
        asked={},
        place=place,
        result=None,
        error=None,
        needed=frozenset(needed),
    )


def _beside(job: Job) -> tuple[int, Iterable[str], int | None]:
    """The version's number, the scopes it requires, and the place: as `with_place` found them, or from the version."""
    found = vars(job)
    if "number" in found:
        return found["number"], found["needed"], found["place"]
    return job.version.number, job.version.scopes, None


def parse_id(job_id: object) -> uuid.UUID | None:
    """An id as it is handed out; None for anything else, so that no two texts name one job."""
    try:
        parsed = uuid.UUID(job_id) if isinstance(job_id, str) else None
    except ValueError:
        return None
    return parsed if str(parsed) == job_id else None


def _asked(job: Job) -> Mapping[str, Mapping[str, Any]]:
    """What it asks; nothing when no key opens it, as a list must not fail for one row. It ends unanswered."""
    try:
        return open_questions(job.inputs)
    except SealError:
        log.error("what job %s asks cannot be opened: no key of SEAL_KEYS fits", job.pk)  # noqa: TRY400
        return {}


def _result(job: Job) -> Result | None:
    if not job.result:
        return None
    try:
        return results.opened(job)
    except SealError:
        return Result.of_error("The result cannot be opened any more: the hub has lost the key it was sealed with.")
