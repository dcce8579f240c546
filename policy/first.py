"""The limits that a tenant begins with."""

from typing import Any, Final

from policy.models import Counts, Limit, Per
from tenants import actions as tenant_actions
from tenants.models import Tenant

FIRST: Final[tuple[dict[str, Any], ...]] = ({"counts": Counts.REPEATS, "per": Per.MEMBER, "most": 60, "seconds": 60},)
"""A model that turns in circles is told, and nobody else comes near: who looks every second whether something is done
may do so for ever."""


def give_first_limits(tenant: Tenant, actor: str) -> None:
    """Its admins may change them or take them away."""
    for limit in FIRST:
        tenant_actions.save(Limit(tenant=tenant, **limit), actor=actor)
