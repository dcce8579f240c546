"""The portal's pages of jobs: one's own, one of them live, and stopping or repeating it."""

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from audit.writer import LedgerUnavailable
from jobs import again, inbox_cards, inbox_rows, readers, shown
from jobs.readers import Seen
from jobs.values import may_stop
from lib import db
from lib.html import json_block
from lib.seal import SealError
from policy.values import Refusal
from tenants import queries as tenant_queries
from tenants.middleware import own_transactions
from tenants.models import User

PAGE = 30
_LIST_SECONDS = 2
_IN_ADMIN = "admin"


def signed_in(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Like `login_required`. A live part of a page is told to load the page anew, which then leads to signing in."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if is_part(request):
            return HttpResponse(status=204, headers={"HX-Refresh": "true"})
        return redirect_to_login(request.get_full_path())

    return guarded


@never_cache
@require_GET
@signed_in
def my_jobs(request: HttpRequest) -> HttpResponse:
    """The reader's own jobs. The list asks for itself again while one of them is open."""
    user, before = reader(request), request.GET.get("before", "")
    views = readers.mine(user, before=moment(before), most=PAGE + 1)
    more, views = len(views) > PAGE, views[:PAGE]
    tenants, mark = readers.tenant_names(views), shown.mark(views)
    if is_part(request) and mark == request.GET.get("mark"):
        return HttpResponse(status=204)
    context = {
        "jobs": [(shown.of(view), tenants[view.tenant_id]) for view in views],
        "mark": mark,
        "live": any(not view.ended for view in views),
        "seconds": _LIST_SECONDS,
        "before": before,
        "older": views[-1].created_at.isoformat() if more else "",
        "teams": [] if views else readers.connectable(user),
    }
    return render(request, "jobs/list_part.html" if is_part(request) else "jobs/list.html", context)


@never_cache
@require_GET
@signed_in
def job(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """One job: how far it is, what was asked, what came of it, and what happened when."""
    return render(request, "jobs/job.html", page_context(request, seen_job(request, job_id, content=True)))


@never_cache
@require_GET
@signed_in
def live(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """The part of a job's page that changes; 204 when it has not since it was drawn with `mark`."""
    seen = seen_job(request, job_id, content=True)
    if shown.mark([seen.view]) == request.GET.get("mark"):
        return HttpResponse(status=204)
    context = part_context(request, seen)
    said = seen.view.state != request.GET.get("state")
    return render(request, "jobs/job_part.html", {**context, "said": shown.announced(seen.view) if said else ""})


@require_POST
@login_required
def cancel(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Ask it to stop. One that has not begun ends at once."""
    seen = seen_job(request, job_id)
    if not may_stop(seen.caller, seen.view):
        raise Http404
    if seen.view.ended:
        messages.info(request, f"{seen.view.tool} had ended already. Nothing was changed.")
    elif not seen.view.cancelling:
        readers.cancel(seen)
        messages.success(request, f"{seen.view.tool} was told to stop.")
    return back(request, job_id)


@own_transactions
@require_POST
@login_required
def repeat(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Run it once more, as a job of whoever presses the button. Asks once more when that could do something twice.

    It waits for the ledger and the queue, so it reads in a scope of its own and holds no transaction meanwhile.
    """
    with db.tenant_scope(tenant_queries.tenants_reached_by(int(request.user.pk or 0))):
        seen = seen_job(request, job_id)
        if not again.may_repeat(seen):
            raise Http404
        if not seen.view.idempotent and request.POST.get("sure") != "yes":
            return HttpResponse(_sure(request, seen))
        call = _call(seen)
    if call is None:
        messages.error(request, "Its arguments cannot be read any more. Make the call anew from your host.")
        return back(request, job_id)
    return _repeated(request, job_id, call)


def _repeated(request: HttpRequest, job_id: uuid.UUID, call: again.Again) -> HttpResponse:
    if not connection.in_atomic_block:
        connection.close()
    try:
        answer = async_to_sync(again.run)(call, address=str(request.META.get("REMOTE_ADDR") or ""))
    except LedgerUnavailable:
        messages.error(request, "Nothing was run: it could not be recorded. Try again in a moment.")
        return back(request, job_id)
    if isinstance(answer, Refusal):
        messages.error(request, answer.message)
        return back(request, job_id)
    messages.success(request, f"{call.tool} runs again, as this job.")
    return back(request, answer.id)


def page_context(request: HttpRequest, seen: Seen) -> dict[str, Any]:
    """For a whole page of one job, in the portal or in the admin."""
    preview = seen.view.preview
    arguments = json_block(preview) if preview else None
    return {**part_context(request, seen), "arguments": arguments, "takes_none": preview == {}}


def part_context(request: HttpRequest, seen: Seen) -> dict[str, Any]:
    view = seen.view
    approval = inbox_rows.of_job(view.id)
    return {
        "job": shown.of(view),
        "tenant": seen.tenant,
        "mine": view.member_id == seen.caller.member_id,
        "mark": shown.mark([view]),
        "seconds": max(1, view.poll_ms // 1000),
        "may_cancel": not view.ended and not view.cancelling and may_stop(seen.caller, view),
        "may_repeat": again.may_repeat(seen),
        "pieces": shown.pieces(view.result) if view.result is not None else [],
        "is_error": view.result is not None and view.result.is_error,
        "why": shown.why_without_result(view),
        "questions": [str(question.get("message", "")) for question in view.asked.values()],
        "timeline": shown.moments(readers.timeline(view)),
        "where": _where(request),
        "held": inbox_cards.held_of(approval, reader(request)) if approval is not None else None,
    }


def _sure(request: HttpRequest, seen: Seen) -> str:
    context = {"job": shown.of(seen.view), "tenant": seen.tenant, "where": _where(request)}
    return render_to_string("jobs/sure.html", context, request)


def _call(seen: Seen) -> again.Again | None:
    try:
        return again.read(seen)
    except SealError:
        return None


def seen_job(request: HttpRequest, job_id: uuid.UUID, *, content: bool = False) -> Seen:
    """404 alike for a job that is absent and one that is not the reader's to see."""
    seen = readers.find(reader(request), job_id, content=content)
    if seen is None:
        raise Http404
    return seen


def reader(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise Http404
    return request.user


def back(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """To the job's page, in the admin for who came from there."""
    return redirect("admin:jobs_job_change" if _where(request) else "job", job_id)


def _where(request: HttpRequest) -> str:
    """`admin` in the admin's frame, else nothing; links and forms of a part carry it on."""
    given = request.POST.get("in") or request.GET.get("in")
    return _IN_ADMIN if given == _IN_ADMIN or request.path.startswith(reverse("admin:index")) else ""


def is_part(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def moment(text: str) -> Any:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
