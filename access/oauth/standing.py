"""Whether what was granted still stands: asked whenever a code or a token is exchanged, never remembered."""

from django.utils import timezone

from access.models import Admission, Client, Consent, OutsideIssuer
from tenants.models import Member


def why_not(client: Client, member: Member) -> str | None:
    """Why this client gets nothing for this member, as a reason for the ledger; None when nothing is in the way."""
    if client.blocked_at is not None or _blocked_by(member.tenant_id, client):
        return "client_blocked"
    if not client.live:
        return "client_lapsed"
    if not (member.active and member.user.is_active):
        return "member_inactive"
    return None if member.tenant.enabled else "tenant_disabled"


def why_not_consent(consent: Consent) -> str | None:
    """The same for what a consent covers, its client and its member included."""
    if consent.revoked_at is not None:
        return "consent_revoked"
    if consent.until is not None and consent.until <= timezone.now():
        return "consent_expired"
    return why_not(consent.client, consent.member)


def elsewhere(tenant_id: int) -> bool:
    """Whether the tenant trusts an outside authorization server, so that this one mints nothing for it."""
    return OutsideIssuer.objects.filter(tenant_id=tenant_id, enabled=True).exists()


def _blocked_by(tenant_id: int, client: Client) -> bool:
    blocked = Admission.objects.filter(tenant_id=tenant_id, client=client, state=Admission.State.BLOCKED)
    return blocked.exists()
