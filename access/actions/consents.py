"""Writing consents: give, agree anew, revoke. Each is one transaction with its ledger entry."""

import datetime
from collections.abc import Iterable, Mapping

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from access.consent import changed
from access.consent.offer import Offer
from access.models import Client, Consent
from access.oauth import families
from access.unlocks import Unlocked
from audit import changes
from tenants import pins
from tenants.models import Member
from tenants.pins import Pin


@transaction.atomic
def give_consent(
    member: Member,
    client: Client,
    *,
    offer: Offer,
    ticked: Iterable[str],
    origin: str,
    length: datetime.timedelta | None,
    actor: str,
) -> Consent:
    """Record a member's yes to an offer: one live row per member and client, which is widened by a second yes.

    ticked: scopes of the offer that were left ticked; what is needed or implied comes along. Scopes it had that were
    not offered this time stay. length: how long it holds, None until it is taken back. When the yes takes something
    away, a scope or time, every token given before ends, as those carry more than this. Raises PermissionDenied when
    the member was made inactive meanwhile.
    """
    consent = _held(member, client)
    before = changes.snapshot(consent) if consent.pk else None
    had = frozenset(consent.scopes) if consent.live else frozenset()
    scopes = offer.granted(ticked) | (had - offer.scopes)
    now = timezone.now()
    until = None if length is None else now + length
    if before is not None and (not consent.live or had - scopes or _sooner(until, consent.until)):
        families.revoke_tokens_of(consent)
    consent.scopes = sorted(scopes)
    consent.shown = dict(offer.shown)
    consent.shown_hash = offer.hash
    consent.redirect_origin = origin
    consent.given_at = now
    _pin(consent, offer.pins(scopes, pins.read(consent.pins) if had else {}))
    consent.until = until
    consent.save()
    changes.record(
        tenant_id=consent.tenant_id,
        actor=actor,
        verb=_verb(before is None, had, scopes),
        subject=consent,
        before=before,
        after=changes.snapshot(consent),
    )
    return consent


@transaction.atomic
def agree_anew(consent: Consent, tools: Iterable[Unlocked], *, seen: str, actor: str) -> bool:
    """Record a member's yes to what the tools of a consent have become: from now on it covers them as they are.

    seen: the `changed.digest` of what the member was shown; False when that is not what has changed by now, or nothing
    is left of the consent.
    """
    held = families.lock(consent.pk)
    if held is None or not held.live:
        return False
    covered = [tool for tool in tools if tool.scopes.issubset(held.scopes)]
    found = changed.since(pins.read(held.pins), covered)
    if not found or changed.digest(found) != seen:
        return False
    before = changes.snapshot(held)
    _pin(held, pins.read(held.pins) | {tool.tool: tool.pin for tool in covered})
    held.save(update_fields=["pins", "pins_version"])
    changes.record(
        tenant_id=held.tenant_id,
        actor=actor,
        verb="agreed anew to",
        subject=held,
        before=before,
        after=changes.snapshot(held),
        note=changed.told(found),
    )
    return True


def _pin(consent: Consent, agreed: Mapping[str, Pin]) -> None:
    consent.pins = {name: pin.written() for name, pin in sorted(agreed.items())}
    consent.pins_version += 1


def _held(member: Member, client: Client) -> Consent:
    """The member's live row for the client, locked, or a new one that is not stored yet.

    The member is locked first: two yeses at once must make one row, and the second must see the first.
    """
    if not Member.objects.select_for_update(no_key=True).filter(pk=member.pk, active=True).exists():
        raise PermissionDenied
    found = Consent.objects.filter(member=member, client=client, revoked_at=None).first()
    held = families.lock(found.pk) if found else None
    if held is None or held.revoked_at is not None:
        return Consent(tenant_id=member.tenant_id, member=member, client=client)
    return held


@transaction.atomic
def revoke_consent(consent: Consent, *, actor: str, note: str = "") -> bool:
    """Take a consent back: every token that came of it is refused from the next request on.

    False when that had been done already.
    """
    held = families.lock(consent.pk)
    if held is None or held.revoked_at is not None:
        return False
    held.revoked_at = timezone.now()
    held.save(update_fields=["revoked_at"])
    families.revoke_tokens_of(held)
    changes.record(tenant_id=held.tenant_id, actor=actor, verb="revoked", subject=held, note=note)
    return True


@transaction.atomic
def revoke_consents_of_client(tenant_id: int, client: Client, actor: str) -> int:
    """Take back what every member of a tenant let this client do; how many there were."""
    return _revoke_all(Q(tenant_id=tenant_id, client=client), actor, note="the client was blocked")


@transaction.atomic
def revoke_consents_of_user(user_id: int, *, actor: str) -> int:
    """Take back all that a person let any client do, in the tenants in sight; how many there were."""
    return _revoke_all(Q(member__user_id=user_id), actor)


def _revoke_all(which: Q, actor: str, note: str = "") -> int:
    """In the order of their ids, so that two of these at once do not wait for each other."""
    live = Consent.objects.filter(which, revoked_at=None).order_by("pk")
    return sum(revoke_consent(consent, actor=actor, note=note) for consent in live)


def _sooner(one: datetime.datetime | None, other: datetime.datetime | None) -> bool:
    """Whether the first ends before the second; None never ends."""
    return one is not None and (other is None or one < other)


def _verb(new: bool, had: frozenset[str], scopes: frozenset[str]) -> str:
    if new or not had:
        return "granted"
    if scopes - had:
        return "widened"
    return "narrowed" if had - scopes else "renewed"
