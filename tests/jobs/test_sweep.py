"""What the sweep does about what got lost: dead workers' jobs, unheard bells, jobs that waited too long.

By the hub's own function, in a transaction that nobody else sees and that is taken back.
"""

import asyncio
import uuid
from typing import Any

import pytest
from django.test import override_settings
from psycopg import sql

from jobs import chores, confirming, hooks
from mcphub import lifespan
from tests.jobs.queues import Queue, queue_fixture
from tests.postgres import rows

__all__ = ["queue_fixture"]


@pytest.fixture
def watched(queue: Queue) -> Queue:
    """A sweeper has watched without a gap."""
    queue.conn.execute("SELECT pg_advisory_xact_lock(hashtext('jobs_sweep'))")
    queue.conn.execute("UPDATE jobs_watch SET last_at = clock_timestamp(), steady_at = now() - interval '1 hour'")
    return queue


def sweep(queue: Queue) -> int:
    return int(rows(queue.conn, "SELECT jobs_sweep(15)")[0][0])


def held(queue: Queue, *, lease: str = "-1 s", **columns: Any) -> uuid.UUID:
    """A job that a worker has, whose lease is so far from running out."""
    (job,) = queue.put(queue.cast.acme)
    queue.conn.execute(
        "UPDATE jobs_job SET state = 'running', fence = 1, attempts = 1, begun_at = now(), rung_at = now(),"
        " lease_until = clock_timestamp() + %s::interval WHERE id = %s",
        [lease, job],
    )
    for name, value in columns.items():
        column = sql.Identifier(name)
        queue.conn.execute(sql.SQL("UPDATE jobs_job SET {} = %s WHERE id = %s").format(column), [value, job])
    return job


def state(queue: Queue, job: uuid.UUID) -> tuple[str, str]:
    found = rows(queue.conn, "SELECT state, reason FROM jobs_job WHERE id = %s", job)[0]
    return found[0], found[1]


BECOMES = [
    ({"begun_at": None, "idempotent": False}, ("queued", "process_gone")),
    ({"begun_at": None, "idempotent": False, "attempts": 10}, ("failed", "never_begun")),
    ({"idempotent": True}, ("queued", "process_gone")),
    ({"idempotent": True, "attempts": 3}, ("interrupted", "process_gone")),
    ({"idempotent": False}, ("interrupted", "process_gone")),
    ({"idempotent": False, "upstream": '{"id": 7}', "attempts": 9, "most_attempts": 1}, ("queued", "process_gone")),
    ({"idempotent": True, "upstream": '{"id": 7}', "attempts": 10}, ("interrupted", "process_gone")),
    ({"cancel_at": "2026-01-01"}, ("cancelled", "cancelled")),
    ({"begun_at": None, "cancel_at": "2026-01-01"}, ("cancelled", "cancelled")),
    ({"idempotent": True, "state": "input_required"}, ("queued", "process_gone")),
]


@pytest.mark.parametrize(("columns", "becomes"), BECOMES)
def test_a_dead_workers_job_goes_on_or_ends_by_what_is_known_of_it(
    watched: Queue, columns: dict[str, Any], becomes: tuple[str, str]
) -> None:
    job = held(watched, **columns)
    sweep(watched)
    assert state(watched, job) == becomes
    (fence, lease) = rows(watched.conn, "SELECT fence, lease_until FROM jobs_job WHERE id = %s", job)[0]
    assert (fence, lease) == (2, None)
    told = rows(watched.conn, "SELECT event FROM audit_entry WHERE subject = %s", f"job {job}")
    events = {"queued": "job.returned", "interrupted": "job.interrupted"}
    assert told == [(events.get(becomes[0], "job.ended"),)]


def test_a_job_whose_lease_runs_is_left_alone(watched: Queue) -> None:
    job = held(watched, lease="1 s")
    sweep(watched)
    assert state(watched, job) == ("running", "")


def test_after_an_outage_nobody_is_judged_until_a_lease_was_watched(watched: Queue) -> None:
    job = held(watched)
    watched.conn.execute("UPDATE jobs_watch SET last_at = clock_timestamp() - interval '13 s'")
    sweep(watched)
    sweep(watched)
    assert state(watched, job) == ("running", "")
    watched.conn.execute("UPDATE jobs_watch SET steady_at = clock_timestamp() - interval '15 s'")
    sweep(watched)
    assert state(watched, job)[0] == "queued"


def test_the_pause_before_the_next_attempt_grows(watched: Queue) -> None:
    pauses = []
    for attempts in (1, 4):
        job = held(watched, attempts=attempts, most_attempts=10)
        sweep(watched)
        found = rows(watched.conn, "SELECT due_at - changed_at FROM jobs_job WHERE id = %s", job)
        pauses.append(found[0][0].total_seconds())
    assert 0.5 <= pauses[0] <= 1.5
    assert 4 <= pauses[1] <= 12


def test_a_worker_is_called_for_what_nobody_was_called_for_and_not_twice(watched: Queue) -> None:
    watched.workers(8)
    watched.put(watched.cast.acme, 3)
    watched.put(watched.cast.acme, 2, due="1 hour")
    assert sweep(watched) == 3
    assert sweep(watched) == 0
    watched.conn.execute("UPDATE jobs_job SET rung_at = rung_at - interval '6 s'")
    assert sweep(watched) == 3


def test_no_more_workers_are_called_than_are_idle(watched: Queue) -> None:
    watched.workers(3)
    watched.put(watched.cast.acme, 20)
    for idle in (2, 1, 0):
        assert watched.claim() is not None
        watched.conn.execute("UPDATE jobs_job SET rung_at = NULL")
        assert sweep(watched) == idle


def test_a_job_that_was_never_started_in_time_expires(watched: Queue) -> None:
    (returned,) = watched.put(watched.cast.acme)
    job, _, fence = watched.claim()
    assert rows(watched.conn, "SELECT jobs_release(%s, %s, 0, false, 'hub_stopped')", job, fence) == [("done",)]
    (late,) = watched.put(watched.cast.acme)
    watched.conn.execute("UPDATE jobs_job SET patience_until = now() - interval '1 s'")
    sweep(watched)
    assert state(watched, late) == ("expired", "patience_over")
    assert state(watched, returned) == ("queued", "hub_stopped")


def test_jobs_of_a_disabled_tenant_end_when_their_patience_is_over_and_none_of_them_runs(watched: Queue) -> None:
    (returned,) = watched.put(watched.cast.acme)
    job, _, fence = watched.claim()
    assert rows(watched.conn, "SELECT jobs_release(%s, %s, 0, true, 'upstream_timeout')", job, fence) == [("done",)]
    lost = held(watched)
    (waiting,) = watched.put(watched.cast.acme)
    watched.conn.execute("UPDATE tenants_tenant SET enabled = false WHERE id = %s", [watched.cast.acme.pk])
    sweep(watched)
    assert [state(watched, one)[0] for one in (returned, lost, waiting)] == ["queued"] * 3
    watched.conn.execute("UPDATE jobs_job SET patience_until = now() - interval '1 s', due_at = now()")
    assert watched.claim() is None
    sweep(watched)
    assert state(watched, waiting) == ("expired", "patience_over")
    for handed_back in (returned, lost):
        assert state(watched, handed_back) == ("cancelled", "standing_lost")
        assert ended(watched, handed_back)[-1] == ("job.ended", "cancelled", "standing_lost")
    watched.conn.execute("UPDATE tenants_tenant SET enabled = true WHERE id = %s", [watched.cast.acme.pk])
    assert watched.claim() is None


def ended(queue: Queue, job: uuid.UUID) -> list[Any]:
    query = "SELECT event, outcome, reason FROM audit_entry WHERE subject = %s ORDER BY id"
    return rows(queue.conn, query, f"job {job}")


@pytest.mark.parametrize("role", ["web", "worker"])
def test_every_process_sweeps_forgets_and_delivers(monkeypatch: pytest.MonkeyPatch, role: lifespan.Role) -> None:
    async def all_of_it() -> None:
        swept, forgotten, delivered = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def sweep() -> None:
            swept.set()

        async def forget() -> None:
            forgotten.set()

        async def deliver() -> None:
            delivered.set()

        monkeypatch.setattr(chores, "sweep", sweep)
        monkeypatch.setattr(chores, "forget", forget)
        monkeypatch.setattr(chores, "sweep_seconds", lambda: 0.0)
        monkeypatch.setattr(hooks, "deliver_due", deliver)
        monkeypatch.setattr(lifespan, "CHORES", 0.0)
        monkeypatch.setattr(lifespan, "SLOW_CHORES", 0.0)
        async with asyncio.timeout(30), lifespan.lifespan(role):
            await swept.wait()
            await forgotten.wait()
            await delivered.wait()

    asyncio.run(all_of_it())


@pytest.mark.parametrize(("lease", "seconds"), [(2, 2 / 3), (15, 5.0), (600, 5.0)])
def test_there_are_several_sweeps_to_a_lease(lease: int, seconds: float) -> None:
    with override_settings(JOBS_LEASE=lease):
        assert chores.sweep_seconds() == seconds


@pytest.mark.parametrize(("broken", "goes_on"), [("_lapse", "_sweep"), ("_sweep", "_lapse"), ("_forget", "_clear")])
async def test_a_chore_that_fails_keeps_no_other_and_the_log_says_what_it_means(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str, goes_on: str
) -> None:
    done: list[str] = []

    async def fails() -> None:
        raise RuntimeError(broken)

    for name in ("_lapse", "_sweep", "_forget", "_clear"):

        async def does(name: str = name) -> None:
            done.append(name)

        monkeypatch.setattr(chores, name, fails if name == broken else does)
    monkeypatch.setattr(confirming, "forget", fails)
    await (chores.forget() if broken == "_forget" else chores.sweep())
    assert done == [goes_on]
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert all(record.message.endswith(" on") for record in caplog.records)
    assert len(caplog.records) == (2 if broken == "_forget" else 1)
