"""Where a job's result lies: in its row, or, when it is too large for a model or for a row, in storage.

The model then gets a summary and a signed link to the whole, which its host or its person can open.
"""

import asyncio
import logging
import uuid
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from django.conf import settings
from django.utils import timezone

from jobs.models import Job
from jobs.sealed import seal_result, unseal_result
from lib import storage
from tools.catalog import LiveTool
from tools.values import ABSENT, ResourceLink, Result, Text

log = logging.getLogger(__name__)

MOST = 64 * 1024 * 1024
"""Bytes of a result that is kept at all: it is sealed and opened in memory."""
_SHOWN = 2048
"""Bytes of its text that a summary shows."""
_MOST_NAMES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What a row says of a result: `result` (sealed; what the model gets), `result_key` ("" when that is all of it)
    and `result_bytes` (of the whole)."""

    inline: bytes
    key: str
    size: int


async def keep(job_id: uuid.UUID, tool: LiveTool, result: Result) -> Kept:
    """Keep a settled result that was not cut. Done before the job's end is written, so that no row names what is not
    there; what a process leaves here that dies in between is cleared later."""
    size = _size(result)
    if size > MOST:
        return Kept(inline=seal_result(_beyond(tool, size)), key="", size=size)
    if size <= min(tool.max_result, settings.JOBS_INLINE_RESULT):
        return Kept(inline=seal_result(result), key="", size=size)
    summary, key = _summary(tool, result, size), storage.new_key(job_id, timezone.now())
    try:
        await storage.put(key, await asyncio.to_thread(seal_result, result))
    except Exception:  # whatever the storage raises: the tool has run, and what it gave is not to be lost altogether
        log.exception("the result of job %s could not be stored", job_id)
        return Kept(inline=seal_result(_cut_short(summary)), key="", size=size)
    return Kept(inline=seal_result(summary), key=key, size=size)


def opened(row: Job) -> Result:
    """The result of an ended job as the model gets it; reads no storage. The row has a `result`.

    Raises lib.seal.SealError when no key opens it.
    """
    result = unseal_result(row.result or b"")
    return _linked(row, result) if row.result_key else result


def link(row: Job) -> str | None:
    """The URL of the whole result, when that is more than what `opened` gives."""
    if not row.result_key or row.expires_at is None:
        return None
    return f"{settings.BASE_URL}{storage.signed(row.tenant_id, row.pk, row.expires_at)}"


def _linked(row: Job, summary: Result) -> Result:
    """The summary with its link, in words too: not every host shows a resource_link to its model."""
    *shown, named = summary.content
    url = link(row)
    if url is None or row.expires_at is None or not isinstance(named, ResourceLink):
        return replace(summary, content=tuple(shown))
    until = f"{row.expires_at:%Y-%m-%d %H:%M} UTC"
    words = f"The whole result can be downloaded until {until} from {url} - anybody who has this link can open it."
    return replace(summary, content=(*shown, Text(text=words), replace(named, uri=url)))


def _summary(tool: LiveTool, result: Result, size: int) -> Result:
    """The first of its text and what else there is; a ResourceLink without its URL comes last.

    Where structured content is promised and too large to be given, the summary is an error, as in `tools.outcome`.
    """
    structured = result.structured if _fits(tool, result.structured) else ABSENT
    promised = tool.output is not None and structured is ABSENT
    said = f"{tool.name} gave {size} bytes, more than can be shown here: {_inventory(result)}.{_beginning(result)}"
    return Result(
        content=(
            *_notes(result),
            Text(text=said),
            ResourceLink(uri="", name=f"{tool.name} result", mime_type=mime_type(result)),
        ),
        structured=structured,
        is_error=result.is_error or promised,
        reason=result.reason or ("result_too_large" if promised else ""),
        provenance=result.provenance,
    )


def _notes(result: Result) -> list[Text]:
    """What the hub itself says of it, which comes last in the whole."""
    return [block for block in result.content if isinstance(block, Text) and block.by_hub]


def _cut_short(summary: Result) -> Result:
    lost = "The rest of it could not be kept, as the hub's storage failed; tell an admin of this tenant."
    return replace(summary, content=(*summary.content[:-1], Text(text=lost)))


def _beyond(tool: LiveTool, size: int) -> Result:
    return Result.of_error(
        f"{tool.name} gave {size} bytes, and the hub keeps {MOST} at the most, so the result is lost. "
        "Ask for less: narrower filters, fewer items, or the next page.",
        "result_too_large",
    )


def mime_type(result: Result) -> str:
    """What the whole result is when it is downloaded: JSON where it has structure, or else plain text."""
    only_text = result.structured is ABSENT and all(isinstance(block, Text) for block in result.content)
    return "text/plain" if only_text else "application/json"


def _fits(tool: LiveTool, structured: Any) -> bool:
    most = min(tool.max_result, settings.JOBS_INLINE_RESULT)
    return structured is not ABSENT and len(orjson.dumps(structured)) <= most


def _size(result: Result) -> int:
    """As `tools.outcome` counts it: structured content mostly repeats the other."""
    content = sum(_length(asdict(block)) for block in result.content)
    return max(content, 0 if result.structured is ABSENT else len(orjson.dumps(result.structured)))


def _length(fields: dict[str, Any]) -> int:
    return sum(len(value.encode()) for value in fields.values() if isinstance(value, str))


def _inventory(result: Result) -> str:
    kinds = Counter(type(block).__name__.lower() for block in result.content)
    parts = [f"{count} x {kind}" for kind, count in kinds.items()]
    match result.structured:
        case list() as rows:
            parts.append(f"a list of {len(rows)}")
        case dict() as fields:
            parts.append("an object of " + ", ".join(map(_member, list(fields.items())[:_MOST_NAMES])))
    return "; ".join(parts) or "nothing"


def _member(item: tuple[str, Any]) -> str:
    name, value = item
    return f"{name[:40]} ({len(value)})" if isinstance(value, list | dict) else name[:40]


def _beginning(result: Result) -> str:
    first = next((block.text for block in result.content if isinstance(block, Text)), "")
    shown = first.encode()[:_SHOWN].decode(errors="ignore")
    return f" It begins:\n\n{shown}\n[...]" if shown else ""
