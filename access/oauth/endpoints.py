"""The endpoints that programs talk to: token (RFC 6749 section 3.2), revocation (RFC 7009), introspection (RFC 7662).

Nobody is signed in here. What a request presents says which tenant it is about, and everything after that is done in
that tenant's scope, where another tenant's rows do not exist.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from oauthlib.common import urlencode

from access import refusals
from access.models import AuthMethod, Client, digest_of
from access.oauth import credentials, forms, presented
from access.oauth.answers import address_of, endpoint, error
from access.oauth.credentials import Credentials
from access.oauth.server import HubServer
from access.oauth.validator import HubValidator
from lib import db

# What the toolkit gets to see of a form. Its request object takes any parameter's name for an attribute of its own.
_TOKEN_FIELDS = ("grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope")

_SAYS = {
    "invalid_grant": "The code or token is not valid, or not any more; ask for authorization again.",
    "invalid_scope": "Ask only for scopes that were granted.",
    "unauthorized_client": "This client may not use this grant type.",
    "unsupported_grant_type": "Use authorization_code, refresh_token or client_credentials.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request, read: its form, who says it is from them, from where, and which tenant it is about."""

    form: forms.Form
    credentials: Credentials
    address: str
    tenant_id: int | None

    def refused(self, reason: str, *, actor: str = "") -> None:
        """Leave an entry of the refusal."""
        client = self.credentials.client_id
        refusals.record(tenant_id=self.tenant_id, reason=reason, client=client, address=self.address, actor=actor)


@endpoint("POST")
def token(request: HttpRequest) -> HttpResponse:
    """A code, a refresh token or a machine's own word for tokens."""
    form = forms.read(request)
    form.needed("grant_type")
    with _opened(request, form, form.get("code"), form.get("refresh_token")) as asked:
        client = credentials.proven(asked.credentials)
        if client is None:
            return _unknown_client(asked)
        return _exchanged(asked, client)


@endpoint("POST")
def revoke(request: HttpRequest) -> HttpResponse:
    """End a token of the client's own, with everything of its family. 200 also when there was none."""

    def ended(secret: str, client: Client, asked: Request) -> HttpResponse:
        presented.revoke(secret, client, address=asked.address)
        return HttpResponse(status=200)

    return _about_a_token(request, ended, public=True)


@endpoint("POST")
def introspect(request: HttpRequest) -> HttpResponse:
    """What a token of the client's own is good for; for a client that has a secret or a key to prove itself with."""

    def described(secret: str, client: Client, _: Request) -> HttpResponse:
        return JsonResponse(presented.describe(secret, client) or {"active": False})

    return _about_a_token(request, described, public=False)


def _about_a_token(
    request: HttpRequest, answer: Callable[[str, Client, Request], HttpResponse], *, public: bool
) -> HttpResponse:
    """The answer to a client that names a token in a form; public: whether one that has no proof may."""
    form = forms.read(request)
    secret = form.needed("token")
    with _opened(request, form, secret) as asked:
        client = credentials.proven(asked.credentials)
        if client is None or (client.auth_method == AuthMethod.NONE and not public):
            return _unknown_client(asked)
        return answer(secret, client, asked)


@contextlib.contextmanager
def _opened(request: HttpRequest, form: forms.Form, *secrets: str | None) -> Iterator[Request]:
    """The request in the scope of the tenants it touches: the presented secret's and the client's, one or none."""
    address = address_of(request)
    claimed = credentials.presented(request, form, address=address)
    digests = [digest_of(secret) for secret in secrets if secret is not None]
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_opens(%s, NULL), access_opens('{}', %s)", [digests, claimed.client_id])
        of_secret, of_client = cursor.fetchone()
    with db.tenant_scope({one for one in (of_secret, of_client) if one is not None}):
        tenant_id = of_client if of_secret is None else of_secret
        yield Request(form=form, credentials=claimed, address=address, tenant_id=tenant_id)


def _exchanged(asked: Request, client: Client) -> HttpResponse:
    """The toolkit's answer. A refusal is answered, not raised, so that what it revoked stays revoked."""
    validator = HubValidator(client=client, resources=asked.form.resources)
    fields = {name: value for name in _TOKEN_FIELDS if (value := asked.form.get(name)) is not None}
    if "scope" in fields:
        fields["scope"] = " ".join(fields["scope"].split())
    headers, body, status = HubServer(validator).create_token_response(
        "/token", body=urlencode([*fields.items(), ("client_id", client.client_id)])
    )
    if status == 200:
        return HttpResponse(body, headers=headers)
    said: dict[str, Any] = json.loads(body)
    actor = validator.member.user.username if validator.member is not None else ""
    asked.refused(validator.reason or said["error"], actor=actor)
    return error(said["error"], said.get("error_description") or _SAYS.get(said["error"], ""), status=status)


def _unknown_client(asked: Request) -> HttpResponse:
    """RFC 6749 section 5.2. The same for a client that is not known and one that did not prove itself."""
    asked.refused("invalid_client")
    refused = error("invalid_client", "The client is not known, or did not authenticate as it must.", status=401)
    refused["WWW-Authenticate"] = 'Basic realm="mcphub"'
    return refused
