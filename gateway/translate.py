"""From our values to the wire: results, refusals, and the tool list, for each revision."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.errors import INSUFFICIENT_SCOPE, INVALID_PARAMS, Fault
from gateway.wire import HANDSHAKE
from policy.decide import Refusal
from tools.values import ABSENT, Audio, Block, Embedded, Image, ResourceLink, Result, Text


def result(given: Result, version: str) -> dict[str, Any]:
    """A CallToolResult (MCP server/tools). Up to 2025-11-25 structured content is an object or nothing."""
    wire = _complete([_block(block) for block in given.content], given.is_error, version)
    structured = given.structured
    if structured is not ABSENT and (isinstance(structured, Mapping) or version not in HANDSHAKE):
        wire["structuredContent"] = structured
    return wire


def refusal(refused: Refusal, version: str) -> dict[str, Any]:
    """A refusal the model can do something about is a result that says so; the others are raised as a Fault."""
    if refused.reason == "unknown_tool":
        raise Fault(code=INVALID_PARAMS, message=refused.message)
    if refused.reason == "insufficient_scope":
        raise Fault(code=INSUFFICIENT_SCOPE, message=refused.message, status=403, scopes=refused.scopes)
    said: dict[str, Any] = {"reason": refused.reason, "retryable": refused.retryable}
    if refused.retry_after is not None:
        said["retryAfter"] = refused.retry_after
    text = {"type": "text", "text": refused.message}
    return {**_complete([text], True, version), "_meta": {"mcphub/refusal": said}}


def _complete(content: list[dict[str, Any]], is_error: bool, version: str) -> dict[str, Any]:
    """2026-07-28 says of every result whether it is complete; before that there is no such word."""
    marked = {} if version in HANDSHAKE else {"resultType": "complete"}
    return {**marked, "content": content, "isError": is_error}


def listed(manifests: Iterable[Mapping[str, Any]], version: str) -> list[dict[str, Any]]:
    """Manifests as `version` lists them: before 2026-07-28 an output schema describes an object or is left out."""
    return [
        {
            name: value
            for name, value in manifest.items()
            if name != "outputSchema" or version not in HANDSHAKE or value.get("type") == "object"
        }
        for manifest in manifests
    ]


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Image(data=data, mime_type=mime_type):
            return {"type": "image", "data": data, "mimeType": mime_type}
        case Audio(data=data, mime_type=mime_type):
            return {"type": "audio", "data": data, "mimeType": mime_type}
        case ResourceLink():
            link = {"uri": block.uri, "name": block.name, "description": block.description, "mimeType": block.mime_type}
            return {"type": "resource_link", **{name: value for name, value in link.items() if value is not None}}
        case Embedded():
            body = {"text": block.text} if block.text is not None else {"blob": block.blob or ""}
            return {"type": "resource", "resource": {"uri": block.uri, "mimeType": block.mime_type, **body}}
