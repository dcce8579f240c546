"""Limits of calls: exact over any number of processes, all or none, and honest about when to come back."""

import asyncio
import secrets
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.models import Per
from policy.take import Charged, forget
from policy.values import Refusal
from tests.callers import UMA
from tests.policy.limiting import (
    ECHO,
    SHOUT,
    call,
    database,
    in_loops,
    let_in,
    limit,
    no_deadlock,
    pass_time,
    refused,
)


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


def test_calls_are_let_in_in_the_order_they_came() -> None:
    rule = limit(3, 3600)

    async def play() -> list[bool]:
        async with database():
            await let_in([limit(1)], times=1)  # the line to Postgres is open, so that the batch is one
            answers = await asyncio.gather(*(call([rule]) for _ in range(8)))
        return [isinstance(answer, Charged) for answer in answers]

    assert asyncio.run(play()) == [True] * 3 + [False] * 5


def test_the_refusal_names_the_limit_that_holds_longest_and_the_wait_is_right() -> None:
    short, long = limit(1, 60), limit(1, 3600)

    async def play() -> tuple[Refusal, Refusal, Charged | Refusal]:
        async with database():
            await call([short, long])
            first = await refused([short, long])
            assert first.retry_after is not None
            await pass_time([short, long], first.retry_after - 5)
            too_early = await refused([short, long])
            await pass_time([short, long], 5)
            return first, too_early, await call([short, long])

    first, _too_early, in_time = asyncio.run(play())
    assert first.reason == "rate_limited"
    assert first.retryable
    assert "1 calls in 3600 s for the whole tenant together" in first.message
    assert f"Wait {first.retry_after:.1f} s" in first.message
    assert isinstance(in_time, Charged)


def test_whoever_waits_as_told_is_let_in_even_when_a_call_costs_a_fraction() -> None:
    rule = limit(7, 1)

    async def play() -> list[Charged | Refusal]:
        answers = []
        async with database():
            for _ in range(30):
                while not isinstance(full := await call([rule]), Refusal):
                    pass
                await pass_time([rule], full.retry_after or 0)
                answers.append(await call([rule]))
        return answers

    assert not any(isinstance(answer, Refusal) for answer in asyncio.run(play()))


def test_each_sharer_has_an_allowance_of_its_own() -> None:
    uma = replace(UMA, client_id="host")
    other_key, other_member = replace(uma, credential="key:2"), replace(uma, credential="key:3", member_id=2)
    elsewhere = replace(uma, client_id="other", credential="key:4", member_id=3)
    expected = {
        Per.TENANT: [1, 0, 0, 0, 0],
        Per.MEMBER: [1, 0, 1, 1, 0],
        Per.CREDENTIAL: [1, 1, 1, 1, 0],
        Per.CLIENT: [1, 0, 0, 1, 0],
        Per.TOOL: [1, 0, 0, 0, 1],
    }

    async def play(per: Per) -> list[int]:
        rule = limit(1, 3600, per)
        async with database():
            return [
                await let_in([rule], times=2, caller=uma),
                await let_in([rule], times=2, caller=other_key),
                await let_in([rule], times=2, caller=other_member),
                await let_in([rule], times=2, caller=elsewhere),
                await let_in([rule], times=2, caller=uma, subject=SHOUT),
            ]

    assert {per: asyncio.run(play(per)) for per in Per} == expected


def test_a_limit_of_each_client_is_not_for_keys() -> None:
    async def play() -> int:
        async with database():
            return await let_in([limit(1, per=Per.CLIENT)], times=5)

    assert asyncio.run(play()) == 5


def test_a_limit_of_one_tool_leaves_the_others_alone() -> None:
    rule = limit(1, 3600, Per.TENANT, tool="shout")

    async def play() -> list[int]:
        async with database():
            return [await let_in([rule], times=5), await let_in([rule], times=5, subject=SHOUT)]

    assert asyncio.run(play()) == [5, 1]


def test_a_flood_of_one_member_leaves_room_for_the_others() -> None:
    rule = limit(10, share=60)
    bob = replace(UMA, member_id=2, credential="key:2")

    async def play() -> tuple[int, Refusal, int, Refusal]:
        async with database():
            flood = await let_in([rule], times=50)
            said = await refused([rule])
            others = await let_in([rule], times=50, caller=bob)
            return flood, said, others, await refused([rule], caller=bob)

    flood, said, others, full = asyncio.run(play())
    assert (flood, others) == (6, 4)
    assert "one member's share, 6, of the limit of 10 calls in 3600 s for the whole tenant" in said.message
    assert "Over the limit of 10 calls" in full.message


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
            done += await let_in(shuffled, times=5, subject=replace(ECHO, name=f"tool{turn % 13}"))
            await forget()
        return done

    with no_deadlock():
        assert in_loops(4, work) == [200] * 4


def test_full_buckets_are_forgotten_and_others_are_not() -> None:
    used, idle = limit(1, 3600), limit(1, 3600)

    async def play() -> list[int]:
        async with database():
            await let_in([used, idle], times=1)
            await pass_time([idle], 4000)
            await forget()
            return [await let_in([used], times=1), await let_in([idle], times=2)]

    assert asyncio.run(play()) == [0, 1]


def test_a_caller_without_limits_asks_postgres_nothing() -> None:
    async def play() -> Any:
        return await call([])  # no pool is open here

    assert isinstance(asyncio.run(play()), Charged)
