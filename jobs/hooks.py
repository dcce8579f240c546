"""Telling a tenant's own systems that a job has ended, or waits for somebody to approve it, or that somebody asks for
access: webhooks after Standard Webhooks 1.0.0.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

What is told is queued in the transaction that ends the job (`jobs_finish` and its like), holds it or makes the request,
so that none is forgotten. It may arrive twice, under the same `webhook-id`, and it says what it is about and how that
ended, never what a tool was called with or what came of it.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import random
import secrets
import time
import traceback
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

import orjson
from django.conf import settings
from django.db import connection
from psycopg import AsyncConnection
from psycopg.rows import class_row

from access.outside import private_hosts
from audit.entries import instance
from audit.models import Event
from jobs.models import Approval, origin
from lib import db, fetch, redact, seal
from policy.models import AccessRequest

log = logging.getLogger(__name__)

BACKOFF = (10, 60, 300, 1800, 7200, 21600)
"""Seconds until the next attempt, after the first, the second, ...; after the last of these it is given up."""
_JITTER = 0.2
"""By which part of it each of them varies, so that many do not come back together."""
_AT_ONCE = 20
_OF_ONE_HOOK = 4
_TAKEN = 60.0
"""Seconds for which a delivery belongs to the process that took it."""
_PATIENCE = 10.0
"""Seconds that a receiver has to answer."""
_ROUNDS = 20.0
"""Seconds after which no further round is begun: a worker has other work too."""
_MOST_ANSWER = 64 * 1024
_MOST_SAID = 300
_GONE = 410
_SECRET = "whsec_"  # noqa: S105 - how the specification spells one


_EVENTS = {
    "ended": "job.ended",
    "held": "approval.waiting",
    "broken": "approval.broken",
    "given": "approval.given",
    "denied": "approval.denied",
    "asked": "access.requested",
}
"""What a message is called, by what its delivery is about."""
DECISIONS = {"approved": "given", "denied": "denied"}
"""What a delivery is about, by how a reviewer decided. An owner's release is queued where it is written down."""
_DECIDED: LiteralString = """
    INSERT INTO jobs_delivery (tenant_id, hook_id, job_id, about, state, attempts, created_at, due_at, said)
    SELECT h.tenant_id, h.id, %s, %s, 'waiting', 0, clock_timestamp(), clock_timestamp(), ''
    FROM jobs_hook h WHERE h.tenant_id = %s AND h.enabled FOR KEY SHARE OF h
"""
_ASKED: LiteralString = """
    INSERT INTO jobs_delivery
        (tenant_id, hook_id, request_id, version, about, state, attempts, created_at, due_at, said)
    SELECT h.tenant_id, h.id, %s, %s, 'asked', 'waiting', 0, clock_timestamp(), clock_timestamp(), ''
    FROM jobs_hook h WHERE h.tenant_id = %s AND h.enabled FOR KEY SHARE OF h
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Message:
    """One delivery with all it needs. job and what follows: of one; approval and what follows: where it is or was held.
    request, why: of somebody who asks for access."""

    id: int
    tenant_id: int
    hook_id: int
    attempts: int
    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    slug: str
    about: str
    tool: str
    version: int
    username: str
    created_at: datetime
    job: uuid.UUID | None
    state: str | None
    reason: str | None
    ended_at: datetime | None
    approval: uuid.UUID | None
    rule: str | None
    held_at: datetime | None
    held_until: datetime | None
    decided_at: datetime | None
    decided_why: str | None
    decided_by: str | None
    request: int | None
    why: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """How an attempt went: the answer's status, or None when there was no answer, and a few words."""

    status: int | None
    said: str

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def new_secret() -> str:
    """What a hook's deliveries are signed with, as its receiver keeps it: `whsec_` and 256 bits in base64."""
    return _SECRET + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a message: HMAC-SHA256 of `id.timestamp.body`, in base64 after its version."""
    key = base64.b64decode(secret.removeprefix(_SECRET))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def queue_asked(request: AccessRequest, *, version: int) -> None:
    """Have all hooks of the tenant told that somebody asks for access to a tool, of which this version is live. It is
    sent once the caller's transaction is committed."""
    with connection.cursor() as cursor:
        cursor.execute(_ASKED, [request.pk, version, request.tenant_id])


def queue_decided(approval: Approval, decision: str) -> None:
    """Have all hooks of the tenant told what a reviewer decided, one of DECISIONS, once the caller's transaction is
    committed."""
    with connection.cursor() as cursor:
        cursor.execute(_DECIDED, [approval.job_id, DECISIONS[decision], approval.tenant_id])


async def deliver_due() -> None:
    """Send what is due, a round at a time, for some seconds at the most; on an event loop with the hub's lifespan.

    Any number of processes may do so at once: each takes its own.
    """
    end = time.monotonic() + _ROUNDS
    while taken := await _take():
        await asyncio.gather(*(_deliver(delivery, tenant_id) for delivery, tenant_id in taken))
        if time.monotonic() > end:
            return


async def _take() -> list[tuple[int, int]]:
    async with db.pooled() as conn:
        cursor = await conn.execute(
            "SELECT delivery, tenant FROM jobs_due(%s, %s, %s)", [_AT_ONCE, _OF_ONE_HOOK, _TAKEN]
        )
        return await cursor.fetchall()


async def _deliver(delivery: int, tenant_id: int) -> None:
    """One attempt. What goes wrong here is this delivery's alone; it comes back when its time as taken is over."""
    try:
        message = await _message(delivery, tenant_id)
        if message is not None:
            await _record(message, await _send(message))
    except db.UNREACHABLE:
        log.warning("a delivery to a hook waits: Postgres cannot be reached")
    except Exception as problem:
        # Without what the exception says, which may be the hook's whole URL.
        places = "".join(traceback.format_tb(problem.__traceback__))
        log.error("delivery %s failed inside the hub: %s\n%s", delivery, type(problem).__name__, places)  # noqa: TRY400


async def _message(delivery: int, tenant_id: int) -> _Message | None:
    async with db.tenant_transaction(tenant_id) as conn, conn.cursor(row_factory=class_row(_Message)) as cursor:
        await cursor.execute(
            "SELECT d.id, d.tenant_id, d.hook_id, d.attempts, h.url, h.secret, t.slug, d.about,"
            " coalesce(j.tool, r.tool) AS tool, coalesce(v.number, d.version) AS version,"
            " coalesce(j.username, w.username) AS username, coalesce(j.created_at, r.created_at) AS created_at,"
            " j.id AS job, j.state, j.reason, j.ended_at, a.id AS approval, a.rule, a.created_at AS held_at,"
            " a.expires_at AS held_until, a.decided_at, a.reason AS decided_why,"
            " u.username AS decided_by, r.id AS request, r.why"
            " FROM jobs_delivery d JOIN jobs_hook h ON h.id = d.hook_id JOIN tenants_tenant t ON t.id = d.tenant_id"
            " LEFT JOIN jobs_job j ON j.id = d.job_id LEFT JOIN tools_version v ON v.id = j.version_id"
            " LEFT JOIN jobs_approval a ON a.job_id = j.id LEFT JOIN tenants_user u ON u.id = a.decided_by_id"
            " LEFT JOIN policy_accessrequest r ON r.id = d.request_id LEFT JOIN tenants_member m ON m.id = r.member_id"
            " LEFT JOIN tenants_user w ON w.id = m.user_id WHERE d.id = %s",
            [delivery],
        )
        return await cursor.fetchone()


async def _send(message: _Message) -> _Outcome:
    try:
        outbound = _outbound(message, int(time.time()))
        answer = await fetch.fetch(outbound)
    except (fetch.FetchError, seal.SealError) as problem:
        return _Outcome(status=None, said=_short(str(problem)))
    return _Outcome(status=answer.status, said=_short(answer.body[: _MOST_SAID * 4].decode(errors="replace")))


def _outbound(message: _Message, now: int) -> fetch.Outbound:
    message_id, body = f"msg_{message.id}", _body(message)
    return fetch.Outbound(
        method="POST",
        url=message.url,
        headers={
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(seal.unseal(message.secret), message_id, now, body),
        },
        body=body,
        timeout=_PATIENCE,
        max_bytes=_MOST_ANSWER,
        allow_hosts=private_hosts(message.url),
        follow_redirects=0,
    )


def _body(message: _Message) -> bytes:
    """The same at every attempt. `type`, `timestamp` and `data` as the specification has them."""
    moments = {
        "ended": message.ended_at,
        "held": message.held_at,
        "broken": message.decided_at,
        "given": message.decided_at,
        "denied": message.decided_at,
        "asked": message.created_at,
    }
    about = {"request": _request(message)} if message.about == "asked" else _of_job(message)
    told = {
        "type": _EVENTS[message.about],
        "timestamp": moments[message.about],
        "data": {"tenant": message.slug, **about},
    }
    return orjson.dumps(told, option=orjson.OPT_UTC_Z)


def _of_job(message: _Message) -> dict[str, Any]:
    job = {
        "id": message.job,
        "tool": message.tool,
        "version": message.version,
        "created_at": message.created_at,
        "url": f"{settings.BASE_URL}/api/v1/t/{message.slug}/jobs/{message.job}/",
    }
    if message.about == "ended":
        return {"job": job | {"state": message.state, "reason": message.reason, "ended_at": message.ended_at}}
    return {"job": job, "approval": _approval(message)}


def _request(message: _Message) -> dict[str, Any]:
    """Who asks for what, and why in their own words; without what looks like a secret in them."""
    return {
        "id": message.request,
        "tool": message.tool,
        "version": message.version,
        "username": message.username,
        "reason": redact.secrets(message.why or ""),
        "created_at": message.created_at,
        "url": f"{settings.BASE_URL}/admin/policy/accessrequest/{message.request}/change/",
    }


def _approval(message: _Message) -> dict[str, Any]:
    """What is waited for, or who decided what. Nothing that changes between two attempts."""
    told = {
        "id": message.approval,
        "rule": message.rule,
        "username": message.username,
        "expires_at": message.held_until,
        "url": f"{settings.BASE_URL}/approvals/{message.approval}/",
    }
    return told if message.about == "held" else {**told, "by": message.decided_by, "reason": message.decided_why}


async def _record(message: _Message, outcome: _Outcome) -> None:
    async with db.tenant_write(message.tenant_id) as conn:
        if outcome.delivered:
            await _settle(conn, message, outcome, "delivered", None)
            await conn.execute("UPDATE jobs_hook SET failing_since = NULL WHERE id = %s", [message.hook_id])
            return
        wait = _wait(message.attempts)
        over = wait is None or outcome.status == _GONE
        await _settle(conn, message, outcome, "given_up" if over else "waiting", wait)
        await conn.execute(
            "UPDATE jobs_hook SET failing_since = coalesce(failing_since, clock_timestamp()) WHERE id = %s",
            [message.hook_id],
        )
        if outcome.status == _GONE:
            await _switch_off(conn, message)


def _wait(attempts: int) -> float | None:
    """Seconds until the next attempt after so many; None when there is none."""
    if attempts > len(BACKOFF):
        return None
    return BACKOFF[attempts - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


async def _settle(
    conn: AsyncConnection[Any], message: _Message, outcome: _Outcome, state: str, wait: float | None
) -> None:
    """Only of the attempt that this process took; a later one knows better."""
    await conn.execute(
        "UPDATE jobs_delivery SET state = %s, status = %s, said = %s,"
        " due_at = coalesce(clock_timestamp() + make_interval(secs => %s::float8), due_at)"
        " WHERE id = %s AND attempts = %s AND state = 'waiting'",
        [state, outcome.status, outcome.said, wait, message.id, message.attempts],
    )


async def _switch_off(conn: AsyncConnection[Any], message: _Message) -> None:
    """410: the receiver wants no more, as the specification has it. What still waits for it is given up with it. Not so
    when the hook leads elsewhere by now."""
    cursor = await conn.execute(
        "UPDATE jobs_hook SET enabled = false WHERE id = %s AND url = %s AND enabled RETURNING id",
        [message.hook_id, message.url],
    )
    if not await cursor.fetchall():
        return
    await conn.execute(
        "UPDATE jobs_delivery SET state = 'given_up' WHERE hook_id = %s AND state = 'waiting'", [message.hook_id]
    )
    entry = {
        "tenant_id": message.tenant_id,
        "event": Event.CHANGED,
        "instance_id": str(instance()),
        "actor": "system",
        "reason": "switched off",
        "subject": f"jobs.Hook:{message.hook_id} {origin(message.url)}"[:200],
        "detail": {"note": "Its receiver answers 410 Gone."},
    }
    await conn.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([entry]).decode()])


def _short(said: str) -> str:
    """For the delivery log: one line, without what looks like a secret and what Postgres cannot keep."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in said).split())
    return redact.secrets(line)[:_MOST_SAID]
