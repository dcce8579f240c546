"""What the ledger holds, read as the people of a tenant read it."""

from audit.models import Entry
from tenants.models import Tenant
from tests.cast import Cast


def calls(cast: Cast, tenant: Tenant, tool: str, event: str) -> list[Entry]:
    """The entries of one kind about one tool, the oldest first."""
    with cast.see(tenant):
        return list(Entry.objects.filter(tenant_id=tenant.pk, tool=tool, event=event).order_by("id"))
