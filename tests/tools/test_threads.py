"""Threads are counted by tenant until they are done, so that nobody's slow functions stop another's."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tools import threads
from tools.threads import PER_TENANT, TOTAL, Busy, Crew, run_for


class Gate:
    """Work that waits until it is let go, and counts who is in it."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = 0
        self._turn = threading.Lock()

    def work(self) -> str:
        with self._turn:
            self.inside += 1
        assert self.open.wait(30)
        return "done"


@asynccontextmanager
async def gate() -> AsyncIterator[Gate]:
    made = Gate()
    try:
        yield made
    finally:
        made.open.set()
        await until(lambda: not threads.of_loop().tenants)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.001)


async def test_a_tenant_whose_threads_are_all_taken_is_busy_and_no_other() -> None:
    async with gate() as slow, asyncio.TaskGroup() as group:
        running = [group.create_task(run_for(1, slow.work, patience=30)) for _ in range(PER_TENANT)]
        await until(lambda: slow.inside == PER_TENANT)
        with pytest.raises(Busy):
            await run_for(1, lambda: "mine", patience=0.01)
        assert await run_for(2, lambda: "another's", patience=30) == "another's"
        slow.open.set()
    assert [one.result() for one in running] == ["done"] * PER_TENANT


async def test_whoever_waits_runs_when_a_thread_becomes_free() -> None:
    async with gate() as slow, asyncio.TaskGroup() as group:
        for _ in range(PER_TENANT):
            group.create_task(run_for(1, slow.work, patience=30))
        await until(lambda: slow.inside == PER_TENANT)
        waiting = group.create_task(run_for(1, lambda: "later", patience=30))
        await until(lambda: threads.of_loop().tenants[1].statistics().tasks_waiting == 1)
        slow.open.set()
    assert waiting.result() == "later"


async def test_a_thread_that_was_left_behind_counts_until_it_is_done() -> None:
    async with gate() as slow:
        left = [asyncio.create_task(run_for(1, slow.work, patience=30)) for _ in range(PER_TENANT)]
        await until(lambda: slow.inside == PER_TENANT)
        for one in left:
            one.cancel()
        await asyncio.wait(left)
        with pytest.raises(Busy):
            await run_for(1, lambda: "mine", patience=0.01)
        slow.open.set()
        assert await run_for(1, lambda: "mine", patience=30) == "mine"


async def test_all_tenants_together_have_a_bound_too() -> None:
    tenants = TOTAL // PER_TENANT
    async with gate() as slow, asyncio.TaskGroup() as group:
        for tenant_id in range(tenants):
            for _ in range(PER_TENANT):
                group.create_task(run_for(tenant_id, slow.work, patience=30))
        await until(lambda: slow.inside == TOTAL)
        with pytest.raises(Busy):
            await run_for(tenants, lambda: "one more", patience=0.01)
        slow.open.set()


@pytest.mark.parametrize("steps", range(8))
async def test_a_caller_who_is_gone_at_any_point_costs_nothing(steps: int) -> None:
    task = asyncio.create_task(run_for(1, lambda: "nobody's", patience=30))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not threads.of_loop().tenants)
    assert await run_for(1, lambda: "next", patience=30) == "next"


async def test_what_the_work_raises_reaches_the_caller_and_frees_the_thread() -> None:
    def work() -> None:
        raise ValueError("no")

    for _ in range(PER_TENANT + 1):
        with pytest.raises(ValueError, match="no"):
            await run_for(1, work, patience=30)
    await until(lambda: not threads.of_loop().tenants)


async def test_of_a_crew_a_tenant_has_one_piece_done_at_a_time_whatever_it_is_given() -> None:
    crew, slow, order = Crew("test", 1), Gate(), list[int]()
    async with asyncio.TaskGroup() as group:
        group.create_task(crew.run_for(1, slow.work))
        await until(lambda: slow.inside == 1)
        for number, tenant_id in enumerate((1, 1, 2, 3, 1)):
            group.create_task(crew.run_for(tenant_id, order.append, number))
        await asyncio.sleep(0)
        slow.open.set()
    assert order == [2, 3, 0, 1, 4]


async def test_who_goes_away_gives_their_turn_to_the_next() -> None:
    crew, slow = Crew("test, left", 1), Gate()
    async with asyncio.TaskGroup() as group:
        group.create_task(crew.run_for(1, slow.work))
        await until(lambda: slow.inside == 1)
        gone = [asyncio.create_task(crew.run_for(tenant_id, slow.work)) for tenant_id in (1, 2)]
        await asyncio.sleep(0)
        for one in gone:
            one.cancel()
        await asyncio.wait(gone)
        slow.open.set()
    assert await crew.run_for(1, lambda: "next") == await crew.run_for(2, lambda: "next") == "next"
    assert slow.inside == 1
