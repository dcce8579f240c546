"""A job as templates draw it: words, a bar, a timeline, the blocks of its result."""

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.utils.safestring import SafeString

from audit.models import Entry, Event
from jobs import words
from jobs.models import State
from jobs.values import View
from lib.html import coloured, when
from tools.values import ABSENT, Audio, Block, Embedded, Image, ResourceLink, Result, Text

_TONES = {
    State.QUEUED: "hint",
    State.RUNNING: "hint",
    State.INPUT: "warning",
    State.APPROVAL: "warning",
    State.SUCCEEDED: "ok",
    State.FAILED: "error",
    State.CANCELLED: "cancelled",
    State.INTERRUPTED: "interrupted",
    State.EXPIRED: "timeout",
}
MOST_TEXT = 100_000
"""Characters of a text block that a page shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A job in words. share: how much is done, from 0 to 1, None when that is not known. how_far: the same in words.
    moving: whether there is a bar to show at all."""

    view: View
    state: str
    tone: str
    share: str | None
    how_far: str
    moving: bool
    asked_at: SafeString
    started_at: SafeString
    ended_at: SafeString
    expires_at: SafeString
    took: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A line of the timeline."""

    at: SafeString
    says: str
    tone: str
    outcome: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A block of a result: `text`, `json`, `link` or `other`."""

    sort: str
    shown: Any
    href: str = ""


def of(view: View) -> Shown:
    return Shown(
        view=view,
        state="Stopping" if view.cancelling else str(State(view.state).label),
        tone="cancelled" if view.cancelling else _TONES[view.state],
        share=_share(view),
        how_far=_how_far(view),
        moving=view.state == State.RUNNING,
        asked_at=when(view.created_at),
        started_at=when(view.started_at, never="not yet"),
        ended_at=when(view.ended_at, never="not yet"),
        expires_at=when(view.expires_at),
        took=_span(view.started_at, view.ended_at),
    )


def announced(view: View) -> str:
    """What is read aloud when it changes."""
    shown = of(view)
    return f"{view.tool}: {shown.state.lower()}"


def mark(views: Iterable[View]) -> str:
    """What changes when anything changes that a page shows of these jobs."""
    seen = [(str(view.id), view.state, view.changed_at.isoformat(), view.place, view.cancelling) for view in views]
    return hashlib.sha256(orjson.dumps(seen)).hexdigest()[:16]


def why_without_result(view: View) -> str:
    """For an ended job that gave nothing: why, and whether it is safe to run it again."""
    return words.why_nothing(view) if view.ended and view.result is None else ""


def moments(entries: Sequence[Entry]) -> list[Moment]:
    return [
        Moment(
            at=when(entry.at),
            says=_says(entry),
            tone=entry.outcome,
            outcome=entry.get_outcome_display() if entry.outcome else "",
            detail=_detail(entry),
        )
        for entry in entries
    ]


def pieces(result: Result) -> list[Piece]:
    """The blocks of a result; its structured content only where no text repeats it."""
    found = [_piece(block) for block in result.content]
    if result.structured is not ABSENT and not any(piece.sort == "json" for piece in found):
        found.append(Piece(sort="json", shown=coloured(result.structured)))
    return found


def _piece(block: Block) -> Piece:
    match block:
        case Text(text=text):
            return _text(text)
        case ResourceLink(uri=uri, name=name):
            # Anything but http(s) could run in the page or open something on the reader's machine.
            return Piece(sort="link", shown=name or uri, href=uri if uri.startswith(("https://", "http://")) else "")
        case Image(mime_type=kind) | Audio(mime_type=kind):
            return Piece(sort="other", shown=f"{type(block).__name__}, {kind}")
        case Embedded(uri=uri, mime_type=kind):
            return Piece(sort="other", shown=f"Resource {uri}, {kind}")


def _text(text: str) -> Piece:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parsed = None
    if isinstance(parsed, dict | list):
        return Piece(sort="json", shown=coloured(parsed))
    cut = f"\n… and {len(text) - MOST_TEXT:,} characters more." if len(text) > MOST_TEXT else ""
    return Piece(sort="text", shown=text[:MOST_TEXT] + cut)


def _share(view: View) -> str | None:
    """As HTML writes numbers, whatever the language."""
    if view.state == State.SUCCEEDED:
        return "1"
    if view.progress is None or not view.total or view.total <= 0:
        return None
    return f"{min(1.0, max(0.0, view.progress / view.total)):.4f}"


def _how_far(view: View) -> str:
    if view.state == State.QUEUED:
        return f"{view.place} before it" if view.place else "next in the queue"
    if view.ended or view.progress is None:
        return "" if view.ended else view.message
    share = _share(view)
    said = f"{float(share):.0%}" if share is not None else f"{view.progress:g} so far"
    return f"{said}, {view.message}" if view.message else said


def _span(start: datetime.datetime | None, end: datetime.datetime | None) -> str:
    if start is None or end is None:
        return ""
    seconds = (end - start).total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{left} s" if not minutes else f"{minutes} min {left} s" if minutes < 60 else f"{minutes / 60:.1f} h"


_ATTEMPTS = {
    Event.STARTED.value: "An attempt began",
    Event.FINISHED.value: "The attempt ended",
    Event.REFUSED.value: "The attempt was refused",
    Event.INTERRUPTED.value: "The attempt was interrupted",
}


def _says(entry: Entry) -> str:
    return _ATTEMPTS.get(entry.event) or str(entry.get_event_display())


def _detail(entry: Entry) -> str:
    by = (entry.detail or {}).get("by") if isinstance(entry.detail, dict) else None
    took = f"{entry.duration_ms / 1000:.1f} s" if entry.duration_ms is not None else ""
    return ", ".join(part for part in (f"by {by}" if by else "", entry.reason, took) if part)
