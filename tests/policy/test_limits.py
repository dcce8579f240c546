"""Limits: exact over any number of processes, all or none, and honest about when to come back."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import db
from policy.decide import Refusal
from policy.models import Per
from policy.take import LimitRule, forget, take
from tenants.caller import Caller
from tests.callers import UMA
from tests.postgres import as_app, as_owner, rows


def limit(calls: int, seconds: int, per: Per = Per.TENANT, tool: str = "") -> LimitRule:
    """A limit nobody else counts in."""
    return LimitRule(id=secrets.randbits(40), per=per.value, tool=tool, calls=calls, seconds=seconds)


@asynccontextmanager
async def database() -> AsyncIterator[None]:
    async with db.open_pool(size=2):
        yield


async def let_in(rules: Sequence[LimitRule], *, times: int, caller: Caller = UMA, tool: str = "echo") -> int:
    answers = await asyncio.gather(*(take(caller, tool, rules) for _ in range(times)))
    return sum(answer is None for answer in answers)


async def pass_time(rules: Sequence[LimitRule], seconds: float) -> None:
    """The same to the algorithm as waiting: what was counted lies so much further back."""
    with as_owner() as owner:
        for rule in rules:
            owner.execute("UPDATE policy_bucket SET tat = tat - %s WHERE key LIKE %s", [seconds, f"{rule.id}/%"])


@dataclass
class Model:
    """The generic cell rate algorithm in four lines."""

    calls: int
    seconds: int
    tat: float = 0.0

    def take(self, moment: float) -> bool:
        ahead = max(self.tat, moment) + self.seconds / self.calls - moment - self.seconds
        if ahead <= 1e-6:
            self.tat = max(self.tat, moment) + self.seconds / self.calls
        return ahead <= 1e-6


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=st.integers(1, 5), steps=STEPS)
def test_a_limit_lets_in_what_the_algorithm_says_and_never_more(calls: int, steps: list[tuple[int, int]]) -> None:
    """Times are halves of what a call costs, off the borders, so that the test's own milliseconds decide nothing."""
    rule = limit(calls, 3600)
    model = Model(calls, 3600)

    async def play() -> list[tuple[int, int]]:
        clock, told = 1e9, []
        async with database():
            for pauses, tries in steps:
                elapsed = pauses * (3600 / calls) * 0.5 + (1.0 if pauses else 0.0)
                await pass_time([rule], elapsed)
                clock += elapsed
                told.append((await let_in([rule], times=tries), sum(model.take(clock) for _ in range(tries))))
        return told

    for real, expected in asyncio.run(play()):
        assert real == expected


def test_a_burst_is_let_in_and_then_an_even_flow() -> None:
    rule = limit(10, 3600)

    async def play() -> list[int]:
        async with database():
            burst = await let_in([rule], times=25)
            await pass_time([rule], 365)
            flow = await let_in([rule], times=5)
            await pass_time([rule], 10_000)
            return [burst, flow, await let_in([rule], times=25)]

    assert asyncio.run(play()) == [10, 1, 10]


def test_a_call_must_fit_every_limit_or_none_is_charged() -> None:
    wide, narrow = limit(100, 3600), limit(2, 3600)

    async def play() -> tuple[int, int]:
        async with database():
            return await let_in([wide, narrow], times=50), await let_in([wide], times=150)

    assert asyncio.run(play()) == (2, 98)


def test_the_refusal_names_the_limit_that_holds_longest_and_the_wait_is_right() -> None:
    short, long = limit(1, 60), limit(1, 3600)

    async def play() -> list[Refusal | None]:
        async with database():
            await take(UMA, "echo", [short, long])
            refused = await take(UMA, "echo", [short, long])
            assert refused is not None
            assert refused.retry_after is not None
            await pass_time([short, long], refused.retry_after - 5)
            too_early = await take(UMA, "echo", [short, long])
            await pass_time([short, long], 5)
            return [refused, too_early, await take(UMA, "echo", [short, long])]

    refused, too_early, in_time = asyncio.run(play())
    assert refused is not None
    assert refused.reason == "rate_limited"
    assert refused.retryable
    assert "1 calls in 3600 s for the whole tenant together" in refused.message
    assert f"Wait {refused.retry_after:.1f} s" in refused.message
    assert too_early is not None
    assert in_time is None


def test_whoever_waits_as_told_is_let_in_even_when_a_call_costs_a_fraction() -> None:
    rule = limit(7, 1)

    async def play() -> list[Refusal | None]:
        answers = []
        async with database():
            for _ in range(30):
                while (refused := await take(UMA, "echo", [rule])) is None:
                    pass
                await pass_time([rule], refused.retry_after or 0)
                answers.append(await take(UMA, "echo", [rule]))
        return answers

    assert asyncio.run(play()) == [None] * 30


def test_each_sharer_has_an_allowance_of_its_own() -> None:
    other_key, other_member = replace(UMA, credential="key:2"), replace(UMA, credential="key:3", member_id=2)
    expected = {
        Per.TENANT: [1, 0, 0, 0],
        Per.MEMBER: [1, 0, 1, 0],
        Per.CREDENTIAL: [1, 1, 1, 0],
        Per.TOOL: [1, 0, 0, 1],
    }

    async def play(per: Per) -> list[int]:
        rule = limit(1, 3600, per)
        async with database():
            return [
                await let_in([rule], times=2, caller=UMA),
                await let_in([rule], times=2, caller=other_key),
                await let_in([rule], times=2, caller=other_member),
                await let_in([rule], times=2, caller=UMA, tool="shout"),
            ]

    assert {per: asyncio.run(play(per)) for per in Per} == expected


def test_a_limit_of_one_tool_leaves_the_others_alone() -> None:
    rule = limit(1, 3600, Per.TENANT, tool="shout")

    async def play() -> list[int]:
        async with database():
            return [await let_in([rule], times=5), await let_in([rule], times=5, tool="shout")]

    assert asyncio.run(play()) == [5, 1]


def in_loops(count: int, work: Any) -> list[Any]:
    """The same coroutine on `count` event loops at once, each with connections of its own, as processes have them."""
    ended: list[Any] = []

    async def alone() -> None:
        async with database():
            ended.append(await work())

    threads = [threading.Thread(target=lambda: asyncio.run(alone())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == count
    return ended


def test_two_processes_charging_one_bucket_never_exceed_it() -> None:
    rule = limit(100, 3600)
    assert sum(in_loops(4, lambda: let_in([rule], times=80))) == 100


def test_buckets_in_opposite_orders_do_not_deadlock() -> None:
    """New buckets too, and while the forgotten ones are swept away."""
    rules = [limit(1_000_000, 1, Per.TOOL) for _ in range(6)]

    async def work() -> int:
        done = 0
        for turn in range(40):
            shuffled = sorted(rules, key=lambda _: secrets.randbits(8))
            done += await let_in(shuffled, times=5, tool=f"tool{turn % 13}")
            await forget()
        return done

    before = deadlocks()
    assert in_loops(4, work) == [200] * 4
    assert deadlocks() == before


def deadlocks() -> int:
    with as_app() as conn:
        return int(rows(conn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0])


def test_full_buckets_are_forgotten_and_others_are_not() -> None:
    used, idle = limit(1, 3600), limit(1, 3600)

    async def play() -> list[int]:
        async with database():
            await let_in([used, idle], times=1)
            await pass_time([idle], 4000)
            await forget()
            return [await let_in([used], times=1), await let_in([idle], times=2)]

    assert asyncio.run(play()) == [0, 1]
