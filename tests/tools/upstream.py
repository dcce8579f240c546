"""A tool of kind `http`, run from its front door against a real server on loopback that records what reaches it."""

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from tests.callers import UMA
from tools.catalog import LiveConnection, LiveTool, make_live
from tools.kinds import http
from tools.values import Call, Origin, Result, Text

SECRET = "s3cr3t /+&value=="
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Upstream:
    """A server whose next answers a test queues; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [answering({})]
        self.seen: list[SimpleNamespace] = []
        self.base_url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            SimpleNamespace(
                method=request.method,
                path=request.rel_url.raw_path,
                raw=request.raw_path,
                query=request.query,
                headers=request.headers.copy(),
                body=await request.read(),
            )
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    @property
    def last(self) -> SimpleNamespace:
        return self.seen[-1]


def answering(body: Any = None, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer: bytes and text as they are, anything else as JSON."""
    plain = isinstance(body, bytes | str)
    content = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {**({} if plain else {"Content-Type": "application/json"}), **(headers or {})}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=content, headers=given)

    return answer


def connect(upstream: Upstream, **changes: Any) -> LiveConnection:
    values: dict[str, Any] = {
        "id": 1,
        "name": "Help desk",
        "base_url": upstream.base_url,
        "auth": "none",
        "auth_name": "",
        "username": "",
        "secret": "",
        "allow_hosts": frozenset({"127.0.0.1"}),
    }
    return LiveConnection(**{**values, **changes})


def make_tool(connection: LiveConnection | None, config: dict[str, Any], **changes: Any) -> LiveTool:
    row: dict[str, Any] = {
        "name": "get_ticket",
        "id": 1,
        "number": 1,
        "runs": "inline",
        "manifest": {},
        "input_schema": {"type": "object"},
        "output_schema": None,
        "scopes": [],
        "kind": "http",
        "config": config,
        "timeout": 5,
        "max_result": 65536,
        "idempotent": False,
        "read_only": False,
        "destructive": False,
        "open_world": True,
        "tags": [],
        "units": 1,
        "inspect": [],
        "high_risk": False,
        "untrusted": True,
        "cleaning": {},
    }
    return make_live({**row, **changes}, connection)


async def run(
    upstream: Upstream,
    config: dict[str, Any],
    arguments: dict[str, Any] | None = None,
    *,
    connection: LiveConnection | None = None,
    origin: Origin | None = None,
    **tool: Any,
) -> Result:
    live = make_tool(connection or connect(upstream), config, **tool)
    origin = origin or Origin(via="mcp")
    return await http.run(Call(id=uuid.uuid4(), caller=UMA, tool=live, arguments=arguments or {}, origin=origin))


def said(result: Result) -> str:
    return "".join(block.text for block in result.content if isinstance(block, Text))
