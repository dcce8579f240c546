"""One low-level SDK server for all tenants: its handlers find who is asking in `ctx.request`."""

from functools import cache
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions

from gateway import lists, tool_calls
from gateway.task_shapes import CORE, EXTENSION
from gateway.visit import Visit
from gateway.wire import HANDSHAKE, MODERN
from lib.version import VERSION
from tools.catalog import Catalog

Ctx = ServerRequestContext[Any, Visit]

_CORE_TASKS = types.ServerTasksCapability(
    list=types.TasksListCapability(),
    cancel=types.TasksCancelCapability(),
    requests=types.ServerTasksRequestsCapability(tools=types.TasksToolsCapability(call=types.TasksCallCapability())),
)


async def list_tools(ctx: Ctx, params: types.PaginatedRequestParams | None) -> dict[str, Any]:
    """One page of what the caller may see."""
    return lists.page(_visit(ctx), ctx.protocol_version, params.cursor if params else None)


async def call_tool(ctx: Ctx, params: types.CallToolRequestParams) -> dict[str, Any]:
    """Use a tool, for requests that the SDK had to judge first."""
    return await tool_calls.call(_visit(ctx), ctx.protocol_version, ctx.params or {}, sieved=True)


async def set_level(ctx: Ctx, params: types.SetLevelRequestParams) -> types.EmptyResult:
    """Accepted and not kept: without a session there is nothing to keep it in, so every message is sent."""
    return types.EmptyResult()


async def discover(ctx: Ctx, params: types.RequestParams | None) -> types.DiscoverResult:
    """What this tenant's endpoint is (2026-07-28, server/discover)."""
    visit = _visit(ctx)
    return types.DiscoverResult(
        supported_versions=list(MODERN),
        capabilities=_capabilities(ctx.protocol_version),
        instructions=visit.catalog.instructions or None,
        ttl_ms=lists.TTL_MS,
        cache_scope="private",
    )


@cache
def server() -> Server[Any]:
    """The server. Built once; the SDK's tracing middleware is left out, the hub does its own."""
    built: Server[Any] = Server("mcphub", version=VERSION, on_list_tools=list_tools, on_call_tool=call_tool)  # type: ignore[arg-type]
    built.add_request_handler("server/discover", types.RequestParams, discover)
    built.add_request_handler("logging/setLevel", types.SetLevelRequestParams, set_level)
    built.middleware.clear()
    return built


def identity(catalog: Catalog, *, asked: str | None = None) -> InitializationOptions:
    """Who the tenant's server says it is, and what it tells a model before its first call.

    asked: the revision that an `initialize` asks for; what is not served gets the newest of its era.
    """
    core = asked is not None and agreed(asked) == CORE
    kept = catalog.renderings.get(("identity", core))
    if kept is None:
        kept = catalog.renderings["identity", core] = InitializationOptions(
            server_name=f"mcphub-{catalog.slug}",
            server_version=VERSION,
            title=catalog.name,
            capabilities=_capabilities(CORE if core else None),
            instructions=catalog.instructions or None,
        )
    return kept


def agreed(asked: str) -> str:
    """The revision that comes of an `initialize` which asks for this one."""
    return asked if asked in HANDSHAKE else CORE


def listed(visit: Visit, version: str) -> bytes:
    """What whoever visits is shown by tools/list."""
    return lists.rendered(visit, version, identity(visit.catalog))


def _capabilities(version: str | None) -> types.ServerCapabilities:
    """What is served in that revision; None: in one without tasks."""
    if version in MODERN:
        served = server().get_capabilities(protocol_version=version, extensions={EXTENSION: {}})
    else:
        served = server().get_capabilities(NotificationOptions())
    # `gateway.listen` tells of changes, which the SDK does not know of.
    ours: dict[str, Any] = {"tools": types.ToolsCapability(list_changed=True)}
    return served.model_copy(update=ours | ({"tasks": _CORE_TASKS} if version == CORE else {}))


def _visit(ctx: Ctx) -> Visit:
    assert ctx.request is not None  # noqa: S101 - the door hands one to every request it serves
    return ctx.request
