"""The manifest: exactly what a model reads of a tool, and its hash. Pure."""

import hashlib
import json
from typing import Any

import orjson

from tools.models import Definition


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


def manifest_hash(listed: dict[str, Any]) -> str:
    """SHA-256 over the manifest with sorted keys: equal manifests have equal hashes wherever they are computed."""
    return hashlib.sha256(encoded(listed, sort=True)).hexdigest()


def estimated_tokens(listed: Any) -> int:
    """Roughly what listing it costs a model: a token for every four bytes of JSON, as tokenizers do on such text."""
    return -(-len(encoded(listed)) // 4)
