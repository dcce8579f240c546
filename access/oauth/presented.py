"""A token that its own client asks about: to end it, or to learn what it is good for."""

from typing import Any

from django.conf import settings
from django.utils import timezone

from access.models import AccessToken, Client, RefreshToken, digest_of
from access.oauth import families, standing
from audit import changes


def revoke(secret: str, client: Client, *, address: str) -> None:
    """End this token and its family (RFC 7009 section 2.1), with an entry when any of it was live.

    Does nothing when the client has no such token. Runs inside the scope of the token's tenant.
    """
    row = _find(secret, client)
    if row is None:
        return
    if row.consent_id is not None:
        families.lock(row.consent_id)
    if families.revoke_family(row.token_family):
        changes.record(
            tenant_id=row.tenant_id,
            actor=row.member.user.username,
            verb="revoked tokens",
            subject=row.consent or client,
            note=f"its client gave back the tokens of family {row.token_family}",
            client=client.client_id,
            via="oauth",
            address=address,
        )


def describe(secret: str, client: Client) -> dict[str, Any] | None:
    """What RFC 7662 section 2.2 says of a live token; None for everything else, whatever the reason."""
    row = _find(secret, client)
    if row is None or not _live(row, client):
        return None
    ends = row.expires if isinstance(row, AccessToken) else row.until
    described = {
        "active": True,
        "scope": row.scope,
        "client_id": client.client_id,
        "username": row.member.user.username,
        "token_type": "Bearer" if isinstance(row, AccessToken) else None,
        "exp": int(ends.timestamp()) if ends is not None else None,
        "iat": int(row.created.timestamp()),
        "sub": str(row.user_id),
        "aud": row.resource[0],
        "iss": settings.BASE_URL,
    }
    return {name: value for name, value in described.items() if value is not None}


def _find(secret: str, client: Client) -> AccessToken | RefreshToken | None:
    which = {"token_checksum": digest_of(secret), "application": client}
    joined = ("member__user", "member__tenant", "consent")
    return (
        AccessToken.objects.select_related(*joined).filter(**which).first()
        or RefreshToken.objects.select_related(*joined).filter(**which).first()
    )


def _live(row: AccessToken | RefreshToken, client: Client) -> bool:
    now = timezone.now()
    if isinstance(row, RefreshToken) and (row.revoked is not None or (row.until is not None and row.until <= now)):
        return False
    if isinstance(row, AccessToken) and row.expires <= now:
        return False
    if row.consent is not None:
        why_not = standing.why_no_more if isinstance(row, RefreshToken) else standing.why_not_consent
        return why_not(row.consent) is None
    return standing.why_not(client, row.member) is None
