"""Token families: what came of one code and is revoked together.

Everything that mints, rotates or revokes under a consent first takes that consent's lock. Without it a revocation
beside a rotation would miss the successor being inserted: an UPDATE that waits for a row sees that row again after the
wait, never a new one.
"""

from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from access.models import AccessToken, Consent, Grant, RefreshToken


def lock(consent_id: int) -> Consent | None:
    """The consent as it is now, held until the end of the transaction; None when it is gone.

    FOR NO KEY UPDATE, so that rows pointing at it can still be inserted by others. Runs inside the tenant's scope.
    """
    held = Consent.objects.select_for_update(no_key=True).filter(pk=consent_id)
    if not held.values_list("pk").first():
        return None
    # Read after the wait: of joined tables, a statement that waited shows what was before it.
    return Consent.objects.select_related("tenant", "member__user", "client").get(pk=consent_id)


def revoke_family(family: UUID) -> bool:
    """End every token of a family; whether any was live. Hold the lock of its consent, if it has one."""
    return _revoke(Q(token_family=family))


def revoke_tokens_of(consent: Consent) -> None:
    """End every token of a consent, and every code that was not exchanged yet. Takes the consent's lock."""
    lock(consent.pk)
    _revoke(Q(consent_id=consent.pk))


def _revoke(which: Q) -> bool:
    now = timezone.now()
    Grant.objects.filter(which, used_at=None).update(used_at=now)
    refreshes = RefreshToken.objects.filter(which, revoked=None).update(revoked=now)
    live = AccessToken.objects.filter(which, expires__gt=now).exists()
    AccessToken.objects.filter(which).delete()
    return bool(refreshes) or live
