"""Running a call that may become a job: the one door of hosts. What runs while its host waits goes straight through."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from jobs import confirming, following, held, own_tools, rows, wake, words
from jobs.models import State
from jobs.values import NOT_FOLLOWED, Accepted, Answer, Follow, Handle, View
from lib import db
from policy.values import Agreed, Effect, Refusal
from tenants.caller import Caller
from tools import calls
from tools.catalog import Catalog, LiveTool
from tools.values import Origin, Report, Silent

log = logging.getLogger(__name__)

LONGEST_WAIT = 20.0
"""Seconds that a host is kept waiting at the most before it gets a handle: many give up after 30."""

_CONFIRMED = Agreed(confirmed=True)
_SILENT = Silent()
_NOBODY = Agreed()


async def run(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    report: Report = _SILENT,
    follow: Follow = NOT_FOLLOWED,
    agreed: Agreed = _NOBODY,
) -> Answer:
    """Use the tool `name`: a Result, or the Handle of a job that goes on, or the Refusal.

    A Handle is given once its row is durable and not before. follow: what the host can do with one. agreed: as
    `tools.calls.prepare` takes it.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    own = own_tools.find(catalog, name)
    if own is not None:
        return await own_tools.run(caller, own, arguments, catalog=catalog, origin=origin, report=report)
    ready = await prepare(caller, name, arguments, catalog=catalog, origin=origin, follow=follow, agreed=agreed)
    if isinstance(ready, calls.Pending):
        return await wait_for_yes(ready, report=report, follow=follow)
    return ready if isinstance(ready, Refusal) else await start(ready, report=report, follow=follow)


async def prepare(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    follow: Follow,
    partial: bool = False,
    agreed: Agreed = _NOBODY,
) -> calls.Ready | calls.Pending | Refusal:
    """As `tools.calls.prepare` does; what only runs as a task is refused to hosts that could not follow it."""
    check = None if follow.declared else _must_be_followed
    return await calls.prepare(
        caller, name, arguments, catalog=catalog, origin=origin, check=check, partial=partial, agreed=agreed
    )


async def wait_for_yes(pending: calls.Pending, *, report: Report, follow: Follow) -> Answer:
    """What becomes of a call that a person has to say yes to and that its host cannot ask about: it is held for a
    second person; or it is asked about on a page of ours, and runs when that was answered before it came."""
    if pending.decision.effect is Effect.REVIEW:
        accepted = await held.hold(pending, keep=follow.keep)
        if isinstance(accepted, Refusal):
            return accepted
        # Nobody decides while a host waits; a call that joins one that was approved waits as any other does.
        wait = 0.0 if accepted.view.state == State.APPROVAL else held.lasting_of(pending.ready.tool).wait
        return await _answered(pending.ready.caller, accepted, wait, report, follow)
    found = await confirming.claim(pending)
    if isinstance(found, confirming.Open):
        return confirming.needed(found, pending.ready.tool.name)
    if isinstance(found, Refusal):
        return found
    return await run_confirmed(pending, found.give_back, report=report, follow=follow)


async def run_confirmed(
    pending: calls.Pending, give_back: Callable[[], Awaitable[None]], *, report: Report, follow: Follow
) -> Answer:
    """Run what its person said yes to, for who has used that yes up; only they are charged. It is given back where a
    limit or a full queue refuses; what was to run and was stopped may have taken effect. Between charging and running
    nothing is waited for: who is cancelled there would hold on to what it took."""
    ready = await calls.agree(pending, _CONFIRMED)
    answer = ready if isinstance(ready, Refusal) else await start(ready, report=report, follow=follow)
    if isinstance(ready, Refusal) or (isinstance(answer, Refusal) and ready.tool.lasting is not None):
        await give_back()
    return answer


async def start(ready: calls.Ready, *, report: Report, follow: Follow) -> Answer:
    """Run what is ready while its host waits, or make a job of it where its tool says so."""
    if ready.tool.lasting is None:
        return await calls.execute(ready, report=report)
    accepted = await rows.accept(ready, keep=follow.keep)
    if isinstance(accepted, Refusal):
        return accepted
    if accepted.bell:
        await wake.ring()
    return await _answered(ready.caller, accepted, ready.tool.lasting.wait, report, follow)


def _must_be_followed(tool: LiveTool) -> Refusal | None:
    if tool.lasting is None or not tool.lasting.required:
        return None
    return Refusal(
        reason="capability_missing",
        message=f"{tool.name} only runs as a task, and this host did not say that it can follow one. "
        "Use it from a host that supports the tasks extension of MCP.",
    )


async def _answered(caller: Caller, accepted: Accepted, wait: float, report: Report, follow: Follow) -> Answer:
    """The result if it is there within the wait, or else the handle. Who declared that it follows gets the handle."""
    if follow.declared:
        return Handle(view=accepted.view, joined=accepted.joined)
    try:
        view = await _waited(caller, accepted, min(wait, LONGEST_WAIT), report)
    except asyncio.CancelledError:
        if _was_given_up():
            with anyio.CancelScope(shield=True):
                await _let_go(caller, accepted.view)
        raise
    except db.UNREACHABLE:
        view = accepted.view  # it is durable, whether or not Postgres can say now how it stands
    if not view.ended:
        return Handle(view=view, joined=accepted.joined)
    return words.refusal_of(view, caller.tenant_slug) or words.result_of(view, caller.tenant_slug)


async def _let_go(caller: Caller, job: View) -> None:
    """Its host never heard of the job; unless the same call came twice, nobody follows it."""
    try:
        await rows.cancel_unless_shared(caller, job.id)
    except db.UNREACHABLE:
        log.warning("job %s goes on though its host went away: Postgres cannot be reached", job.id)


def _was_given_up() -> bool:
    """Whether a cancel scope was cancelled, as the gateway does when the host goes away or says so. A server that is
    stopped cancels the bare task; then the job goes on, and the same call at another server joins it."""
    return anyio.current_effective_deadline() == -math.inf


async def _waited(caller: Caller, accepted: Accepted, seconds: float, report: Report) -> View:
    """The job after so many seconds at the most; at once when as many of the member's requests wait as may."""
    with following.wait(caller) as refused:
        seconds = 0.0 if refused else seconds
        if not seconds and not accepted.view.ended:
            return accepted.view
        return await rows.wait(caller, str(accepted.view.id), seconds, report=report, content=True) or accepted.view
