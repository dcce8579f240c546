"""Which live tool needs which scopes, for the consent page (see access.unlocks)."""

from access.unlocks import Sort, Unlocked
from tools.models import Tool, Version


def unlocked(tenant_id: int) -> list[Unlocked]:
    """The tenant's live tools as their published versions describe them. Runs inside the tenant's scope."""
    tools = Tool.objects.filter(tenant_id=tenant_id, enabled=True, live__isnull=False).select_related("live")
    versions = [tool.live for tool in tools if tool.live is not None]
    return [
        Unlocked(
            tool=version.name,
            title=version.title or version.name,
            sort=_sort(version),
            scopes=frozenset(version.scopes),
        )
        for version in versions
    ]


def _sort(version: Version) -> Sort:
    if version.read_only:
        return "reads"
    return "destructive" if version.destructive else "writes"
