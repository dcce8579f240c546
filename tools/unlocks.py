"""Which live tool needs which scopes and what it can do, for who agrees to it (see access.unlocks)."""

from access.unlocks import Difference, Unlocked
from tenants.pins import sort_of
from tools.actions import values
from tools.differences import AGREED, differences
from tools.manifest import destination_of
from tools.models import Tool, Version


def unlocked(tenant_id: int) -> list[Unlocked]:
    """The tenant's live tools as their published versions describe them. Runs inside the tenant's scope."""
    tools = Tool.objects.filter(tenant_id=tenant_id, enabled=True, live__isnull=False)
    versions = [tool.live for tool in tools.select_related("live__connection") if tool.live is not None]
    return [
        Unlocked(
            tool=version.name,
            title=version.title or version.name,
            sort=sort_of(read_only=version.read_only, destructive=version.destructive),
            scopes=frozenset(version.scopes),
            hash=version.manifest_hash,
            open_world=version.open_world,
            destination=destination_of(version),
        )
        for version in versions
    ]


def changed(tenant_id: int, name: str, digest: str) -> list[Difference]:
    """What differs between a live tool and its latest version of this hash; nothing when either is not there."""
    versions = Version.objects.filter(tenant_id=tenant_id).select_related("connection")
    live = versions.filter(pk__in=Tool.objects.filter(tenant_id=tenant_id).values("live"), name=name).first()
    then = versions.filter(name=name, manifest_hash=digest).order_by("-published_at", "-pk").first()
    if live is None or then is None:
        return []
    found = differences(values(then), values(live))
    return [Difference(label=one.label, lines=one.lines) for one in found if one.field in AGREED]
