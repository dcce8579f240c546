"""One low-level SDK server for all tenants: its handlers find who is asking in `ctx.request`."""

from functools import cache
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions

from gateway import lists, translate
from gateway.errors import UNAVAILABLE, Fault
from gateway.visit import Visit
from gateway.wire import MODERN
from audit.writer import LedgerUnavailable
from lib.version import VERSION
from policy.decide import Refusal
from tools import calls
from tools.catalog import Catalog

Ctx = ServerRequestContext[Any, Visit]


class _Reporter:
    """A Report that sends progress and log messages on the request's own stream."""

    def __init__(self, ctx: Ctx):
        self._ctx = ctx
        self._furthest = float("-inf")

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Progress must increase (MCP basic/utilities/progress), so a step back is not sent."""
        if progress > self._furthest:
            self._furthest = progress
            await self._ctx.session.report_progress(progress, total, message)

    async def log(self, level: Any, data: Any) -> None:
        await self._ctx.session.send_log_message(level, data, related_request_id=self._ctx.request_id)


async def list_tools(ctx: Ctx, params: types.PaginatedRequestParams | None) -> dict[str, Any]:
    """One page of what the caller may see."""
    return lists.page(_visit(ctx), ctx.protocol_version, params.cursor if params else None)


async def call_tool(ctx: Ctx, params: types.CallToolRequestParams) -> dict[str, Any]:
    """Use a tool. Arguments may be missing, which means none."""
    visit = _visit(ctx)
    info = ctx.session.client_params.client_info.model_dump() if ctx.session.client_params else None
    try:
        ended = await calls.run(
            visit.caller,
            params.name,
            params.arguments or {},
            catalog=visit.catalog,
            origin=visit.origin(ctx.meta or {}, info),
            report=_Reporter(ctx),
        )
    except LedgerUnavailable as problem:
        raise Fault(
            code=UNAVAILABLE, message=f"{problem}. Try again in a few seconds.", status=503, headers={"Retry-After": "5"}
        ) from None
    if isinstance(ended, Refusal):
        return translate.refusal(ended, ctx.protocol_version)
    return translate.result(ended, ctx.protocol_version)


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
