"""The approvals inbox: what waits for the reader's yes, everything they need to decide, and the buttons."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from jobs import approvals, inbox_rows
from jobs.inbox_cards import card_of, talk
from jobs.inbox_rows import Wanted
from jobs.models import Approval
from jobs.pages import back, is_part, moment, reader, seen_job, signed_in
from policy.values import Refusal
from tenants.models import User

PAGE = 20
LIST_SECONDS = 4
PART_SECONDS = 3


@never_cache
@require_GET
@signed_in
def inbox(request: HttpRequest) -> HttpResponse:
    """What waits, the longest first; it asks for itself again for as long as it is shown."""
    user, wanted, before = reader(request), _wanted(request.GET), request.GET.get("before", "")
    rows = inbox_rows.listing(user, wanted, before=moment(before), most=PAGE + 1)
    more, rows = len(rows) > PAGE, rows[:PAGE]
    mark = inbox_rows.mark(rows)
    if is_part(request) and mark == request.GET.get("mark"):
        return HttpResponse(status=204)
    reach = inbox_rows.reach(user)
    context = {
        "cards": [card_of(row, user, reach) for row in rows],
        "mark": mark,
        "more": more,
        "older": rows[-1].created_at.isoformat() if more and wanted.state != Approval.State.WAITING else "",
        "seconds": LIST_SECONDS,
        "wanted": wanted,
        "query": _query(wanted),
        "usual": wanted == Wanted(),
    }
    if is_part(request):
        return render(request, "jobs/inbox_part.html", context)
    states = [("", "Any state"), *Approval.State.choices]
    return render(request, "jobs/inbox.html", {**context, "choices": inbox_rows.choices(user), "states": states})


@never_cache
@require_GET
@signed_in
def approval(request: HttpRequest, approval_id: uuid.UUID) -> HttpResponse:
    """One held call: what would happen, exactly with what, what is new about it, and what was said."""
    return render(request, "jobs/inbox_one.html", _context(request, _found(request, approval_id)))


@never_cache
@require_GET
@signed_in
def live(request: HttpRequest, approval_id: uuid.UUID) -> HttpResponse:
    """What of its page changes by itself; the whole page is loaded anew once it was decided."""
    row = _found(request, approval_id)
    if inbox_rows.mark([row]) == request.GET.get("mark"):
        return HttpResponse(status=204)
    if row.state != Approval.State.WAITING:
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return render(request, "jobs/inbox_talk.html", _context(request, row))


@require_POST
@login_required
def decide(request: HttpRequest, approval_id: uuid.UUID) -> HttpResponse:
    """Approve, deny, ask, or break the glass, by the button that was pressed."""
    user, row = reader(request), _found(request, approval_id)
    act = _VERBS.get(request.POST.get("verb", ""))
    if act is None:
        raise Http404
    verb, done = act
    _tell(request, verb(row, user, request.POST), done.format(tool=row.tool, member=row.member.user.username))
    if request.POST.get("in") == "list":
        return redirect(f"/approvals/?{_query(_wanted(QueryDict(request.POST.get('query', ''))))}")
    return redirect("approval", approval_id)


@require_POST
@login_required
def answer(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """The caller's person answers what a reviewer asked, on the job's page."""
    seen = seen_job(request, job_id)
    row = inbox_rows.of_job(seen.view.id)
    if row is None:
        raise Http404
    refusal = approvals.answer(row, actor=reader(request), text=request.POST.get("text", ""))
    _tell(request, refusal, "The reviewers see your answer.")
    return back(request, job_id)


def _approve(row: Approval, user: User, given: Mapping[str, str]) -> Refusal | None:
    return approvals.approve(row, actor=user, seen_digest=given.get("seen", ""))


def _deny(row: Approval, user: User, given: Mapping[str, str]) -> Refusal | None:
    return approvals.deny(row, actor=user, reason=given.get("reason", ""))


def _ask(row: Approval, user: User, given: Mapping[str, str]) -> Refusal | None:
    return approvals.ask(row, actor=user, text=given.get("text", ""))


def _break(row: Approval, user: User, given: Mapping[str, str]) -> Refusal | None:
    return approvals.break_glass(row, actor=user, reason=given.get("reason", ""))


_VERBS: Mapping[str, tuple[Callable[[Approval, User, Mapping[str, str]], Refusal | None], str]] = {
    "approve": (_approve, "{tool} was approved and runs now."),
    "deny": (_deny, "{tool} was denied. {member} is told why."),
    "ask": (_ask, "{member} was asked. You see the answer here."),
    "break": (_break, "{tool} was released without a reviewer. All owners are told."),
}


def _context(request: HttpRequest, row: Approval) -> dict[str, Any]:
    user = reader(request)
    return {
        "card": card_of(row, user, inbox_rows.reach(user)),
        "talk": talk(row),
        "mark": inbox_rows.mark([row]),
        "seconds": PART_SECONDS,
        "least_reason": approvals.LEAST_REASON,
    }


def _found(request: HttpRequest, approval_id: uuid.UUID) -> Approval:
    """404 alike for one that is absent and one that is not the reader's to see."""
    row = inbox_rows.find(reader(request), approval_id)
    if row is None:
        raise Http404
    return row


def _wanted(given: QueryDict) -> Wanted:
    """From the address. Without any filter: what waits for the reader."""
    state = given.get("state", Approval.State.WAITING)
    narrowed = Wanted(
        tool=_plain(given.get("tool", "")),
        member=_plain(given.get("member", "")),
        host=_plain(given.get("host", "")),
        state=state if state in Approval.State.values else "",
    )
    return replace(narrowed, mine=given.get("mine", "yes") != "no")


def _plain(text: str) -> str:
    return text[:200].replace("\x00", "")


def _query(wanted: Wanted) -> str:
    given = {"tool": wanted.tool, "member": wanted.member, "host": wanted.host}
    kept = {name: value for name, value in given.items() if value}
    if wanted.state != Approval.State.WAITING:
        kept["state"] = wanted.state
    return urlencode(kept if wanted.mine else {**kept, "mine": "no"})


def _tell(request: HttpRequest, refusal: Refusal | None, done: str) -> None:
    if refusal is None:
        messages.success(request, done)
    else:
        messages.error(request, refusal.message)


def badge(request: HttpRequest) -> str:
    """For the admin's sidebar: how many wait for the reader."""
    count = inbox_rows.nav(request.user).count if isinstance(request.user, User) else 0
    return str(count) if count else ""
