"""Gathering: one statement for many callers, and each gets its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from lib.batch import Batch


class Work:
    """Answers each number with its double, once it is let go."""

    def __init__(self, *, open_: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        if open_:
            self.gate.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | BaseException]:
        self.batches.append(list(items))
        await self.gate.wait()
        return [ValueError(f"{item} is odd") if item % 2 else item * 2 for item in items]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_an_idle_batch_answers_at_once() -> None:
    work = Work()
    assert await Batch(work, most=10, room=10)(4) == 8
    assert work.batches == [[4]]


async def test_while_one_batch_is_under_way_the_next_one_collects() -> None:
    work = Work(open_=False)
    batch = Batch(work, most=3, room=100)
    tasks = [asyncio.create_task(batch(2 * number)) for number in range(8)]
    await turns()
    work.gate.set()
    assert await asyncio.gather(*tasks) == [0, 4, 8, 12, 16, 20, 24, 28]
    assert [len(one) for one in work.batches] == [3, 3, 2]


async def test_everybody_gets_their_own_answer_or_their_own_error() -> None:
    ended = await asyncio.gather(*(Batch(Work(), most=9, room=9)(n) for n in range(4)), return_exceptions=True)
    assert [str(one) for one in ended] == ["0", "1 is odd", "4", "3 is odd"]


async def test_when_the_work_fails_everybody_in_it_is_told_and_the_next_batch_runs() -> None:
    calls = 0

    async def work(items: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("gone")
        return items

    batch = Batch(work, most=5, room=100)
    ended = await asyncio.gather(*(batch(n) for n in range(7)), return_exceptions=True)
    assert [type(one) for one in ended] == [ConnectionError] * 5 + [int] * 2


async def test_work_that_answers_too_little_tells_everybody_instead_of_hanging() -> None:
    async def work(items: Sequence[int]) -> Sequence[int]:
        return items[:-1]

    batch = Batch(work, most=5, room=5)
    ended = await asyncio.gather(*(batch(n) for n in range(3)), return_exceptions=True)
    assert [str(one) for one in ended] == ["2 results for 3 items"] * 3


async def test_a_burst_beyond_the_room_waits_and_loses_nothing() -> None:
    work = Work(open_=False)
    batch = Batch(work, most=2, room=3)
    tasks = [asyncio.create_task(batch(2 * number)) for number in range(30)]
    await turns()
    assert len(batch) <= 3
    work.gate.set()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 30) == [4 * number for number in range(30)]
    assert sum(len(one) for one in work.batches) == 30


async def test_what_was_handed_in_is_done_though_its_caller_is_gone() -> None:
    work = Work(open_=False)
    batch = Batch(work, most=1, room=10)
    tasks = [asyncio.create_task(batch(n)) for n in (2, 4)]
    await turns()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    work.gate.set()
    await batch.drain()
    assert work.batches == [[2], [4]]


async def test_who_is_cancelled_while_waiting_for_room_handed_nothing_in() -> None:
    work = Work(open_=False)
    batch = Batch(work, most=1, room=1)
    tasks = [asyncio.create_task(batch(n)) for n in (2, 4, 6)]
    await turns()
    tasks[2].cancel()
    work.gate.set()
    assert await asyncio.gather(*tasks[:2]) == [4, 8]
    await batch.drain()
    assert work.batches == [[2], [4]]


async def test_when_the_loop_is_taken_down_nobody_waits_for_ever() -> None:
    work = Work(open_=False)
    batch = Batch(work, most=1, room=10)
    tasks = [asyncio.create_task(batch(n)) for n in (2, 4)]
    await turns()
    runner = batch._runner
    assert runner is not None
    runner.cancel()
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 2


async def test_draining_waits_for_everything() -> None:
    work = Work(open_=False)
    batch = Batch(work, most=1, room=10)
    tasks = [asyncio.create_task(batch(2 * n)) for n in range(3)]
    await turns()
    draining = asyncio.create_task(batch.drain())
    await turns()
    assert not draining.done()
    work.gate.set()
    await asyncio.wait_for(draining, 30)
    assert all(task.done() for task in tasks) or await asyncio.gather(*tasks) == [0, 4, 8]
    with pytest.raises(ValueError, match="odd"):
        await batch(1)
