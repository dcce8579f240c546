"""Requests prepared as bytes, and the checks of their answers.

Everything that can be done before the clock starts is done here: the load generator only writes bytes it was given and
looks for bytes it expects.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

Revision = Literal["2026-07-28", "2025-11-25"]
Method = Literal["tools/call", "tools/list"]

MODERN: Revision = "2026-07-28"
LEGACY: Revision = "2025-11-25"

_DISTINCT_CALLS = 256
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "mcphub-bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where to send, as whom, and in which protocol revision."""

    url: str
    api_key: str | None = None
    revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One prepared request, the bytes a right answer holds, and what the whole answer has to say."""

    request: bytes
    needle: bytes
    id: int
    expected: dict[str, int] | frozenset[str]

    def accepts(self, body: bytes) -> bool:
        """Parse the answer and compare it: the sum and its text for a call, the tool names for a list."""
        try:
            message = json.loads(_payload(body))
            result = message["result"]
            if message["id"] != self.id or result.get("isError"):
                return False
            return bool(self._content(result) == self.expected)
        except (ValueError, TypeError, LookupError, AttributeError):
            return False

    def _content(self, result: dict[str, Any]) -> Any:
        if isinstance(self.expected, frozenset):
            return frozenset(tool["name"] for tool in result["tools"])
        data = result["structuredContent"]
        return data if json.loads(result["content"][0]["text"]) == data else None


def calls(target: Target) -> list[Exchange]:
    """`tools/call` of `add`, each with other numbers, so that an answer kept from another call is noticed."""
    return [_call(target, n) for n in range(1, _DISTINCT_CALLS + 1)]


def lists(target: Target, names: frozenset[str]) -> list[Exchange]:
    """`tools/list`, expecting exactly these names."""
    needle = f'"name":"{max(names)}"'.encode()
    request = _http(target, 1, "tools/list", {})
    return [Exchange(request=request, needle=needle, id=1, expected=names)]


def _call(target: Target, n: int) -> Exchange:
    a, b = 1_000_003 * n, 17 * n + 5
    request = _http(target, n, "tools/call", {"name": "add", "arguments": {"a": a, "b": b}})
    return Exchange(request=request, needle=f'"sum":{a + b}}}'.encode(), id=n, expected={"sum": a + b})


def _http(target: Target, id_: int, method: Method, params: dict[str, Any]) -> bytes:
    if target.revision == MODERN:
        params = {**params, "_meta": _ENVELOPE}
    body = json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}, separators=(",", ":")).encode()
    parts = urlsplit(target.url)
    headers = {
        "Host": parts.netloc,
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "MCP-Protocol-Version": target.revision,
    }
    if target.revision == MODERN:
        headers |= {"Mcp-Method": method} | ({"Mcp-Name": params["name"]} if "name" in params else {})
    if target.api_key is not None:
        headers["Authorization"] = f"Bearer {target.api_key}"
    lines = [f"POST {parts.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _payload(body: bytes) -> bytes:
    """The JSON of an answer: the body itself, or the last event of an SSE stream."""
    if body.startswith(b"{"):
        return body
    return [line[5:] for line in body.splitlines() if line.startswith(b"data:") and len(line) > 6][-1]


def read_response(data: bytes) -> tuple[int, bytes] | None:
    """Status and body of the HTTP/1.1 response at the start of `data`, or None while it is incomplete.

    Knows the two framings a server uses for these answers, Content-Length and chunked (RFC 9112, 6 and 7.1).
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    status = int(head[9:12])
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        stop = head.find(b"\r\n", at + 2)
        length = int(head[at + 17 : stop if stop >= 0 else end])
        return (status, data[end + 4 :]) if len(data) - end - 4 >= length else None
    if b"\r\ntransfer-encoding: chunked" not in head:
        return status, b""
    body = _dechunk(data, end + 4) if data.endswith(b"0\r\n\r\n") else None
    return None if body is None else (status, body)


def _dechunk(data: bytes, at: int) -> bytes | None:
    pieces: list[bytes] = []
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(data[at:line].split(b";")[0], 16)
        if size == 0:
            return b"".join(pieces)
        pieces.append(data[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
