"""The demo's slow report, from the call to the result: a help desk, a worker and the ledger, each a process."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import rows
from jobs.values import Handle, View
from mcphub import demo
from tests.cast import Cast
from tests.examples.test_helpdesk import HelpDesk
from tests.jobs.desk import FOLLOWING, Desk, Hand, desk, hand
from tests.jobs.place import end_what_no_worker_holds
from tools import actions
from tools.models import Tool

TOKEN = "report-token"
NAME = "export_ticket_report"


@pytest.fixture(autouse=True)
def _places_are_free() -> None:
    end_what_no_worker_holds()


@pytest.fixture
def helpdesk(tmp_path: Path) -> Iterator[HelpDesk]:
    """One whose reports take three seconds."""
    running = HelpDesk(tmp_path / "data.json", "--report-seconds", "3", token=TOKEN)
    running.wait_until_up()
    yield running
    running.stop()


@pytest.fixture
def caller(cast: Cast, helpdesk: HelpDesk, worker: int) -> Desk:
    """A member of a tenant with the demo's tools, and somebody to run its jobs."""
    url = f"http://127.0.0.1:{helpdesk.port}"
    with cast.see(cast.acme):
        demo.furnish(cast.acme, cast.olga, helpdesk_url=url, helpdesk_token=TOKEN)
    return desk(cast, cast.uma).by(credential="admin")


async def _begun(caller: Desk) -> View:
    handle = await caller.call(NAME, {}, follow=FOLLOWING)
    assert isinstance(handle, Handle)
    return handle.view


async def _ended(caller: Desk, job: View, *, within: float = 40.0) -> View:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        view = await rows.wait(caller.caller, str(job.id), 5.0, content=True)
        if view is not None and view.ended:
            return view
    raise AssertionError(f"the job has not ended within {within} s")


class Followed:
    """A host that waits and is told how far it is."""

    def __init__(self) -> None:
        self.heard: list[float] = []

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        assert total == 1
        self.heard.append(progress)

    async def log(self, level: str, data: Any) -> None:
        raise AssertionError("it logs nothing")


async def test_the_slow_report_runs_as_a_job_without_arguments_and_says_how_far_it_is(
    caller: Desk, running: None
) -> None:
    host, job = Followed(), await _begun(caller)
    view = await rows.wait(caller.caller, str(job.id), 30.0, report=host, content=True)
    while view is not None and not view.ended:
        view = await rows.wait(caller.caller, str(job.id), 30.0, report=host, content=True)
    assert view is not None
    assert view.result is not None
    assert view.result.structured["group_by"] == "status"
    assert set(view.result.structured["counts"]) == {"open", "pending", "closed"}
    assert host.heard == sorted(host.heard)
    assert len(host.heard) >= 2


async def _kill_its_worker(owner: Hand, job: View) -> None:
    """-9 to the process that runs it, and to no other."""
    (found,) = await owner.rows(
        "SELECT w.pid FROM jobs_job j JOIN jobs_worker w ON w.id = j.holder WHERE j.id = %s", job.id
    )
    os.kill(found["pid"], signal.SIGKILL)


async def _started(owner: Hand, job: View) -> Any:
    """What the help desk calls the report, once that is kept."""
    deadline = time.monotonic() + 20
    while (upstream := (await owner.row(job.id))["upstream"]) is None:
        assert time.monotonic() < deadline, "it did not start"
    return upstream


@pytest.fixture
def once(cast: Cast, caller: Desk) -> Desk:
    """The same caller, of a report that may not be made twice."""
    with cast.see(cast.acme):
        tool = Tool.objects.get(tenant=cast.acme, name=NAME)
        tool.read_only = tool.idempotent = False
        tool.save()
        actions.publish(tool, actor=cast.olga)
    return desk(cast, cast.uma).by(credential="admin")


async def test_a_report_whose_worker_is_killed_is_asked_for_again_and_not_started_again(
    once: Desk, running: None
) -> None:
    job = await _begun(once)
    async with hand() as owner:
        started = await _started(owner, job)
        await _kill_its_worker(owner, job)
        view = await _ended(once, job)
        assert (view.state, view.attempts) == ("succeeded", 2)
        assert (await owner.row(job.id))["upstream"] == started
