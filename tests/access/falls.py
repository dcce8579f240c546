"""Every way in which a grant falls after it was given, and the reason that is told of it."""

from django.utils import timezone

from access.models import Admission, Client
from tenants.models import Tenant
from tests.access.grants import LetIn


def _block(program: LetIn) -> None:
    Client.objects.filter(pk=program.client.pk).update(blocked_at=timezone.now())


def _lapse(program: LetIn) -> None:
    Client.objects.filter(pk=program.client.pk).update(lapses_at=timezone.now())


def _block_here(program: LetIn) -> None:
    Admission.objects.create(tenant=program.tenant, client=program.client, state=Admission.State.BLOCKED)


def _leave(program: LetIn) -> None:
    type(program.consent.member).objects.filter(pk=program.consent.member_id).update(active=False)


def _suspend(program: LetIn) -> None:
    type(program.user).objects.filter(pk=program.user.pk).update(is_active=False)


def _revoke(program: LetIn) -> None:
    type(program.consent).objects.filter(pk=program.consent.pk).update(revoked_at=timezone.now())


def _run_out(program: LetIn) -> None:
    type(program.consent).objects.filter(pk=program.consent.pk).update(until=timezone.now())


def _close(program: LetIn) -> None:
    Tenant.objects.filter(pk=program.tenant.pk).update(enabled=False)


FALLS = [
    (_block, "client_blocked"),
    (_block_here, "client_blocked"),
    (_lapse, "client_lapsed"),
    (_leave, "member_inactive"),
    (_suspend, "member_inactive"),
    (_revoke, "consent_revoked"),
    (_run_out, "consent_expired"),
    (_close, "tenant_disabled"),
]
