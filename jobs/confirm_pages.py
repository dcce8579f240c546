"""The page on which a person says yes or no to a call that their host could not ask them about."""

import uuid
from datetime import timedelta
from typing import Any

import orjson
from django.contrib.auth.decorators import login_required
from django.db import connection
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from audit.entries import instance
from audit.models import Event
from jobs.confirming import HOLDS
from jobs.models import Confirmation
from jobs.sealed import unseal_arguments
from lib.html import when
from lib.seal import SealError
from tenants.models import User

VIA = "portal"


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def confirm(request: HttpRequest, confirmation_id: uuid.UUID) -> HttpResponse:
    """What would be run, for the very person whom it works for; 404 alike for anybody else and for what is not there.

    A POST answers it, for the first time only.
    """
    if not isinstance(request.user, User):
        raise Http404
    asked = _asked_of(request.user, confirmation_id)
    if request.method == "GET":
        return render(request, "jobs/confirm.html", _context(asked))
    if request.POST.get("answer") == "no" or (request.POST.get("answer") == "yes" and _sheet(asked)):
        _answer(asked, request.POST["answer"], request)
    return redirect("confirm", confirmation_id)


def _asked_of(user: User, confirmation_id: uuid.UUID) -> Confirmation:
    mine = Confirmation.objects.filter(member__user=user, member__active=True, tenant__enabled=True)
    found = mine.select_related("tenant").filter(pk=confirmation_id).first()
    if found is None:
        raise Http404
    return found


def _answer(asked: Confirmation, answer: str, request: HttpRequest) -> None:
    """Keep the answer to a question that is open, with its ledger entry; by the clock of Postgres, as in
    `jobs.confirming`."""
    still_open = Confirmation.objects.filter(pk=asked.pk, answer="", expires_at__gt=Now())
    if not still_open.update(answer=answer, answered_at=Now()):
        return
    entry = {
        "tenant_id": asked.tenant_id,
        "event": Event.ANSWERED,
        "instance_id": str(instance()),
        "actor": request.user.get_username(),
        "credential": asked.credential,
        "client": asked.client,
        "via": VIA,
        "address": str(request.META.get("REMOTE_ADDR") or "")[:64],
        "tool": asked.tool,
        "subject": f"confirmation {asked.pk}",
        "detail": {"answer": answer},
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([entry]).decode()])


def _context(asked: Confirmation) -> dict[str, Any]:
    sheet = _sheet(asked)
    return {
        "asked": asked,
        "sheet": sheet,
        "title": (sheet or {}).get("title") or asked.tool,
        "state": _state(asked) if sheet else "over",
        "expires": when(asked.expires_at),
        "until": when(asked.answered_at + timedelta(seconds=HOLDS)) if asked.answered_at else "",
    }


def _sheet(asked: Confirmation) -> dict[str, Any] | None:
    """What was asked about; None when no key opens it any more, and then nobody can say yes to it."""
    try:
        return unseal_arguments(asked.arguments)
    except SealError:
        return None


def _state(asked: Confirmation) -> str:
    """`open`, `yes` and not used yet, `used`, `no`, or `over`."""
    now = timezone.now()
    if asked.used_at:
        return "used"
    if asked.answered_at:
        return asked.answer if now < asked.answered_at + timedelta(seconds=HOLDS) else "over"
    return "open" if now < asked.expires_at else "over"
