"""Taking from limits: all that apply to a call, or none; and giving back what it held while it ran."""

import asyncio
import uuid
from collections.abc import Sequence

from lib import db
from policy.buckets import GRACE, Ask, Ending, Full, desk
from policy.charges import (
    OVER_LIMIT,
    RUNNING,
    Charge,
    LimitRule,
    Mode,
    Use,
    charges,
    counts_repeats,
    limit_rule,
    over,
    stray_charges,
)
from policy.models import Counts
from policy.values import Refusal, Subject
from tenants.caller import Caller

__all__ = [
    "NOTHING_CHARGED",
    "OVER_LIMIT",
    "Charged",
    "LimitRule",
    "counts_repeats",
    "flush",
    "forget",
    "limit_rule",
    "take",
    "take_run",
    "take_stray",
]


class Charged:
    """What a call was let in with; whoever runs it settles when it is over."""

    __slots__ = ("_call", "_held")

    def __init__(self, call: uuid.UUID, held: Sequence[Charge] = ()):
        self._call = call
        self._held = held

    def settle(self, size: int) -> None:
        """The call has ended, and its result had so many bytes. Only the first time counts."""
        held, self._held = self._held, ()
        if held:
            desk().end([_ending(charge, self._call, size) for charge in held])


NOTHING_CHARGED = Charged(uuid.UUID(int=0))


async def take(
    caller: Caller,
    subject: Subject,
    rules: Sequence[LimitRule],
    *,
    call: uuid.UUID,
    digest: str,
    runs: float | None,
    spends: bool = True,
) -> Charged | Refusal:
    """Charge one call to every limit that applies, or to none; the Refusal names the limit and when to come back.

    digest: of its arguments. runs: seconds that it may run at the most; None when it will not run now. spends: False
    when it may come to nothing, as its person may say no.
    """
    counted = rules if runs is not None else [rule for rule in rules if rule.counts not in RUNNING]
    counted = counted if spends else [rule for rule in counted if rule.counts != Counts.UNITS]
    use = Use(caller=caller, subject=subject, call=call, digest=digest)
    return await _taken(call, charges(use, counted), runs or 0.0)


async def take_run(
    caller: Caller,
    subject: Subject,
    rules: Sequence[LimitRule],
    *,
    call: uuid.UUID,
    runs: float | None,
    spends: bool = False,
) -> Charged | Refusal:
    """The same for what was charged for being made: what running takes, as an attempt at a job does; and what it
    spends, where that was left out."""
    use = Use(caller=caller, subject=subject, call=call)
    counted = (RUNNING if runs is not None else frozenset()) | ({Counts.UNITS.value} if spends else frozenset())
    return await _taken(call, charges(use, [rule for rule in rules if rule.counts in counted]), runs or 0.0)


async def take_stray(caller: Caller, rules: Sequence[LimitRule], *, call: uuid.UUID) -> Charged | Refusal:
    """The same for a call of no tool."""
    return await _taken(call, stray_charges(caller, call, rules), 0.0)


async def _taken(call: uuid.UUID, wanted: Sequence[Charge], runs: float) -> Charged | Refusal:
    if not wanted:
        return NOTHING_CHARGED
    ask = Ask(call=call, charges=wanted, lasts=runs + GRACE)
    held = [charge for charge in wanted if charge.mode >= Mode.SLOT]
    if held:
        charged = Charged(call, held)
        full = await _held(ask, charged)
    else:
        charged = NOTHING_CHARGED
        full = await (await desk().take(ask))
    return charged if full is None else over(full.charge, full.wait, full.spare)


async def _held(ask: Ask, charged: Charged) -> Full | None:
    """Who is cancelled while it waits has handed in all the same, and must not hold what it may be given."""
    future = await desk().take(ask)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(lambda _: charged.settle(0))
        raise


def _ending(charge: Charge, call: uuid.UUID, size: int) -> Ending:
    used = size * charge.window / charge.most if charge.mode is Mode.RESERVE else 0.0
    return Ending(bucket=charge.bucket, call=call, used=used)


async def flush() -> None:
    """Wait until what ended calls held is given back; before the event loop's pool is closed."""
    await desk().flush()


async def forget() -> None:
    """Drop the buckets that are full again, what nobody can hold any more, and the windows that nothing is left in."""
    async with db.pooled() as conn:
        await conn.execute("SELECT policy_forget()")
