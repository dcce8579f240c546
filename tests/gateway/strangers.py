"""A stranger at the door: what it sends, and all it can tell one answer from another by."""

import httpx2

from tenants.models import Tenant
from tests.cast import Cast

HTML = "text/html,application/xhtml+xml"


def url(hub: list[str], tenant: Tenant) -> str:
    return f"{hub[0]}/t/{tenant.slug}/mcp"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def seen(response: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    """All a client can tell one answer from another by, but the time of day."""
    return response.status_code, response.content, {k: v for k, v in response.headers.items() if k != "date"}


def disable(cast: Cast, tenant: Tenant) -> None:
    with cast.see(tenant):
        Tenant.objects.filter(pk=tenant.pk).update(enabled=False)
