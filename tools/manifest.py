"""The manifest: exactly what a model reads of a tool, and its hash. Pure."""

import hashlib
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


def manifest_hash(listed: dict[str, Any]) -> str:
    """SHA-256 over the manifest with sorted keys: equal manifests have equal hashes wherever they are computed."""
    return hashlib.sha256(orjson.dumps(listed, option=orjson.OPT_SORT_KEYS)).hexdigest()


def estimated_tokens(listed: Any) -> int:
    """Roughly what listing it costs a model: a token for every four bytes of JSON, as tokenizers do on such text."""
    return -(-len(orjson.dumps(listed)) // 4)
