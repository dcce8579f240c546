"""Holding a call until a second person releases it."""

import asyncio
from dataclasses import replace
from typing import Any

from jobs import rows
from jobs.brief import fits_a_page
from jobs.values import Accepted
from lib.html import MOST_SHOWN
from lib.ids import uuid7
from policy.values import Refusal, Reviewers
from tools import calls
from tools.catalog import Lasting, LiveTool

MOST_WAITING = 20
"""Calls of one member that wait for reviewers at the most, whatever they are."""
_KEEP = 24 * 3600.0
_REPLAY = 900.0
_PATIENCE = 3600.0
_REPEATED = 3
_NOBODY_NAMED = Reviewers()


async def hold(pending: calls.Pending, *, keep: float | None) -> Accepted | Refusal:
    """Make a held job of a call that has to be reviewed, or join the one that the same call made before. It is queued
    once a reviewer has approved exactly it (`jobs.approvals`).

    keep: seconds that its host wishes the result kept. The Refusals are recorded: those of `rows.accept`,
    `too_many_waiting`, and those of `_why_not`.
    """
    ready = pending.ready
    if (refusal := await asyncio.to_thread(_why_not, ready)) is not None:  # long arguments are slow to write out
        return await calls.refuse(ready, refusal)
    held = replace(ready, tool=replace(ready.tool, lasting=lasting_of(ready.tool)))
    return await rows.accept(held, keep=keep, review=_review(pending))


def _why_not(ready: calls.Ready) -> Refusal | None:
    """Why nobody could look at it: `not_published` for a draft, `too_long_to_review` for what a page cannot show."""
    if not ready.tool.version_id:
        return Refusal(
            reason="not_published",
            message=f"{ready.tool.name} was not run: by the rules a second person has to approve this call, and what "
            "is approved is a published version. Publish it first.",
        )
    if not fits_a_page(ready.arguments, ready.tool.manifest.get("inputSchema")):
        return Refusal(
            reason="too_long_to_review",
            message=f"{ready.tool.name} was not run: by the rules a second person has to approve this call, and its "
            f"arguments are longer than they could be shown ({MOST_SHOWN:,} characters, written out). Send less, or in "
            "several calls.",
        )
    return None


def lasting_of(tool: LiveTool) -> Lasting:
    """How a held call of the tool runs once it is released: as its jobs do, or, where it has none, soon and at most
    once unless it may be repeated."""
    return tool.lasting or Lasting(
        wait=_KEEP,
        most_attempts=_REPEATED if tool.idempotent else 1,
        replay=_REPLAY,
        keep=_KEEP,
        patience=_PATIENCE,
        priority=0,
        required=False,
    )


def _review(pending: calls.Pending) -> dict[str, Any]:
    """The approval's columns, as `jobs_accept` takes them."""
    decision, ready = pending.decision, pending.ready
    named = decision.reviewers or _NOBODY_NAMED
    roles, groups = named.people
    return {
        "id": str(uuid7()),
        "most": MOST_WAITING,
        "manifest_hash": ready.tool.subject.pin,
        "digest": ready.digest,
        "destination": ready.tool.connection.base_url if ready.tool.connection else "",
        "rule": decision.rule[:100],
        "message": decision.message[:500],
        "found": sorted(decision.found),
        "roles": sorted(roles),
        "groups": sorted(groups),
        "minutes": named.minutes,
    }
