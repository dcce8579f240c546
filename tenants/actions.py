"""Writing tenants and members, as verbs."""

from collections.abc import Iterable, Mapping

from django.db import transaction

from audit import changes
from lib import db
from tenants import queries
from tenants.models import Member, Role, Scope, Tenant, User


@transaction.atomic
def create_tenant(tenant: Tenant, *, actor: str) -> Tenant:
    """Save a new tenant. The rest of the transaction sees it besides what it saw before."""
    tenant.id = queries.next_tenant_id()
    db.widen_scope(tenant.id)
    tenant.full_clean()
    tenant.save(force_insert=True)
    changes.record(
        tenant_id=tenant.id, actor=actor, verb="created", subject=tenant, after=changes.snapshot(tenant)
    )
    return tenant


@transaction.atomic
def add_member(tenant: Tenant, user: User, *, role: Role, actor: str) -> Member:
    """Let a user into a tenant, or change the role of one who is in."""
    before = Member.objects.filter(tenant=tenant, user=user).first()
    old = changes.snapshot(before) if before else None
    member, _ = Member.objects.update_or_create(tenant=tenant, user=user, defaults={"role": role, "active": True})
    if old != changes.snapshot(member):
        changes.record(
            tenant_id=tenant.id,
            actor=actor,
            verb="changed" if before else "added",
            subject=member,
            before=old,
            after=changes.snapshot(member),
        )
    return member


@transaction.atomic
def define_scopes(tenant: Tenant, scopes: Mapping[str, str], *, actor: str, implies: Mapping[str, Iterable[str]]) -> None:
    """Make sure the tenant has these scopes: name to description. Existing ones are left as they are."""
    for name, description in scopes.items():
        scope, created = Scope.objects.get_or_create(
            tenant=tenant,
            name=name,
            defaults={"description": description, "implies": list(implies.get(name, ()))},
        )
        if created:
            changes.record(
                tenant_id=tenant.id, actor=actor, verb="created", subject=scope, after=changes.snapshot(scope)
            )
