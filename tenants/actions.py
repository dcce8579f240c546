"""Writing tenants and members, as verbs."""

import logging
from collections.abc import Callable, Iterable, Mapping

from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, transaction

from audit import changes
from lib import db
from tenants import queries
from tenants.models import Group, Member, Role, Scope, Tenant, User

log = logging.getLogger(__name__)


@transaction.atomic
def create_tenant(tenant: Tenant, *, actor: str) -> Tenant:
    """Save a new tenant, bare. The rest of the transaction sees it besides what it saw before."""
    tenant.id = queries.next_tenant_id()
    db.widen_scope(tenant.id)
    tenant.full_clean()
    tenant.save(force_insert=True)
    changes.record(tenant_id=tenant.id, actor=actor, verb="created", subject=tenant, after=changes.snapshot(tenant))
    return tenant


Beginning = Callable[[Tenant, str], None]
_beginnings: list[Beginning] = []


def begin_with(beginning: Beginning) -> None:
    """Have every tenant that is set up begin with this too. It takes the tenant and the actor's name."""
    _beginnings.append(beginning)


@transaction.atomic
def set_up_tenant(tenant: Tenant, *, actor: str) -> Tenant:
    """The same, with everything that a tenant begins with and that its admins may change or take away."""
    create_tenant(tenant, actor=actor)
    for beginning in _beginnings:
        beginning(tenant, actor)
    return tenant


@transaction.atomic
def change_tenant(tenant: Tenant, *, actor: User) -> bool:
    """Store a tenant. That one person may publish alone again is an owner's to say (PermissionDenied), and is recorded
    by itself, so that nobody overlooks it among other changes."""
    kept = Tenant.objects.select_for_update().get(pk=tenant.pk)
    relaxed = kept.second_publisher and not tenant.second_publisher
    if relaxed and not may_relax(kept, actor):
        raise PermissionDenied
    if relaxed:
        says = "from now on one person can publish tools and rules alone"
        changes.record(
            tenant_id=tenant.pk, actor=actor.username, verb="took the second publisher off", subject=tenant, note=says
        )
        log.warning("tenant %s: %s took the second publisher off; %s", tenant.slug, actor.username, says)
    return save(tenant, actor=actor.username)


def may_relax(tenant: Tenant, user: User) -> bool:
    """Whether the person may say that one person publishes alone; while two have to, only an owner among the members,
    which platform staff is not."""
    owners = Member.objects.filter(tenant=tenant, role=Role.OWNER, active=True)
    return not tenant.second_publisher or owners.filter(user=user).exists()


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
def define_scopes(
    tenant: Tenant, scopes: Mapping[str, str], *, actor: str, implies: Mapping[str, Iterable[str]]
) -> None:
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


PLATFORM = 0
"""The tenant of ledger entries about what belongs to no tenant, such as users; only platform staff reads them."""


@transaction.atomic
def save(row: models.Model, *, actor: str, note: str = "") -> bool:
    """Store a row that belongs to a tenant, new or changed; False when nothing differs and so nothing was written."""
    kept = type(row)._default_manager.select_for_update().filter(pk=row.pk).first() if row.pk else None
    before = changes.snapshot(kept) if kept else None
    if before == changes.snapshot(row) and not note:
        return False
    row.save()
    changes.record(
        tenant_id=tenant_of(row),
        actor=actor,
        verb="changed" if before else "created",
        subject=row,
        before=before,
        after=changes.snapshot(row),
        note=note,
    )
    return True


@transaction.atomic
def remove(row: models.Model, *, actor: str, note: str = "") -> None:
    """Delete a row that belongs to a tenant; the entry keeps what it was."""
    changes.record(
        tenant_id=tenant_of(row), actor=actor, verb="deleted", subject=row, before=changes.snapshot(row), note=note
    )
    row.delete()


def tenant_of(row: models.Model) -> int:
    """The tenant whose ledger tells of this row."""
    if isinstance(row, Tenant):
        return row.pk
    return int(getattr(row, "tenant_id", PLATFORM))


@transaction.atomic
def save_group(group: Group, member_ids: Iterable[int], *, actor: str) -> None:
    """Store a group with exactly these members of its tenant; the entry names who came and who went."""
    known = group.pk is not None
    before = {**changes.snapshot(Group.objects.get(pk=group.pk)), "members": _names_in(group)} if known else None
    group.save()
    group.members.set(Member.objects.filter(tenant_id=group.tenant_id, pk__in=list(member_ids)))
    after = {**changes.snapshot(group), "members": _names_in(group)}
    if before != after:
        verb = "changed" if known else "created"
        changes.record(tenant_id=group.tenant_id, actor=actor, verb=verb, subject=group, before=before, after=after)


def _names_in(group: Group) -> list[str]:
    return sorted(group.members.values_list("user__username", flat=True))


@transaction.atomic
def change_member(member: Member, *, actor: str) -> bool:
    """Store a member's role and whether they are active. Raises ValidationError for the last owner."""
    if member.role != Role.OWNER or not member.active:
        keep_an_owner(member)
    return save(member, actor=actor)


@transaction.atomic
def remove_member(member: Member, *, actor: str) -> None:
    """Take a member out with all that acts for them. Raises ValidationError for the last owner."""
    keep_an_owner(member)
    lost = {
        "API key": member.keys.count(),
        "machine": member.machines.count(),
        "connected app": member.consents.count(),
    }
    told = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in lost.items() if count]
    remove(member, actor=actor, note=f"{', '.join(told)} went with them" if told else "")


def keep_an_owner(member: Member) -> None:
    """Raise ValidationError when the tenant would be left without an active owner if this member were none."""
    Tenant.objects.select_for_update().get(pk=member.tenant_id)  # two owners leaving at once must not both succeed
    owners = Member.objects.filter(tenant_id=member.tenant_id, role=Role.OWNER, active=True, user__is_active=True)
    if owners.filter(pk=member.pk).exists() and not owners.exclude(pk=member.pk).exists():
        raise ValidationError(
            f"{member.user.username} is the last owner of {member.tenant.name}. Make somebody else an owner first."
        )


@transaction.atomic
def change_user(user: User, *, actor: str) -> bool:
    """Store a user. Raises ValidationError when nobody would be platform staff any more."""
    if not (user.is_active and user.is_superuser):
        keep_platform_staff(user)
    return save(user, actor=actor)


def keep_platform_staff(user: User) -> None:
    """Raise ValidationError when the hub would be left without active platform staff if this user were none."""
    staff = User.objects.select_for_update().filter(is_superuser=True, is_active=True).order_by("pk")
    if [one.pk for one in staff] == [user.pk]:
        raise ValidationError(f"{user.username} is the last active platform staff. Make somebody else that first.")


@transaction.atomic
def remove_second_factors(user: User, *, actor: str) -> None:
    """Take app, keys and recovery codes off somebody who lost them; the password alone signs in then."""
    Authenticator.objects.filter(user_id=user.pk).delete()
    save(user, actor=actor, note="took the second factors off")


@transaction.atomic
def remove_scope(scope: Scope, *, actor: str) -> None:
    """Delete a scope: keys lose it, and tools that require it can be used by nobody until they are changed."""
    check_scope_unused(scope)
    remove(scope, actor=actor)


def check_scope_unused(scope: Scope) -> None:
    """Raise ValidationError while another scope implies this one."""
    implying = Scope.objects.filter(tenant_id=scope.tenant_id, implies__contains=[scope.name])
    if names := [one.name for one in implying]:
        raise ValidationError(f"{scope.name} is implied by {', '.join(names)}. Change that first.")
