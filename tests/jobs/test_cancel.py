"""A job that is asked to stop stops, whether its tool wants to or not."""

import signal
from pathlib import Path

import psutil
import pytest

from tests.cast import Cast
from tests.jobs.place import Placed, held_back, marks, place
from tests.postgres import as_app, rows
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("worker")


def running(cast: Cast, tmp_path: Path, function: str) -> Placed:
    """A job whose tool has begun."""
    tool = cast.tool(cast.acme, function, runs="background", read_only=False, timeout=60)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks")})
    until(lambda: marks(tmp_path / "marks") == [1])
    return job


def test_a_job_that_waits_is_cancelled_at_once(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background")
    with held_back(cast):
        job = place(cast).accept(tool, {"path": str(tmp_path / "marks")})
        assert job.ask_to_stop() == "cancelled"
        row = job.row()
        assert (row["state"], row["reason"], row["cancelled_by"]) == ("cancelled", "cancelled", "olga")
    assert job.events()[-1] == ("job.cancelled", "cancelled")


def test_an_async_tool_is_cancelled_where_it_waits(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "linger", runs="background", timeout=60)
    job = place(cast).start(tool, {"path": str(tmp_path / "note")})
    until(lambda: (tmp_path / "note").exists())
    assert job.ask_to_stop() == "running"
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("cancelled", "cancelled")
    assert (tmp_path / "note").read_text() == "cancelled"
    assert job.events()[-2:] == [("call.finished", "cancelled"), ("job.ended", "cancelled")]


def test_a_sync_tool_that_looks_is_told(cast: Cast, tmp_path: Path) -> None:
    job = running(cast, tmp_path, "mark_and_look")
    holder = job.holder()
    job.ask_to_stop()
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("cancelled", "cancelled")
    assert (tmp_path / "marks.stopped").exists()
    assert psutil.pid_exists(holder)


@pytest.mark.parametrize("function", ["mark_and_ignore", "mark_and_block"])
def test_a_tool_that_does_not_stop_is_ended_with_its_process(cast: Cast, tmp_path: Path, function: str) -> None:
    job = running(cast, tmp_path, function)
    holder = psutil.Process(job.holder())
    job.ask_to_stop()
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("cancelled", "ended_by_force")
    psutil.wait_procs([holder], timeout=30)
    assert not holder.is_running() or holder.status() == psutil.STATUS_ZOMBIE
    assert job.row() == row
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background")
    after = [place(cast).start(tool, {"path": str(tmp_path / "after")}) for _ in range(2)]
    assert {one.until_ended()["state"] for one in after} == {"succeeded"}


def test_a_sync_tool_beyond_its_time_is_ended_with_its_process_too(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "mark_and_ignore", runs="background", read_only=False, timeout=1)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks")})
    until(lambda: marks(tmp_path / "marks") == [1])
    holder = psutil.Process(job.holder())
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("failed", "timeout")
    psutil.wait_procs([holder], timeout=30)
    assert not holder.is_running() or holder.status() == psutil.STATUS_ZOMBIE


def test_a_job_that_was_asked_to_stop_before_it_began_does_not_begin(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background")
    with held_back(cast):
        job = place(cast).accept(tool, {"path": str(tmp_path / "marks")})
        with as_app() as conn:
            conn.execute("SELECT set_config('mcphub.tenants', %s, false)", [f"{{{cast.acme.pk}}}"])
            conn.execute("UPDATE jobs_job SET cancel_at = now() WHERE id = %s", [job.id])
    row = job.until_ended()
    assert (row["state"], row["begun_at"]) == ("cancelled", None)
    assert marks(tmp_path / "marks") == []
    assert ("call.finished", "cancelled") in job.events()


def test_a_cancel_that_races_with_the_end_gives_one_end(cast: Cast, tmp_path: Path) -> None:
    """Who asked it to stop was told that it is cancelled, so it is, whatever its tool gave meanwhile."""
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background")
    with held_back(cast):
        job = place(cast).accept(tool, {"path": str(tmp_path / "marks")})
        with as_app() as conn:
            conn.execute("SELECT set_config('mcphub.tenants', %s, false)", [f"{{{cast.acme.pk}}}"])
            conn.execute(
                "UPDATE jobs_job SET state = 'running', fence = 1, attempts = 1,"
                " lease_until = now() + interval '1 hour' WHERE id = %s",
                [job.id],
            )
        assert job.ask_to_stop() == "running"
        finish = "SELECT jobs_finish(%s, 1, 'succeeded', '', 'x'::bytea, '', 1, NULL)"
        with as_app() as conn:
            assert rows(conn, finish, job.id) == [("done",)]
            assert rows(conn, finish, job.id) == [("done",)]
    row = job.row()
    assert (row["state"], row["result"]) == ("cancelled", None)
    assert job.ask_to_stop() == "cancelled"
    assert [event for event, _ in job.events()].count("job.ended") == 1


def test_a_signal_that_nobody_meant_ends_no_job_twice(cast: Cast, tmp_path: Path) -> None:
    """A cancelled job's process that is killed before it could say so: the sweep says it."""
    from tests.jobs.place import lose_lease

    job = running(cast, tmp_path, "mark_and_ignore")
    holder = psutil.Process(job.holder())
    holder.send_signal(signal.SIGSTOP)
    job.ask_to_stop()
    holder.kill()
    lose_lease(job)
    assert job.until_ended()["state"] == "cancelled"
