"""Taking from limits: GCRA over an UNLOGGED table, one statement for all limits of all calls waiting.

The generic cell rate algorithm keeps one number per bucket, the theoretical arrival time: a call is let in while that
time is at most one window ahead, which allows a full burst and then an even flow, exactly, across every worker.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from lib import db
from lib.batch import Batch
from policy.decide import Refusal
from policy.models import Per
from tenants.caller import Caller


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitRule:
    """One Limit, without its row."""

    id: int
    per: str
    tool: str
    calls: int
    seconds: int

    def applies(self, tool: str) -> bool:
        return not self.tool or self.tool == tool


@dataclass(frozen=True, kw_only=True, slots=True)
class Charge:
    """One call against one bucket: seconds a call costs, and how far ahead the bucket may run."""

    bucket: str
    cost: float
    window: float
    rule: LimitRule


_CLOSED = -1
"""What `policy_take` answers for a call when a bucket is not there yet; then nothing was charged."""

Taken = tuple[str, float] | None
"""The bucket that refused and the seconds until it has room; None when all were taken."""

_batches: WeakKeyDictionary[asyncio.AbstractEventLoop, Batch[Sequence[Charge], Taken]] = WeakKeyDictionary()


async def take(caller: Caller, tool: str, rules: Sequence[LimitRule]) -> Refusal | None:
    """Charge one call to every limit that applies, or to none; the Refusal names the limit and when to come back."""
    charges = [_charge(caller, tool, rule) for rule in rules if rule.applies(tool)]
    if not charges:
        return None
    taken = await _batch()(charges)
    if taken is None:
        return None
    bucket, exact = taken
    wait = math.ceil(max(exact, 0.1) * 10) / 10  # up, so that whoever waits that long is let in
    rule = next(charge.rule for charge in charges if charge.bucket == bucket)
    return Refusal(
        reason="rate_limited",
        message=f"Over the limit of {rule.calls} calls in {rule.seconds} s for {Per(rule.per).label}. "
        f"Nothing was run. Wait {wait:.1f} s and call again.",
        retryable=True,
        retry_after=wait,
    )


def _charge(caller: Caller, tool: str, rule: LimitRule) -> Charge:
    sharer = {
        Per.TENANT: "",
        Per.MEMBER: f"m{caller.member_id}",
        Per.CREDENTIAL: caller.credential,
        Per.TOOL: tool,
    }[Per(rule.per)]
    return Charge(bucket=f"{rule.id}/{sharer}", cost=rule.seconds / rule.calls, window=float(rule.seconds), rule=rule)


def _batch() -> Batch[Sequence[Charge], Taken]:
    loop = asyncio.get_running_loop()
    if loop not in _batches:
        _batches[loop] = Batch(_take, most=200, room=5000)
    return _batches[loop]


async def _take(calls: Sequence[Sequence[Charge]]) -> list[Taken]:
    rows = [(index, charge) for index, charges in enumerate(calls) for charge in charges]
    buckets = [charge.bucket for _, charge in rows]
    lane = db.lane("limits")
    while True:
        answers = await lane.fetch(
            "SELECT call, bucket, wait FROM policy_take(%s::int[], %s::text[], %s::float8[], %s::float8[])",
            [
                [index for index, _ in rows],
                buckets,
                [charge.cost for _, charge in rows],
                [charge.window for _, charge in rows],
            ],
        )
        refused = {call: (bucket, wait) for call, bucket, wait in answers}
        if _CLOSED not in refused:
            return [refused.get(index) for index in range(len(calls))]
        await lane.fetch("SELECT policy_open(%s::text[])", [buckets])


async def forget() -> None:
    """Drop the buckets that are full again; they say nothing."""
    async with db.pooled() as conn:
        await conn.execute("SELECT policy_forget()")
