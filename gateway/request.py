"""Reading one HTTP request at the endpoint: headers, who may speak, the credential, the body."""

import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from gateway import wire
from gateway.errors import INVALID_REQUEST, PARSE_ERROR, Fault
from gateway.reply import Headers, Receive
from lib.schema.validator import is_deeper

_MOST_BATCH = 50
_MOST_NAME = 300
"""Characters of a Host or an Origin: a DNS name has at most 253, and a scheme and a port go with it."""
_MOST_DEPTH = 100
"""Levels of nesting in a body. orjson reads 1,024 but writes only 254, and what is read has to be recorded."""
_ONLY_DIGITS = bytes(48 if 48 <= code <= 57 else 32 for code in range(256))
_MANY_DIGITS = b"0" * 19


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A request's method, headers (lower case, outer blanks stripped; httptools keeps them) and peer."""

    method: str
    lines: list[tuple[str, str]]
    headers: Mapping[str, str]
    address: str
    query: bytes = b""

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> "Head":
        lines = [(name.decode("latin-1"), value.decode("latin-1").strip(" \t")) for name, value in scope["headers"]]
        client = scope.get("client")
        return cls(
            method=scope["method"],
            lines=lines,
            headers=dict(lines),
            address=client[0] if client else "",
            query=scope.get("query_string", b""),
        )

    @property
    def streaming(self) -> bool:
        accept = self.headers.get("accept", "*/*")
        return "text/event-stream" in accept or "*/*" in accept

    def secret(self) -> str | None:
        """The presented credential: of `Authorization: Bearer`, or else `X-API-Key`. Never from the URL."""
        return self._bearer() or self.headers.get("x-api-key") or None

    def _bearer(self) -> str:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def misplaced(self) -> tuple[str, str] | None:
        """What is wrong with how a credential is presented, as a reason and a sentence; None when nothing is.

        A URL is kept in logs and histories, and of two credentials nobody could say which one counted (RFC 6750
        sections 2.3 and 3.1).
        """
        if self.query and any(name == b"access_token" for name, _ in parse_qsl(self.query, keep_blank_values=True)):
            return "token_in_url", "Send the credential in the Authorization header, never in the URL."
        twice = len(self.headers) < len(self.lines) and self._twice("authorization", "x-api-key")
        if twice or (self.headers.get("x-api-key") and self._bearer()):
            return "several_credentials", "Send one credential, in one Authorization header."
        return None

    def _twice(self, *headers: str) -> bool:
        names = [name for name, _ in self.lines]
        return any(names.count(header) > 1 for header in headers)


def check_peer(head: Head) -> Headers:
    """Refuse a Host or Origin that is not ours (DNS rebinding); the CORS headers for an Origin that is.

    MCP basic/transports, "Security warning": an invalid Origin is answered with 403.
    """
    host = head.headers.get("host", "")
    # The answers below are remembered with what was asked, so what cannot be a name is not even asked about.
    if len(host) > _MOST_NAME or not _host_allowed(host):
        raise Fault(
            code=INVALID_REQUEST,
            message="This hub does not answer for that Host; an operator can add it to ALLOWED_HOSTS.",
            status=421,
        )
    origin = head.headers.get("origin")
    if origin is None:
        return []
    if len(origin) > _MOST_NAME or not _origin_allowed(origin):
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
    """Listed, or the hub's own: the origin of BASE_URL, under any of this machine's own names if that is one."""
    if origin in settings.ALLOWED_ORIGINS or "*" in settings.ALLOWED_ORIGINS:
        return True
    own = urlsplit(settings.BASE_URL)
    if origin == f"{own.scheme}://{own.netloc}":
        return True
    local = {"localhost", "127.0.0.1", "::1"}
    try:
        given = urlsplit(origin)
        return {own.hostname, given.hostname} <= local and (given.scheme, given.port) == (own.scheme, own.port)
    except ValueError:  # not a URL, or a port that is no port
        return False


async def read_body(head: Head, receive: Receive) -> Any:
    """The JSON of the body, bounded by MAX_BODY_BYTES; raises a Fault that says what is wrong with it."""
    if head.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Fault(code=INVALID_REQUEST, message="Send the body as Content-Type: application/json.", status=415)
    return _parsed(await _read(head, receive))


def _parsed(body: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no NaN, no lone surrogates; of members with the same name the last one counts.

    Two things that orjson lets pass are refused: whole numbers beyond 64 bits (-2^63 to 2^64-1), which it would turn
    into floats without a word, and nesting that could not be written again. Both are looked for only in bodies that
    may have them.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise Fault(code=PARSE_ERROR, message=f"The body cannot be read as JSON: {problem}"[:200]) from None
    if body.count(b"{") + body.count(b"[") > _MOST_DEPTH and is_deeper(parsed, _MOST_DEPTH):
        raise Fault(
            code=INVALID_REQUEST, message=f"The body is nested more than {_MOST_DEPTH} deep.", request_id=id_of(parsed)
        )
    if _MANY_DIGITS in body.translate(_ONLY_DIGITS) and (number := _beyond_64_bits(body)) is not None:
        raise Fault(
            code=INVALID_REQUEST,
            message=f"The whole number {number[:40]} is beyond 64 bits and would lose digits; send it as a string.",
            request_id=id_of(parsed),
        )
    return parsed


def _beyond_64_bits(body: bytes) -> str | None:
    """The first whole number of a JSON text that orjson would not keep as it is."""
    found: list[str] = []

    def whole(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
            found.append(digits)
        return 0

    json.loads(body, parse_int=whole)
    return found[0] if found else None


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

    A missing version header means 2025-03-26. A body that carries the envelope of 2026-07-28 is held to its rules
    whatever the header says.
    """
    version = head.headers.get(wire.VERSION_HEADER, wire.BATCH_VERSION)
    return version if version in wire.HANDSHAKE and not _enveloped(body) else None


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
    """The id to answer to, or None when the message has none that could be used, or answers one of ours itself."""
    found = message.get("id") if isinstance(message, dict) and not message.keys() & {"result", "error"} else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None
