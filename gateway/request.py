"""Reading one HTTP request at the endpoint: headers, who may speak, the credential, the body."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from gateway import wire
from gateway.errors import INVALID_REQUEST, PARSE_ERROR, Fault
from gateway.reply import Headers, Receive

_MOST_BATCH = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A request's method, headers (lower case, outer blanks stripped; httptools keeps them) and peer."""

    method: str
    lines: list[tuple[str, str]]
    headers: Mapping[str, str]
    address: str

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> "Head":
        lines = [(name.decode("latin-1"), value.decode("latin-1").strip(" \t")) for name, value in scope["headers"]]
        client = scope.get("client")
        return cls(method=scope["method"], lines=lines, headers=dict(lines), address=client[0] if client else "")

    @property
    def streaming(self) -> bool:
        accept = self.headers.get("accept", "*/*")
        return "text/event-stream" in accept or "*/*" in accept

    def secret(self) -> str | None:
        """The presented credential: `Authorization: Bearer` first, else `X-API-Key`. Never from the URL."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        return self.headers.get("x-api-key") or None


def check_peer(head: Head) -> Headers:
    """Refuse a Host or Origin that is not ours (DNS rebinding); the CORS headers for an Origin that is.

    MCP basic/transports, "Security warning": an invalid Origin is answered with 403.
    """
    host = head.headers.get("host", "")
    if not _host_allowed(host):
        raise Fault(
            code=INVALID_REQUEST,
            message="This hub does not answer for that Host; an operator can add it to ALLOWED_HOSTS.",
            status=421,
        )
    origin = head.headers.get("origin")
    if origin is None:
        return []
    if not _origin_allowed(origin):
        raise Fault(
            code=INVALID_REQUEST,
            message="Requests from that Origin are refused; an operator can add it to ALLOWED_ORIGINS.",
            status=403,
        )
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"WWW-Authenticate, Mcp-Session-Id"),
        (b"vary", b"Origin"),
    ]


@lru_cache(maxsize=256)
def _host_allowed(host: str) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


@lru_cache(maxsize=256)
def _origin_allowed(origin: str) -> bool:
    """Listed, or the hub's own: same scheme and host as BASE_URL, any port on this machine's own names."""
    if origin in settings.ALLOWED_ORIGINS or "*" in settings.ALLOWED_ORIGINS:
        return True
    own, given = urlsplit(settings.BASE_URL), urlsplit(origin)
    if origin == f"{own.scheme}://{own.netloc}":
        return True
    local = {"localhost", "127.0.0.1", "::1"}
    return own.hostname in local and given.hostname in local and given.port == own.port and given.scheme == own.scheme


async def read_body(head: Head, receive: Receive) -> Any:
    """The JSON of the body, bounded by MAX_BODY_BYTES; raises a Fault that says what is wrong with it."""
    if head.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Fault(code=INVALID_REQUEST, message="Send the body as Content-Type: application/json.", status=415)
    body = await _read(head, receive)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise Fault(code=PARSE_ERROR, message=f"The body is not JSON: {problem}"[:200]) from None


async def _read(head: Head, receive: Receive) -> bytes:
    length = head.headers.get("content-length", "0")
    too_large = Fault(
        code=INVALID_REQUEST, message=f"The body is larger than {settings.MAX_BODY_BYTES} bytes.", status=413
    )
    if length.isdecimal() and int(length) > settings.MAX_BODY_BYTES:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Fault(code=INVALID_REQUEST, message="The connection closed before the body was complete.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > settings.MAX_BODY_BYTES:
            raise too_large
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def era_of(head: Head, body: Any) -> str | None:
    """The revision the headers name; None for 2026-07-28, which the envelope has to confirm.

    A missing version header means 2025-03-26, except on a body that carries the envelope of 2026-07-28.
    """
    version = head.headers.get(wire.VERSION_HEADER)
    if version is None:
        return None if _enveloped(body) else wire.BATCH_VERSION
    return version if version in wire.HANDSHAKE else None


def _enveloped(body: Any) -> bool:
    params = body.get("params") if isinstance(body, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    return isinstance(meta, dict) and "io.modelcontextprotocol/protocolVersion" in meta


def messages(body: Any, version: str | None) -> list[Any] | None:
    """The messages of a batch, or None when the body is a single message. Only 2025-03-26 has batches."""
    if not isinstance(body, list):
        return None
    if version != wire.BATCH_VERSION:
        raise Fault(code=INVALID_REQUEST, message="Batches exist only in revision 2025-03-26; send one message.")
    if not 1 <= len(body) <= _MOST_BATCH:
        raise Fault(code=INVALID_REQUEST, message=f"A batch holds 1 to {_MOST_BATCH} messages.")
    return body


def check_message(message: Any) -> str:
    """`request`, `notification` or `response` (JSON-RPC 2.0 sections 4 and 5); raises a Fault for anything else."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Fault(code=INVALID_REQUEST, message='Send one JSON-RPC object with "jsonrpc": "2.0".')
    if "method" not in message:
        if "id" in message and ("result" in message or "error" in message):
            return "response"
        raise Fault(code=INVALID_REQUEST, message="The message has no method.")
    if not isinstance(message["method"], str):
        raise Fault(code=INVALID_REQUEST, message="The method must be a string.")
    if not isinstance(message.get("params", {}), dict):
        raise Fault(code=INVALID_REQUEST, message="The params must be an object.")
    if "id" not in message:
        return "notification"
    if isinstance(message["id"], bool) or not isinstance(message["id"], str | int):
        raise Fault(code=INVALID_REQUEST, message="The id must be a string or a whole number.")
    return "request"


def id_of(message: Any) -> Any:
    """The id to answer to, or None when the message has none that could be used."""
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None
