"""A lane does not wait for a Postgres that does not answer, and what it gave up on does not happen late."""

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator

import orjson
import psycopg
import pytest

from audit.writer import AGAIN, FIRST
from lib import db
from tests.postgres import as_app, as_owner, rows
from tests.waiting import until


@pytest.fixture
async def lane() -> AsyncIterator[db.Lane]:
    lane = db.Lane("test")
    yield lane
    await lane.close()


async def backend(lane: db.Lane) -> int:
    return int((await lane.fetch("SELECT pg_backend_pid()", []))[0][0])


@contextlib.contextmanager
def stalled(pid: int) -> Iterator[None]:
    """A backend that does nothing and closes nothing, as on a disk that hangs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def gone(pid: int) -> bool:
    with as_owner() as owner:
        return rows(owner, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid) == [(0,)]


async def test_who_comes_while_another_is_asking_waits_for_their_turn_on_the_same_session(lane: db.Lane) -> None:
    assert len(set(await asyncio.gather(*(backend(lane) for _ in range(4))))) == 1


async def test_a_stalled_backend_is_given_up_and_the_next_statement_goes_elsewhere(
    lane: db.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "ANSWER_SECONDS", 0.2)
    first = await backend(lane)
    with stalled(first):
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(lane.fetch("SELECT 1", []), 5)
        assert await backend(lane) != first
    until(lambda: gone(first))


async def test_a_first_append_that_was_given_up_does_not_land_after_the_second(
    lane: db.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stalled backend has the append in its socket, unread, and reads on once it is let go."""
    tenant, call = -int.from_bytes(os.urandom(5), "big"), str(uuid.uuid4())
    batch = [orjson.dumps([{"tenant_id": tenant, "event": "call.finished", "call_id": call}]).decode()]
    await lane.fetch(FIRST, ["[]"])  # is prepared now, so that the next one goes out whole
    first = await backend(lane)
    with stalled(first):
        monkeypatch.setattr(db, "ANSWER_SECONDS", 0.2)
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(lane.fetch(FIRST, batch), 5)
        monkeypatch.undo()
        await lane.fetch(AGAIN, batch)
    until(lambda: gone(first))
    with as_owner() as owner:
        assert rows(owner, "SELECT count(*) FROM audit_entry WHERE tenant_id = %s", tenant) == [(1,)]


async def test_postgres_gives_up_before_its_client_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert db.STATEMENT_MILLISECONDS < db.ANSWER_SECONDS * 1000
    monkeypatch.setattr(db, "STATEMENT_MILLISECONDS", 50)
    lane = db.Lane("test")
    with pytest.raises(psycopg.errors.QueryCanceled):
        await lane.fetch("SELECT pg_sleep(60)", [])
    await lane.close()


async def test_a_lane_whose_server_became_read_only_connects_again(lane: db.Lane) -> None:
    """As after a failover, when the old primary is a standby now."""
    first = await backend(lane)
    await lane.fetch("SELECT set_config('default_transaction_read_only', 'on', false)", [])
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await lane.fetch("SELECT audit_heartbeat(gen_random_uuid(), 'test', 1)", [])
    assert await backend(lane) != first


async def test_a_lane_connects_again_after_an_interface_error(lane: db.Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise psycopg.InterfaceError("the cursor is closed")

    first = await backend(lane)
    with monkeypatch.context() as broken:
        broken.setattr(psycopg.AsyncCursor, "execute", fail)
        with pytest.raises(psycopg.InterfaceError):
            await lane.fetch("SELECT 1", [])
    assert await backend(lane) != first


async def test_a_connection_of_the_pool_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        async with db.open_pool(size=1):
            async with db.pooled() as conn:
                pid = conn.info.backend_pid
            with stalled(pid):
                monkeypatch.setattr(db, "ANSWER_SECONDS", 0.2)
                with pytest.raises(psycopg.OperationalError):
                    async with db.pooled() as conn:
                        await conn.execute("SELECT 1")
                monkeypatch.undo()
                async with db.pooled() as conn:
                    assert conn.info.backend_pid != pid

    await asyncio.to_thread(lambda: asyncio.run(asyncio.wait_for(look(), 20)))


def test_what_the_url_says_of_its_own_is_kept(settings_with_options: None) -> None:
    with psycopg.connect(db.conninfo("-c statement_timeout=70", "lane 1")) as conn:
        shown = [rows(conn, f"SHOW {name}")[0][0] for name in ("statement_timeout", "work_mem", "application_name")]
    assert shown == ["70ms", "5MB", "lane 1"]
    with as_app() as conn:
        assert rows(conn, "SHOW work_mem") != [("5MB",)]


@pytest.fixture
def settings_with_options(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings

    monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"], "options", "-c work_mem=5MB")
