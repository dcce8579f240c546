"""Whether what was granted still stands: asked whenever a code or a token is exchanged, never remembered."""

from django.utils import timezone

from access.clients import admission
from access.models import Client, Consent, OutsideIssuer
from tenants.models import Member


def why_not(client: Client, member: Member) -> str | None:
    """Why this client gets nothing for this member, as a reason for the ledger; None when nothing is in the way."""
    if client.blocked_at is not None or admission.standing(member.tenant, client) == "blocked":
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


def why_no_more(consent: Consent) -> str | None:
    """Why nothing new comes of a consent. Also when the tenant does not let the client in any more, though what it has
    then may run out."""
    why = why_not_consent(consent)
    if why is None and admission.standing(consent.tenant, consent.client) != "admitted":
        return "client_not_admitted"
    return why


def elsewhere(tenant_id: int) -> bool:
    """Whether the tenant trusts an outside authorization server, so that this one mints nothing for it."""
    return OutsideIssuer.objects.filter(tenant_id=tenant_id, enabled=True).exists()
