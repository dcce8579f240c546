"""Access tokens as the authorization server leaves them in the database, for tests of what they open."""

import datetime
import secrets
from typing import Any

from django.utils import timezone

from access.admit import TOKEN_PREFIX
from access.models import AccessToken, Client, Consent, digest_of
from tenants.models import Member, Tenant, User
from tests.cast import Cast


def client(**fields: Any) -> Client:
    """A public client that the whole hub knows."""
    usual = {"name": "Test program", "client_type": "public", "authorization_grant_type": "authorization-code"}
    return Client.objects.create(**(usual | {"redirect_uris": "http://127.0.0.1/callback"} | fields))


def consent(
    cast: Cast, user: User, tenant: Tenant | None = None, *, by: Client | None = None, **fields: Any
) -> Consent:
    """A person's yes to a client."""
    member = cast.member(tenant or cast.acme, user)
    usual: dict[str, Any] = {"shown": {}, "shown_hash": "", "redirect_origin": "", "given_at": timezone.now()}
    with cast.see(member.tenant):
        return Consent.objects.create(tenant=member.tenant, member=member, client=by or client(), **(usual | fields))


def token(of: Consent, scopes: str = "", **fields: Any) -> str:
    """An access token that came of a consent; the secret a host would present. Runs inside the tenant's scope."""
    return _token(of.member, of.client, scopes, consent=of, **fields)


def machine(cast: Cast, user: User, scopes: str = "", **fields: Any) -> tuple[Client, str]:
    """A machine that acts as a member, and an access token of it."""
    member = cast.member(cast.acme, user)
    with cast.see(cast.acme):
        made = client(
            tenant=cast.acme, member=member, client_type="confidential", authorization_grant_type="client-credentials"
        )
        return made, _token(member, made, scopes, **fields)


def granted(cast: Cast, user: User, tenant: Tenant | None = None, scopes: str = "") -> tuple[Consent, str]:
    """A consent and a token of it."""
    given = consent(cast, user, tenant)
    with cast.see(given.tenant):
        return given, token(given, scopes)


def _token(member: Member, by: Client, scopes: str, **fields: Any) -> str:
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    usual = {"expires": timezone.now() + datetime.timedelta(hours=1), "scope": scopes}
    AccessToken.objects.create(
        tenant=member.tenant,
        member=member,
        user=member.user,
        application=by,
        token_checksum=digest_of(secret),
        **(usual | fields),
    )
    return secret
