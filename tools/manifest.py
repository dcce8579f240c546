"""The manifest: exactly what a model reads of a tool, and its hash. Pure."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import orjson
from yarl import URL

from tools.models import Definition, Version


def manifest(definition: Definition) -> dict[str, Any]:
    """The tool as hosts list it (MCP server/tools, data type Tool). Schemas go out as they were written."""
    listed: dict[str, Any] = {"name": definition.name}
    if definition.title:
        listed["title"] = definition.title
    listed["description"] = definition.description
    if definition.icon:
        listed["icons"] = [{"src": definition.icon}]
    listed["inputSchema"] = definition.input_schema
    if definition.output_schema is not None:
        listed["outputSchema"] = definition.output_schema
    listed["annotations"] = {
        "readOnlyHint": definition.read_only,
        "destructiveHint": definition.destructive and not definition.read_only,
        "idempotentHint": definition.idempotent or definition.read_only,
        "openWorldHint": definition.open_world,
    }
    return listed


def encoded(value: Any, *, sort: bool = False) -> bytes:
    """JSON as hosts get it. Drafts of old may hold whole numbers beyond 64 bits, which no host is ever sent; they are
    written out, so that somebody can open such a draft and mend it."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort else None)
    except TypeError:  # the base of orjson's own error
        return json.dumps(value, ensure_ascii=False, sort_keys=sort, separators=(",", ":")).encode(errors="replace")


def manifest_hash(listed: dict[str, Any], *, scopes: Iterable[str], destination: str) -> str:
    """SHA-256 over the manifest, the scopes and the destination, with sorted keys: equal tools have equal hashes
    wherever they are computed. What people agree to binds to it, so it holds all that they agree to."""
    agreed = {"manifest": listed, "scopes": sorted(set(scopes)), "destination": destination}
    return hashlib.sha256(encoded(agreed, sort=True)).hexdigest()


def destination_of(definition: Definition) -> str:
    """Where its calls go now: the origin of its connection, "" without one."""
    return origin_of(definition.connection.base_url) if definition.connection is not None else ""


def origin_of(url: str) -> str:
    """Scheme, host and port (RFC 6454 section 4); the port only where it is not the scheme's own."""
    try:
        return str(URL(url).origin())
    except ValueError:
        return url


def leads_elsewhere(published: str, base_url: str | None) -> bool:
    """Whether a connection leads elsewhere than when a version was published. Versions of old kept no destination."""
    return published != "" and published != (origin_of(base_url) if base_url else "")


def is_led_elsewhere(version: Version) -> bool:
    """The same of a version with its connection as it is now."""
    return leads_elsewhere(version.destination, version.connection.base_url if version.connection else "")


def estimated_tokens(listed: Any) -> int:
    """Roughly what listing it costs a model: a token for every four bytes of JSON, as tokenizers do on such text."""
    return -(-len(encoded(listed)) // 4)
