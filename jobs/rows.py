"""The one door to jobs for what runs on an event loop: hosts' requests and streams (pages use `jobs.queries`).

Everything takes a Caller, and answers None alike for an id that is unknown, another tenant's, not theirs to see, or no
id at all.
"""

import time
import uuid
from collections.abc import Mapping
from typing import Any, LiteralString

import orjson
from django.conf import settings
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from audit import entries
from audit.models import Event, Outcome
from audit.writer import LedgerUnavailable, writer
from jobs import asking, queries, sealed, words
from jobs.models import Job, State
from jobs.values import Accepted, View, lacking, may_answer, may_stop
from lib import db, events, seal
from policy.values import Refusal
from tenants.caller import Caller
from tenants.queries import READERS
from tools import calls
from tools.calls import Ready
from tools.catalog import Lasting
from tools.values import Report

MOST_ARGUMENTS = 1024 * 1024
"""Bytes of JSON that a job's arguments may have; they are sealed and kept in its row."""
RETRY_HELD = 60.0
"""Seconds after which to try again to have a call held. Nobody knows when a reviewer decides."""
LEAST_KEPT = 60.0
"""Seconds that a result is kept at the least, whatever its host wished."""

# The columns by name, as `number`, `needed` and `place` come from elsewhere and the sealed ones are read only at need.
_VIEW: LiteralString = """
    SELECT j.id, j.tenant_id, j.member_id, j.version_id, j.username, j.tool, j.state, j.reason, j.priority,
        j.idempotent, j.attempts, j.most_attempts, j.fence, j.cancel_at, j.preview, j.progress, j.total, j.message,
        j.inputs, j.error, j.result_key, j.created_at, j.changed_at, j.started_at, j.ended_at, j.keep, j.expires_at,
        v.number, v.scopes AS needed,
        CASE WHEN j.state = 'queued' THEN (
            SELECT count(*) FROM jobs_job q WHERE q.tenant_id = j.tenant_id AND q.state = 'queued'
            AND (q.priority > j.priority OR (q.priority = j.priority AND (q.due_at, q.id) < (j.due_at, j.id)))
        ) END AS place, CASE WHEN %s THEN j.result END AS result
    FROM jobs_job j JOIN tools_version v ON v.id = j.version_id
"""
_ONE: LiteralString = _VIEW + " WHERE j.id = %s"
# `values.may_see`, and `queries.visible`, once more for Postgres.
_SEEN: LiteralString = """
    WHERE j.tenant_id = %s AND (%s::text IS NULL OR j.state = %s) AND (%s::text IS NULL OR j.tool = %s)
        AND ((j.member_id = %s AND v.scopes::text[] <@ %s::text[]) OR (%s AND NOT v.scopes::text[] && %s::text[]))
        AND (%s::uuid IS NULL OR (j.created_at, j.id) < (SELECT a.created_at, a.id FROM jobs_job a WHERE a.id = %s))
    ORDER BY j.created_at DESC, j.id DESC LIMIT %s
"""
_LIST: LiteralString = _VIEW + _SEEN


async def accept(
    ready: Ready, *, keep: float | None = None, review: Mapping[str, Any] | None = None
) -> Accepted | Refusal:
    """Make a job of a call that is ready, or join the one that the same call made before; durable when this returns.

    keep: seconds that its host wishes the result kept. review: the columns of its approval, for a call that is held
    until somebody has approved it (`jobs.held`). The Refusals, which are recorded: `too_large`, `queue_full`,
    `too_many_waiting`.
    Raises LedgerUnavailable when it is not known to be durable.
    """
    content = _sealed_arguments(ready.arguments)
    if content is None:
        return await _too_large(ready)
    given, entry = _given(ready) | {"held": review}, calls.row(ready, Event.JOB_ACCEPTED)
    try:
        async with db.tenant_write(ready.caller.tenant_id) as conn:
            verdict, job_id, wait, bell = await _insert(conn, ready, given, content, entry, keep)
            if job_id is None:
                return _crowded(review or {}) if verdict == "crowded" else _full(wait)
            job = await _read(conn, job_id)
    except db.UNREACHABLE as problem:
        raise LedgerUnavailable("the job could not be recorded; if it was, the same call joins it") from problem
    assert job is not None  # noqa: S101 - it was inserted or found in this transaction
    return Accepted(view=queries.view_of(job), joined=verdict == "joined", bell=bell)


async def get(caller: Caller, job_id: str, *, content: bool = False) -> View | None:
    """The job as it is now. content: with its result or error, when it has ended."""
    wanted = queries.parse_id(job_id)
    if wanted is None:
        return None
    async with db.tenant_transaction(caller.tenant_id) as conn:
        job = await _read(conn, wanted, content=content)
    return queries.seen_by(caller, job, content=content) if job else None


async def wait(
    caller: Caller, job_id: str, seconds: float, *, report: Report | None = None, content: bool = False
) -> View | None:
    """The job once it has ended or asks something, or as it is after so many seconds.

    report: told of its progress meanwhile. Waiting holds no connection and no thread.
    """
    wanted = queries.parse_id(job_id)
    if wanted is None:
        return None
    end = time.monotonic() + seconds
    async with events.watch(caller.tenant_id, wanted) as news:
        while True:
            view = await get(caller, job_id, content=content)
            if view is None or view.ended or view.state == State.INPUT or time.monotonic() >= end:
                return view
            await _until_changed(news, end, report)


async def listing(
    caller: Caller,
    *,
    after: str | None = None,
    limit: int = 50,
    state: str | None = None,
    tool: str | None = None,
    mine: bool = True,
) -> list[View]:
    """Jobs, the newest first. after: the id of the last one seen. mine: only the caller's own, also for who may see
    those of others. Nothing comes after an id that is unknown."""
    from_id = queries.parse_id(after)
    if after is not None and from_id is None:
        return []
    others = not mine and caller.role in READERS
    scopes, missing = sorted(caller.scopes), sorted(lacking(caller))
    wanted = [caller.tenant_id, state, state, tool, tool, caller.member_id, scopes, others, missing, from_id, from_id]
    async with db.tenant_transaction(caller.tenant_id) as conn, conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_LIST, [False, *wanted, limit])
        return [queries.view_of(_job(row)) for row in await cursor.fetchall()]


async def cancel(caller: Caller, job_id: str) -> View | None:
    """Ask it to stop, which does nothing to one that has ended; the job as it is then. None also for who may see it
    and may not stop it."""
    view = await get(caller, job_id)
    if view is None or not may_stop(caller, view):
        return None
    if view.ended or view.cancelling:
        return view
    async with db.tenant_write(caller.tenant_id) as conn:
        await conn.execute("SELECT jobs_cancel(%s, %s, %s)", [view.id, caller.tenant_id, caller.username])
    return await get(caller, job_id)


async def cancel_unless_shared(caller: Caller, job_id: uuid.UUID) -> None:
    """Ask the job of a call that went away to stop, unless the same call came again meanwhile and counts on it, or may
    come yet and must find it: once a job has begun that may not be run twice, only who asks for it stops it."""
    async with db.tenant_write(caller.tenant_id) as conn:
        # The lock that `jobs_accept` takes: who joins does so before this looks, or finds a cancelled job.
        await conn.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(fingerprint, tenant_id)) FROM jobs_job WHERE id = %s",
            [job_id],
        )
        # Locked before it is cancelled: a worker that is about to begin it has done so by then, or finds it stopped.
        await conn.execute(
            "WITH unshared AS MATERIALIZED (SELECT j.id, j.tenant_id FROM jobs_job j WHERE j.id = %s"
            " AND j.joined_at IS NULL AND (j.idempotent OR (j.begun_at IS NULL AND j.upstream IS NULL)) FOR UPDATE)"
            " SELECT jobs_cancel(id, tenant_id, %s) FROM unshared",
            [job_id, caller.username],
        )


async def answer(caller: Caller, job_id: str, responses: Mapping[str, Any]) -> View | None:
    """Answer what the job asks. Keys it does not ask for, answers that do not fit their schema, and everything once
    it asks no more are left out without a word (the protocol acknowledges all alike); what is open stays open.

    A response: `{"action": "accept" | "decline" | "cancel", "content": {...}}`, what MCP calls an ElicitResult.
    """
    view = await get(caller, job_id)
    if view is None or not may_answer(caller, view):
        return None
    async with db.tenant_write(caller.tenant_id) as conn:
        await _answer(conn, caller, view.id, responses)
    return await get(caller, job_id)


async def _answer(conn: AsyncConnection[Any], caller: Caller, job_id: uuid.UUID, responses: Mapping[str, Any]) -> None:
    cursor = await conn.execute(
        "SELECT inputs, answers FROM jobs_job WHERE id = %s AND state = 'input_required' FOR UPDATE", [job_id]
    )
    row = await cursor.fetchone()
    try:
        open_ones = asking.open_questions(row[0]) if row else {}
        fitting = asking.accepted_answers(open_ones, responses)
        if row is None or not fitting:
            return
        inputs, before = asking.answered(row[0], fitting), sealed.unseal_arguments(row[1]) if row[1] else {}
        kept = sealed.seal_arguments({**before, **fitting}, most=MOST_ARGUMENTS)
    except (sealed.TooLarge, seal.SealError):
        return
    becomes = State.INPUT if open_ones.keys() - fitting.keys() else State.RUNNING
    await conn.execute(
        "UPDATE jobs_job SET inputs = %s, answers = %s, state = %s, changed_at = clock_timestamp() WHERE id = %s",
        [inputs, kept, becomes, job_id],
    )
    entry = {**_entry(caller, job_id), "event": Event.JOB_ANSWERED, "detail": {"answered": sorted(fitting)}}
    await conn.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([entry]).decode()])
    news = {"t": caller.tenant_id, "j": str(job_id), "e": "state", "s": becomes}
    await conn.execute("SELECT pg_notify('mcphub', %s)", [orjson.dumps(news).decode()])


def _entry(caller: Caller, job_id: uuid.UUID) -> dict[str, Any]:
    return {
        "tenant_id": caller.tenant_id,
        "call_id": str(job_id),
        "instance_id": str(entries.instance()),
        "actor": caller.username,
        "credential": caller.credential,
        "client": caller.client,
        "subject": f"job {job_id}",
    }


def _sealed_arguments(arguments: dict[str, Any]) -> bytes | None:
    """None when they are too large, or too deep, to be kept."""
    try:
        return sealed.seal_arguments(arguments, most=MOST_ARGUMENTS)
    except sealed.TooLarge:
        return None


def _given(ready: Ready) -> dict[str, Any]:
    """The columns that `jobs_accept` takes as they are."""
    caller, tool, origin = ready.caller, ready.tool, ready.origin
    return {
        "id": ready.id,
        "tenant_id": caller.tenant_id,
        "member_id": caller.member_id,
        "version_id": tool.version_id,
        "tool": tool.name,
        "username": caller.username,
        "credential": caller.credential,
        "client": (origin.client or caller.client)[:200],
        "via": origin.via,
        "address": origin.address,
        "trace": origin.traceparent,
        "tracestate": origin.tracestate,
        "scopes": sorted(caller.scopes),
        "priority": _lasting(ready).priority,
        "idempotent": tool.idempotent,
        "most_attempts": _lasting(ready).most_attempts,
        "preview": entries.preview(ready.arguments, hidden=tool.hidden),
        "agreed": _agreed(ready),
        "fingerprint": entries.digest([caller.member_id, caller.credential, tool.name, ready.arguments]),
    }


def _agreed(ready: Ready) -> str:
    if ready.agreed.approved:
        return "approved"
    return "confirmed" if ready.agreed.confirmed else ""


def _lasting(ready: Ready) -> Lasting:
    if ready.tool.lasting is None or not ready.tool.version_id:
        raise ValueError(f"{ready.tool.name} does not run as a job")
    return ready.tool.lasting


async def _insert(
    conn: AsyncConnection[Any],
    ready: Ready,
    given: dict[str, Any],
    content: bytes,
    entry: dict[str, Any],
    keep: float | None,
) -> tuple[str, uuid.UUID | None, float, bool]:
    lasting = _lasting(ready)
    kept = lasting.keep if keep is None else min(lasting.keep, max(keep, LEAST_KEPT))
    cursor = await conn.execute(
        "SELECT verdict, job, wait, bell FROM jobs_accept(%s::jsonb, %s, %s::jsonb, %s, %s, %s, %s, %s)",
        [
            orjson.dumps(given).decode(),
            content,
            orjson.dumps(entry).decode(),
            lasting.replay,
            kept,
            lasting.patience,
            settings.JOBS_RUNNING,
            settings.JOBS_QUEUED,
        ],
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - it answers one row whatever happens
    return row[0], row[1], float(row[2]), bool(row[3])


async def _too_large(ready: Ready) -> Refusal:
    refusal = Refusal(
        reason="too_large",
        message=f"{ready.tool.name} was not run: its arguments are kept with the job, so they may have "
        f"{MOST_ARGUMENTS} bytes as JSON, and these have more. Send less, or a reference to where the data lies.",
    )
    await writer().write(calls.row(ready, Event.REFUSED, outcome=Outcome.REFUSED, reason=refusal.reason))
    return refusal


def _full(wait: float) -> Refusal:
    return Refusal(
        reason="queue_full",
        message="Nothing was run: as many jobs of this tenant are waiting as it may have. "
        f"Call again in {wait:.0f} s; other tools are not affected.",
        retryable=True,
        retry_after=round(wait, 1),
    )


def _crowded(review: Mapping[str, Any]) -> Refusal:
    return Refusal(
        reason="too_many_waiting",
        message=f"Nothing was run: {review.get('most')} calls of this member wait to be approved, which is as many as "
        f"may. Wait until some of them were decided, or cancel one with {words.CANCEL}.",
        retryable=True,
        retry_after=RETRY_HELD,
    )


async def _read(conn: AsyncConnection[Any], job_id: uuid.UUID, *, content: bool = False) -> Job | None:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_ONE, [content, job_id])
        row = await cursor.fetchone()
    return _job(row) if row else None


def _job(row: dict[str, Any]) -> Job:
    """The row as the ORM would give it, with what it is shown with."""
    beside = {name: row.pop(name) for name in ("number", "needed", "place")}
    job = Job(**row)
    vars(job).update(beside)
    return job


async def _until_changed(news: events.Events, end: float, report: Report | None) -> None:
    """Until there may be something to read, or it is time; what the tool says meanwhile is passed on."""
    while (event := await news.get(max(0.0, end - time.monotonic()))) is not None:
        if event.kind not in ("progress", "log"):
            return
        if report is not None and event.kind == "log":
            await report.log(event.level, event.message)
        elif report is not None and event.progress is not None:
            await report.progress(event.progress, event.total, event.message or None)
