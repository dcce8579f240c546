"""What the ledger holds, read as the people of a tenant read it."""

from audit.models import Entry, Event
from tenants.models import Tenant
from tests.cast import Cast


def calls(cast: Cast, tenant: Tenant, tool: str, event: str) -> list[Entry]:
    """The entries of one kind about one tool, the oldest first."""
    with cast.see(tenant):
        return list(Entry.objects.filter(tenant_id=tenant.pk, tool=tool, event=event).order_by("id"))


def refusals(cast: Cast, tenant: Tenant) -> list[Entry]:
    """Who was turned away from a tenant, the first one first."""
    with cast.see(tenant):
        return list(Entry.objects.filter(tenant_id=tenant.pk, event=Event.TURNED_AWAY).order_by("id"))
