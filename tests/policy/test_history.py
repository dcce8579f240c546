"""Counting what went before: exact over any number of processes, never too few, and forgotten in time."""

import asyncio
import secrets

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.history import count
from policy.take import forget
from policy.values import Window
from tests.policy.limiting import database, in_loops, no_deadlock
from tests.postgres import as_owner, rows


def window(seconds: int = 3600, bucket: str = "", rule: str = "often") -> Window:
    return Window(rule=rule, bucket=bucket or secrets.token_hex(8), seconds=seconds)


def later(one: Window, slots: int) -> None:
    """So many sixtieths of the window go by."""
    with as_owner() as owner:
        owner.execute("UPDATE policy_past SET slot = slot - %s WHERE key LIKE %s", [slots, f"%/{one.bucket}"])


def test_each_call_is_told_how_many_came_before_it() -> None:
    one = window()

    async def play() -> list[int]:
        async with database():
            together = await asyncio.gather(*(count([one]) for _ in range(5)))
            return [answer["often"] for answer in together] + [(await count([one]))["often"]]

    assert asyncio.run(play()) == [0, 1, 2, 3, 4, 5]


def test_windows_of_one_call_do_not_count_each_other() -> None:
    first = window(rule="first")
    same = Window(rule="same", bucket=first.bucket, seconds=first.seconds)
    shorter = Window(rule="shorter", bucket=first.bucket, seconds=60)

    async def play() -> list[object]:
        async with database():
            return [await count([first, same]), await count([same, shorter]), await count([])]

    assert asyncio.run(play()) == [{"first": 0, "same": 0}, {"same": 1, "shorter": 0}, {}]


SLOTS = st.lists(st.tuples(st.integers(0, 70), st.integers(1, 3)), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=SLOTS)
def test_never_too_few_and_hardly_too_many(steps: list[tuple[int, int]]) -> None:
    """Against a list of moments, in sixtieths of a window: all within it count, and none that is two slots older."""
    one = window(seconds=86400)

    async def play() -> None:
        clock = 0
        moments: list[int] = []
        async with database():
            for pause, times in steps:
                clock += pause
                later(one, pause)
                for _ in range(times):
                    before = (await count([one]))["often"]
                    assert sum(clock - moment < 60 for moment in moments) <= before
                    assert before <= sum(clock - moment < 62 for moment in moments)
                    moments.append(clock)

    asyncio.run(play())


def test_processes_that_count_at_once_miss_nothing_and_never_wait_in_a_circle() -> None:
    windows = [window(rule=str(number)) for number in range(12)]

    async def work() -> None:
        for _ in range(20):
            shuffled = sorted(windows, key=lambda _: secrets.randbits(8))
            await asyncio.gather(*(count(shuffled[:6]), count(shuffled[6:])))

    with no_deadlock():
        in_loops(4, work)

    async def look() -> object:
        async with database():
            return await count(windows)

    assert asyncio.run(look()) == {one.rule: 80 for one in windows}


def test_a_windows_row_is_bounded_and_forgotten_when_nothing_is_left_in_it() -> None:
    old, young = window(rule="old"), window(rule="young")

    async def play() -> None:
        async with database():
            for _ in range(70):
                await count([old, young])
                later(old, 1)
            with as_owner() as owner:
                kept = rows(owner, "SELECT cardinality(counts) FROM policy_past WHERE key LIKE %s", f"%/{old.bucket}")
            assert kept == [(61,)]
            later(old, 70)
            await forget()

    asyncio.run(play())
    with as_owner() as owner:
        ours = [f"3600/{old.bucket}", f"3600/{young.bucket}"]
        assert rows(owner, "SELECT key FROM policy_past WHERE key = ANY (%s)", ours) == [(f"3600/{young.bucket}",)]
