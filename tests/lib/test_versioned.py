"""Snapshots by version: no older than asked for, loaded once, bounded."""

import asyncio

import pytest

from lib.versioned import Versioned


class Source:
    """A database whose rows have a version; counts how often it is asked."""

    def __init__(self) -> None:
        self.version = 1
        self.asked: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, key: int) -> tuple[int, str]:
        self.asked.append(key)
        version = self.version
        await self.gate.wait()
        return version, f"{key} at {version}"


async def test_a_snapshot_is_kept_while_its_version_stands() -> None:
    source = Source()
    kept = Versioned(source.load, most=10)
    assert [await kept.get(7, 1), await kept.get(7, 1)] == ["7 at 1"] * 2
    assert source.asked == [7]


async def test_a_newer_version_is_loaded_and_an_older_one_is_not_brought_back() -> None:
    source = Source()
    kept = Versioned(source.load, most=10)
    await kept.get(7, 1)
    source.version = 3
    assert await kept.get(7, 2) == "7 at 3"
    assert await kept.get(7, 1) == "7 at 3"
    assert await kept.get(7, 3) == "7 at 3"
    assert source.asked == [7, 7]


async def test_however_many_ask_it_is_loaded_once() -> None:
    source = Source()
    source.gate.clear()
    kept = Versioned(source.load, most=10)
    tasks = [asyncio.create_task(kept.get(7, 1)) for _ in range(50)]
    await asyncio.sleep(0)
    source.gate.set()
    assert set(await asyncio.gather(*tasks)) == {"7 at 1"}
    assert source.asked == [7]


async def test_who_asks_for_a_newer_version_does_not_get_a_load_that_began_before_it() -> None:
    source = Source()
    source.gate.clear()
    kept = Versioned(source.load, most=10)
    old = asyncio.create_task(kept.get(7, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.version = 2
    new = asyncio.create_task(kept.get(7, 2))
    await asyncio.sleep(0)
    source.gate.set()
    assert [await old, await new] == ["7 at 1", "7 at 2"]
    assert await kept.get(7, 1) == "7 at 2"


async def test_one_who_leaves_does_not_spoil_it_for_the_others() -> None:
    source = Source()
    source.gate.clear()
    kept = Versioned(source.load, most=10)
    leaving, staying = (asyncio.create_task(kept.get(7, 1)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert await staying == "7 at 1"


async def test_a_failed_load_is_tried_again_by_the_next_who_asks() -> None:
    tries = 0

    async def load(key: int) -> tuple[int, str]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError
        return 1, "loaded"

    kept = Versioned(load, most=10)
    with pytest.raises(ConnectionError):
        await kept.get(7, 1)
    assert await kept.get(7, 1) == "loaded"


async def test_no_more_than_so_many_are_kept() -> None:
    source = Source()
    kept = Versioned(source.load, most=3)
    for key in range(10):
        await kept.get(key, 1)
    assert len(kept._kept) == 3
    source.asked.clear()
    await kept.get(9, 1)
    await kept.get(0, 1)
    assert source.asked == [0]


async def test_what_was_used_longest_ago_is_dropped_first() -> None:
    source = Source()
    kept = Versioned(source.load, most=2)
    for key in (1, 2, 1, 3):
        await kept.get(key, 1)
    source.asked.clear()
    await kept.get(1, 1)
    await kept.get(2, 1)
    assert source.asked == [2]


def test_each_event_loop_loads_for_itself_and_finds_what_another_kept() -> None:
    source = Source()
    kept = Versioned(source.load, most=3)
    assert [asyncio.run(kept.get(7, 1)) for _ in range(2)] == ["7 at 1"] * 2
    assert source.asked == [7]
