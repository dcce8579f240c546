"""The hub's own pages that belong to no room: the way in."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.csrf import csrf_failure

from access import refusals
from access.oauth.answers import address_of
from tenants.administration import standing

APPS = "/account/apps/"
"""Connected apps: what there is for people who look after no tenant."""


def home(request: HttpRequest) -> HttpResponse:
    """To the admin for those who may enter it, else to one's connected apps; strangers sign in first."""
    if not request.user.is_authenticated:
        return redirect("account_login")
    return redirect("admin:index" if standing(request).enters else APPS)


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Instead of a view whose form was posted from elsewhere: Django's own answer, after an entry of it."""
    refusals.record(
        tenant_id=None,
        reason="csrf",
        address=address_of(request),
        actor=request.user.get_username() if request.user.is_authenticated else "",
        detail={"path": request.path, "why": reason},
    )
    return csrf_failure(request, reason=reason)
