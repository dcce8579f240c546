"""Which live tool needs which scopes and what it can do, for who agrees to it (see access.unlocks)."""

from collections.abc import Mapping
from typing import Final

from access.unlocks import Difference, ToolsOf, Unlocked
from policy.queries import rules_of
from policy.values import Effect
from tenants.pins import sort_of
from tools.actions import values
from tools.catalog import subject_of
from tools.differences import AGREED, differences
from tools.manifest import destination_of
from tools.models import Tool, Version

_ASKS: Final[Mapping[frozenset[Effect], tuple[str, str]]] = {
    frozenset({Effect.CONFIRM}): ("asks you each time", "may ask you"),
    frozenset({Effect.REVIEW}): ("needs a second person's approval", "may need a second person's approval"),
    frozenset({Effect.CONFIRM, Effect.REVIEW}): (
        "needs your yes or a second person's",
        "may need your yes or a second person's",
    ),
}
"""What is said of a tool some calls of which wait for somebody: where all of them do, and where some do."""


def unlocked(tenant_id: int) -> ToolsOf:
    """The live tools of a tenant as their published versions describe them, but for those that a rule makes a secret
    of. Runs inside the tenant's scope."""
    tools = Tool.objects.filter(tenant_id=tenant_id, enabled=True).select_related("live__connection")
    found = [(tool.live, subject_of(vars(tool.live))) for tool in tools if tool.live is not None]
    rules = rules_of(tenant_id)
    return lambda caller: [
        Unlocked(
            tool=version.name,
            title=version.title or version.name,
            sort=sort_of(read_only=version.read_only, destructive=version.destructive),
            scopes=frozenset(version.scopes),
            hash=version.manifest_hash,
            open_world=version.open_world,
            destination=destination_of(version),
            asks=_asks(rules.outlook(caller, subject).effects),
        )
        for version, subject in found
        if not rules.hides(caller, subject)
    ]


def _asks(effects: frozenset[Effect]) -> str:
    """effects: what calls may come to. One that is refused asks nobody, so that it makes none of the others rarer."""
    asking = effects & {Effect.CONFIRM, Effect.REVIEW}
    if not asking:
        return ""
    always, sometimes = _ASKS[asking]
    return always if effects <= asking | {Effect.DENY} else sometimes


def changed(tenant_id: int, name: str, digest: str) -> list[Difference]:
    """What differs between a live tool and its latest version of this hash; nothing when either is not there."""
    versions = Version.objects.filter(tenant_id=tenant_id).select_related("connection")
    live = versions.filter(pk__in=Tool.objects.filter(tenant_id=tenant_id).values("live"), name=name).first()
    then = versions.filter(name=name, manifest_hash=digest).order_by("-published_at", "-pk").first()
    if live is None or then is None:
        return []
    found = differences(values(then), values(live))
    return [Difference(label=one.label, lines=one.lines) for one in found if one.field in AGREED]
