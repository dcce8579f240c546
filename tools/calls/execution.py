"""Running what was let through: record, run, record. Nothing here decides."""

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import anyio

from audit.models import Event, Outcome
from audit.writer import LedgerUnavailable, writer
from lib.ids import uuid7
from policy.values import Refusal
from tools import clean, outcome, running, saying
from tools.calls.entry import refuse, row
from tools.calls.judging import again
from tools.calls.values import Ready
from tools.catalog import LiveTool
from tools.errors import ToolError
from tools.kinds import KINDS, function
from tools.values import Call, Report, Result, Silent

log = logging.getLogger(__name__)

Before = Callable[[], Awaitable[bool]]
WAITS = frozenset({"rate_limited", "too_many_at_once"})
"""Reasons for which an attempt at a job is put off instead of ended."""
SILENT = Silent()


async def execute(
    ready: Ready, *, report: Report = SILENT, before: Before | None = None, job: uuid.UUID | None = None
) -> Result | Refusal:
    """Record, run, record. What was ready is taken to be allowed still, unless it is an attempt at a job.

    job: the job that this is an attempt at. It gets a call_id of its own, its entries name the job, and it is decided
    again, as time went by: a Refusal is recorded. before: awaited as the last thing before the tool is entered; where
    it answers False nothing runs, the entry is closed as cancelled, and the Refusal says so.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    if job is not None:
        judged = await again(replace(ready, id=uuid7()))
        if isinstance(judged, Refusal):
            return judged if judged.reason in WAITS else await refuse(ready, judged, job)
        ready = judged
    size = 0
    try:
        result, size = await _execute(
            ready, report, before, job, await writer().begin(row(ready, Event.STARTED, job=job))
        )
    finally:
        ready.charged.settle(size)
    return result


async def _execute(
    ready: Ready, report: Report, before: Before | None, job: uuid.UUID | None, durable: asyncio.Future[None]
) -> tuple[Result | Refusal, int]:
    """Run once the started entry is durable, and record the end, whatever the end is. The result, and its bytes."""
    begun = None
    run = running.enter(ready.id, ready.caller, ready.tool) if job is None else None
    try:
        await durable
        if run is not None and not await running.may_begin(run):
            return await _killed(ready), 0
        if before is not None and not await before():
            await _conclude(ready, job, Outcome.CANCELLED, "cancelled")
            return Refusal(reason="cancelled", message=f"{ready.tool.name} was cancelled before it began."), 0
        begun = time.perf_counter()
        cleaned = await _attempt(ready, report, run, whole=job is not None)
    except LedgerUnavailable:
        # Its commit may have gone through unanswered; then this says that the call ended there.
        refused = row(ready, Event.REFUSED, outcome=Outcome.REFUSED, reason="ledger_unavailable", job=job)
        await writer().disown(refused)
        raise
    except BaseException:
        # Cancelled, or the process is being stopped: the entry still has to land before this unwinds.
        with anyio.CancelScope(shield=True):
            await _conclude(ready, job, Outcome.CANCELLED, "", begun)
        raise
    finally:
        if run is not None:
            running.leave(ready.id)
    if run is not None and run.killed:
        return await _killed(ready, begun), 0
    result = cleaned.result
    removed = {"removed": dict(cleaned.removed)} if cleaned.removed else None
    await _conclude(ready, job, outcome.of(result), result.reason, begun, removed)
    # What a job gave beyond that is kept beside it, and no model gets it.
    return result, min(cleaned.size, 2 * ready.tool.max_result)


async def _killed(ready: Ready, begun: float | None = None) -> Refusal:
    """The end of a call that a kill switch stopped. begun: None where its tool was not entered."""
    thread = begun is not None and ready.tool.kind == "function" and function.in_thread(ready.tool.config)
    await _conclude(ready, None, Outcome.CANCELLED, "killed", begun, {"thread": True} if thread else None)
    effect = "It was not run." if begun is None else "It may have taken effect."
    return Refusal(
        reason="killed",
        message=f"An admin stopped {ready.tool.name}. {effect} Do not call it again; tell the person.",
    )


async def _conclude(
    ready: Ready,
    job: uuid.UUID | None,
    ended: Outcome,
    reason: str,
    begun: float | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Record the end. detail: what else is to be said of it."""
    made = row(ready, Event.FINISHED, outcome=ended, reason=reason, begun=begun, job=job)
    if detail is not None:
        made["detail"] = detail
    await writer().conclude(made)


async def _attempt(ready: Ready, report: Report, run: running.Run | None, *, whole: bool) -> clean.Cleaned:
    """The kind's own work under the tool's deadline; every failure becomes something the model can read.

    whole: a job keeps what is too long for the model, so it is not cut here.
    """
    deadline = asyncio.timeout(ready.tool.timeout)
    call = Call(
        id=ready.id,
        caller=ready.caller,
        tool=ready.tool,
        arguments=ready.arguments,
        origin=ready.origin,
        report=saying.cleaned(report, ready.tool, tenant_id=ready.caller.tenant_id),
        attempt=ready.attempt,
        deadline=deadline,
    )
    work = call.tool.run or KINDS[call.tool.kind].run
    try:
        async with deadline:
            if run is not None:
                run.entered(deadline)
            result = await work(call)
    except ToolError as problem:
        result = Result.of_error(str(problem), problem.reason)
    except (Exception, SystemExit) as problem:  # or `sys.exit()` in a tool would end the process of all
        if deadline.expired():  # rather than a TimeoutError of the tool's own
            return _unclean(_late(call.tool))
        log.error("tool %s failed, call %s\n%s", call.tool.name, call.id, _places(problem))  # noqa: TRY400
        failed = f"{call.tool.name} failed inside the hub. It is logged as call {call.id}; an admin can look it up."
        return _unclean(Result.of_error(failed, "internal_error"))
    cleaned = await clean.cleaned(call.tool, outcome.encodable(result), tenant_id=call.caller.tenant_id)
    settled, size = outcome.settle(call.tool, cleaned.result, whole=whole, cleaned=cleaned.reshaped)
    told = clean.labelled(call.tool, settled, cleaned.removed)
    return clean.Cleaned(result=told, removed=cleaned.removed, size=size)


def _unclean(result: Result) -> clean.Cleaned:
    """What the hub says itself, in which there is nothing to clean."""
    return clean.Cleaned(result=result, size=outcome.size(result))


def _places(problem: BaseException) -> str:
    """A traceback without what the exceptions say, which may be arguments or secrets."""
    frames = "".join(traceback.format_tb(problem.__traceback__))
    earlier = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    before = f"{_places(earlier)}\nand then\n" if earlier is not None else ""
    return f"{before}{frames}{type(problem).__module__}.{type(problem).__qualname__}"


def _late(tool: LiveTool) -> Result:
    return Result.of_error(
        f"{tool.name} did not answer within {tool.timeout:g} s and was stopped. "
        f"It may have taken effect; check before calling again, or ask for less.",
        "timeout",
    )
