"""Where an upstream calls back about work that a job started: a signed URL, good for that work and no other.

What is taken is in Postgres, sealed and in the order it came, before it is answered. The attempt that waits for it is
woken and reads it (`jobs.worker.called`); while nobody runs the job, it waits for the next attempt.
"""

import logging
import traceback
import uuid
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from jobs.downloads import STRICT
from jobs.models import OPEN, Callback, Job
from lib import db, seal
from tenants.middleware import own_transactions

log = logging.getLogger(__name__)

PATH = "/c/"
"""Where the URLs lead, below BASE_URL."""
MOST_BYTES = 1024 * 1024
MOST_WAITING = 64
"""Call-backs that a job keeps unheard."""
_ALLOWED = ("POST", "PUT")
_AWAY = (*db.UNREACHABLE, OperationalError, InterfaceError)
_AGAIN = {"Retry-After": "5"}
_GONE = "There is nothing here. A URL to call back at ends with the work it was given for.\n"
_TOO_LARGE = f"This is larger than {MOST_BYTES} bytes. Call back with less.\n"
_NO_JSON = "This is no JSON, or nested too deeply (RFC 8259: UTF-8, no NaN). Send what was configured.\n"
_TOO_MANY = f"{MOST_WAITING} call-backs wait to be heard already. Send this one again later.\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """What a URL is good for. start: the fence of the attempt that began the work, which an attempt that goes on with
    it keeps and one that begins anew does not. until: Unix time."""

    tenant_id: int
    job_id: uuid.UUID
    start: int
    until: int


def url_of(ticket: Ticket) -> str:
    """The same URL each time. Whoever has it may call back."""
    named = [ticket.tenant_id, ticket.job_id.hex, ticket.start, ticket.until]
    return f"{settings.BASE_URL}{PATH}{_signer().sign_object(named)}"


def opened(token: str) -> Ticket | None:
    """What a URL's token names; None for what is expired, or was not signed here."""
    try:
        tenant_id, job, start, until = _signer().unsign_object(token)
    except (BadSignature, ValueError):
        return None
    if timezone.now().timestamp() >= until:
        return None
    return Ticket(tenant_id=tenant_id, job_id=uuid.UUID(job), start=start, until=until)


@csrf_exempt  # upstreams have no forms, and what they post must not end up in the log of forged ones
@own_transactions
def call_back(request: HttpRequest, token: str) -> HttpResponse:
    """204 once it is kept. Asks for no cookie and no credential: the URL is the credential."""
    try:
        return _answer(request, token)
    except _AWAY:
        log.warning("a call-back was sent away: Postgres cannot be reached")
        return _said(503, "The hub cannot keep this now. Send it again later.\n", **_AGAIN)
    except Exception as problem:
        # Without what the exception says, which may be content.
        places = "".join(traceback.format_tb(problem.__traceback__))
        log.error("a call-back could not be taken: %s\n%s", type(problem).__name__, places)  # noqa: TRY400
        return _said(500, "The hub failed; it is logged.\n")


def _answer(request: HttpRequest, token: str) -> HttpResponse:
    if request.method not in _ALLOWED:
        return _said(405, "Call back with POST or PUT.\n", Allow=", ".join(_ALLOWED))
    ticket = opened(token)
    if ticket is None:
        return _said(404, _GONE)
    if len(request.body) > MOST_BYTES:
        return _said(413, _TOO_LARGE)
    try:
        body = orjson.dumps(orjson.loads(request.body))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _said(400, _NO_JSON)
    return _keep(ticket, body)


def _keep(ticket: Ticket, body: bytes) -> HttpResponse:
    """One at a time for a job, as its row is locked: so what is kept is in order, and nothing comes after its end."""
    with db.tenant_scope([ticket.tenant_id]):
        job = _job(ticket)
        if job is None:
            return _said(404, _GONE)
        if Callback.objects.filter(job=job, start=ticket.start).count() >= MOST_WAITING:
            return _said(429, _TOO_MANY, **_AGAIN)
        Callback.objects.create(tenant_id=ticket.tenant_id, job=job, start=ticket.start, body=seal.seal(body.decode()))
        if job.upstream is None:  # it is at the work, so whoever runs the job next does not begin it anew
            Job.objects.filter(pk=job.pk).update(upstream=named(ticket))
        _tell(ticket)
    response = HttpResponse(status=204, headers=STRICT)
    del response.headers["Content-Type"]
    return response


def _job(ticket: Ticket) -> Job | None:
    """The job, locked, while it is open, its member may still act, and the work is not another's by now."""
    found = (
        Job.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk=ticket.job_id, tenant_id=ticket.tenant_id, state__in=OPEN)
        .filter(tenant__enabled=True, member__active=True, member__user__is_active=True)
        .only("fence", "upstream")
        .first()
    )
    return found if found is not None and _start_of(found) == ticket.start else None


def _start_of(job: Job) -> int:
    begun = start_in(job.upstream)
    return job.fence if begun is None else begun[0]


def named(ticket: Ticket) -> dict[str, Any]:
    """What a job's `upstream` keeps of the URL: enough to make it again, and not the URL."""
    return {"start": ticket.start, "until": ticket.until}


def start_in(upstream: Any) -> tuple[int, int] | None:
    """`start` and `until` of the URL that the work was begun with; None when there was none."""
    return (upstream["start"], upstream["until"]) if upstream and "start" in upstream else None


def _tell(ticket: Ticket) -> None:
    news = {"t": ticket.tenant_id, "j": str(ticket.job_id), "e": "called"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('mcphub', %s)", [orjson.dumps(news).decode()])


def _said(status: int, text: str, **headers: str) -> HttpResponse:
    given = {**STRICT, **headers}
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8", headers=given)


def _signer() -> Signer:
    return Signer(salt="jobs.callbacks", sep=".")
