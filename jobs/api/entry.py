"""Who gets in to the REST interface and its events: a tenant's credential, judged as at its MCP endpoint."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from access import challenge, turned_away
from access.admit import Door, Stopped, admit
from access.head import Head, Headers
from jobs import following
from policy.values import Refusal
from tenants.caller import Caller
from tools.catalog import working_scopes

VIA = "rest"


@dataclass(kw_only=True)
class Refused(Exception):
    """What a request gets instead of an answer. reason: a code, see docs/reference/errors.md."""

    status: int
    reason: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        said = {"reason": self.reason, "message": self.message, "retryable": self.retryable}
        return {"error": said if self.retry_after is None else {**said, "retry_after": self.retry_after}}

    def encoded(self) -> bytes:
        return orjson.dumps(self.body())


async def enter(head: Head, slug: str) -> Caller:
    """The Caller of a request at `/api/v1/t/<slug>/`; raises Refused (404, 400, 401, 503)."""
    misplaced = head.misplaced()
    secret = None if misplaced else head.secret()
    try:
        found = await admit(slug, secret, address=head.address)
    except Stopped:
        raise stopped() from None
    if found is None:
        raise nothing_here()
    if misplaced:
        raise await _malformed(found, head, *misplaced)
    if found.caller is None:
        raise await _unauthorized(found, head, presented=secret is not None)
    return found.caller


async def begin(head: Head, slug: str) -> Caller:
    """The same for a request that has just come, which counts as a look at a job; raises Refused also with 429."""
    caller = await enter(head, slug)
    refused = following.look(caller)
    if refused is not None:
        raise too_much(refused)
    return caller


def too_much(refused: Refusal) -> Refused:
    return Refused(
        status=429,
        reason=refused.reason,
        message=refused.message,
        retryable=refused.retryable,
        retry_after=refused.retry_after,
        headers={"Retry-After": str(math.ceil(refused.retry_after or 0.0))},
    )


def nothing_here() -> Refused:
    return Refused(status=404, reason="not_found", message="There is nothing here.")


def unknown_job() -> Refused:
    """One answer for an id that is unknown, another's, or none at all."""
    return Refused(status=404, reason="unknown_job", message="There is no such job, or it is not yours to see.")


def wrong_method(method: str) -> Refused:
    return Refused(status=405, reason="wrong_method", message=f'Method "{method[:20]}" not allowed.')


def unavailable() -> Refused:
    return Refused(
        status=503,
        reason="unavailable",
        message="The hub cannot reach its database. Try again in a few seconds.",
        retryable=True,
        retry_after=5.0,
        headers={"Retry-After": "5"},
    )


def stopped() -> Refused:
    return Refused(
        status=503,
        reason="everything_stopped",
        message=Stopped.message,
        headers={"Retry-After": str(Stopped.retry_after)},
    )


def preflight(cors: Headers) -> Headers:
    """What a page of an allowed Origin may send; the answer has no body."""
    return [
        *cors,
        (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
        (b"access-control-allow-headers", b"Authorization, X-API-Key, Content-Type, Last-Event-ID"),
        (b"access-control-max-age", b"600"),
    ]


async def _malformed(found: Door, head: Head, reason: str, says: str) -> Refused:
    await turned_away.record(found.tenant_id, reason, head.address, via=VIA)
    challenged = {"WWW-Authenticate": challenge.malformed(found.slug, says)}
    return Refused(status=400, reason=reason, message=says, headers=challenged)


async def _unauthorized(found: Door, head: Head, *, presented: bool) -> Refused:
    if presented:
        await turned_away.record_unknown(found, head.address, via=VIA)
    wanted = await working_scopes(found.tenant_id, found.catalog_version)
    return Refused(
        status=401,
        reason="unknown_credential" if presented else "no_credential",
        message="The credential is not valid here." if presented else "Send a credential as Authorization: Bearer.",
        headers={"WWW-Authenticate": challenge.unauthorized(found.slug, wanted, presented=presented)},
    )
