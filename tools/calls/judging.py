"""Deciding about a call and charging it, at each of the moments at which that is due: when it comes, when somebody
has said yes to it, and when a worker takes it up as an attempt at a job."""

import datetime
from collections.abc import Mapping
from dataclasses import replace

from policy import history
from policy.decide import decide, lacks
from policy.take import NOTHING_CHARGED, take, take_repeat, take_run
from policy.values import Effect, Facts, Refusal
from tenants import addresses
from tools import inspection, outcome, pins
from tools.calls.entry import refuse
from tools.calls.values import Pending, Ready

_NOTHING_BEFORE: Mapping[str, int] = {}


async def decided(ready: Ready) -> Ready:
    """The call with what was decided about it, and with its arguments as they would be run."""
    windows = ready.rules.windows(ready.caller, ready.tool.subject)
    facts = await _facts(ready, await history.count(windows) if windows else _NOTHING_BEFORE)
    decision = decide(ready.caller, ready.tool.subject, facts, ready.rules)
    return replace(ready, decision=decision, arguments=dict(decision.arguments))


async def _facts(ready: Ready, before: Mapping[str, int]) -> Facts:
    return Facts(
        arguments=ready.arguments,
        at=ready.accepted_at or datetime.datetime.now(datetime.UTC),
        address=ready.origin.address,
        before=before,
        found=await inspection.inspected(ready.tool, ready.arguments, tenant_id=ready.caller.tenant_id),
        gained=pins.gained(ready.caller, ready.tool),
        agreed=ready.agreed,
    )


async def against_any(ready: Ready) -> Refusal | None:
    """What speaks against the call whatever a preflight may still add to its arguments. What rules say of arguments is
    asked when they are whole."""
    refusal = lacks(ready.caller, ready.tool.subject)
    if refusal is None and ready.rules.denies:
        refusal = ready.rules.denied(ready.caller, ready.tool.subject, await _facts(ready, _NOTHING_BEFORE))
    return _with_door(ready, refusal) if refusal is not None else None


def against(ready: Ready) -> Refusal | None:
    """What speaks against running what was decided about: the decision itself, or arguments that a rule has spoilt."""
    decision = ready.decision
    assert decision is not None  # noqa: S101 - it was decided
    if decision.refusal is not None:
        return _with_door(ready, decision.refusal)
    unfit = outcome.check_arguments(ready.tool, ready.arguments) if decision.changed else None
    if unfit is None:
        return None
    return replace(
        unfit,
        reason="rule_misfit",
        message=f"{ready.tool.name} was not run: the rule {decision.changed[-1]!r} changes its arguments so that they "
        "do not fit any more. Tell an admin of this tenant.",
    )


def _with_door(ready: Ready, refusal: Refusal) -> Refusal:
    """The same, with where a person can ask for access, or read what to connect again with."""
    if refusal.reason not in {"denied", "insufficient_scope"}:
        return refusal
    door = addresses.asking(ready.caller.tenant_slug, ready.tool.name)
    said = f" A person can ask for access at {door}" if refusal.reason == "denied" else ""
    return replace(refusal, ask_at=door, message=refusal.message + said)


async def charge(ready: Ready, refusal: Refusal | None) -> Ready | Pending | Refusal:
    """Charge what was decided about. What was decided against is charged too, or it would be free to repeat: each time
    costs a check and an entry."""
    tool, decision = ready.tool, ready.decision
    goes_on = refusal is None and (decision is None or decision.effect is Effect.CONFIRM)
    runs = refusal is None and decision is not None and decision.runs
    charged = await take(
        ready.caller,
        tool.subject,
        ready.limits,
        call=ready.id,
        # The same call comes again with what its person answered: who asks them tells these rounds apart (`count`).
        digest=ready.digest if ready.limits.repeats and not goes_on else "",
        runs=tool.timeout if runs and tool.lasting is None else None,
        spends=refusal is None and not goes_on,
    )
    if isinstance(charged, Refusal):
        return await refuse(ready, charged)
    if refusal is not None:
        return await refuse(ready, refusal)
    return as_decided(ready if charged is NOTHING_CHARGED else replace(ready, charged=charged))


async def count(ready: Ready) -> Ready | Refusal:
    """Count a call that comes without an answer to what is asked about it among the very same ones, once, whatever is
    asked about it then."""
    if ready.counted or not ready.limits.repeats:
        return ready
    charged = await take_repeat(ready.caller, ready.tool.subject, ready.limits, call=ready.id, digest=ready.digest)
    return await refuse(ready, charged) if isinstance(charged, Refusal) else replace(ready, counted=True)


def as_decided(ready: Ready) -> Ready | Pending:
    """What is not against the rules: to be run, or to be asked about first. Undecided is what a preflight completes."""
    return ready if ready.decision is None or ready.decision.runs else Pending(ready=ready)


async def to_run(ready: Ready, *, spends: bool, runs: bool = True) -> Ready | Refusal:
    """Charge what running takes for a call that was charged for being made, and what it spends where that was left out.
    runs: False for what is held; a job is charged when a worker takes it up."""
    seconds = ready.tool.timeout if runs and ready.tool.lasting is None else None
    charged = await take_run(ready.caller, ready.tool.subject, ready.limits, call=ready.id, runs=seconds, spends=spends)
    return await refuse(ready, charged) if isinstance(charged, Refusal) else replace(ready, charged=charged)


async def again(ready: Ready) -> Ready | Refusal:
    """An attempt at a job, decided by what holds now, but for the moment and the place that its call came from. Its
    arguments are what was accepted, which rules have changed already: one that would change them now is a new one, and
    what was judged would not be what runs."""
    facts = await _facts(ready, _NOTHING_BEFORE)
    decision = decide(ready.caller, ready.tool.subject, facts, ready.rules)
    if decision.refusal is not None:
        return _with_door(ready, decision.refusal)
    if decision.changed or not decision.runs:
        return Refusal(
            reason="rules_changed",
            message=f"{ready.tool.name} was not run: the rules changed since it was called. Call it again, so that it "
            "is judged by those of now.",
        )
    charged = await take_run(ready.caller, ready.tool.subject, ready.limits, call=ready.id, runs=ready.tool.timeout)
    return charged if isinstance(charged, Refusal) else replace(ready, charged=charged, decision=decision)
