"""The authorization request (RFC 6749 section 4.1.1): what may be asked, and the answers that go back to the client.

The consent page decides in between; it asks `check` on every visit and keeps nothing of it.
"""

import datetime
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from oauthlib.common import urlencode
from oauthlib.oauth2.rfc6749 import errors

from access.models import Client, Consent, Grant, digest_of
from access.oauth import redirects
from access.oauth.server import HubServer
from access.oauth.validator import HubValidator
from tenants import addresses, queries
from tenants.models import Member

CODE_LIVES = datetime.timedelta(seconds=60)

# All that is read of the query. Of these each may be sent once; `resource` is counted where it is judged.
_ONCE = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "prompt",
)

_UNANSWERABLE = (
    (
        (errors.MissingClientIdError, errors.InvalidClientIdError),
        "unknown_client",
        "The hub does not know the program that sent you here, or it was blocked.",
    ),
    (
        (errors.MissingRedirectURIError, errors.InvalidRedirectURIError, errors.MismatchingRedirectURIError),
        "redirect_mismatch",
        "The program asked for the answer to be sent to an address that is not registered for it.",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request for authorization that may be put to a person.

    redirect_uri: where the answer goes; checked. scopes: those asked for that the tenant has; empty when none was
    asked. state: the client's, verbatim; empty when it sent none.
    """

    client: Client
    redirect_uri: str
    scopes: frozenset[str]
    tenant_id: int
    resource: str
    state: str
    prompt: frozenset[str]
    code_challenge: str


class Unanswerable(Exception):
    """Nothing may be redirected: the client or its address is not known. says: a sentence for the person."""

    def __init__(self, says: str, reason: str) -> None:
        super().__init__(says)
        self.says = says
        self.reason = reason


class Answerable(Exception):
    """The request is wrong in a way that the client is told, at its own redirect URI (section 4.1.2.1)."""

    def __init__(self, *, redirect_uri: str, state: str, error: str, description: str) -> None:
        super().__init__(description)
        self.redirect_uri = redirect_uri
        self.state = state
        self.error = error
        self.description = description


def sought(request: HttpRequest) -> int | None:
    """The tenant whose endpoint the request names; None unless it names exactly one that there is.

    Asked before any tenant is in sight: `check` then runs in this tenant's scope, or in none.
    """
    try:
        named = request.GET.getlist("resource")
    except TooManyFieldsSent:
        return None
    slug = addresses.slug_of(named[0]) if len(named) == 1 else None
    return queries.tenant_id_of(slug) if slug else None


def check(request: HttpRequest) -> Asked:
    """What the query of an authorization request asks for; the same for GET and POST.

    Runs inside the scope of the tenant that `sought` names. Raises Unanswerable or Answerable; records neither.
    """
    query = _query(request)
    validator = HubValidator()
    try:
        scopes, told = HubServer(validator).validate_authorization_request(f"/authorize?{urlencode(query)}")
    except errors.FatalClientError as problem:
        raise _unanswerable(problem) from None
    except errors.OAuth2Error as problem:
        raise Answerable(
            redirect_uri=problem.redirect_uri,
            state=problem.state or "",
            error=problem.error or "invalid_request",
            description=problem.description,
        ) from None
    return Asked(
        client=told["request"].client,
        redirect_uri=told["redirect_uri"],
        scopes=frozenset(scopes),
        tenant_id=told["tenant_id"],
        resource=told["resource"],
        state=told["state"] or "",
        prompt=frozenset((told["request"].prompt or "").split()),
        code_challenge=told["code_challenge"],
    )


def issue(
    request: HttpRequest, *, asked: Asked, member: Member, consent: Consent, scopes: Iterable[str]
) -> HttpResponse:
    """A new code and the redirect that carries it (RFC 6749 section 4.1.2, RFC 9207 for `iss`).

    The code is kept as its digest, and lives a minute. Runs in the transaction in which the consent was read.
    """
    code = f"mcphub_ac_{secrets.token_urlsafe(32)}"
    Grant.objects.create(
        code=digest_of(code),
        application=asked.client,
        user_id=member.user_id,
        member=member,
        tenant_id=asked.tenant_id,
        consent=consent,
        until=consent.until,
        expires=timezone.now() + CODE_LIVES,
        redirect_uri=asked.redirect_uri,
        scope=" ".join(sorted(scopes)),
        code_challenge=asked.code_challenge,
        code_challenge_method="S256",
        resource=[asked.resource],
    )
    return _answer(asked, {"code": code})


def refuse(to: Asked | Answerable, error: str, description: str) -> HttpResponse:
    """The redirect that tells the client why not (RFC 6749 section 4.1.2.1)."""
    return _answer(to, {"error": error, "error_description": description})


def _answer(to: Asked | Answerable, parameters: dict[str, str]) -> HttpResponse:
    state = {"state": to.state} if to.state else {}
    return redirects.answer(to.redirect_uri, {**parameters, **state, "iss": settings.BASE_URL})


def _query(request: HttpRequest) -> list[tuple[str, str]]:
    """The parameters that count, without the empty ones: those were not sent (RFC 6749 section 3.1)."""
    try:
        sent = request.GET
    except TooManyFieldsSent:
        raise Unanswerable("The request has too many parameters.", "invalid_request") from None
    twice = [name for name in _ONCE if len(sent.getlist(name)) > 1]
    if twice:
        raise Unanswerable(f"The request names {', '.join(twice)} more than once.", "invalid_request")
    return [(name, value) for name in (*_ONCE, "resource") for value in sent.getlist(name) if value]


def _unanswerable(problem: errors.FatalClientError) -> Unanswerable:
    for kinds, reason, says in _UNANSWERABLE:
        if isinstance(problem, kinds):
            return Unanswerable(says, reason)
    return Unanswerable(f"The request cannot be understood: {problem.description}", "invalid_request")
