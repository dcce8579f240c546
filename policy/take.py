"""Taking from limits: all that apply to a call, or none; and giving back what it held while it ran."""

import asyncio
import uuid
from collections.abc import Sequence
from functools import cache

from lib import db
from policy.buckets import GRACE, Ask, Ending, Full, desk
from policy.charges import MADE, OVER_LIMIT, RUNNING, Charge, LimitRule, Mode, Use, limit_rule, over
from policy.limits import NO_LIMITS, Bill, Limits
from policy.models import Counts
from policy.values import Refusal, Subject
from tenants.caller import Caller

__all__ = [
    "NOTHING_CHARGED",
    "NO_LIMITS",
    "OVER_LIMIT",
    "Charged",
    "LimitRule",
    "Limits",
    "flush",
    "forget",
    "limit_rule",
    "take",
    "take_repeat",
    "take_run",
    "take_stray",
]


_REPEATS = frozenset({Counts.REPEATS.value})


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
    limits: Limits,
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
    use = Use(caller=caller, subject=subject, digest=digest)
    return await _taken(call, limits.bills(use, _counts(made=True, runs=runs is not None, spends=spends)), runs or 0.0)


async def take_run(
    caller: Caller,
    subject: Subject,
    limits: Limits,
    *,
    call: uuid.UUID,
    runs: float | None,
    spends: bool = False,
) -> Charged | Refusal:
    """The same for what was charged for being made: what running takes, as an attempt at a job does; and what it
    spends, where that was left out."""
    use = Use(caller=caller, subject=subject)
    return await _taken(call, limits.bills(use, _counts(made=False, runs=runs is not None, spends=spends)), runs or 0.0)


async def take_repeat(
    caller: Caller, subject: Subject, limits: Limits, *, call: uuid.UUID, digest: str
) -> Charged | Refusal:
    """The same for what was charged without its digest: only its place among the very same calls."""
    use = Use(caller=caller, subject=subject, digest=digest)
    return await _taken(call, limits.bills(use, _REPEATS), 0.0)


async def take_stray(caller: Caller, limits: Limits, *, call: uuid.UUID, digest: str = "") -> Charged | Refusal:
    """The same for a call of no tool. digest: of its name and arguments; empty where repeats are not counted."""
    return await _taken(call, limits.stray(caller, digest), 0.0)


@cache
def _counts(*, made: bool, runs: bool, spends: bool) -> frozenset[str]:
    """What is charged: for being made, while it runs, and for what it spends."""
    return (
        (MADE if made else frozenset())
        | (RUNNING if runs else frozenset())
        | (frozenset({Counts.UNITS.value}) if spends else frozenset())
    )


async def _taken(call: uuid.UUID, bills: Sequence[Bill], runs: float) -> Charged | Refusal:
    if not bills:
        return NOTHING_CHARGED
    ask = Ask(call=call, bills=bills, lasts=runs + GRACE)
    if held := [charge for bill in bills for charge in bill.held]:
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
