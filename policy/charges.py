"""What a call costs against each limit, and what is said when it does not fit. Pure."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

from policy.models import Counts, Per
from policy.models.limits import SHARED
from policy.values import Refusal, Subject
from tenants.caller import Caller


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitRule:
    """One Limit, without its row."""

    id: int
    counts: str = Counts.CALLS.value
    per: str
    tool: str
    most: int
    seconds: int
    share: int = 100

    def applies(self, tool: str) -> bool:
        return not self.tool or self.tool == tool


def limit_rule(row: Mapping[str, Any]) -> LimitRule:
    """From a Limit's columns."""
    return LimitRule(
        id=row["id"],
        counts=row["counts"],
        per=row["per"],
        tool=row["tool"],
        most=row["most"],
        seconds=row["seconds"],
        share=row["share"],
    )


class Mode(IntEnum):
    """How a bucket empties again. The numbers are those of `policy_take`."""

    FLOW = 0
    DAY = 1
    SLOT = 2
    RESERVE = 3


class Charge(NamedTuple):
    """One call against one bucket: what it costs, and what the bucket takes.

    In seconds for what empties with time, in pieces for the rest. most: what the limit, or one member's share of it,
    comes to, in what it counts.
    """

    bucket: str
    mode: Mode
    cost: float
    window: float
    most: int
    rule: LimitRule


class Use(NamedTuple):
    """One call as limits see it. digest: of its arguments; empty where repeats are not counted now."""

    caller: Caller
    subject: Subject
    digest: str = ""


RUNNING: Final = frozenset({Counts.CONCURRENT.value, Counts.BYTES.value})
"""What only a call that runs takes; an attempt at a job takes nothing else, as its call was charged before."""

MADE: Final = frozenset({Counts.CALLS.value, Counts.REPEATS.value})
"""What a call takes for being made, whether it runs or not."""

OVER_LIMIT: Final = frozenset({"rate_limited", "too_many_at_once", "spend_limit", "repeated_call"})
"""Reasons of a call that a limit did not let in."""

_MODES: Final = {
    Counts.CALLS.value: Mode.FLOW,
    Counts.REPEATS.value: Mode.FLOW,
    Counts.UNITS.value: Mode.DAY,
    Counts.CONCURRENT.value: Mode.SLOT,
    Counts.BYTES.value: Mode.RESERVE,
}


def charges(use: Use, rules: Iterable[LimitRule]) -> list[Charge]:
    """What this call is to be charged by these limits, those left out that do not apply to it."""
    return [charge for rule in rules if rule.applies(use.subject.name) for charge in _charges(use, rule)]


def stray_charges(caller: Caller, rules: Iterable[LimitRule], digest: str = "") -> list[Charge]:
    """The same for a call of no tool, which spends and gives nothing. Limits of single tools are left alone: they would
    tell which names exist. digest: of its name and arguments."""
    nothing = Use(caller=caller, subject=Subject(name="", scopes=frozenset()), digest=digest)
    counted = (rule for rule in rules if rule.counts in MADE and not rule.tool and rule.per != Per.TOOL)
    return charges(nothing, counted)


def _charges(use: Use, rule: LimitRule) -> Iterator[Charge]:
    sharer = _sharer(use, rule)
    if sharer is None:
        return
    yield _charge(use, rule, f"{rule.id}/{sharer}", rule.most)
    if rule.share < 100 and rule.per in SHARED:
        own = max(1, rule.most * rule.share // 100)
        yield _charge(use, rule, f"{rule.id}/%{use.caller.member_id}/{sharer}", own)


def _sharer(use: Use, rule: LimitRule) -> str | None:
    """Whose bucket it is; None where the limit says nothing of this call."""
    caller = use.caller
    if rule.counts == Counts.REPEATS:
        return f"m{caller.member_id}/{use.subject.name}/{use.digest}" if use.digest else None
    if rule.per == Per.CLIENT and not caller.client_id:
        return None
    return _SHARERS[rule.per](use)


_SHARERS: Final[Mapping[str, Callable[[Use], str]]] = {
    Per.TENANT.value: lambda use: "",
    Per.MEMBER.value: lambda use: f"m{use.caller.member_id}",
    Per.CREDENTIAL.value: lambda use: use.caller.credential,
    Per.CLIENT.value: lambda use: f"c{use.caller.client_id}",
    Per.TOOL.value: lambda use: use.subject.name,
}


def _charge(use: Use, rule: LimitRule, bucket: str, most: int) -> Charge:
    mode, window = _MODES[rule.counts], float(rule.seconds)
    if mode is Mode.FLOW:
        return Charge(bucket, mode, window / most, window, most, rule)
    if mode is Mode.RESERVE:
        return Charge(bucket, mode, min(use.subject.most_bytes, most) * window / most, window, most, rule)
    return Charge(bucket, mode, float(use.subject.units) if mode is Mode.DAY else 1.0, float(most), most, rule)


def over(charge: Charge, exact: float, spare: float) -> Refusal:
    """Why a call was not let in. exact: seconds until it may be; spare: what is left of a day's worth."""
    wait = math.ceil(max(exact, 0.1) * 10) / 10  # up, so that whoever waits that long is let in
    rule = charge.rule
    if rule.counts == Counts.UNITS:
        return _overspent(charge, wait, int(spare))
    if rule.counts == Counts.REPEATS:
        return Refusal(reason="repeated_call", message=_repeated(rule, wait), retryable=True, retry_after=wait)
    if rule.counts == Counts.CONCURRENT:
        said = _too_much(charge, "calls at once", wait)
        return Refusal(reason="too_many_at_once", message=said, retryable=True, retry_after=wait)
    kind = "bytes of results" if rule.counts == Counts.BYTES else "calls"
    said = _too_much(charge, f"{kind} in {rule.seconds} s", wait)
    return Refusal(reason="rate_limited", message=said, retryable=True, retry_after=wait)


def _too_much(charge: Charge, what: str, wait: float) -> str:
    return f"{_limit(charge, what)}. Nothing was run. {_again(wait)}"


def _overspent(charge: Charge, wait: float, spare: int) -> Refusal:
    cost = int(charge.cost)
    said = (
        f"{_limit(charge, 'units a day')}: this call costs {cost}, and {spare} {'is' if spare == 1 else 'are'} left "
        "until midnight UTC. Nothing was run."
    )
    if cost > charge.most:
        never = f"{said} It never fits; ask an admin of this tenant to raise the limit."
        return Refusal(reason="spend_limit", message=never)
    return Refusal(reason="spend_limit", message=f"{said} {_again(wait)}", retryable=True, retry_after=wait)


def _repeated(rule: LimitRule, wait: float) -> str:
    times = "once" if rule.most == 1 else f"{rule.most} times"
    return (
        f"You made this very call {times} in {rule.seconds} s, and it was not run again. It gives what it gave before: "
        "do not repeat it; change the arguments, or tell the person what stands in the way. "
        f"The same call is let in again after {wait:.1f} s."
    )


def _limit(charge: Charge, what: str) -> str:
    rule = charge.rule
    whose = f"{Per(rule.per).label}{f', of {rule.tool}' if rule.tool else ''}"
    if charge.most == rule.most:
        return f"Over the limit of {rule.most} {what} for {whose}"
    return f"Over one member's share, {charge.most}, of the limit of {rule.most} {what} for {whose}"


def _again(wait: float) -> str:
    return f"Wait {wait:.1f} s and call again."
