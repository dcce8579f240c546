"""The bare SDK, serving the bench tools with no governance at all: what the hub is measured against.

`app` is one ASGI app for both eras, as the SDK's low-level `Server` builds it: requests of 2026-07-28 take its modern
path, requests of 2025-11-25 its stateless one (`stateless_http=True`). `json_response` stays at its default, False.

It is the SDK at its fastest honest mode: `get_tool_input_schema` is given, so that a call does not list all tools
first; the list result is built once; tools are async functions called in the loop. No key is checked, no argument
validated, nothing limited or recorded. Python's garbage collector is left as it comes, as the SDK leaves it, unless
BENCH_BASELINE_GC=frozen asks for the settings that a careful deployment would add.
"""

import gc
import inspect
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from pydantic import BaseModel, TypeAdapter, create_model

from benchmarks.catalog import TOOLS

Context = ServerRequestContext[Any, Any]


def input_schema(tool: Callable[..., Awaitable[Any]]) -> dict[str, Any]:
    """JSON Schema 2020-12 of a function's parameters."""
    hints = get_type_hints(tool, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(tool).parameters.items()
    }
    model: type[BaseModel] = create_model(tool.__name__, **fields)
    return model.model_json_schema()


def descriptor(tool: Callable[..., Awaitable[Any]]) -> types.Tool:
    return types.Tool(
        name=tool.__name__,
        title=tool.__name__.replace("_", " ").capitalize(),
        description=inspect.getdoc(tool),
        input_schema=input_schema(tool),
        output_schema=TypeAdapter(get_type_hints(tool)["return"]).json_schema(),
        annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )


FUNCTIONS = {tool.__name__: tool for tool in TOOLS}
LISTED = types.ListToolsResult(tools=[descriptor(tool) for tool in TOOLS])
SCHEMAS = {tool.name: tool.input_schema for tool in LISTED.tools}


async def list_tools(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return LISTED


async def call_tool(_ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    data = await FUNCTIONS[params.name](**(params.arguments or {}))
    text = types.TextContent(text=json.dumps(data, separators=(",", ":")))
    return types.CallToolResult(content=[text], structured_content=data)


server: Server[Any] = Server(
    "bare-sdk",
    version="1",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    get_tool_input_schema=SCHEMAS.get,
)
app = server.streamable_http_app(stateless_http=True)

if os.environ.get("BENCH_BASELINE_GC") == "frozen":
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
