"""News between processes: who waits hears of their own job, through broken connections, and is never flooded."""

import asyncio
import uuid

import orjson
import psutil
import psycopg
import pytest

from lib import db, events
from lib.events import NO_JOB, Event
from lib.ids import uuid7
from tests.postgres import as_app, as_owner, rows

pytestmark = pytest.mark.usefixtures("listening")

SOON = 20.0
TENANT = 4711


def of(job: uuid.UUID, tenant: int = TENANT) -> Event:
    return Event(tenant_id=tenant, job_id=job, kind="progress", progress=1.0, total=2.0, message="half")


async def heard(watching: events.Events) -> Event:
    """The next news that is not about the listener itself, which may have connected just now."""
    while (event := await watching.get(SOON)) is not None and event.kind == "resync":
        pass
    assert event is not None
    return event


def tell(payload: str) -> None:
    with as_app() as conn:
        conn.execute("SELECT pg_notify(%s, %s)", [events.CHANNEL, payload])


async def test_what_is_published_reaches_those_who_watch_that_job() -> None:
    job = uuid7()
    async with events.watch(TENANT, job) as one, events.watch(TENANT, job) as other:
        await events.publish(of(job))
        assert await heard(one) == of(job)
        assert await heard(other) == of(job)


async def test_nobody_hears_of_another_job_or_of_another_tenants_job_of_the_same_id() -> None:
    job = uuid7()
    async with events.watch(TENANT, job) as watching:
        await events.publish(of(uuid7()))
        await events.publish(of(job, tenant=TENANT + 1))
        await events.publish(of(NO_JOB))
        await events.publish(of(job))
        assert await heard(watching) == of(job)
        assert await watching.get(0) is None


async def test_one_watcher_can_watch_several_jobs() -> None:
    one, other = uuid7(), uuid7()
    async with events.watch(TENANT, one, other, NO_JOB) as watching:
        for job in (other, NO_JOB, one):
            await events.publish(of(job))
            assert await heard(watching) == of(job)


async def test_who_watches_a_tenant_hears_what_is_of_no_job() -> None:
    async with events.watch(TENANT, NO_JOB) as watching:
        tell(orjson.dumps({"t": TENANT, "e": "lists"}).decode())
        assert await heard(watching) == Event(tenant_id=TENANT, job_id=NO_JOB, kind="lists")


async def test_a_database_function_tells_of_a_state() -> None:
    job = uuid7()
    async with events.watch(TENANT, job) as watching:
        tell(orjson.dumps({"t": TENANT, "j": str(job), "e": "state", "s": "running"}).decode())
        assert await heard(watching) == Event(tenant_id=TENANT, job_id=job, kind="state", state="running")


async def test_without_news_the_wait_ends_with_nothing() -> None:
    async with events.watch(TENANT, uuid7()) as watching:
        while (event := await watching.get(0.01)) is not None:
            assert event.kind == "resync"


async def test_a_listener_that_lost_its_session_comes_back_and_has_everybody_look_again() -> None:
    job, other = uuid7(), uuid7()
    async with events.watch(TENANT, job) as one, events.watch(TENANT + 1, other) as two:
        await events.publish(of(job))
        await heard(one)
        with as_app() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'mcphub events' AND datname = current_database()"
            )
        assert await one.get(SOON) == Event(tenant_id=TENANT, job_id=NO_JOB, kind="resync")
        assert await two.get(SOON) == Event(tenant_id=TENANT + 1, job_id=NO_JOB, kind="resync")
        await events.publish(of(job))
        assert await heard(one) == of(job)


async def test_a_watcher_that_is_busy_loses_progress_and_no_change_of_state() -> None:
    job = uuid7()
    async with events.watch(TENANT, job) as watching:
        for state in ("running", "succeeded"):
            tell(orjson.dumps({"t": TENANT, "j": str(job), "e": "state", "s": state}).decode())
            for step in range(events.KEPT * 2):
                await events.publish(Event(tenant_id=TENANT, job_id=job, kind="progress", progress=float(step)))
        await _all_has_come(job)
        waiting = []
        while (event := await watching.get(0)) is not None:
            waiting.append(event)
    assert len(waiting) <= events.KEPT
    assert [event.state for event in waiting if event.kind == "state"] == ["running", "succeeded"]
    assert waiting[-1].progress == events.KEPT * 2 - 1, "of progress the last is kept"


async def test_too_many_changes_of_state_become_one_look_at_the_row() -> None:
    job = uuid7()
    async with events.watch(TENANT, job) as watching:
        for _ in range(events.KEPT + 1):
            tell(orjson.dumps({"t": TENANT, "j": str(job), "e": "state", "s": "running"}).decode())
        await _all_has_come(job)
        first = await watching.get(0)
        assert first is not None
        assert first.kind == "resync"


async def _all_has_come(job: uuid.UUID) -> None:
    """What was told before this has been handed to those who watch."""
    mark = uuid7()
    async with events.watch(TENANT, mark) as watching:
        await events.publish(of(mark))
        await heard(watching)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "nothing",
        "[1]",
        "{}",
        '{"t":4711,"e":"resync"}',
        '{"t":4711,"e":"state","j":"?"}',
        '{"t":"x","e":"lists"}',
        '{"t":4711,"e":["state"]}',
        '{"t":4711,"e":"state","j":5}',
    ],
)
async def test_what_is_no_news_of_ours_is_passed_over(payload: str) -> None:
    job = uuid7()
    async with events.watch(TENANT, job) as watching, events.watch(TENANT, NO_JOB) as tenant:
        tell(payload)
        await events.publish(of(job))
        assert await heard(watching) == of(job)
        while (event := await tenant.get(0)) is not None:
            assert event.kind == "resync"


@pytest.mark.parametrize("text", ["\x00" * 5000, "\U0001f600" * 5000, "\ud800" * 5000, '"\\' * 5000])
@pytest.mark.parametrize("kind", ["progress", "log"])
async def test_any_message_fits(text: str, kind: events.Kind) -> None:
    job = uuid7()
    async with events.watch(TENANT, job) as watching:
        await events.publish(Event(tenant_id=TENANT, job_id=job, kind=kind, message=text, level="info"))
        event = await heard(watching)
        assert event.kind == kind
        assert len(event.message) >= events.MESSAGE


async def test_while_postgres_is_away_news_are_lost_without_a_word_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Broken:
        async def fetch(self, query: str, parameters: object) -> None:
            tried.append(query)
            raise psycopg.OperationalError("gone")

    lane = db.lane

    def broken(name: str) -> object:
        return Broken() if name == "events" else lane(name)

    monkeypatch.setattr(events, "_SILENCE", 0.05)
    with monkeypatch.context() as away:
        away.setattr(db, "lane", broken)
        for _ in range(10):
            await events.publish(of(uuid7()))
        assert len(tried) == 1, "who reports progress does not wait for Postgres at every step"
    job = uuid7()
    async with events.watch(TENANT, job) as watching, asyncio.timeout(SOON):
        while await watching.get(0.02) != of(job):
            await events.publish(of(job))


async def test_ten_thousand_waits_take_no_further_connection() -> None:
    async def wait(job: uuid.UUID) -> None:
        async with events.watch(TENANT, job) as watching:
            await heard(watching)

    jobs = [uuid7() for _ in range(10_000)]
    before = listeners()
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(wait(job))
        await asyncio.sleep(0)
        assert listeners() == before
        for start in range(0, len(jobs), 1000):
            await asyncio.gather(*(events.publish(of(job)) for job in jobs[start : start + 1000]))


def listeners() -> int:
    """Of this process: a worker that is started again has one of its own."""
    ports = [one.laddr.port for one in psutil.Process().net_connections("tcp")]
    with as_owner() as conn:
        (found,) = rows(
            conn,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mcphub events' AND client_port = ANY (%s)",
            ports,
        )
    return int(found[0])


async def test_a_second_bus_on_one_event_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="open bus already"):
        async with events.open_bus():
            pass
