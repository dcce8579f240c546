"""The writer: nothing runs unrecorded, whatever happens to the caller, the database or the rows beside it."""

import asyncio
import os
from typing import Any

import psycopg
import pytest
from django.db import connection

from audit.models import Event
from audit.writer import LedgerUnavailable, Writer, writer
from lib import db
from tests.audit.conftest import ROW, Ledger, Make
from tests.calling import enter
from tests.cast import Cast
from tests.database import apart
from tests.postgres import as_owner, end_sessions_of_the_hub, rows
from tools.values import Result

# Before anything runs


def test_nothing_runs_before_its_started_row_is_durable(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "read_ledger")
    assert int(host().call("read_ledger").text) >= 1


async def test_when_the_ledger_cannot_be_written_nothing_runs(
    enter_echo: Any, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    from tests import functions

    async def refuse(self: Any, query: str, parameters: Any) -> Any:
        if "audit_append" in query:
            raise psycopg.OperationalError("gone")
        return await original(self, query, parameters)

    original = db.Lane.fetch
    monkeypatch.setattr(functions, "echo", lambda text: ran.append(text))
    with monkeypatch.context() as broken:
        broken.setattr(db.Lane, "fetch", refuse)
        with pytest.raises(LedgerUnavailable, match="nothing was run"):
            await enter_echo.call("echo", text="x")
    assert ran == []
    ended = await enter_echo.call("echo", text="x")
    assert isinstance(ended, Result)


def test_a_host_is_told_to_try_again_when_the_ledger_cannot_be_written(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    asking = host()
    with as_owner() as owner:
        owner.execute("REVOKE EXECUTE ON FUNCTION audit_append(jsonb) FROM mcphub_app")
        try:
            answer = asking.call("echo", {"text": "x"})
        finally:
            owner.execute("GRANT EXECUTE ON FUNCTION audit_append(jsonb) TO mcphub_app")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"
    assert "nothing was run" in answer.error["message"]
    assert asking.call("echo", {"text": "x"}).text == '{"text":"x"}'


def test_finished_rows_outlive_a_restart_of_postgres_in_mid_call(cast: Cast, host: Make, ledger: Ledger) -> None:
    cast.tool(cast.acme, "cut_the_hub_off")
    assert host().call("cut_the_hub_off").text == "ended True"
    connection.close()  # the tests' own was cut off with the others
    assert [one.event for one in ledger()] == [Event.STARTED, Event.FINISHED]


def test_after_a_restart_of_postgres_at_most_one_call_is_asked_to_come_again(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    asking = host()
    asking.call("echo", {"text": "x"})
    assert end_sessions_of_the_hub() > 0
    connection.close()
    answers = [asking.call("echo", {"text": "y"}) for _ in range(5)]
    assert [one.status for one in answers[1:]] == [200] * 4
    assert answers[0].status in {200, 503}


# Cancelled


async def test_a_call_cancelled_while_its_started_row_is_on_the_way_is_concluded(
    enter_slow: Any, ledger: Ledger, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, let_through = asyncio.Event(), asyncio.Event()
    original = db.Lane.fetch

    async def slow(self: Any, query: Any, parameters: Any) -> Any:
        if "call.started" in str(parameters):
            sent.set()
            await let_through.wait()
        return await original(self, query, parameters)

    monkeypatch.setattr(db.Lane, "fetch", slow)
    task = asyncio.create_task(enter_slow.call("count_slowly", steps=1, seconds=60))
    await sent.wait()
    task.cancel()
    let_through.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await writer().write({**ROW, "tenant_id": 1})  # goes the same way, so the started row has landed before it
    left = await asyncio.to_thread(apart, ledger)
    assert sorted(one.event for one in left) == [Event.FINISHED, Event.STARTED]
    assert {one.outcome for one in left} == {"", "cancelled"}


async def test_a_call_cancelled_before_its_started_row_is_taken_leaves_nothing(running: None) -> None:
    tenant = -int.from_bytes(os.urandom(5), "big")
    crowded = Writer(1)
    waiting = [asyncio.create_task(crowded.begin({**ROW, "tenant_id": tenant})) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[2]
    await asyncio.gather(*(await asyncio.gather(*waiting[:2])))
    with as_owner() as owner:
        assert rows(owner, "SELECT count(*) FROM audit_entry WHERE tenant_id = %s", tenant) == [(2,)]


# Group commit


def commits(count: int, room: int, tenant: int) -> tuple[int, int]:
    """Rows and distinct transactions after `count` concurrent writes through a writer with that much room."""

    async def write() -> None:
        async with db.open_pool(size=2):
            writer = Writer(room)
            await asyncio.gather(*(writer.write({**ROW, "tenant_id": tenant}) for _ in range(count)))
            await writer.close()

    asyncio.run(write())
    with as_owner() as owner:
        return rows(  # type: ignore[no-any-return]
            owner, "SELECT count(*), count(DISTINCT xmin::text) FROM audit_entry WHERE tenant_id = %s", tenant
        )[0]


def test_concurrent_rows_share_commits() -> None:
    written, transactions = commits(500, 2000, -int.from_bytes(os.urandom(5), "big"))
    assert written == 500
    assert transactions <= 10


def test_a_burst_beyond_the_queue_slows_callers_and_loses_nothing() -> None:
    written, transactions = commits(200, 3, -int.from_bytes(os.urandom(5), "big"))
    assert written == 200
    assert transactions >= 200 / 3 - 1


async def test_a_row_that_cannot_be_stored_harms_no_other(running: None) -> None:
    tenant = -int.from_bytes(os.urandom(5), "big")
    writer = Writer(100)
    good, bad = {**ROW, "tenant_id": tenant}, {**ROW, "tenant_id": tenant, "actor": "a\x00b"}
    # What has not run yet is refused; what has run can only be told.
    for write, told in ((writer.write, LedgerUnavailable), (writer.conclude, psycopg.errors.UntranslatableCharacter)):
        ended = await asyncio.gather(write(good), write(bad), write(good), return_exceptions=True)
        assert [type(one) for one in ended] == [type(None), told, type(None)]
    with pytest.raises(LedgerUnavailable, match="nothing was run"):
        await (await writer.begin(bad))
    with as_owner() as owner:
        assert rows(owner, "SELECT count(*) FROM audit_entry WHERE tenant_id = %s", tenant) == [(4,)]


@pytest.fixture
def enter_echo(cast: Cast) -> Any:
    cast.tool(cast.acme, "echo")
    return enter(cast, cast.uma)


@pytest.fixture
def enter_slow(cast: Cast) -> Any:
    cast.tool(cast.acme, "count_slowly", timeout=600)
    return enter(cast, cast.uma)
