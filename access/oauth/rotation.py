"""Refresh tokens are used once (OAuth 2.1 section 4.3.1), and what follows one is computed from it.

Tokens are kept as digests, so an answer that was lost on its way cannot be read back. It can be made again: the
successors are an HMAC of the presented token, under a key that only the hub has. For GRACE the same client gets the
same answer again, so there is one chain and never two, and a replay is recognised however many requests race.
"""

import base64
import datetime
import hashlib
import hmac

from django.conf import settings
from django.utils import timezone

from access.models import AccessToken, Client, Consent, RefreshToken, digest_of
from access.oauth import families

GRACE = datetime.timedelta(seconds=45)
ACCESS = "mcphub_at_"
REFRESH = "mcphub_rt_"

_KEY = hashlib.sha256(b"rotation" + settings.SECRET_KEY.encode()).digest()


def next_access_token(presented: str) -> str:
    """The access token that comes of this refresh token."""
    return ACCESS + _derived("access", presented)


def next_refresh_token(presented: str) -> str:
    """The refresh token that comes of this one."""
    return REFRESH + _derived("refresh", presented)


def take(presented: str, client: Client) -> tuple[RefreshToken, Consent] | None:
    """The row of a presented token and its consent, both held; None when this client has no such token."""
    mine = RefreshToken.objects.filter(token_checksum=digest_of(presented), application=client)
    consent_id = mine.values_list("consent_id", flat=True).first()
    consent = families.lock(consent_id) if consent_id is not None else None
    row = mine.select_for_update().first()
    return (row, consent) if row is not None and consent is not None else None


def given_before(row: RefreshToken, presented: str) -> RefreshToken | None:
    """The successor of a token that was used already, if its client may have the same answer again.

    That is within GRACE, and while the successor was neither used nor revoked.
    """
    if row.revoked is None or timezone.now() - row.revoked >= GRACE:
        return None
    digest = digest_of(next_refresh_token(presented))
    return (
        RefreshToken.objects.select_related("access_token")
        .filter(token_checksum=digest, revoked=None, access_token__isnull=False)
        .first()
    )


def supersede(row: RefreshToken) -> None:
    """Mark a token as used. Requests in flight may end: its access token lives on for GRACE."""
    now = timezone.now()
    RefreshToken.objects.filter(pk=row.pk).update(revoked=now)
    AccessToken.objects.filter(refresh_token=row, expires__gt=now + GRACE).update(expires=now + GRACE)


def _derived(kind: str, presented: str) -> str:
    mac = hmac.digest(_KEY, f"{kind}:{presented}".encode(), "sha256")
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
