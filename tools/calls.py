"""Running a call: the one business function. Hosts, the admin's “try it”, the command line and tests all enter here.

It has two halves, so that a job can lie between them: `prepare` judges, charges and says what is ready to run, or who
has to say yes to it first; `execute` records, runs and records. `run` is both. `complete` goes between them for a tool
that asks beforehand.
"""

import asyncio
import datetime
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import anyio
from django.conf import settings

from audit import entries
from audit.models import Event, Outcome
from audit.writer import LedgerUnavailable, writer
from lib import redact
from lib.ids import uuid7
from policy import history
from policy.decide import decide, lacks, visible
from policy.rules import NO_RULES, Rules
from policy.take import (
    NOTHING_CHARGED,
    OVER_LIMIT,
    Charged,
    LimitRule,
    counts_repeats,
    take,
    take_run,
    take_stray,
)
from policy.values import Agreed, Decision, Effect, Facts, Refusal
from tenants.caller import Caller
from tools import clean, inspection, outcome, pins, preflight, running
from tools.catalog import Catalog, LiveTool
from tools.errors import ToolError
from tools.kinds import KINDS, function
from tools.values import Call, Origin, Question, Reply, Report, Result, Silent

log = logging.getLogger(__name__)

Check = Callable[[LiveTool], Refusal | None]
"""What else speaks against running a tool now, asked when everything else agrees and nothing is charged yet."""
Before = Callable[[], Awaitable[bool]]
WAITS = frozenset({"rate_limited", "too_many_at_once"})
"""Reasons for which an attempt at a job is put off instead of ended."""
_NOTHING_BEFORE: Mapping[str, int] = {}

_SILENT = Silent()
_NOBODY = Agreed()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A call that was let through: valid arguments, decided, charged. Nothing of it is recorded yet.

    arguments: as they are run, which a rule may have changed. decision: why it may run; None where nothing was decided
    yet. charged: what it holds while it runs. agreed: what people said yes to. accepted_at: when the call came.
    attempt: which of a job this is, counted from 1. beforehand: it is what the tool's preflight does, not the tool.
    """

    id: uuid.UUID
    caller: Caller
    tool: LiveTool
    arguments: dict[str, Any]
    origin: Origin
    limits: Sequence[LimitRule] = ()
    rules: Rules = NO_RULES
    decision: Decision | None = None
    charged: Charged = NOTHING_CHARGED
    agreed: Agreed = _NOBODY
    accepted_at: datetime.datetime | None = None
    attempt: int = 1
    beforehand: bool = False

    @property
    def digest(self) -> str:
        """Of what a person says yes to: this version of the tool, and these arguments."""
        return entries.digest([self.tool.subject.pin, self.arguments])


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """A call that may run once a person has said yes: the caller's own (CONFIRM) or a second one (REVIEW). It was
    charged and nothing of it has run. `ready.arguments` are what would be run."""

    ready: Ready
    decision: Decision


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
    agreed: Agreed = _NOBODY,
) -> Result | Refusal | Pending:
    """Use the tool `name` of the caller's tenant: validate, decide, charge (once, refused or not), record, run, record.

    Returns the Result (also when the tool failed: `is_error`), the Refusal when it was decided not to run, or what is
    Pending until a person has said yes.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    ready = await prepare(caller, name, arguments, catalog=catalog, origin=origin, agreed=agreed)
    return await execute(ready, report=report) if isinstance(ready, Ready) else ready


async def run_tool(
    caller: Caller,
    tool: LiveTool,
    arguments: dict[str, Any],
    *,
    limits: Sequence[LimitRule],
    rules: Rules,
    origin: Origin,
    report: Report = _SILENT,
    agreed: Agreed = _NOBODY,
) -> Result | Refusal | Pending:
    """The same for a tool already in hand, which may be a draft."""
    ready = await prepare_tool(caller, tool, arguments, limits=limits, rules=rules, origin=origin, agreed=agreed)
    return await execute(ready, report=report) if isinstance(ready, Ready) else ready


async def prepare(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    check: Check | None = None,
    partial: bool = False,
    agreed: Agreed = _NOBODY,
) -> Ready | Pending | Refusal:
    """Validate, decide and charge, once, refused or not. A Refusal is recorded; what is Ready is not, until it runs,
    and what is Pending neither: who asks records that it does.

    check: a last reason to refuse. partial: required arguments may be missing, as a preflight may add them; rules are
    asked once they are whole. agreed: what people have said yes to whatever it is, as somebody who tries a tool by hand
    does.
    Raises LedgerUnavailable when a refusal could not be recorded.
    """
    tool = catalog.tools.get(name)
    if tool is not None and visible(caller, tool.subject, catalog.rules):
        return await prepare_tool(
            caller,
            tool,
            arguments,
            limits=catalog.limits,
            rules=catalog.rules,
            origin=origin,
            check=check,
            partial=partial,
            agreed=agreed,
        )
    stray = _Stray(id=uuid7(), caller=caller, name=redact.text(name)[:128], arguments=arguments, origin=origin)
    unknown = Refusal(reason="unknown_tool", message=f"There is no tool named {name[:128]!r} here.")
    charged = await take_stray(caller, catalog.limits, call=stray.id)
    return await refuse(stray, charged if isinstance(charged, Refusal) else unknown)


async def prepare_tool(
    caller: Caller,
    tool: LiveTool,
    arguments: dict[str, Any],
    *,
    limits: Sequence[LimitRule],
    rules: Rules,
    origin: Origin,
    check: Check | None = None,
    partial: bool = False,
    agreed: Agreed = _NOBODY,
) -> Ready | Pending | Refusal:
    """The same for a tool already in hand, which may be a draft."""
    ready = Ready(
        id=uuid7(),
        caller=caller,
        tool=tool,
        arguments=arguments,
        origin=origin,
        limits=limits,
        rules=rules,
        agreed=agreed,
        accepted_at=datetime.datetime.now(datetime.UTC),
    )
    refusal = outcome.check_arguments(tool, arguments, partial=partial)
    if refusal is None:
        ready = ready if partial else await _decided(ready)
        refusal = _against_any(ready) if partial else _against(ready)
    if refusal is None and check is not None:
        refusal = check(tool)
    return await _charged(ready, refusal)


async def _decided(ready: Ready) -> Ready:
    """The call with what was decided about it, and with its arguments as they would be run."""
    windows = ready.rules.windows(ready.caller, ready.tool.subject)
    facts = _facts(ready, await history.count(windows) if windows else _NOTHING_BEFORE)
    decision = decide(ready.caller, ready.tool.subject, facts, ready.rules)
    return replace(ready, decision=decision, arguments=dict(decision.arguments))


def _facts(ready: Ready, before: Mapping[str, int]) -> Facts:
    return Facts(
        arguments=ready.arguments,
        at=ready.accepted_at or datetime.datetime.now(datetime.UTC),
        address=ready.origin.address,
        before=before,
        found=inspection.found(ready.tool, ready.arguments),
        gained=pins.gained(ready.caller, ready.tool),
        agreed=ready.agreed,
    )


def _against_any(ready: Ready) -> Refusal | None:
    """What speaks against the call whatever a preflight may still add to its arguments. What rules say of arguments is
    asked when they are whole."""
    caller, tool = ready.caller, ready.tool
    refusal = lacks(caller, tool.subject)
    if refusal is None:
        refusal = ready.rules.denied(caller, tool.subject, _facts(ready, _NOTHING_BEFORE))
    return _with_door(caller, tool, refusal) if refusal is not None else None


def _against(ready: Ready) -> Refusal | None:
    """What speaks against running what was decided about: the decision itself, or arguments that a rule has spoilt."""
    decision = ready.decision
    assert decision is not None  # noqa: S101 - it was decided
    if decision.refusal is not None:
        return _with_door(ready.caller, ready.tool, decision.refusal)
    if not decision.changed:
        return None
    unfit = outcome.check_arguments(ready.tool, ready.arguments)
    if unfit is None:
        return None
    return replace(
        unfit,
        reason="rule_misfit",
        message=f"{ready.tool.name} was not run: the rule {decision.changed[-1]!r} changes its arguments so that they "
        "do not fit any more. Tell an admin of this tenant.",
    )


def _with_door(caller: Caller, tool: LiveTool, refusal: Refusal) -> Refusal:
    """The same, with where a person can ask for access."""
    if refusal.reason != "denied":
        return refusal
    door = f"{settings.BASE_URL}/t/{caller.tenant_slug}/ask?{urlencode({'tool': tool.name})}"
    return replace(refusal, ask_at=door, message=f"{refusal.message} A person can ask for access at {door}")


async def _charged(ready: Ready, refusal: Refusal | None) -> Ready | Pending | Refusal:
    """Charge what was decided about. What was decided against is charged too, or it would be free to repeat: each time
    costs a check and an entry."""
    tool, decision = ready.tool, ready.decision
    runs = refusal is None and decision is not None and decision.runs
    asks = decision is not None and decision.effect is Effect.CONFIRM
    charged = await take(
        ready.caller,
        tool.subject,
        ready.limits,
        call=ready.id,
        # The same call comes again once its person has said yes, and waits for them each time.
        digest=ready.digest if not asks and counts_repeats(ready.limits) else "",
        runs=tool.timeout if runs and tool.lasting is None else None,
        spends=refusal is None and decision is not None and not asks,
    )
    refusal = charged if isinstance(charged, Refusal) else refusal
    if refusal is not None:
        return await refuse(ready, refusal)
    assert isinstance(charged, Charged)  # noqa: S101 - it is no Refusal
    ready = replace(ready, charged=charged)
    return ready if decision is None or decision.runs else Pending(ready=ready, decision=decision)


async def agree(pending: Pending, agreed: Agreed) -> Ready | Refusal:
    """What was Pending, now that people have said yes to exactly it (`pending.ready.digest`); charged with what running
    takes. The Refusal, of limits on what runs, is recorded."""
    decision = replace(pending.decision, effect=Effect.ALLOW)
    spends = pending.decision.effect is Effect.CONFIRM
    return await _to_run(replace(pending.ready, decision=decision, agreed=agreed), spends=spends)


async def _to_run(ready: Ready, *, spends: bool, runs: bool = True) -> Ready | Refusal:
    """Charge what running takes for a call that was charged for being made, and what it spends where that was left out.
    runs: False for what is held; a job is charged when a worker takes it up."""
    seconds = ready.tool.timeout if runs and ready.tool.lasting is None else None
    charged = await take_run(ready.caller, ready.tool.subject, ready.limits, call=ready.id, runs=seconds, spends=spends)
    return await refuse(ready, charged) if isinstance(charged, Refusal) else replace(ready, charged=charged)


async def complete(
    ready: Ready, check: preflight.Check, replies: Mapping[str, Reply]
) -> Ready | Pending | Asked | Result | Refusal:
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
    if refusal is None:
        whole = await _decided(whole)
        refusal = _against(whole)
    if refusal is not None:
        return await refuse(whole, refusal)
    decision = whole.decision
    if decision is None or decision.runs:
        return await _to_run(whole, spends=True)
    if decision.effect is Effect.REVIEW:
        spent = await _to_run(whole, spends=True, runs=False)
        return spent if isinstance(spent, Refusal) else Pending(ready=spent, decision=decision)
    return Pending(ready=whole, decision=decision)


async def execute(
    ready: Ready, *, report: Report = _SILENT, before: Before | None = None, job: uuid.UUID | None = None
) -> Result | Refusal:
    """Record, run, record. What was ready is taken to be allowed still, unless it is an attempt at a job.

    job: the job that this is an attempt at. It gets a call_id of its own, its entries name the job, and it is decided
    again, as time went by: a Refusal is recorded. before: awaited as the last thing before the tool is entered; where
    it answers False nothing runs, the entry is closed as cancelled, and the Refusal says so.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    if job is not None:
        again = await _again(replace(ready, id=uuid7()))
        if isinstance(again, Refusal):
            return again if again.reason in WAITS else await refuse(ready, again, job)
        ready = again
    size = 0
    try:
        result, size = await _execute(
            ready, report, before, job, await writer().begin(row(ready, Event.STARTED, job=job))
        )
    finally:
        ready.charged.settle(size)
    return result


async def _again(ready: Ready) -> Ready | Refusal:
    """An attempt at a job, decided by what holds now, but for the moment and the place that its call came from. Its
    arguments are what was accepted, which rules have changed already: one that would change them now is a new one, and
    what was judged would not be what runs."""
    decision = decide(ready.caller, ready.tool.subject, _facts(ready, _NOTHING_BEFORE), ready.rules)
    if decision.refusal is not None:
        return decision.refusal
    if decision.changed or not decision.runs:
        return Refusal(
            reason="rules_changed",
            message=f"{ready.tool.name} was not run: the rules changed since it was called. Call it again, so that it "
            "is judged by those of now.",
        )
    charged = await take_run(ready.caller, ready.tool.subject, ready.limits, call=ready.id, runs=ready.tool.timeout)
    return charged if isinstance(charged, Refusal) else replace(ready, charged=charged, decision=decision)


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
    await _conclude(ready, job, outcome.of(result), result.reason, begun, cleaned.removed)
    return result, outcome.size(result)


async def _killed(ready: Ready, begun: float | None = None) -> Refusal:
    """The end of a call that a kill switch stopped. begun: None where its tool was not entered."""
    thread = begun is not None and ready.tool.kind == "function" and function.in_thread(ready.tool.config)
    await _conclude(ready, None, Outcome.CANCELLED, "killed", begun, detail={"thread": True} if thread else None)
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
    removed: Mapping[str, int] = _NOTHING_BEFORE,
    detail: Mapping[str, Any] | None = None,
) -> None:
    made = row(ready, Event.FINISHED, outcome=ended, reason=reason, begun=begun, job=job)
    if detail:
        made["detail"] = dict(detail)
    if removed:
        made["detail"] = {"removed": dict(removed)}
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
        report=report,
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
            return clean.Cleaned(result=_late(call.tool))
        log.error("tool %s failed, call %s\n%s", call.tool.name, call.id, _places(problem))  # noqa: TRY400
        failed = f"{call.tool.name} failed inside the hub. It is logged as call {call.id}; an admin can look it up."
        return clean.Cleaned(result=Result.of_error(failed, "internal_error"))
    cleaned = await clean.cleaned(call.tool, outcome.encodable(result))
    settled = outcome.settle(call.tool, cleaned.result, whole=whole, cleaned=cleaned.reshaped)
    return replace(cleaned, result=clean.labelled(call.tool, replace(cleaned, result=settled)))


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
        made["preview"] = entries.preview(asked.arguments, hidden=hidden) if reason not in OVER_LIMIT else None
        if detail := _explained(asked):
            made["detail"] = detail
    if outcome is not None:
        made |= {"outcome": outcome.value, "reason": reason}
    if begun is not None:
        made["duration_ms"] = round((time.perf_counter() - begun) * 1000, 3)
    if job is not None:
        made["subject"] = f"job {job}"
    elif type(asked) is Ready and asked.beforehand:
        made["subject"] = "preflight"
    return made


def _explained(asked: Ready | _Stray) -> dict[str, Any]:
    """Why it was decided so, where that was not simply allowed by default."""
    decision = asked.decision if isinstance(asked, Ready) else None
    if decision is None:
        return {}
    agreed = _said_yes(asked.agreed) if isinstance(asked, Ready) else ""
    if not (decision.rule or decision.changed or decision.found or agreed) and decision.effect is Effect.ALLOW:
        return {}
    told: dict[str, Any] = {"effect": decision.effect.value, "rule": decision.rule, "rules": decision.ruleset}
    if agreed:
        told["agreed"] = agreed
    if decision.changed:
        told["changed"] = list(decision.changed)
    if decision.found:
        told["found"] = sorted(decision.found)
    return told


def _said_yes(agreed: Agreed) -> str:
    if agreed.approved:
        return "approved"
    return "confirmed" if agreed.confirmed else ""


def _of_tool(asked: Ready | _Stray) -> tuple[str, int | None, frozenset[str]]:
    """Its name, its version, and which arguments are secret by its schema."""
    if isinstance(asked, _Stray):
        return asked.name, None, frozenset()
    return asked.tool.name, asked.tool.number, asked.tool.hidden
