"""Connected apps: what a person has let programs do, and taking it back."""

from functools import cache
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from access import unlocks
from access.actions.consents import agree_anew, revoke_consent, revoke_consents_of_user
from access.consent import changed, queries
from access.consent.hosts import initial_of, logo_of, name_of
from access.models import Consent
from lib.html import when


@never_cache
@require_GET
@login_required
def connected_apps(request: HttpRequest) -> HttpResponse:
    """A card for each program that may act for the reader, and their API keys."""
    consents = queries.connections_of(_reader(request))
    words = queries.scope_words(consent.tenant_id for consent in consents)
    read = cache(unlocks.of)  # a tenant's tools and rules are read once, however many programs may use them
    context = {
        "cards": [_card(consent, words, read) for consent in consents],
        "teams": queries.teams_of(_reader(request)),
        "keys": [(key, when(key.last_used_at)) for key in queries.keys_of(_reader(request))],
    }
    return render(request, "access/connected_apps.html", context)


@require_POST
@login_required
def revoke_app(request: HttpRequest, consent_id: int) -> HttpResponse:
    """Take one consent back. One of somebody else's does not exist."""
    consent = queries.connection_of(_reader(request), consent_id)
    if consent is None:
        raise Http404
    if revoke_consent(consent, actor=request.user.get_username()):
        messages.success(request, f"{name_of(consent.client)} can no longer use {consent.tenant.name}.")
    return redirect("connected-apps")


@require_POST
@login_required
def agree_app(request: HttpRequest, consent_id: int) -> HttpResponse:
    """Agree to what the tools of one consent have become, as it was shown. One of somebody else's does not exist."""
    consent = queries.connection_of(_reader(request), consent_id)
    if consent is None:
        raise Http404
    if agree_anew(
        consent, queries.tools_of(consent), seen=request.POST.get("seen", ""), actor=request.user.get_username()
    ):
        messages.success(request, f"{name_of(consent.client)} may use its tools as they are now.")
    else:
        messages.warning(request, "Something changed while you were reading. Nothing was agreed to; look again.")
    return redirect("connected-apps")


@require_POST
@login_required
def revoke_all_apps(request: HttpRequest) -> HttpResponse:
    """Take all of the reader's consents back."""
    if revoke_consents_of_user(_reader(request), actor=request.user.get_username()):
        messages.success(request, "Done. No app can act for you any more.")
    return redirect("connected-apps")


def _card(consent: Consent, words: dict[tuple[int, str], str], read: unlocks.Provider) -> dict[str, Any]:
    name = name_of(consent.client)
    found = queries.changes_of(consent, read)
    return {
        "consent": consent,
        "name": name,
        "initial": initial_of(name),
        "logo": logo_of(consent.client),
        "where": consent.client.domain or consent.redirect_origin,
        "may": [(scope, words.get((consent.tenant_id, scope), "")) for scope in consent.scopes],
        "since": when(consent.created_at),
        "until": when(consent.until, never="you revoke it"),
        "used": when(consent.last_used_at, never="not yet"),
        "changes": [(one, unlocks.since(consent.tenant_id, one.tool.tool, one.then)) for one in found],
        "seen": changed.digest(found),
        "calls": [(call, when(call.at)) for call in queries.calls_of(consent)],
    }


def _reader(request: HttpRequest) -> int:
    """The id of who is signed in; the views above let nobody else in."""
    return int(request.user.pk or 0)
