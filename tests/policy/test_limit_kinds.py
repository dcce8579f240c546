"""Limits of bytes, of calls at once, of units a day and of repeats: what each takes, gives back, and says."""

import asyncio
import datetime
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest

from lib import db
from policy.models import Counts, Per
from policy.take import Charged, LimitRule, Limits, flush, forget, take_run, take_stray
from policy.values import Refusal
from tests.callers import UMA
from tests.policy.limiting import (
    ECHO,
    SHOUT,
    call,
    database,
    ended,
    held,
    holds,
    in_loops,
    let_in,
    limit,
    no_deadlock,
    pass_time,
    refused,
)
from tests.postgres import as_owner
from tests.waiting import until

BOB = replace(UMA, member_id=2, credential="key:2")


@pytest.fixture
async def pool() -> AsyncIterator[None]:
    """The pool of the tests' loop, or one for this test when the hub does not run there yet."""
    with suppress(RuntimeError):
        db.pool()
        yield
        return
    async with database():
        yield


# Calls at once


async def test_no_more_calls_run_at_once_than_the_limit(pool: None) -> None:
    rule = limit(2, counts=Counts.CONCURRENT)
    first, second = await held([rule]), await held([rule])
    said = await refused([rule])
    assert (said.reason, said.retryable) == ("too_many_at_once", True)
    assert said.retry_after is not None
    assert said.retry_after <= 1.0
    assert "Over the limit of 2 calls at once for the whole tenant together" in said.message
    await ended(first)
    third = await held([rule])
    await refused([rule])
    await ended(second)
    await ended(third)
    assert holds([rule]) == 0


async def test_who_is_told_to_wait_for_a_slot_waits_as_long_as_the_oldest_call_has_run(pool: None) -> None:
    rule = limit(1, counts=Counts.CONCURRENT)
    await held([rule], runs=600.0)
    await pass_time([rule], 20)
    said = await refused([rule])
    assert said.retry_after == pytest.approx(20, abs=2)
    await pass_time([rule], 605)
    said = await refused([rule])
    assert said.retry_after == pytest.approx(5, abs=2)  # by then it is over, whatever became of it


async def test_a_slot_of_a_call_that_never_settles_is_free_after_its_deadline_and_grace(pool: None) -> None:
    rule = limit(1, counts=Counts.CONCURRENT)
    await held([rule], runs=60.0)
    await pass_time([rule], 85)
    await refused([rule])
    await pass_time([rule], 10)
    await held([rule])


async def test_a_late_settlement_frees_nobody_elses_slot(pool: None) -> None:
    rule = limit(1, counts=Counts.CONCURRENT)
    late = await held([rule])
    await pass_time([rule], 100)
    await held([rule])
    await ended(late)
    await refused([rule])


async def test_settling_twice_is_settling_once(pool: None) -> None:
    rule = limit(1000, counts=Counts.BYTES)
    one = await held([rule])
    await ended(one, 100)
    await ended(one, 900)
    assert await let_in([rule], times=20) == 9


async def test_the_same_call_taken_twice_holds_one_slot(pool: None) -> None:
    rule, same = limit(2, counts=Counts.CONCURRENT), uuid.uuid4()
    await held([rule], id=same)
    again = await held([rule], id=same)
    await held([rule])
    await held([rule], id=same)  # also when the limit is full without it
    await refused([rule])
    await ended(again)
    assert await let_in([rule], times=5) == 1


async def test_a_call_that_does_not_run_now_holds_nothing(pool: None) -> None:
    rules = [limit(1, counts=Counts.CONCURRENT), limit(100, counts=Counts.BYTES)]
    assert await let_in(rules, times=5, runs=None) == 5
    assert holds(rules) == 0


async def test_a_call_refused_by_one_limit_holds_nothing_of_the_others(pool: None) -> None:
    slots, narrow = limit(5, counts=Counts.CONCURRENT), limit(1)
    assert await let_in([slots, narrow], times=4) == 1
    assert holds([slots]) == 1


async def test_a_call_cancelled_while_it_waits_holds_nothing(pool: None) -> None:
    rule = limit(1, counts=Counts.CONCURRENT)
    await let_in([limit(1)], times=1)
    waiting = asyncio.create_task(call([rule]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await _let_in_at_last([rule])


async def _let_in_at_last(rules: Sequence[LimitRule]) -> bool:
    for _ in range(500):
        if isinstance(await call(rules), Charged):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_what_ended_is_told_without_another_call(pool: None) -> None:
    rule = limit(1, counts=Counts.CONCURRENT)
    (await held([rule])).settle(0)
    await asyncio.to_thread(until, lambda: holds([rule]) == 0)


async def test_a_call_may_end_when_its_bucket_is_gone(pool: None) -> None:
    rule = limit(1, counts=Counts.CONCURRENT)
    one = await held([rule])
    with as_owner() as owner:
        owner.execute("DELETE FROM policy_bucket WHERE key LIKE %s", [f"{rule.id}/%"])
    await ended(one)
    assert holds([rule]) == 0


async def test_no_holds_are_kept_of_tenants_without_such_limits(pool: None) -> None:
    one = await held([limit(10), limit(10, counts=Counts.UNITS)])
    one.settle(10)
    await flush()


# Bytes


async def test_bytes_are_reserved_and_the_rest_is_given_back(pool: None) -> None:
    rule = limit(250, counts=Counts.BYTES)
    first, second = await held([rule]), await held([rule])
    said = await refused([rule])
    assert said.reason == "rate_limited"
    assert "250 bytes of results in 3600 s for the whole tenant together" in said.message
    await ended(first, 20)
    third = await held([rule])
    await refused([rule])
    await ended(second, 30)
    await ended(third, 100)
    await held([rule])  # 150 used, 100 reserved
    await refused([rule])


async def test_a_limit_smaller_than_a_result_lets_calls_through_one_at_a_time(pool: None) -> None:
    rule = limit(40, counts=Counts.BYTES)
    one = await held([rule])
    await refused([rule])
    await ended(one, 0)
    two = await held([rule])
    await ended(two, 40)
    said = await refused([rule])
    assert said.retry_after == pytest.approx(3600, abs=30)
    await pass_time([rule], 3600)
    await held([rule])


async def test_bytes_that_went_out_flow_off_evenly(pool: None) -> None:
    rule = limit(1000, 1000, counts=Counts.BYTES)
    calls = [await held([rule]) for _ in range(10)]
    for one in calls:
        one.settle(100)
    await flush()
    said = await refused([rule])
    assert said.retry_after == pytest.approx(100, abs=30)
    await pass_time([rule], 250)
    assert await let_in([rule], times=5) == 2


async def test_time_that_passes_while_a_call_runs_is_no_allowance_for_its_bytes(pool: None) -> None:
    """They go out at its end: what is given back may not count as room that was there before."""
    rule = limit(100, 3600, counts=Counts.BYTES)
    one = await held([rule], runs=7200.0)
    await pass_time([rule], 3600)
    await ended(one, 100)
    await refused([rule])


async def test_what_a_dead_process_reserved_counts_as_gone_out(pool: None) -> None:
    rule = limit(100, 100_000, counts=Counts.BYTES)
    await held([rule], runs=60.0)
    await pass_time([rule], 91)
    said = await refused([rule])
    assert said.retry_after == pytest.approx(100_000, abs=60)


# Units


async def test_units_are_spent_by_day_and_the_refusal_says_what_is_left(pool: None) -> None:
    rule = limit(10, counts=Counts.UNITS)
    dear = replace(ECHO, units=4)
    assert await let_in([rule], times=5, subject=dear) == 2
    said = await refused([rule], subject=dear)
    assert (said.reason, said.retryable) == ("spend_limit", True)
    assert "10 units a day for the whole tenant together: this call costs 4, and 2 are left" in said.message
    now = datetime.datetime.now(datetime.UTC)
    assert said.retry_after == pytest.approx(86400 - (now.hour * 60 + now.minute) * 60 - now.second, abs=5)
    assert await let_in([rule], times=5) == 2
    with as_owner() as owner:
        owner.execute("UPDATE policy_bucket SET day = day - 1 WHERE key LIKE %s", [f"{rule.id}/%"])
    assert await let_in([rule], times=5, subject=dear) == 2


async def test_a_call_that_costs_more_than_a_day_has_is_not_told_to_come_back(pool: None) -> None:
    said = await refused([limit(3, counts=Counts.UNITS)], subject=replace(ECHO, units=4))
    assert (said.reason, said.retryable, said.retry_after) == ("spend_limit", False, None)


async def test_what_costs_nothing_is_let_in_when_all_is_spent(pool: None) -> None:
    rule = limit(1, counts=Counts.UNITS)
    assert await let_in([rule], times=3) == 1
    assert await let_in([rule], times=3, subject=replace(ECHO, units=0)) == 3


async def test_todays_spending_is_not_forgotten_and_yesterdays_is(pool: None) -> None:
    today, before = limit(1, counts=Counts.UNITS), limit(1, counts=Counts.UNITS)
    await let_in([today, before], times=1)
    await pass_time([today, before], 100)
    with as_owner() as owner:
        owner.execute("UPDATE policy_bucket SET day = day - 1 WHERE key LIKE %s", [f"{before.id}/%"])
        await forget()
        kept = owner.execute(
            "SELECT key FROM policy_bucket WHERE key = ANY (%s)", [[f"{today.id}/", f"{before.id}/"]]
        ).fetchall()
    assert kept == [(f"{today.id}/",)]


# Repeats


async def test_the_very_same_call_is_let_in_so_many_times(pool: None) -> None:
    rule = limit(5, 3600, Per.MEMBER, counts=Counts.REPEATS)
    assert await let_in([rule], times=9) == 5
    said = await refused([rule])
    assert (said.reason, said.retryable) == ("repeated_call", True)
    assert said.retry_after is not None
    assert said.message.startswith("You made this very call 5 times in 3600 s")
    assert "do not repeat it" in said.message


async def test_other_arguments_another_tool_and_another_member_are_no_repeat(pool: None) -> None:
    rule = limit(1, 3600, Per.MEMBER, counts=Counts.REPEATS)
    assert await let_in([rule], times=3) == 1
    assert await let_in([rule], times=3, digest="two") == 1
    assert await let_in([rule], times=3, subject=SHOUT) == 1
    assert await let_in([rule], times=3, caller=BOB) == 1
    assert await let_in([rule], times=3, caller=replace(UMA, credential="key:9")) == 0


# Shares


@pytest.mark.parametrize("counts", [Counts.CONCURRENT, Counts.UNITS])
async def test_one_member_takes_no_more_than_their_share(pool: None, counts: Counts) -> None:
    rule = limit(10, share=70, counts=counts)
    assert await let_in([rule], times=20) == 7
    assert "one member's share, 7, of the limit of 10" in (await refused([rule])).message
    assert await let_in([rule], times=20, caller=BOB) == 3


async def test_one_member_takes_no_more_than_their_share_of_the_bytes(pool: None) -> None:
    rule = limit(1000, share=50, counts=Counts.BYTES)
    assert await let_in([rule], times=20) == 5
    assert await let_in([rule], times=20, caller=BOB) == 5


async def test_a_share_is_at_least_one_call(pool: None) -> None:
    assert await let_in([limit(2, share=1)], times=5) == 1


# Jobs, and calls of nothing


async def test_an_attempt_at_a_job_takes_only_what_running_takes(pool: None) -> None:
    slots, bytes_ = limit(1, counts=Counts.CONCURRENT), limit(100, counts=Counts.BYTES)
    rest = [limit(1), limit(1, counts=Counts.UNITS), limit(1, counts=Counts.REPEATS)]
    await let_in(rest, times=1)
    attempt = await take_run(UMA, ECHO, Limits([slots, bytes_, *rest]), call=uuid.uuid4(), runs=60.0)
    assert isinstance(attempt, Charged)
    full = await take_run(UMA, ECHO, Limits([slots]), call=uuid.uuid4(), runs=60.0)
    assert isinstance(full, Refusal)
    assert full.reason == "too_many_at_once"
    await ended(attempt, 60)
    assert isinstance(await take_run(UMA, ECHO, Limits([slots]), call=uuid.uuid4(), runs=60.0), Charged)


async def test_a_call_of_no_tool_is_counted_and_takes_nothing_else(pool: None) -> None:
    rules = [limit(1, counts=counts) for counts in Counts if counts is not Counts.CALLS]
    for _ in range(3):
        assert isinstance(await take_stray(UMA, Limits(rules), call=uuid.uuid4()), Charged)
    counted = limit(1)
    assert isinstance(await take_stray(UMA, Limits([counted]), call=uuid.uuid4()), Charged)
    assert isinstance(await take_stray(UMA, Limits([counted]), call=uuid.uuid4()), Refusal)


async def test_the_very_same_call_of_no_tool_is_a_repeat(pool: None) -> None:
    limits = Limits([limit(2, 3600, Per.MEMBER, counts=Counts.REPEATS)])
    for name, most in (("one", 2), ("another", 2)):
        came = [await take_stray(UMA, limits, call=uuid.uuid4(), digest=name) for _ in range(4)]
        assert [isinstance(one, Charged) for one in came] == [place < most for place in range(4)]


# Forgetting


async def test_what_nobody_holds_any_more_is_forgotten_and_charged(pool: None) -> None:
    slots, bytes_ = limit(1, counts=Counts.CONCURRENT), limit(100, 100_000, counts=Counts.BYTES)
    await held([slots, bytes_], runs=60.0)
    await forget()
    assert holds([slots, bytes_]) == 2
    await pass_time([slots, bytes_], 100)
    await forget()
    assert holds([slots, bytes_]) == 0
    await held([slots])
    await refused([bytes_])


def test_overlapping_calls_with_new_buckets_and_endings_do_not_deadlock() -> None:
    rules = [limit(1_000_000, 1, Per.TOOL, counts=counts) for counts in Counts for _ in range(2)]

    async def work() -> int:
        done = 0
        for turn in range(30):
            subject = replace(ECHO, name=f"tool{turn % 7}")
            given = [
                call(rules if one % 2 else rules[::-1], subject=subject, digest=f"{turn % 3}{one}") for one in range(6)
            ]
            for charged in await asyncio.gather(*given):
                assert isinstance(charged, Charged)
                charged.settle(10)
                done += 1
            await forget()
        return done

    with no_deadlock():
        assert in_loops(4, work) == [180] * 4
    assert holds(rules) == 0


def test_what_cannot_be_given_back_is_logged_and_fails_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        async with database():
            one = await held([limit(1, counts=Counts.CONCURRENT)])
        one.settle(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(db, "lane", lambda _: _Away())
            await flush()

    asyncio.run(play())
    assert "free only when it expires" in caplog.text


class _Away:
    """Postgres is."""

    async def fetch(self, *_: object) -> object:
        raise psycopg.OperationalError("away")
