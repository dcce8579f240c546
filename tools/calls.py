"""Running a call: the one business function. Hosts, the admin's “try it”, the command line and tests all enter here.

It has two halves, so that a job can lie between them: `prepare` judges, charges and says what is ready to run,
`execute` records, runs and records. `run` is both. `complete` goes between them for a tool that asks beforehand.
"""

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio

from audit import entries
from audit.models import Event, Outcome
from audit.writer import LedgerUnavailable, writer
from lib import redact
from lib.ids import uuid7
from policy.decide import Refusal, decide, visible
from policy.models import Per
from policy.take import LimitRule, take
from tenants.caller import Caller
from tools import outcome, preflight
from tools.catalog import Catalog, LiveTool
from tools.errors import ToolError
from tools.kinds import KINDS
from tools.values import Call, Origin, Question, Reply, Report, Result, Silent

log = logging.getLogger(__name__)

Check = Callable[[LiveTool], Refusal | None]
"""What else speaks against running a tool now, asked when everything else agrees and nothing is charged yet."""
Before = Callable[[], Awaitable[bool]]

_SILENT = Silent()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A call that was let through: valid arguments, decided, charged. Nothing of it is recorded yet.

    attempt: which of a job this is, counted from 1. beforehand: it is what the tool's preflight does, not the tool.
    """

    id: uuid.UUID
    caller: Caller
    tool: LiveTool
    arguments: dict[str, Any]
    origin: Origin
    attempt: int = 1
    beforehand: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a preflight asked; nothing of the tool itself has run."""

    questions: Mapping[str, Question]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stray:
    """A call of a tool that is not there for its caller."""

    id: uuid.UUID
    caller: Caller
    name: str
    arguments: dict[str, Any]
    origin: Origin


async def run(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    report: Report = _SILENT,
) -> Result | Refusal:
    """Use the tool `name` of the caller's tenant: validate, decide, charge (once, refused or not), record, run, record.

    Returns the Result (also when the tool failed: `is_error`), or the Refusal when it was decided not to run.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    ready = await prepare(caller, name, arguments, catalog=catalog, origin=origin)
    return ready if isinstance(ready, Refusal) else await execute(ready, report=report)


async def run_tool(
    caller: Caller,
    tool: LiveTool,
    arguments: dict[str, Any],
    *,
    limits: Sequence[LimitRule],
    origin: Origin,
    report: Report = _SILENT,
) -> Result | Refusal:
    """The same for a tool already in hand, which may be a draft."""
    ready = await prepare_tool(caller, tool, arguments, limits=limits, origin=origin)
    return ready if isinstance(ready, Refusal) else await execute(ready, report=report)


async def prepare(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    check: Check | None = None,
    partial: bool = False,
) -> Ready | Refusal:
    """Validate, decide and charge, once, refused or not. A Refusal is recorded; what is Ready is not, until it runs.

    check: a last reason to refuse. partial: required arguments may be missing, as a preflight may add them.
    Raises LedgerUnavailable when a refusal could not be recorded.
    """
    tool = catalog.tools.get(name)
    if tool is not None and visible(caller, tool.subject):
        return await prepare_tool(
            caller, tool, arguments, limits=catalog.limits, origin=origin, check=check, partial=partial
        )
    stray = _Stray(id=uuid7(), caller=caller, name=redact.text(name)[:128], arguments=arguments, origin=origin)
    unknown = Refusal(reason="unknown_tool", message=f"There is no tool named {name[:128]!r} here.")
    # Limits of single tools are left alone: they would tell which names exist, and open a bucket for every guess.
    shared = [rule for rule in catalog.limits if not rule.tool and rule.per != Per.TOOL]
    return await refuse(stray, await take(caller, "", shared) or unknown)


async def prepare_tool(
    caller: Caller,
    tool: LiveTool,
    arguments: dict[str, Any],
    *,
    limits: Sequence[LimitRule],
    origin: Origin,
    check: Check | None = None,
    partial: bool = False,
) -> Ready | Refusal:
    """The same for a tool already in hand, which may be a draft."""
    ready = Ready(id=uuid7(), caller=caller, tool=tool, arguments=arguments, origin=origin)
    refusal = outcome.check_arguments(tool, arguments, partial=partial) or decide(caller, tool.subject)
    if refusal is None and check is not None:
        refusal = check(tool)
    # What was decided against is charged too, or it would be free to repeat: each time costs a check and an entry.
    refusal = await take(caller, tool.name, limits) or refusal
    return ready if refusal is None else await refuse(ready, refusal)


async def complete(
    ready: Ready, check: preflight.Check, replies: Mapping[str, Reply]
) -> Ready | Asked | Result | Refusal:
    """Let a preflight ask, or complete the arguments of what was prepared as partial.

    It is tool code, so it is run and recorded as a call of its own: under the tool's deadline, its failure a Result
    that the model reads. What is Ready then is the same call with all its arguments, judged again; it was charged.
    """
    beforehand = preflight.Round(check, replies)
    timeout = min(ready.tool.timeout, preflight.LONGEST)
    tool = replace(ready.tool, run=beforehand.run, output=None, timeout=timeout)
    ended = await execute(replace(ready, tool=tool, beforehand=True))
    if isinstance(ended, Refusal) or ended.is_error:
        return ended
    if beforehand.questions:
        return Asked(questions=beforehand.questions)
    whole = replace(ready, id=uuid7(), arguments=beforehand.arguments)
    refusal = outcome.check_arguments(whole.tool, whole.arguments)
    return whole if refusal is None else await refuse(whole, refusal)


async def execute(
    ready: Ready, *, report: Report = _SILENT, before: Before | None = None, job: uuid.UUID | None = None
) -> Result | Refusal:
    """Record, run, record. What was ready is taken to be allowed still, unless it is an attempt at a job.

    job: the job that this is an attempt at. It gets a call_id of its own, its entries name the job, and it is decided
    again, as time went by; a Refusal is recorded. before: awaited as the last thing before the tool is entered; where
    it answers False nothing runs, the entry is closed as cancelled, and the Refusal says so.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    if job is not None:
        ready = replace(ready, id=uuid7())
        if refusal := decide(ready.caller, ready.tool.subject):
            return await refuse(ready, refusal, job)
    return await _execute(ready, report, before, job, await writer().begin(row(ready, Event.STARTED, job=job)))


async def _execute(
    ready: Ready, report: Report, before: Before | None, job: uuid.UUID | None, durable: asyncio.Future[None]
) -> Result | Refusal:
    """Run once the started entry is durable, and record the end, whatever the end is."""
    begun = None
    try:
        await durable
        if before is not None and not await before():
            await _conclude(ready, job, Outcome.CANCELLED, "cancelled")
            return Refusal(reason="cancelled", message=f"{ready.tool.name} was cancelled before it began.")
        begun = time.perf_counter()
        result = await _attempt(ready, report, whole=job is not None)
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
    await _conclude(ready, job, outcome.of(result), result.reason, begun)
    return result


async def _conclude(
    ready: Ready, job: uuid.UUID | None, ended: Outcome, reason: str, begun: float | None = None
) -> None:
    await writer().conclude(row(ready, Event.FINISHED, outcome=ended, reason=reason, begun=begun, job=job))


async def _attempt(ready: Ready, report: Report, *, whole: bool) -> Result:
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
        report=report,
        attempt=ready.attempt,
        deadline=deadline,
    )
    run = call.tool.run or KINDS[call.tool.kind].run
    try:
        async with deadline:
            result = await run(call)
        return outcome.settle(call.tool, result, whole=whole)
    except ToolError as problem:
        return outcome.settle(call.tool, Result.of_error(str(problem), problem.reason))
    except (Exception, SystemExit) as problem:  # or `sys.exit()` in a tool would end the process of all
        if deadline.expired():  # rather than a TimeoutError of the tool's own
            return _late(call.tool)
        log.error("tool %s failed, call %s\n%s", call.tool.name, call.id, _places(problem))  # noqa: TRY400
        return Result.of_error(
            f"{call.tool.name} failed inside the hub. It is logged as call {call.id}; an admin can look it up.",
            "internal_error",
        )


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


async def refuse(asked: Ready | _Stray, refusal: Refusal, job: uuid.UUID | None = None) -> Refusal:
    """Record that it was decided not to run it."""
    await writer().write(row(asked, Event.REFUSED, outcome=Outcome.REFUSED, reason=refusal.reason, job=job))
    return refusal


def row(
    asked: Ready | _Stray,
    event: Event,
    *,
    outcome: Outcome | None = None,
    reason: str = "",
    begun: float | None = None,
    job: uuid.UUID | None = None,
) -> dict[str, Any]:
    """A ledger row. What was asked is kept once, on the first row of the call."""
    caller, origin = asked.caller, asked.origin
    name, number, hidden = _of_tool(asked)
    made: dict[str, Any] = {
        "tenant_id": caller.tenant_id,
        "event": event.value,
        "call_id": str(asked.id),
        "instance_id": str(entries.instance()),
        "actor": caller.username,
        "credential": caller.credential,
        "client": (origin.client or caller.client)[:200],
        "via": origin.via,
        "tool": name,
        "version": number,
        "trace": origin.traceparent,
    }
    if event is not Event.FINISHED:
        made |= {"address": origin.address, "digest": entries.digest(asked.arguments)}
        # Who is over a limit may go on asking; each time is an entry, but not one of 4 KiB.
        made["preview"] = entries.preview(asked.arguments, hidden=hidden) if reason != "rate_limited" else None
    if outcome is not None:
        made |= {"outcome": outcome.value, "reason": reason}
    if begun is not None:
        made["duration_ms"] = round((time.perf_counter() - begun) * 1000, 3)
    if job is not None:
        made["subject"] = f"job {job}"
    elif type(asked) is Ready and asked.beforehand:
        made["subject"] = "preflight"
    return made


def _of_tool(asked: Ready | _Stray) -> tuple[str, int | None, frozenset[str]]:
    """Its name, its version, and which arguments are secret by its schema."""
    if isinstance(asked, _Stray):
        return asked.name, None, frozenset()
    return asked.tool.name, asked.tool.number, asked.tool.hidden
