"""What was kept of jobs is dropped when its time is over, all of it and soon."""

import datetime
from dataclasses import dataclass

import pytest
from django.utils import timezone

from jobs import chores
from lib import storage
from tests.cast import Cast
from tests.jobs.front import change, end, front
from tests.jobs.place import Placed
from tests.postgres import as_owner, rows


@dataclass(frozen=True)
class Storage:
    """What is asked of it. One key it cannot delete."""

    deleted: list[str]
    cleared: list[datetime.date]

    def delete(self, key: str) -> None:
        if key == "broken":
            raise OSError(key)
        self.deleted.append(key)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Storage:
    made = Storage([], [])
    monkeypatch.setattr(storage, "delete", made.delete)
    monkeypatch.setattr(storage, "clear", made.cleared.append)
    return made


@pytest.fixture
def ended(cast: Cast) -> Placed:
    """A job that has ended, and whose time is not over yet."""
    job = front(cast, "").job(cast.uma)
    end(job)
    return job


def multiply(job: Placed, times: int) -> None:
    """As many like it."""
    with as_owner() as conn:
        conn.execute(
            "INSERT INTO jobs_job SELECT (jsonb_populate_record(j, jsonb_build_object('id', gen_random_uuid()))).*"
            " FROM jobs_job j, generate_series(1, %s) WHERE j.id = %s",
            [times, job.id],
        )


def left_of(cast: Cast, condition: str) -> int:
    """How many. Of those that another process is at, as it forgets every minute, it is waited for what becomes."""
    with as_owner() as conn:
        query = f"SELECT FROM jobs_job WHERE tenant_id = %s AND {condition} FOR UPDATE"
        return len(rows(conn, query, cast.acme.pk))


async def test_all_that_is_over_is_dropped_at_once_however_much_it_is(
    running: None, cast: Cast, ended: Placed, kept: Storage
) -> None:
    change(ended, "expires_at = now() - interval '1 s'")
    multiply(ended, 2100)
    await chores.forget()
    assert left_of(cast, "expires_at IS NOT NULL") == 0
    assert left_of(cast, "true") == 2101


async def test_all_rows_that_are_too_old_go_at_once_however_many_they_are(
    running: None, cast: Cast, ended: Placed, kept: Storage
) -> None:
    change(ended, "expires_at = NULL, ended_at = now() - interval '31 days'")
    multiply(ended, 2100)
    await chores.forget()
    assert left_of(cast, "true") == 0


async def test_a_result_that_cannot_be_deleted_does_not_keep_the_others(
    running: None, cast: Cast, kept: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lane:
        async def fetch(self, query: str, parameters: list[object]) -> list[tuple[object, ...]]:
            return [(["one", "broken", "other"], True)] if "keys" in query else [(False,)]

    monkeypatch.setattr("jobs.chores.db.lane", lambda name: Lane())
    await chores.forget()
    assert kept.deleted == ["one", "other"]
    assert kept.cleared == [(timezone.now() - chores._LONGEST_KEPT).date()]
