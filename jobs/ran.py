"""The last time that the caller of a held call used its tool, as the ledger keeps it: also what ran by itself, which no
rule held. Of its arguments the ledger has a preview, without secrets and cut."""

import datetime
from dataclasses import dataclass
from typing import Any, LiteralString

import orjson
from django.db import connection

from audit import entries
from audit.models import Event
from jobs.models import Approval

_LOOKED_BACK = datetime.timedelta(days=90)
_MOST_ENTRIES = 20_000
# The latest of what the ledger has of the last months, as a tenant may have millions of entries.
_LAST: LiteralString = """
    SELECT e.at, e.preview, e.subject LIKE 'job %%' AND coalesce(e.detail ->> 'agreed', '') = 'approved' FROM (
        SELECT at, event, actor, tool, preview, subject, detail FROM audit_entry
        WHERE tenant_id = %s AND at BETWEEN %s AND %s ORDER BY at DESC LIMIT %s
    ) e WHERE e.event = %s AND e.actor = %s AND e.tool = %s AND e.subject <> 'preflight' ORDER BY e.at DESC LIMIT 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A call of the same tool for the same caller. preview: as the ledger keeps its arguments. held: whether it was
    approved, which the ledger says for longer than approvals are kept."""

    at: datetime.datetime
    preview: Any
    held: bool


def last(approval: Approval) -> Ran | None:
    """None where there was none lately, if ever."""
    asked: list[Any] = [
        approval.tenant_id,
        approval.created_at - _LOOKED_BACK,
        approval.created_at,
        _MOST_ENTRIES,
        Event.STARTED,
        approval.member.user.username,
        approval.tool,
    ]
    with connection.cursor() as cursor:
        cursor.execute(_LAST, asked)
        row = cursor.fetchone()
    if row is None:
        return None
    at, preview, held = row
    return Ran(at=at, preview=orjson.loads(preview) if preview else None, held=held)


def as_kept(arguments: Any, secret: frozenset[str]) -> Any:
    """Arguments as the ledger would keep them, to be compared with what it kept."""
    return entries.preview(arguments, hidden=secret)


def is_whole(preview: Any) -> bool:
    """Whether there is anything of the arguments in it."""
    return isinstance(preview, dict) and preview.keys() != {"…"}
