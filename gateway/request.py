"""Reading one HTTP request at the endpoint: who may speak, the revision, the body."""

import json
from typing import Any

import orjson
from django.conf import settings

from access.head import Head, cors, wrong_peer
from gateway import wire
from gateway.errors import INVALID_REQUEST, PARSE_ERROR, Fault
from gateway.reply import Headers, Receive
from lib.schema.validator import is_deeper

_MOST_BATCH = 50
_MOST_DEPTH = 100
"""Levels of nesting in a body. orjson reads 1,024 but writes only 254, and what is read has to be recorded."""
_ONLY_DIGITS = bytes(48 if 48 <= code <= 57 else 32 for code in range(256))
_MANY_DIGITS = b"0" * 19


def check_peer(head: Head) -> Headers:
    """Refuse a Host or Origin that is not ours; the CORS headers for an Origin that is."""
    if wrong := wrong_peer(head):
        raise Fault(code=INVALID_REQUEST, message=wrong[1], status=wrong[0])
    return cors(head)


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
    length, most = head.headers.get("content-length", "0"), settings.MAX_BODY_BYTES
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Fault(code=INVALID_REQUEST, message="The connection closed before the body was complete.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def _too_large(most: int) -> Fault:
    return Fault(code=INVALID_REQUEST, message=f"The body is larger than {most} bytes.", status=413)


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
