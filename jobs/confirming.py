"""Asking the caller's own person on a page of ours, where their host cannot.

A question is a row, bound to member, credential, the tool's version and the arguments as they would be run. The same
call finds it again: answered with yes, it is used up by the first that comes; with no, it is refused for a while.
"""

import asyncio
import random
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from psycopg import AsyncConnection

from audit import entries
from audit.models import Event
from audit.writer import LedgerUnavailable, writer
from jobs.intent import MOST_LINES, MOST_SHOWN, intent_of, sheet
from jobs.sealed import seal_arguments
from lib import db
from lib.ids import uuid7
from policy.values import Refusal
from tools import calls, pins
from tools.calls import Pending, Ready

OPEN = 3600.0
"""Seconds in which a question can be answered."""
HOLDS = 600.0
"""Seconds for which an answer holds."""
MOST_OPEN = 20
"""Questions of one member that may wait at a time."""
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between two looks whether it is this call's turn, among those of one member that come at a time."""
_MOST_ROUNDS = 50
"""Batches that are forgotten in a row, of a thousand questions each."""
BY_FORM, BY_LINK, BY_PAGE = "form", "link", "page"
"""How a question was put: by the host, by a link that the host opens, by a link that a model passes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Yes:
    """An answer that was used up by this very call."""

    id: uuid.UUID
    tenant_id: int

    async def give_back(self) -> None:
        """For a call that was refused after all: the same call may still use the answer, or else it is asked anew."""
        with suppress(*db.UNREACHABLE):
            async with db.tenant_write(self.tenant_id) as conn:
                await conn.execute("UPDATE jobs_confirmation SET used_at = NULL WHERE id = %s", [self.id])


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """A question that nobody has answered yet."""

    id: uuid.UUID

    @property
    def link(self) -> str:
        return f"{settings.BASE_URL}/confirm/{self.id}/"


def bound_to(ready: Ready) -> str:
    """A digest of what a person says yes to: this very version of the tool, with these arguments, sent there."""
    tool = ready.tool
    return entries.digest([ready.digest, tool.version_id, tool.connection.base_url if tool.connection else ""])


async def claim(pending: Pending, how: str = BY_PAGE) -> Yes | Open | Refusal:
    """What became of the question about this call, which is put when it was not yet; put or used only once, however
    many come at a time. A Refusal, and that it was asked, are recorded; what comes too often without a yes is one.

    Raises LedgerUnavailable when it is not known to be.
    """
    ready = pending.ready
    if isinstance(counted := await _counted(ready), Refusal):
        return counted
    sealed = await asyncio.to_thread(_sealed, pending)  # long arguments are slow to write out
    try:
        found = await _in_turn(pending, how, sealed) if sealed else _too_long(ready.tool.name)
    except db.UNREACHABLE as problem:
        raise LedgerUnavailable("the question could not be recorded, and nothing was run") from problem
    return await calls.refuse(ready, found) if isinstance(found, Refusal) else found


async def _counted(ready: Ready) -> Ready | Refusal:
    """Count a call that comes while nobody has said yes to it; the one that comes with the yes was counted before."""
    if not ready.limits.repeats:
        return ready
    try:
        async with db.tenant_transaction(ready.caller.tenant_id) as conn:
            found = await _answer(conn, ready)
    except db.UNREACHABLE as problem:
        raise LedgerUnavailable("whether it was said yes to is not known, and nothing was run") from problem
    return ready if found is not None and found[1] == "yes" else await calls.count(ready)


async def _in_turn(pending: Pending, how: str, sealed: bytes) -> Yes | Open | Refusal:
    """The calls of one member one after the other. Who waits holds no connection, or it would take them from all."""
    for pause in _PAUSES:
        if (found := await _claimed(pending, how, sealed)) is not None:
            return found
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - it spreads load, it guards nothing
    return await _claimed(pending, how, sealed) or _crowd(pending.ready.tool.name)


async def _claimed(pending: Pending, how: str, sealed: bytes) -> Yes | Open | Refusal | None:
    """None while another call of the member is at it, here or on another server."""
    ready = pending.ready
    async with db.tenant_write(ready.caller.tenant_id) as conn:
        cursor = await conn.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended('jobs_confirmation', %s))", [ready.caller.member_id]
        )
        if await cursor.fetchone() != (True,):
            return None
        found = await _found(conn, ready) or await _put(conn, pending, sealed)
        if isinstance(found, Open):
            await _record(conn, asked(ready, how, found.id))
        return found


async def record_asked(ready: Ready, how: str) -> None:
    """That a host was told to ask."""
    await writer().write(asked(ready, how))


def asked(ready: Ready, how: str, confirmation_id: uuid.UUID | None = None) -> dict[str, Any]:
    """The ledger row of a question."""
    row = calls.row(ready, Event.ASKED)
    row["detail"] = {**row.get("detail", {}), "by": how}
    return {**row, "subject": f"confirmation {confirmation_id}"} if confirmation_id else row


def needed(found: Open, tool: str) -> Refusal:
    """What a host is told that cannot ask by itself."""
    return Refusal(
        reason="confirmation_needed",
        message=f"{tool} was not run yet: the person it works for has to say yes to exactly this call first. Give them "
        f"this link: {found.link} Once they have said yes, call again with exactly the same arguments.",
        ask_at=found.link,
    )


def said_no(tool: str) -> Refusal:
    return Refusal(
        reason="not_confirmed",
        message=f"{tool} was not run: the person said no. Do not try again unless they ask for it.",
    )


async def _answer(conn: AsyncConnection[Any], ready: Ready) -> tuple[uuid.UUID, str] | None:
    """The question about exactly this call, while it is open or its answer holds and was not used: its id, and what was
    answered."""
    caller = ready.caller
    cursor = await conn.execute(
        "SELECT id, answer FROM jobs_confirmation WHERE tenant_id = %s AND member_id = %s AND credential = %s"
        " AND digest = %s AND used_at IS NULL AND CASE answer WHEN '' THEN expires_at > clock_timestamp()"
        " ELSE answered_at > clock_timestamp() - make_interval(secs => %s) END"
        " ORDER BY answer = 'yes' DESC, created_at DESC LIMIT 1",
        [caller.tenant_id, caller.member_id, caller.credential, bound_to(ready), HOLDS],
    )
    row: tuple[uuid.UUID, str] | None = await cursor.fetchone()
    return row


async def _found(conn: AsyncConnection[Any], ready: Ready) -> Yes | Open | Refusal | None:
    """What became of it; a yes is used up."""
    row = await _answer(conn, ready)
    if row is None:
        return None
    question, answer = row
    if answer == "no":
        return said_no(ready.tool.name)
    if answer == "":
        return Open(id=question)
    await conn.execute("UPDATE jobs_confirmation SET used_at = clock_timestamp() WHERE id = %s", [question])
    return Yes(id=question, tenant_id=ready.caller.tenant_id)


async def _put(conn: AsyncConnection[Any], pending: Pending, sealed: bytes) -> Open | Refusal:
    ready, caller, said = pending.ready, pending.ready.caller, _why(pending)
    cursor = await conn.execute(
        "SELECT count(*) FROM jobs_confirmation WHERE tenant_id = %s AND member_id = %s AND answer = ''"
        " AND expires_at > clock_timestamp()",
        [caller.tenant_id, caller.member_id],
    )
    (waiting,) = await cursor.fetchone() or (0,)
    if waiting >= MOST_OPEN:
        return _too_many(ready.tool.name)
    made = Open(id=uuid7())
    await conn.execute(
        "INSERT INTO jobs_confirmation (id, tenant_id, member_id, credential, client, tool, manifest_hash, digest,"
        " arguments, message, created_at, expires_at, answer) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
        " clock_timestamp(), clock_timestamp() + make_interval(secs => %s), '')",
        [
            made.id,
            caller.tenant_id,
            caller.member_id,
            caller.credential,
            (ready.origin.client or caller.client)[:200],
            ready.tool.name,
            ready.tool.subject.pin,
            bound_to(ready),
            sealed,
            said[:500],
            OPEN,
        ],
    )
    return made


def _sealed(pending: Pending) -> bytes | None:
    """What its page shows, sealed; None where that would not be all of it."""
    shown = sheet(intent_of(pending.ready, _why(pending)))
    return None if shown is None else seal_arguments(shown)


def _why(pending: Pending) -> str:
    """Why the person is asked: what a rule says, and first what the tool can do and could not when they let it in."""
    gained, said = pins.gained(pending.ready.caller, pending.ready.tool), pending.decision.message
    return said if gained in said else f"{gained} {said}".strip()


def _too_long(tool: str) -> Refusal:
    return Refusal(
        reason="too_long_to_confirm",
        message=f"{tool} was not run: the person it works for has to say yes to exactly this call first, and it is "
        f"more than they could be shown ({MOST_LINES} arguments of {MOST_SHOWN:,} characters each, with short names). "
        "Send less, or in several calls.",
    )


def _too_many(tool: str) -> Refusal:
    return Refusal(
        reason="too_many_questions",
        message=f"{tool} was not run: {MOST_OPEN} other calls wait for the same person's yes already. Have them answer "
        "those first, or wait until they are forgotten after an hour.",
        retryable=True,
        retry_after=60.0,
    )


def _crowd(tool: str) -> Refusal:
    return Refusal(
        reason="too_many_questions",
        message=f"{tool} was not run: too many calls ask for the same person's yes at once. Call again in a moment.",
        retryable=True,
        retry_after=5.0,
    )


async def _record(conn: AsyncConnection[Any], row: dict[str, Any]) -> None:
    await conn.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([row]).decode()])


async def forget() -> None:
    """Drop questions that were over a day ago."""
    for _ in range(_MOST_ROUNDS):
        ((more,),) = await db.lane("jobs forget").fetch("SELECT jobs_forget_confirmations()", [])
        if not more:
            return
