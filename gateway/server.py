"""One low-level SDK server for all tenants: its handlers find who is asking in `ctx.request`."""

from functools import cache
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions

from gateway import lists, tool_calls
from gateway.visit import Visit
from gateway.wire import MODERN
from lib.version import VERSION
from tools.catalog import Catalog

Ctx = ServerRequestContext[Any, Visit]


async def list_tools(ctx: Ctx, params: types.PaginatedRequestParams | None) -> dict[str, Any]:
    """One page of what the caller may see."""
    return lists.page(_visit(ctx), ctx.protocol_version, params.cursor if params else None)


async def call_tool(ctx: Ctx, params: types.CallToolRequestParams) -> dict[str, Any]:
    """Use a tool, for requests that the SDK had to judge first."""
    return await tool_calls.call(_visit(ctx), ctx.protocol_version, ctx.params or {})


async def set_level(ctx: Ctx, params: types.SetLevelRequestParams) -> types.EmptyResult:
    """Accepted and not kept: without a session there is nothing to keep it in, so every message is sent."""
    return types.EmptyResult()


async def discover(ctx: Ctx, params: types.RequestParams | None) -> types.DiscoverResult:
    """What this tenant's endpoint is (2026-07-28, server/discover)."""
    visit = _visit(ctx)
    return types.DiscoverResult(
        supported_versions=list(MODERN),
        capabilities=server().get_capabilities(protocol_version=ctx.protocol_version),
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


def identity(catalog: Catalog) -> InitializationOptions:
    """Who the tenant's server says it is, and what it tells a model before its first call."""
    kept = catalog.renderings.get("identity")
    if kept is None:
        kept = catalog.renderings["identity"] = InitializationOptions(
            server_name=f"mcphub-{catalog.slug}",
            server_version=VERSION,
            title=catalog.name,
            capabilities=server().get_capabilities(NotificationOptions()),
            instructions=catalog.instructions or None,
        )
    return kept


def _visit(ctx: Ctx) -> Visit:
    assert ctx.request is not None  # noqa: S101 - the door hands one to every request it serves
    return ctx.request
