"""Clients, consents and tokens as rows of the database, made without anybody being asked, for tests of what they open.

How they really come to be is driven from tests.access: `grants` and `asking` in this process, `program` over HTTP.
"""

import datetime
import secrets
from typing import Any

from django.utils import timezone

from access.admit import TOKEN_PREFIX
from access.models import AccessToken, AuthMethod, Client, Consent, digest_of
from tenants.models import Member, Tenant, User
from tests.cast import Cast

LOOPBACK = "http://127.0.0.1/callback"
"""A redirect URI on any port of the person's own computer."""


def client(*, secret: str | None = None, **fields: Any) -> Client:
    """A public client that the whole hub knows; with a secret, of which the digest is kept, a confidential one."""
    usual = {
        "name": "Test program",
        "client_type": "public",
        "authorization_grant_type": "authorization-code",
        "redirect_uris": LOOPBACK,
        "hash_client_secret": False,
    }
    kept = {"client_type": "confidential", "client_secret": digest_of(secret)} if secret is not None else {}
    return Client.objects.create(**(usual | kept | fields))


def described(name: str = "Acme Desk", domain: str = "desk.example", **fields: Any) -> Client:
    """A client of a metadata document that is fresh, so that nobody fetches it."""
    return client(
        client_id=f"https://{domain}/{secrets.token_hex(4)}.json",
        name=name,
        redirect_uris=f"https://{domain}/callback",
        registration_source="cimd",
        fetched_at=timezone.now(),
        cimd_expires_at=timezone.now() + datetime.timedelta(hours=1),
        **fields,
    )


def registered(name: str = "Claude Code", uri: str = LOOPBACK, **fields: Any) -> Client:
    """A client that registered itself."""
    return client(name=name, redirect_uris=uri, registration_source="dcr", **fields)


def robot(cast: Cast, user: User, **fields: Any) -> Client:
    """A machine that acts as a member of acme; its secret is `s3cret`."""
    member = cast.member(cast.acme, user)
    usual = {"auth_method": AuthMethod.BASIC, "authorization_grant_type": "client-credentials", "redirect_uris": ""}
    with cast.see(cast.acme):
        return client(secret="s3cret", tenant=cast.acme, member=member, **(usual | fields))


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


def machine(cast: Cast, user: User, scopes: str = "") -> tuple[Client, str]:
    """A machine that acts as a member, and an access token of it."""
    made = robot(cast, user)
    with cast.see(cast.acme):
        return made, _token(cast.member(cast.acme, user), made, scopes)


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
