"""A held call as templates draw it: in the inbox for those who decide, and on its job's page for those who wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.safestring import SafeString

from jobs import approvals, brief, inbox_rows
from jobs.brief import Brief
from jobs.inbox_rows import Reach
from jobs.models import Approval, Note
from lib.html import json_block, when
from tenants.models import User

_TONES: Final[Mapping[Approval.State, str]] = {
    Approval.State.WAITING: "warning",
    Approval.State.APPROVED: "ok",
    Approval.State.DENIED: "refused",
    Approval.State.EXPIRED: "timeout",
    Approval.State.WITHDRAWN: "cancelled",
}
_WITHDRAWN: Final = {
    "tool_changed": "The tool was published anew or taken away after the call was made.",
    "destination_changed": "The tool led elsewhere than when the call was made.",
    "arguments_lost": "Its arguments were not those that were held.",
    "standing_lost": "Its caller may no longer use the tool.",
    "cancelled": "Its caller, an owner or an admin took it back.",
    "killed": "A kill switch was thrown.",
}


SHORT = 4000
"""Characters of arguments that a list shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A held call as templates draw it. brief: None for who may not know its arguments. short: whether these are so few
    that a list shows them, and may have the button that approves them. decides: whether the reader
    may say yes or no, now; else `why_not` says why. breaks: whether they may release it alone."""

    row: Approval
    sentence: str
    brief: Brief | None
    arguments: SafeString | None
    short: bool
    host: str
    state: str
    tone: str
    waits: bool
    decides: bool
    why_not: str
    breaks: bool
    asked_at: SafeString
    until: SafeString
    decided_at: SafeString
    unheld_at: SafeString
    outcome: str


def card_of(row: Approval, user: User, reach: Reach) -> Card:
    """As this person sees it, whose reach this is."""
    refusal = approvals.why_not(row, user)
    breaks = inbox_rows.may_break(row, user)
    known = _brief(row, reach) if refusal is None or breaks else None
    waits = row.state == Approval.State.WAITING
    shown = known.arguments if known is not None else None
    return Card(
        row=row,
        sentence=known.sentence if known is not None else brief.sentence(row.job.version),
        brief=known,
        arguments=json_block(shown) if shown else None,
        short=known is not None and known.length <= SHORT,
        host=brief.line(row.job.client),
        state=str(Approval.State(row.state).label),
        tone=_TONES[Approval.State(row.state)],
        waits=waits,
        decides=waits and refusal is None,
        why_not=refusal.message if waits and refusal is not None else "",
        breaks=waits and breaks,
        asked_at=when(row.created_at),
        until=when(row.expires_at),
        decided_at=when(row.decided_at),
        unheld_at=when(known.unheld.at if known is not None and known.unheld is not None else None),
        outcome=outcome(row),
    )


def _brief(row: Approval, reach: Reach) -> Brief:
    return brief.brief_of(row, reach.knows, reads=row.tenant_id in reach.reads)


def outcome(row: Approval) -> str:
    """What became of it, in a sentence; empty while it waits."""
    who = row.decided_by.username if row.decided_by else "somebody who is gone"
    match row.state:
        case Approval.State.APPROVED if row.broken:
            return f"{who} released it without a reviewer: {row.broken}"
        case Approval.State.APPROVED:
            return f"{who} approved it."
        case Approval.State.DENIED:
            return f"{who} denied it: {row.reason}"
        case Approval.State.EXPIRED:
            return "Nobody decided in time. It did not run."
        case Approval.State.WITHDRAWN:
            return f"It was withdrawn. {_WITHDRAWN.get(row.reason, '')}".strip()
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What a job's page says of its approval. decides: whether the reader finds it in their inbox. answers: whether
    it is their call that is asked about."""

    row: Approval
    outcome: str
    until: SafeString
    waits: bool
    decides: bool
    answers: bool
    talk: list[tuple[Note, SafeString]]


def held_of(row: Approval, user: User) -> Held:
    waits = row.state == Approval.State.WAITING
    return Held(
        row=row,
        outcome=outcome(row),
        until=when(row.expires_at),
        waits=waits,
        decides=inbox_rows.find(user, row.pk) is not None,
        answers=waits and row.member.user_id == user.pk,
        talk=talk(row),
    )


def talk(row: Approval) -> list[tuple[Note, SafeString]]:
    """What was asked and answered, the oldest first."""
    return [(note, when(note.created_at)) for note in inbox_rows.notes(row)]
