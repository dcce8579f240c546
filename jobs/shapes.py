"""Jobs and results as JSON for programs: the REST interface, its events, and downloads."""

from typing import Any, Final

from django.conf import settings

from jobs import words
from jobs.values import View
from tools.values import ABSENT, Audio, Block, Embedded, Image, Provenance, ResourceLink, Result, Text


def jobs_url(slug: str) -> str:
    return f"{settings.BASE_URL}/api/v1/t/{slug}/jobs/"


def job_body(view: View, slug: str) -> dict[str, Any]:
    """A job without its content. Times are in UTC (RFC 3339), spans in seconds."""
    url = f"{jobs_url(slug)}{view.id}/"
    return {
        "id": str(view.id),
        "tool": view.tool,
        "version": view.number,
        "username": view.username,
        "state": str(view.state.value),
        "reason": view.reason,
        "ask_at": ask_at(view, slug),
        "cancelling": view.cancelling,
        "progress": {"done": view.progress, "total": view.total, "message": view.message},
        "place": view.place,
        "attempts": view.attempts,
        "most_attempts": view.most_attempts,
        "arguments": view.preview,
        "created_at": view.created_at,
        "changed_at": view.changed_at,
        "started_at": view.started_at,
        "ended_at": view.ended_at,
        "expires_at": view.expires_at,
        "forgotten": view.forgotten,
        "check_after": None if view.ended else view.poll_ms / 1000,
        "url": url,
        "result_url": f"{url}result/",
        "events_url": f"{url}events",
    }


def ask_at(view: View, slug: str) -> str | None:
    """Where a person can ask for access, where a rule is why it did not run."""
    refused = words.refusal_of(view, slug)
    return refused.ask_at or None if refused else None


def result_body(result: Result) -> dict[str, Any]:
    """A result as hosts know it: `content`, `structuredContent`, `isError` (MCP server/tools, "Tool Result")."""
    body: dict[str, Any] = {"content": content_of(result), "isError": result.is_error}
    if result.provenance is not None:
        body["_meta"] = {"mcphub/provenance": provenance_of(result.provenance)}
    return body if result.structured is ABSENT else {**body, "structuredContent": result.structured}


def content_of(result: Result) -> list[dict[str, Any]]:
    """Its `content`, here and in MCP. What comes from outside is of less weight than what the hub says itself (MCP
    server/resources, Annotations)."""
    if result.provenance is None:
        return [_block(block) for block in result.content]
    return [{**_block(block), "annotations": _OF_HUB if _by_hub(block) else _FROM_OUTSIDE} for block in result.content]


def provenance_of(provenance: Provenance) -> dict[str, str]:
    """As the result's `_meta` has it, here and in MCP."""
    return {"tool": provenance.tool, "source": provenance.source, "trust": "outside"}


def _by_hub(block: Block) -> bool:
    return isinstance(block, Text) and block.by_hub


_OF_HUB: Final = {"audience": ["user", "assistant"], "priority": 1.0}
_FROM_OUTSIDE: Final = {**_OF_HUB, "priority": 0.5}


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Image(data=data, mime_type=mime_type):
            return {"type": "image", "data": data, "mimeType": mime_type}
        case Audio(data=data, mime_type=mime_type):
            return {"type": "audio", "data": data, "mimeType": mime_type}
        case ResourceLink():
            known = {"description": block.description, "mimeType": block.mime_type}
            given = {name: value for name, value in known.items() if value is not None}
            return {"type": "resource_link", "uri": block.uri, "name": block.name, **given}
        case Embedded():
            held = {"text": block.text} if block.text is not None else {"blob": block.blob or ""}
            return {"type": "resource", "resource": {"uri": block.uri, "mimeType": block.mime_type, **held}}
