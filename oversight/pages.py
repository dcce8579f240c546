"""The portal's page on which a member asks for a tool that a rule refuses them."""

import re

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jobs.pages import signed_in
from lib.html import when
from oversight.requests import asking
from oversight.requests.standing import standing
from tenants.models import Member, User

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@never_cache
@require_http_methods(["GET", "POST"])
@signed_in
def ask(request: HttpRequest, slug: str) -> HttpResponse:
    """Why a tool is refused, a form to ask for it, and what became of that.

    A tool that is hidden from the reader, one that does not exist, a tenant that they are no member of: one answer.
    """
    member, tool = _member(request, slug), request.GET.get("tool", "")
    found = standing(member, tool) if _NAME.fullmatch(tool) else None
    if found is None:
        return render(request, "oversight/no_tool.html", {"tenant": member.tenant}, status=404)
    problem = ""
    if request.method == "POST":
        try:
            asking.ask(member, tool, request.POST.get("why", ""))
        except ValidationError as said:
            problem = " ".join(said.messages)
        else:
            messages.success(request, "You asked for it. An admin answers here, and by mail where the hub sends mail.")
            return redirect(f"{reverse('ask', args=[slug])}?{urlencode({'tool': tool})}")
    last = asking.latest(member, tool)
    context = {
        "tenant": member.tenant,
        "found": found,
        "last": last,
        "asked": when(last.created_at) if last else None,
        "until": when(until) if last is not None and (until := asking.granted_until(last)) else None,
        "open": last is not None and last.state in asking.WAITING,
        "why": request.POST.get("why", ""),
        "problem": problem,
    }
    return render(request, "oversight/ask.html", context, status=400 if problem else 200)


def _member(request: HttpRequest, slug: str) -> Member:
    """404 alike for a tenant that is absent, switched off or not the reader's."""
    user = request.user
    members = Member.objects.select_related("user", "tenant").filter(
        tenant__slug=slug, tenant__enabled=True, active=True
    )
    member = members.filter(user=user).first() if isinstance(user, User) else None
    if member is None:
        raise Http404
    return member
