"""Writing keys: issue and revoke. Each is one transaction with its ledger entry."""

import datetime
from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from access.models import APIKey, digest_of, new_secret
from audit import changes
from tenants import queries
from tenants.models import Member
from tenants.scopes import expand, reachable


def check_scopes(member: Member, scopes: Iterable[str] | None) -> frozenset[str]:
    """The scopes a key of this member gets: these, or for None all that the role may hold.

    Raises ValidationError for a scope that the tenant does not have or the member may not hold, naming what is allowed.
    """
    rules = queries.scope_rules(member.tenant_id)
    allowed = reachable(member.role, rules)
    wanted = allowed if scopes is None else frozenset(scopes)
    if beyond := sorted(expand(wanted, rules) - allowed | (wanted - rules.keys())):
        raise ValidationError(
            {
                "scopes": f"{member.user.username} ({member.role}) cannot have {', '.join(beyond)}. "
                f"Allowed: {', '.join(sorted(allowed)) or 'no scopes'}."
            }
        )
    return wanted


@transaction.atomic
def issue_key(
    member: Member,
    *,
    name: str,
    actor: str,
    scopes: Iterable[str] | None = None,
    expires_at: datetime.datetime | None = None,
) -> tuple[APIKey, str]:
    """A new key and its secret, which is shown this once.

    scopes: names; None for everything the member's role may hold. Raises ValidationError, as check_scopes does.
    """
    wanted = check_scopes(member, scopes)
    secret = new_secret()
    key = APIKey(
        tenant_id=member.tenant_id,
        member=member,
        name=name,
        prefix=secret[:15],
        digest=digest_of(secret),
        scopes=sorted(wanted),
        expires_at=expires_at,
    )
    key.full_clean(exclude=["digest", "prefix"])
    key.save()
    changes.record(tenant_id=key.tenant_id, actor=actor, verb="issued", subject=key, after=changes.snapshot(key))
    return key, secret


@transaction.atomic
def revoke_key(key: APIKey, *, actor: str) -> bool:
    """Refuse the key from the next request on; False when it was revoked already."""
    moved = APIKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if moved:
        changes.record(tenant_id=key.tenant_id, actor=actor, verb="revoked", subject=key)
        key.refresh_from_db(fields=["revoked_at"])
    return bool(moved)
