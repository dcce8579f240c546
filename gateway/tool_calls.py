"""tools/call: the one method that is hot enough to be dispatched without the SDK.

Params of the shape that hosts send are recognised here and answered here, which costs a sixth of a call less. Whatever
looks different in any way goes through the SDK, whose validation words the error or lets it pass; its handler for
tools/call ends in `call` as well, so there is one way to run a tool and one shape of its result.
"""

from collections.abc import Mapping
from typing import Any, cast

from audit.writer import LedgerUnavailable
from gateway import asking, lists, task_shapes, translate, wire
from gateway.asking import Asked, Asking, check_of
from gateway.errors import INVALID_PARAMS, METHOD_NOT_FOUND, Fault
from gateway.reporter import LEVELS, LOG_LEVEL, Reporter
from gateway.task_shapes import CORE
from gateway.visit import Visit
from jobs import own_tools
from jobs.values import NOT_FOLLOWED, Answer, Follow, Handle
from policy.values import Refusal
from tools import calls
from tools.catalog import Catalog, LiveTool
from tools.values import Origin, Report

_PLAIN = frozenset({"name", "arguments", "_meta", "task", "inputResponses", "requestState"})
_MORE = frozenset({"task", "inputResponses", "requestState"})
"""What makes more of a call than running its tool."""
_ENVELOPE = "io.modelcontextprotocol/"


def is_plain(message: Mapping[str, Any]) -> bool:
    """Whether the request is a tools/call whose params need no judgement of the SDK's."""
    if message["method"] != "tools/call":
        return False
    params = message.get("params")
    return (
        isinstance(params, dict)
        and params.keys() <= _PLAIN
        and isinstance(params.get("name"), str)
        and isinstance(params.get("arguments", {}), dict)
        and _is_plain_meta(params.get("_meta", {}))
    )


def _is_plain_meta(meta: Any) -> bool:
    if not isinstance(meta, dict) or type(meta.get("progressToken", "")) not in (str, int):
        return False
    info = meta.get(f"{_ENVELOPE}clientInfo", {"name": "", "version": ""})
    return (
        isinstance(meta.get(f"{_ENVELOPE}clientCapabilities", {}), dict)
        and isinstance(info, dict)
        and isinstance(info.get("name"), str)
        and isinstance(info.get("version"), str)
        and meta.get(LOG_LEVEL, "info") in LEVELS
    )


async def call(visit: Visit, version: str, params: Mapping[str, Any], *, sieved: bool = False) -> dict[str, Any]:
    """Run the tool that valid params name, and shape its result for the caller's revision.

    sieved: the SDK will look at the answer, and it takes no task of 2025-11-25 for one.
    Raises a Fault for what is no result: an unknown tool, scopes that are missing, a ledger that cannot be written.
    """
    name, meta = params["name"], params.get("_meta") or {}
    origin = visit.origin(meta, meta.get(f"{_ENVELOPE}clientInfo"))
    report = Reporter(visit, version, meta)
    try:
        if name in _longer(visit.catalog) or not _MORE.isdisjoint(params):
            return await _longer_call(visit, version, params, origin, report, sieved=sieved)
        ended = await calls.run(
            visit.caller, name, params.get("arguments") or {}, catalog=visit.catalog, origin=origin, report=report
        )
        if isinstance(ended, calls.Pending):
            follow = _follow(visit, version, params, ended.ready.tool)
            asks = _asking(visit, version, params, origin, report, follow)
            return _answer(await asking.pending(asks, ended), ended.ready.tool, version, follow)
    except LedgerUnavailable as problem:
        raise translate.unavailable("ledger_unavailable", f"{problem}. Try again in a few seconds.") from None
    return translate.refusal(ended, version) if isinstance(ended, Refusal) else translate.result(ended, version)


def _asking(
    visit: Visit, version: str, params: Mapping[str, Any], origin: Origin, report: Report, follow: Follow
) -> Asking:
    """Only 2026-07-28 says with each request what its client can show."""
    capabilities = _capabilities(params) if version in wire.MODERN else None
    return Asking(visit=visit, params=params, capabilities=capabilities, origin=origin, report=report, follow=follow)


def _capabilities(params: Mapping[str, Any]) -> Any:
    return (params.get("_meta") or {}).get(f"{_ENVELOPE}clientCapabilities")


def _longer(catalog: Catalog) -> frozenset[str]:
    """Names of what takes more than running it: jobs, what asks first, and the hub's own tools."""
    kept = catalog.renderings.get("longer")
    if kept is None:
        found = {one.name for one in catalog.tools.values() if one.lasting is not None or check_of(one)}
        kept = catalog.renderings["longer"] = frozenset(own_tools.OWN) | found
    return cast(frozenset[str], kept)


async def _longer_call(
    visit: Visit, version: str, params: Mapping[str, Any], origin: Origin, report: Report, *, sieved: bool
) -> dict[str, Any]:
    """A call that may ask first, may become a job, or is about one."""
    own = own_tools.find(visit.catalog, params["name"])
    tool = own or visit.catalog.tools.get(params["name"])
    follow = _follow(visit, version, params, tool)
    if sieved and version == CORE:
        follow = NOT_FOLLOWED
    ended: Answer | Asked
    if own is not None:
        given = params.get("arguments") or {}
        ended = await own_tools.run(visit.caller, own, given, catalog=visit.catalog, origin=origin, report=report)
    else:
        ended = await asking.call(_asking(visit, version, params, origin, report, follow), check_of(tool))
    return _answer(ended, tool, version, follow)


def _answer(ended: Answer | Asked, tool: LiveTool | None, version: str, follow: Follow) -> dict[str, Any]:
    """What a call came to, as the caller's revision says it."""
    match ended:
        case Asked():
            return ended.result
        case Refusal():
            return task_shapes.refusal(ended, version)
        case Handle():
            return _handed(ended, tool, version, follow)
    return translate.result(ended, version)


def _follow(visit: Visit, version: str, params: Mapping[str, Any], tool: LiveTool | None) -> Follow:
    """What the host can do with a job: 2026-07-28 declares it with each request, 2025-11-25 asks for a task."""
    if version != CORE:
        return Follow(declared=version in wire.MODERN and task_shapes.declared(_capabilities(params)))
    if "task" not in params:
        return NOT_FOLLOWED
    task = params["task"]
    ttl = task.get("ttl") if isinstance(task, dict) else 0
    if ttl is not None and (type(ttl) not in (int, float) or ttl <= 0):
        raise Fault(code=INVALID_PARAMS, message="task must be an object, and its ttl a positive number.")
    if tool is not None and tool.lasting is None and lists.shows(visit, tool):
        raise Fault(code=METHOD_NOT_FOUND, message=f"{tool.name} does not run as a task; call it without `task`.")
    return Follow(declared=True, keep=None if ttl is None else ttl / 1000)


def _handed(handle: Handle, tool: LiveTool | None, version: str, follow: Follow) -> dict[str, Any]:
    if not follow.declared:
        return task_shapes.told(handle, tool, version)
    return {"task": task_shapes.core(handle.view)} if version == CORE else task_shapes.created(handle.view)
