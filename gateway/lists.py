"""tools/list: built once per catalog, revision and reach, then sent as bytes."""

from typing import Any

import orjson
from django.core import signing

from gateway import translate, wire
from gateway.errors import INVALID_PARAMS, Fault
from gateway.visit import Visit
from policy.decide import visible

PAGE = 500
"""Tools on one page. Many hosts read only the first, so it is far more than a tenant should have."""
TTL_MS = 10_000
"""How long a host may keep a list without asking again."""
_SALT = "gateway.lists"


def page(visit: Visit, version: str, cursor: str | None) -> dict[str, Any]:
    """One page of the tools the caller's role reaches, in the order of their names, the same on every connection."""
    after = _after(visit, cursor)
    shown = [
        tool
        for name, tool in sorted(visit.catalog.tools.items())
        if name > after and visible(visit.caller, tool.subject)
    ]
    result: dict[str, Any] = {"tools": translate.listed((tool.manifest for tool in shown[:PAGE]), version)}
    if len(shown) > PAGE:
        result["nextCursor"] = signing.dumps([visit.caller.tenant_id, shown[PAGE - 1].name], salt=_SALT)
    if version not in wire.HANDSHAKE:
        result |= {"resultType": "complete", "ttlMs": TTL_MS, "cacheScope": "private"}
    return result


def rendered(visit: Visit, version: str, identity: Any) -> bytes:
    """The first page as the JSON of its result, from the catalog's store."""
    key = ("tools/list", version, visit.caller.reach)
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
