"""tools/list: built once per catalog, revision and what is there for its caller, then sent as bytes."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.core import signing

from gateway import translate, wire
from gateway.errors import INVALID_PARAMS, Fault
from gateway.task_shapes import CORE
from gateway.visit import Visit
from jobs import own_tools
from policy.decide import visible
from policy.rules import NO_RULES
from tools.catalog import LiveTool

PAGE = 500
"""Tools on one page. Many hosts read only the first, so it is far more than a tenant should have."""
TTL_MS = 10_000
"""How long a host may keep a list without asking again."""
_SALT = "gateway.lists"


def page(visit: Visit, version: str, cursor: str | None) -> dict[str, Any]:
    """One page of the tools the caller's role reaches, in the order of their names, the same on every connection."""
    after = _after(visit, cursor)
    shown = [manifest for name, manifest in sorted(_offered(visit, version).items()) if name > after]
    result: dict[str, Any] = {"tools": translate.listed(shown[:PAGE], version)}
    if len(shown) > PAGE:
        result["nextCursor"] = signing.dumps([visit.caller.tenant_id, shown[PAGE - 1]["name"]], salt=_SALT)
    if version not in wire.HANDSHAKE:
        result |= {"resultType": "complete", "ttlMs": TTL_MS, "cacheScope": "private"}
    return result


def _offered(visit: Visit, version: str) -> dict[str, Mapping[str, Any]]:
    """Manifests by name: of the tenant's tools, and of the hub's own where some of those run as jobs."""
    offered = {name: _manifest(tool, version) for name, tool in visit.catalog.tools.items() if shows(visit, tool)}
    return offered | {own["name"]: own for own in own_tools.offered(visit.catalog, visit.caller)}


def shows(visit: Visit, tool: LiveTool) -> bool:
    """Whether the tool is there for whoever visits: their role reaches it, and no rule makes a secret of it."""
    return visible(visit.caller, tool.subject, visit.catalog.rules)


def _hidden(visit: Visit) -> frozenset[str]:
    """Names of the tools that rules make a secret of for whoever visits."""
    caller, rules = visit.caller, visit.catalog.rules
    if rules is NO_RULES:
        return frozenset()
    return frozenset(name for name, tool in visit.catalog.tools.items() if rules.hides(caller, tool.subject))


def _manifest(tool: LiveTool, version: str) -> Mapping[str, Any]:
    """2025-11-25 says of each tool whether it can be called as a task (server/tools, `execution.taskSupport`)."""
    if version != CORE or tool.lasting is None:
        return tool.manifest
    return {**tool.manifest, "execution": {"taskSupport": "required" if tool.lasting.required else "optional"}}


def rendered(visit: Visit, version: str, identity: Any) -> bytes:
    """The first page as the JSON of its result, from the catalog's store."""
    key = ("tools/list", version, visit.caller.reach, _hidden(visit))
    kept = visit.catalog.renderings.get(key)
    if kept is None:
        result = wire.shaped("tools/list", version, page(visit, version, None))
        wire.stamped(result, wire.Era(version=version), identity)
        kept = visit.catalog.renderings[key] = orjson.dumps(result)
    return bytes(kept)


def _after(visit: Visit, cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        tenant_id, name = signing.loads(cursor, salt=_SALT)
    except (signing.BadSignature, ValueError, TypeError):
        tenant_id = name = None
    if tenant_id != visit.caller.tenant_id or not isinstance(name, str):
        raise Fault(code=INVALID_PARAMS, message="The cursor is not one of ours; start again without one.")
    return name
