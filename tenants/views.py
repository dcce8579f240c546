"""Following an invitation: the link, then the page that says what it offers."""

from allauth.core.internal import ratelimit
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from tenants import invitations, queries
from tenants.models import User


@never_cache
@require_GET
def follow(request: HttpRequest, secret: str) -> HttpResponse:
    """The link itself. It leads on at once, so that the secret is neither shown nor told to another site."""
    if not _attempt(request, dry_run=True):
        return render(request, "429.html", status=429)
    if invitations.keep(request, secret) is None:
        _attempt(request)
        return _nothing(request)
    response = redirect("join")
    response["Referrer-Policy"] = "no-referrer"
    return response


def _attempt(request: HttpRequest, *, dry_run: bool = False) -> bool:
    """Count a link that opens nothing; whether the address has attempts left."""
    app, action = "allauth.account", "follow_invitation"
    return bool(ratelimit.consume(request, app=app, action=action, limit_get=True, dry_run=dry_run))


@never_cache
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest) -> HttpResponse:
    """What the invitation kept in the session offers; a signed-in person accepts it by POST."""
    offer = invitations.kept_in(request)
    if offer is None:
        return _nothing(request)
    if request.method == "POST" and isinstance(request.user, User):
        return _accept(request, request.user)
    return render(request, "tenants/join.html", {"offer": offer})


def _accept(request: HttpRequest, user: User) -> HttpResponse:
    try:
        offer = invitations.accept_kept(request, user)
    except invitations.Switched:
        return render(request, "tenants/switched_off.html", status=403)
    if offer is None:
        return _nothing(request)
    return redirect("admin:index") if offer.role in queries.READERS else redirect("connect", slug=offer.slug)


def _nothing(request: HttpRequest) -> HttpResponse:
    return render(request, "tenants/no_invitation.html", status=404)
