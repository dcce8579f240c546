"""A worker that is asked to stop finishes what is short, hands back what may run elsewhere, and says what it leaves."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from jobs.worker.stopping import ASKED_AFTER, GONE_AFTER, KILLED_AFTER, SAID_AFTER
from tests.cast import Cast
from tests.jobs.place import Placed, marks, place
from tests.postgres import as_owner, rows
from tests.servers import workers
from tests.waiting import until


def running(cast: Cast, tmp_path: Path, *, idempotent: bool) -> Placed:
    tool = cast.tool(cast.acme, "mark_and_wait", runs="background", read_only=False, idempotent=idempotent, timeout=60)
    job = place(cast).start(tool, {"path": str(tmp_path / "marks"), "until": str(tmp_path / "go")})
    until(lambda: marks(tmp_path / "marks") == [1])
    return job


@pytest.mark.usefixtures("worker")
def test_a_short_job_is_finished(cast: Cast, tmp_path: Path) -> None:
    job = running(cast, tmp_path, idempotent=False)
    holder = psutil.Process(job.holder())
    holder.send_signal(signal.SIGTERM)
    (tmp_path / "go").touch()
    assert job.until_ended()["state"] == "succeeded"
    assert not psutil.wait_procs([holder], timeout=30)[1]
    assert marks(tmp_path / "marks") == [1]


@pytest.mark.usefixtures("worker")
def test_a_long_job_that_may_be_repeated_is_handed_back_and_runs_elsewhere(cast: Cast, tmp_path: Path) -> None:
    job = running(cast, tmp_path, idempotent=True)
    os.kill(job.holder(), signal.SIGTERM)
    until(lambda: len(marks(tmp_path / "marks")) == 2)
    (tmp_path / "go").touch()
    row = job.until_ended()
    assert (row["state"], row["attempts"]) == ("succeeded", 1)  # it was nobody's failure
    assert ("job.returned", "") in job.events()


@pytest.mark.usefixtures("worker")
def test_a_long_job_that_may_not_be_repeated_is_interrupted_and_says_why(cast: Cast, tmp_path: Path) -> None:
    job = running(cast, tmp_path, idempotent=False)
    os.kill(job.holder(), signal.SIGTERM)
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("interrupted", "hub_stopped")
    assert job.events()[-2:] == [("call.finished", "cancelled"), ("job.ended", "interrupted")]
    assert marks(tmp_path / "marks") == [1]


def test_a_stopped_worker_leaves_no_process_and_no_sign_of_life() -> None:
    with workers(2) as parent:
        family = psutil.Process(parent.pid).children()
        assert len(family) == 2
        parent.terminate()
        assert parent.wait(20) == 0
    assert not [one for one in family if one.is_running()]
    with as_owner() as conn:
        assert rows(conn, "SELECT FROM jobs_worker WHERE pid = ANY(%s)", [one.pid for one in family]) == []


def test_the_processes_of_a_killed_parent_end() -> None:
    with workers(1) as parent:
        family = psutil.Process(parent.pid).children()
        parent.kill()
        assert not psutil.wait_procs(family, timeout=20)[1]


def test_whoever_stops_a_worker_waits_until_whom_they_stop_is_done() -> None:
    in_order = [0.0, ASKED_AFTER, SAID_AFTER, KILLED_AFTER, GONE_AFTER]
    assert in_order == sorted(set(in_order))
    assert GONE_AFTER == 10  # as the documents tell who runs one


def test_a_process_that_gives_no_sign_of_life_is_killed_and_started_again() -> None:
    with workers(1, JOBS_LEASE="2", JOBS_GRACE="1") as parent:
        (stuck,) = psutil.Process(parent.pid).children()
        stuck.suspend()  # as a tool does that holds all of Python up
        assert not psutil.wait_procs([stuck], timeout=30)[1]
        assert until(lambda: psutil.Process(parent.pid).children()) != [stuck]
