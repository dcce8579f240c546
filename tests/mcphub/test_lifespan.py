"""What a serving process does beside its calls."""

import asyncio
import datetime
import logging
import secrets

import psycopg
import pytest
from django.contrib.sessions.models import Session
from django.test import override_settings
from django.utils import timezone

from mcphub import lifespan
from tests.database import apart

pytestmark = pytest.mark.asyncio(loop_scope="function")  # a lifespan has an event loop for itself


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

    task = asyncio.create_task(lifespan._again_and_again(asyncio.Event(), 0, fails, works))
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


def session(*, minutes: int) -> str:
    """The key of a session that ends so many minutes from now."""
    ends = timezone.now() + datetime.timedelta(minutes=minutes)
    return Session.objects.create(session_key=secrets.token_hex(16), session_data="", expire_date=ends).session_key


def kept(keys: list[str]) -> list[str]:
    return [key for key in keys if Session.objects.filter(session_key=key).exists()]


@pytest.fixture
def sessions() -> list[str]:
    """The keys of one that has run out and of one that has not."""
    return [session(minutes=-1), session(minutes=1)]


async def test_sessions_that_have_run_out_are_deleted(monkeypatch: pytest.MonkeyPatch, sessions: list[str]) -> None:
    refreshed = asyncio.Event()

    async def refresh() -> None:
        refreshed.set()

    monkeypatch.setattr("access.clients.refresh_due", refresh)  # which comes last
    monkeypatch.setattr(lifespan, "SLOW_CHORES", 0.0)
    async with asyncio.timeout(30), lifespan.lifespan():
        await refreshed.wait()
    assert await asyncio.to_thread(apart, lambda: kept(sessions)) == sessions[1:]


@pytest.mark.parametrize("name", ["ALLOWED_PRIVATE_HOSTS", "CLIENT_DOCUMENT_HOSTS"])
async def test_a_hub_with_a_host_that_is_none_does_not_start_and_says_which(name: str) -> None:
    with override_settings(**{name: ["10.0.0.0/8", "10.0.0.1:port"]}), pytest.raises(lifespan.Unsafe) as refused:
        async with lifespan.lifespan():
            pytest.fail("it started")
    assert str(refused.value).startswith(f"{name}: ")
    assert "10.0.0.1:port" in str(refused.value)
