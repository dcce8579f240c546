"""One attempt after the other: a job runs to its end, again where it may, and never twice where it may not."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.cast import Cast
from tests.jobs.place import held_back, lose_lease, marks, place, worker_pids
from tests.postgres import as_app, as_owner, rows
from tests.waiting import until
from tools import actions

pytestmark = pytest.mark.usefixtures("worker")

REPEATABLE = {"read_only": False, "idempotent": True}
ONCE = {"read_only": False, "idempotent": False}


def test_a_job_runs_and_keeps_its_result(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background")
    job = place(cast).start(tool, {"path": str(tmp_path / "marks")})
    row = job.until_ended()
    assert (row["state"], row["reason"], job.text()) == ("succeeded", "", "marked")
    assert marks(tmp_path / "marks") == [1]
    assert row["lease_until"] is None
    assert row["expires_at"] - row["ended_at"] == row["keep"]


def test_the_ledger_tells_a_job_from_its_acceptance_to_its_end(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background")
    job = place(cast).start(tool, {"path": str(tmp_path / "marks")})
    job.until_ended()
    assert job.events() == [("job.accepted", ""), ("call.started", ""), ("call.finished", "ok"), ("job.ended", "ok")]


def test_a_tool_that_fails_makes_a_failed_job_that_keeps_what_it_said(cast: Cast) -> None:
    tool = cast.tool(cast.acme, "fail", runs="background")
    job = place(cast).start(tool, {"how": "politely"})
    row = job.until_ended()
    assert (row["state"], row["reason"], row["attempts"]) == ("failed", "tool_error", 1)
    assert job.result().is_error
    assert "out of paper" in job.text()


def test_a_job_runs_the_version_that_was_live_when_it_was_accepted(cast: Cast) -> None:
    tool = cast.tool(cast.acme, "shout", runs="background")
    with held_back(cast):
        job = place(cast).accept(tool, {"text": "hear"})
        with cast.see(cast.acme):
            tool.refresh_from_db()
            tool.config = {"function": "long_text"}
            tool.input_schema = {"type": "object", "properties": {"length": {"type": "integer"}}}
            tool.save()
            actions.publish(tool, actor=cast.staff)
    job.until_ended()
    assert job.text() == "HEAR"


def test_what_was_said_of_progress_stands_in_the_row(cast: Cast) -> None:
    tool = cast.tool(cast.acme, "count_up", runs="background")
    job = place(cast).start(tool, {"steps": 300})
    row = job.until_ended()
    assert (row["progress"], row["total"], row["message"]) == (300.0, 300.0, "step 300 of 300")


def test_a_killed_workers_job_that_may_be_repeated_runs_again(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "mark_and_wait", runs="background", **REPEATABLE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "until": str(tmp_path / "go")})
    until(lambda: marks(tmp_path / "marks") == [1])
    os.kill(job.holder(), signal.SIGKILL)
    lose_lease(job)
    (tmp_path / "go").touch()
    row = job.until_ended()
    assert (row["state"], row["attempts"], job.text()) == ("succeeded", 2, "waited")
    assert marks(tmp_path / "marks") == [1, 2]
    assert ("job.returned", "") in job.events()


def test_a_killed_workers_job_that_may_not_be_repeated_is_interrupted(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "mark_and_wait", runs="background", **ONCE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "until": str(tmp_path / "go")})
    until(lambda: marks(tmp_path / "marks") == [1])
    os.kill(job.holder(), signal.SIGKILL)
    lose_lease(job)
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("interrupted", "process_gone")
    assert ("job.interrupted", "interrupted") in job.events()
    assert marks(tmp_path / "marks") == [1]


def test_a_killed_worker_process_is_started_again(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "mark_and_wait", runs="background", **ONCE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "until": str(tmp_path / "go")})
    until(lambda: marks(tmp_path / "marks") == [1])
    before = worker_pids()
    os.kill(job.holder(), signal.SIGKILL)
    lose_lease(job)
    until(lambda: worker_pids() - before, within=60)
    blocked = [
        place(cast).start(tool, {"path": str(tmp_path / f"marks {number}"), "until": str(tmp_path / "go")})
        for number in range(2)
    ]
    holders = {one.until("running").get("id") and one.holder() for one in blocked}
    (tmp_path / "go").touch()
    assert len(holders) == 2  # both processes are there again
    assert {one.until_ended()["state"] for one in blocked} == {"succeeded"}


@pytest.mark.parametrize("flags", [REPEATABLE, ONCE], ids=["repeatable", "once"])
def test_a_job_that_was_claimed_and_not_begun_always_runs_again(
    cast: Cast, tmp_path: Path, flags: dict[str, bool]
) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background", **flags)
    with held_back(cast):
        job = place(cast).accept(tool, {"path": str(tmp_path / "marks")})
        with as_owner() as conn:
            conn.execute(
                "UPDATE jobs_job SET state = 'running', fence = 1, attempts = 1,"
                " lease_until = now() + interval '1 hour' WHERE id = %s",
                [job.id],
            )
        lose_lease(job)
    assert job.until_ended()["state"] == "succeeded"
    assert marks(tmp_path / "marks") == [2]


def test_a_tool_that_fails_in_passing_is_run_again_after_a_pause(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "fail_at_first", runs="background", **REPEATABLE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks")})
    row = job.until_ended()
    assert (row["state"], row["attempts"], job.text()) == ("succeeded", 2, "attempt 2")
    assert [event for event, _ in job.events()].count("call.finished") == 2
    assert (row["started_at"] - row["created_at"]).total_seconds() > 0.4


@pytest.mark.parametrize(
    ("flags", "how"), [(ONCE, "timeout"), (REPEATABLE, "politely")], ids=["may not be repeated", "will not pass"]
)
def test_no_other_failure_is_run_again(cast: Cast, tmp_path: Path, flags: dict[str, bool], how: str) -> None:
    tool = cast.tool(cast.acme, "fail_at_first", runs="background", **flags)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "how": how})
    assert job.until_ended()["state"] == "failed"
    assert marks(tmp_path / "marks") == [1]


def test_attempts_are_bounded(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "fail_at_first", runs="background", most_attempts=1, **REPEATABLE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks")})
    row = job.until_ended()
    assert (row["state"], row["reason"], row["attempts"]) == ("failed", "upstream_timeout", 1)
    assert marks(tmp_path / "marks") == [1]


@pytest.mark.parametrize("how", ["cancels itself", "exits"])
def test_a_tool_that_quits_is_run_once_and_is_the_hubs_failure(cast: Cast, tmp_path: Path, how: str) -> None:
    tool = cast.tool(cast.acme, "mark_and_quit", runs="background", **REPEATABLE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "how": how})
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("failed", "internal_error")
    assert marks(tmp_path / "marks") == [1]
    again = place(cast).start(tool, {"path": str(tmp_path / "marks"), "how": how})
    again.until_ended()
    assert psutil.pid_exists(int((tmp_path / "marks").read_text().split()[1]))


def test_a_process_whose_loop_was_ended_by_a_tool_ends_too(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "mark_and_quit", runs="background", most_attempts=1, **REPEATABLE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "how": "ends the loop"})
    until(lambda: marks(tmp_path / "marks") == [1])
    ended = int((tmp_path / "marks").read_text().split()[1])
    until(lambda: not psutil.pid_exists(ended))
    lose_lease(job)
    assert job.until_ended()["state"] == "interrupted"


def test_a_worker_that_lost_its_lease_writes_nothing(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "mark_and_wait", runs="background", **REPEATABLE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "until": str(tmp_path / "go")})
    until(lambda: marks(tmp_path / "marks") == [1])
    stalled, fence = job.holder(), job.row()["fence"]
    os.kill(stalled, signal.SIGSTOP)
    try:
        lose_lease(job)
        (tmp_path / "go").touch()
        ended = job.until_ended()
    finally:
        os.kill(stalled, signal.SIGCONT)
    assert ended["state"] == "succeeded"
    assert ended["fence"] > fence
    until(lambda: "job.discarded" in [event for event, _ in job.events()])
    assert job.row() == ended
    assert marks(tmp_path / "marks") == [1, 2]


def test_a_job_whose_message_was_lost_is_found_by_a_sweep(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background")
    job = place(cast).accept(tool, {"path": str(tmp_path / "marks")})
    with as_owner() as conn:
        conn.execute("UPDATE jobs_job SET rung_at = now() - interval '6 s' WHERE id = %s", [job.id])
    assert job.until_ended()["state"] == "succeeded"


def test_no_message_says_anything_of_a_job(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background")
    with held_back(cast):
        job = place(cast).start(tool, {"path": str(tmp_path / "marks")})
        with as_owner() as conn:
            (said,) = rows(conn, "SELECT coalesce(string_agg(message::text, ''), '') FROM pgmq.q_jobs")[0]
        assert str(job.id) not in said
        assert str(tmp_path) not in said
    job.until_ended()


def test_a_tool_that_holds_the_loop_up_does_not_stop_its_own_sign_of_life(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "mark_and_block", runs="background", timeout=60)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks")})
    until(lambda: marks(tmp_path / "marks") == [1])
    before = job.row()["lease_until"]
    until(lambda: job.row()["lease_until"] > before)
    job.ask_to_stop()
    job.until_ended()


def test_a_job_goes_on_when_postgres_ends_the_sessions_of_its_worker(cast: Cast, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "mark_and_wait", runs="background", **ONCE)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "until": str(tmp_path / "go")})
    until(lambda: marks(tmp_path / "marks") == [1])
    with as_app() as conn:
        ended = rows(
            conn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name ~ '^mcphub ' AND datname = current_database()",
        )
    assert ended
    (tmp_path / "go").touch()
    assert job.until_ended()["state"] == "succeeded"
    assert marks(tmp_path / "marks") == [1]
    again = place(cast).start(tool, {"path": str(tmp_path / "again"), "until": str(tmp_path / "go")})
    assert again.until_ended()["state"] == "succeeded"
