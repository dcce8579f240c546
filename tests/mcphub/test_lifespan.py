"""What a serving process does beside its calls."""

import asyncio
import logging

import psycopg
import pytest

from mcphub import lifespan


@pytest.mark.parametrize("problem", [ValueError("broken"), psycopg.OperationalError("away")])
async def test_a_chore_that_fails_ends_neither_the_others_nor_itself(
    problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    done: list[str] = []
    thrice = asyncio.Event()

    async def fails() -> None:
        done.append("failed")
        raise problem

    async def works() -> None:
        done.append("worked")
        if len(done) >= 6:
            thrice.set()

    task = asyncio.create_task(lifespan._again_and_again(0, fails, works))
    async with asyncio.timeout(10):
        await thrice.wait()
    task.cancel()
    assert done[:6] == ["failed", "worked"] * 3


async def test_what_nothing_asks_for_is_dropped_and_documents_are_read_again_while_the_hub_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forgotten, refreshed = asyncio.Event(), asyncio.Event()

    async def forget() -> None:
        forgotten.set()

    async def refresh() -> None:
        refreshed.set()

    monkeypatch.setattr("access.clients.forget", forget)
    monkeypatch.setattr("access.clients.refresh_due", refresh)
    monkeypatch.setattr(lifespan, "SLOW_CHORES", 0.0)
    async with asyncio.timeout(30), lifespan.lifespan():
        await forgotten.wait()
        await refreshed.wait()
