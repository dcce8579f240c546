"""A host: the least an MCP client does over HTTP, so that a test sees every status, header and frame."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

MODERN = "2026-07-28"
REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", MODERN)
PREFIX = "io.modelcontextprotocol"
ENVELOPE = {f"{PREFIX}/protocolVersion": MODERN, f"{PREFIX}/clientCapabilities": {}}
"""The least a request of 2026-07-28 carries in its `_meta`."""
_ids = itertools.count(1)


@dataclass
class Answer:
    """What came back: the HTTP response, and the JSON-RPC messages in it (one for plain JSON)."""

    response: httpx2.Response
    messages: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        kind = self.response.headers.get("content-type", "")
        self.messages = list(_frames(self.response.text)) if "event-stream" in kind else _single(self.response)

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def headers(self) -> httpx2.Headers:
        return self.response.headers

    @property
    def final(self) -> Any:
        """The response itself, which is the last message."""
        return self.messages[-1]

    @property
    def result(self) -> Any:
        assert "result" in self.final, self.final
        return self.final["result"]

    @property
    def error(self) -> Any:
        assert "error" in self.final, self.final
        return self.final["error"]

    @property
    def text(self) -> str:
        return str(self.result["content"][0]["text"])


@dataclass
class Host:
    """A client of one endpoint, speaking one revision with one key."""

    base: str
    slug: str
    key: str | None = None
    revision: str = MODERN

    @property
    def url(self) -> str:
        return f"{self.base}/t/{self.slug}/mcp"

    def request(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> Answer:
        """One JSON-RPC request, with everything the revision asks for."""
        message = {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": self._params(params)}
        return self.post(message, **self._routing(method, params or {}), **headers)

    def call(self, name: str, arguments: dict[str, Any] | None = None, **headers: str) -> Answer:
        return self.request("tools/call", {"name": name, "arguments": arguments or {}}, **headers)

    def tools(self) -> list[str]:
        return [tool["name"] for tool in self.request("tools/list").result["tools"]]

    def post(self, body: Any, **headers: str) -> Answer:
        """Any body at all; header names are given with underscores."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = self.headers() | {name.replace("_", "-"): value for name, value in headers.items()}
        with httpx2.Client(timeout=30) as client:
            return Answer(client.post(self.url, content=content, headers=sent))

    def headers(self) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": self.revision,
        }
        return headers | ({"authorization": f"Bearer {self.key}"} if self.key else {})

    def _params(self, params: dict[str, Any] | None) -> dict[str, Any]:
        if self.revision != MODERN:
            return params or {}
        envelope = ENVELOPE | {f"{PREFIX}/clientInfo": {"name": "test-host", "version": "1"}}
        given = params or {}
        return {**given, "_meta": envelope | given.get("_meta", {})}

    def _routing(self, method: str, params: dict[str, Any]) -> dict[str, str]:
        if self.revision != MODERN:
            return {}
        named = {"mcp_name": str(params["name"])} if method == "tools/call" else {}
        return {"mcp_method": method, **named}


def _single(response: httpx2.Response) -> list[Any]:
    try:
        return [response.json()]
    except ValueError:
        return []


def _frames(text: str) -> Iterator[Any]:
    for line in text.splitlines():
        if line.startswith("data: "):
            yield json.loads(line[6:])
