"""What a signed-in person may do in the admin, worked out once per page."""

from collections.abc import Mapping
from dataclasses import dataclass

from lib import db
from tenants import queries
from tenants.models import Member, Role, User


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Roles by tenant id. Platform staff counts as owner of every tenant."""

    staff: bool
    roles: Mapping[int, str]

    @property
    def managed(self) -> frozenset[int]:
        """Tenants whose objects the person may see and change."""
        return frozenset(tenant for tenant, role in self.roles.items() if role in queries.MANAGERS)

    @property
    def read(self) -> frozenset[int]:
        """Tenants whose ledger the person may read."""
        return frozenset(tenant for tenant, role in self.roles.items() if role in queries.READERS)

    @property
    def enters(self) -> bool:
        """Whether the admin has anything for this person."""
        return self.staff or bool(self.read)

    def may_act_as(self, tenant_id: int) -> tuple[str, ...]:
        """The roles of members in whose name the person may act, by a key or a trial: none above their own."""
        if self.owns(tenant_id):
            return tuple(Role.values)
        if tenant_id in self.managed:
            return tuple(role for role in Role.values if role != Role.OWNER)
        return ()

    def owns(self, tenant_id: int) -> bool:
        """Whether the person may say who is what in this tenant."""
        return self.roles.get(tenant_id) == Role.OWNER


NOBODY = Standing(staff=False, roles={})


def standing_of(user: User) -> Standing:
    """The person's standing, read fresh; opens its own tenant scope, so it works on every page."""
    if not user.is_active:
        return NOBODY
    reached = queries.tenants_reached_by(user.pk)
    if user.is_superuser:
        return Standing(staff=True, roles=dict.fromkeys(reached, Role.OWNER.value))
    with db.tenant_scope(reached):
        rows = Member.objects.filter(tenant_id__in=reached, user=user, active=True).values_list("tenant_id", "role")
        return Standing(staff=False, roles=dict(rows))
