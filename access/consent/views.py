"""`/authorize`: who asks, whom, for what; a person's answer; and the way back (RFC 6749 section 4.1, decision 0015).

Stateless: the form posts to the URL it was got from, and everything is checked again from the start. Referrer-Policy is
left at the hub's `same-origin`, which tells other sites as little as `no-referrer` would; under the latter browsers
send `Origin: null` with the form, which the CSRF check rightly refuses.
"""

from collections.abc import Callable
from dataclasses import replace

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from access import clients, refusals
from access.actions.consents import give_consent
from access.clients import admission
from access.consent import answers, pages, queries
from access.consent.hosts import host_of
from access.consent.pages import Visit
from access.models import Consent
from access.oauth import authorization, families, redirects
from access.oauth.answers import address_of
from lib import db
from tenants.middleware import own_transactions

MOST_URL = 8192
"""Characters of a path with its query; hosts send about two thousand at the most."""

_MOST_PARAMETERS = 100


@own_transactions
@never_cache
@require_http_methods(["GET", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    """The authorization endpoint: a page, or a redirect to the client's checked redirect URI."""
    query = request.META.get("QUERY_STRING", "")
    if len(request.get_full_path()) > MOST_URL or query.count("&") >= _MOST_PARAMETERS:
        return _unanswerable(request, None, authorization.Unanswerable("The request is too long.", "oversized_request"))
    named = request.GET.getlist("client_id")
    # Waits for a network, hence before any transaction; what is wrong with a document it records itself.
    if len(named) == 1 and (trouble := clients.ensure(named[0], address=address_of(request))):
        return pages.unanswerable(request, "The hub cannot use the description of the program that sent you.", trouble)
    tenant_id = authorization.sought(request)
    with db.tenant_scope([tenant_id] if tenant_id else []):
        try:
            asked = authorization.check(request)
        except authorization.Unanswerable as problem:
            return _unanswerable(request, tenant_id, problem)
        except authorization.Answerable as problem:
            # Or a link to the hub leads anybody to wherever a stranger registered (RFC 9700 section 4.11.2).
            if not request.user.is_authenticated and "none" not in request.GET.get("prompt", "").split():
                return redirect_to_login(request.get_full_path())
            _record(request, tenant_id, problem.error, description=problem.description)
            return authorization.refuse(problem, problem.error, problem.description)
        return _admitted(request, asked)


def _admitted(request: HttpRequest, asked: authorization.Asked) -> HttpResponse:
    """Whether this person may be asked at all."""
    tenant = queries.tenant_of(asked)
    if not request.user.is_authenticated:
        if "none" in asked.prompt:
            return authorization.refuse(asked, "login_required", "Nobody is signed in.")
        return redirect_to_login(request.get_full_path())
    host = host_of(asked.client, asked.redirect_uri)
    member = queries.member_of(tenant, request.user.pk)
    if member is None:
        _record(request, tenant.pk, "not_a_member")
        return _page_or(asked, lambda: pages.not_a_member(request, asked, tenant, host))
    old = queries.consent_of(member, asked)
    offer = queries.offer_for(member, asked, host, old)
    visit = Visit(request=request, asked=asked, tenant=tenant, member=member, host=host, old=old, offer=offer)
    standing = admission.standing(tenant, asked.client)
    if standing != "admitted":
        return _not_admitted(visit, standing)
    return _decide(visit) if request.method == "POST" else _ask(visit)


def _not_admitted(visit: Visit, standing: admission.Standing) -> HttpResponse:
    """The tenant's admins have not let the client in; where they allow it, the person can put it to them."""
    request, asked = visit.request, visit.asked
    if request.method == "POST" and request.POST.get("decision") == "ask" and standing in {"may_ask", "asked"}:
        admission.ask(visit.tenant, asked.client, member=visit.member)
        return authorization.refuse(asked, "access_denied", "An admin was asked to admit this program first.")
    _record(request, visit.tenant.pk, "client_blocked" if standing == "blocked" else "client_not_admitted")
    return _page_or(asked, lambda: pages.closed(visit, why=standing))


def _ask(visit: Visit) -> HttpResponse:
    """The page, unless the person has answered this very question before."""
    asked, offer = visit.asked, visit.offer
    if not offer.grantable:
        _record(visit.request, visit.tenant.pk, "beyond_role", scopes=" ".join(sorted(offer.forbidden)))
        return _page_or(asked, lambda: pages.closed(visit, why="nothing"))
    if "consent" not in asked.prompt and visit.old is not None and _answered(visit):
        visit = _held(visit, visit.old)
        if visit.old is not None and _answered(visit):
            scopes = visit.offer.granted(visit.offer.scopes)
            return authorization.issue(
                visit.request, asked=asked, member=visit.member, consent=visit.old, scopes=scopes
            )
    if "none" in asked.prompt:
        return authorization.refuse(asked, "interaction_required", "The person has to be asked.")
    return pages.consent(visit)


def _held(visit: Visit, old: Consent) -> Visit:
    """The visit with the consent as it is under its lock: less may be left of it than was read without."""
    held = families.lock(old.pk)
    return replace(visit, old=held, offer=queries.offer_for(visit.member, visit.asked, visit.host, held))


def _answered(visit: Visit) -> bool:
    old = visit.old
    before = answers.Standing(live=old.live, scopes=frozenset(old.scopes), origin=old.redirect_origin) if old else None
    uri = visit.asked.redirect_uri
    return answers.answers(
        before,
        visit.offer,
        origin=redirects.origin(uri),
        vouched=redirects.vouched(uri),
        source=visit.asked.client.registration_source,
    )


def _decide(visit: Visit) -> HttpResponse:
    """What the person pressed."""
    request, asked, offer = visit.request, visit.asked, visit.offer
    decision = request.POST.get("decision")
    if decision == "deny":
        _record(request, visit.tenant.pk, "consent_denied")
        return authorization.refuse(asked, "access_denied", "The person said no.")
    ticked = frozenset(request.POST.getlist("scopes"))
    span = request.POST.get("span", "")
    if beyond := ticked - offer.scopes:
        _record(request, visit.tenant.pk, "scope_not_offered", scopes=" ".join(sorted(beyond))[:200])
    if beyond or decision != "allow" or request.POST.get("shown") != offer.hash or not offer.grantable:
        return pages.consent(visit, changed=True, status=409)
    if span not in answers.SPANS:
        return pages.consent(visit, ticked=ticked, problem="span", status=422)
    scopes = offer.granted(ticked)
    if offer.lines and not scopes:
        return pages.consent(visit, ticked=ticked, span=span, problem="scopes", status=422)
    given = give_consent(
        visit.member,
        asked.client,
        offer=offer,
        ticked=ticked,
        origin=redirects.origin(asked.redirect_uri),
        length=answers.SPANS[span],
        actor=visit.member.user.username,
    )
    return authorization.issue(request, asked=asked, member=visit.member, consent=given, scopes=scopes)


def _page_or(asked: authorization.Asked, page: Callable[[], HttpResponse]) -> HttpResponse:
    """A page that says why not; for a client that wants no page to be shown, the redirect that says it."""
    if "none" in asked.prompt:
        return authorization.refuse(asked, "access_denied", "The person could not let this program in.")
    return page()


def _unanswerable(request: HttpRequest, tenant_id: int | None, problem: authorization.Unanswerable) -> HttpResponse:
    _record(request, tenant_id, problem.reason)
    return pages.unanswerable(request, problem.says)


def _record(request: HttpRequest, tenant_id: int | None, reason: str, **detail: str) -> None:
    refusals.record(
        tenant_id=tenant_id,
        reason=reason,
        client=request.GET.get("client_id", "") if reason != "oversized_request" else "",
        address=address_of(request),
        actor=request.user.get_username() if request.user.is_authenticated else "",
        detail=dict(detail),
    )
