"""What the ledger holds, read as the people of a tenant read it."""

from typing import Any

from audit.models import Entry, Event
from tenants.models import Tenant
from tests.cast import Cast


def entries(cast: Cast, tenant: Tenant, event: str, **fields: Any) -> list[Entry]:
    """The entries of one kind in a tenant's ledger, the oldest first."""
    with cast.see(tenant):
        return list(Entry.objects.filter(tenant_id=tenant.pk, event=event, **fields).order_by("id"))


def calls(cast: Cast, tenant: Tenant, tool: str, event: str) -> list[Entry]:
    """Those about one tool."""
    return entries(cast, tenant, event, tool=tool)


def refusals(cast: Cast, tenant: Tenant) -> list[Entry]:
    """Who was turned away from a tenant, the first one first."""
    return entries(cast, tenant, Event.TURNED_AWAY)


def reasons(cast: Cast, tenant: Tenant) -> list[str]:
    """Why they were."""
    return [entry.reason for entry in refusals(cast, tenant)]
