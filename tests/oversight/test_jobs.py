"""Jobs of what is switched off end, in the queue as well as in a worker, and say why."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from jobs import wake
from jobs.models import Delivery, Hook, Job
from tests.gateway.following import claim, follow, get, job_of, lasting, start
from tests.jobs import front
from tests.oversight.scene import SORTS, Scene, everywhere
from tests.postgres import as_app, as_owner, rows
from tests.waiting import until


def _row(task: dict[str, Any]) -> dict[str, Any]:
    with everywhere():
        return dict(Job.objects.filter(pk=task["taskId"]).values().get())


def _reasons(task: dict[str, Any]) -> list[tuple[str, str]]:
    with as_owner() as conn:
        return rows(
            conn,
            "SELECT event, reason FROM audit_entry WHERE subject = %s AND event LIKE 'job.%%' ORDER BY id",
            f"job {task['taskId']}",
        )


@pytest.fixture
def slow(scene: Scene) -> Scene:
    """The tool that is switched off runs as a job."""
    scene.linger = lasting(scene.cast, "mark_and_wait", run=True, connection=scene.connection)
    return scene


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.usefixtures("worker")
def test_a_job_that_runs_is_stopped_and_keeps_why(slow: Scene, tmp_path: Path, sort: str) -> None:
    marks = tmp_path / "marks"
    task = start(slow.host(), "mark_and_wait", path=str(marks))
    until(marks.exists)
    with slow.thrown(sort, reason="a leak"):
        row = until(lambda: found if (found := _row(task))["ended_at"] else None)
        assert row is not None
    assert (row["state"], row["reason"], row["cancelled_by"]) == ("cancelled", "killed", "cli")
    assert [one for one in _reasons(task) if one[0] != "job.accepted"] == [
        ("job.cancelled", "killed"),
        ("job.ended", "killed"),
    ]


@pytest.mark.parametrize("sort", SORTS)
def test_a_job_that_waits_ends_at_once(scene: Scene, sort: str) -> None:
    scene.linger = lasting(scene.cast, "shout", connection=scene.connection)
    task = start(scene.host(), "shout", text="hello")
    with scene.thrown(sort):
        row = _row(task)
        assert (row["state"], row["reason"]) == ("cancelled", "killed")
        assert row["ended_at"] is not None
    assert _reasons(task)[-1] == ("job.cancelled", "killed")


@pytest.mark.parametrize("sort", ["tool", "connection", "client", "member", "tenant"])
def test_other_jobs_are_left_alone(scene: Scene, sort: str) -> None:
    cast = scene.cast
    scene.linger = lasting(cast, "shout", connection=scene.connection)
    lasting(cast, "echo", cast.beta)
    tools = {cast.acme.pk: lasting(cast, "who_am_i"), cast.beta.pk: cast.tool(cast.beta, "fail")}
    bystanders = front.Front(base=scene.hub[0], cast=cast, tools=tools)
    beside, theirs = bystanders.job(cast.olga), bystanders.job(cast.bob, cast.beta)
    with scene.thrown(sort):
        pass
    assert theirs.row()["state"] == "queued"
    assert beside.row()["state"] == ("cancelled" if sort == "tenant" else "queued")


def test_no_job_is_reached_outside_the_scope_it_is_done_in(scene: Scene) -> None:
    cast = scene.cast
    lasting(cast, "shout")
    task = start(scene.host(), "shout", text="hello")
    with as_app() as conn:
        for scope in ("", f"{{{cast.beta.pk}}}"):
            conn.execute("SELECT set_config('mcphub.tenants', %s, false)", [scope])
            for sort, target in (("everything", None), ("tenant", cast.acme.pk), ("user", cast.uma.pk)):
                assert rows(conn, "SELECT jobs_kill(%s, %s, %s, 'bob')", sort, target, None) == [(0,)]
                assert rows(conn, "SELECT jobs_kill(%s, %s, %s, 'bob')", sort, target, cast.acme.pk) == [(0,)]
    assert _row(task)["state"] == "queued"


def test_a_host_that_follows_is_told_by_whom_it_may_ask(scene: Scene) -> None:
    scene.linger = lasting(scene.cast, "shout")
    task = start(scene.host(), "shout", text="hello")
    with scene.thrown("tool"):
        assert get(scene.host(), task)["status"] == "cancelled"
        told = follow(scene.host(), "tools/call", {"name": "get_job_result", "arguments": {"job_id": task["taskId"]}})
        assert "An admin stopped shout" in json.dumps(told.result)


def test_while_everything_is_stopped_no_job_is_taken_up_and_nothing_is_delivered(scene: Scene) -> None:
    lasting(scene.cast, "shout", run=True)
    with scene.thrown("everything"):
        place = front.Front(base="", cast=scene.cast, tools={})
        place.tools[scene.cast.acme.pk] = scene.cast.tool(scene.cast.acme, "who_am_i", runs="background")
        waits = place.job(scene.cast.uma)
        with scene.cast.see(scene.cast.acme):
            hook = Hook.objects.create(tenant=scene.cast.acme, url="https://desk.example/hook", secret=b"x")
            Delivery.objects.create(tenant=scene.cast.acme, hook=hook, job_id=waits.id, state="waiting", **_due())
        with as_app() as conn:
            claimed = rows(conn, "SELECT * FROM jobs_claim(gen_random_uuid(), 30, 0, 8)")
            due = rows(conn, "SELECT * FROM jobs_due(100, 10, 30)")
        assert (claimed, due) == ([], [])
    wake.ring_now()
    # By this test, or by a worker and a hub of another test that were waiting.
    with as_app() as conn:
        claimed = rows(conn, "SELECT * FROM jobs_claim(gen_random_uuid(), 30, 0, 8)")
        due = rows(conn, "SELECT * FROM jobs_due(100, 10, 30)")
    with scene.cast.see(scene.cast.acme):
        assert claimed or Job.objects.get(pk=waits.id).state != "queued"
        assert due or Delivery.objects.get(hook=hook).attempts


def test_a_job_that_somebody_is_at_does_not_keep_a_switch_from_being_thrown(scene: Scene) -> None:
    scene.linger = lasting(scene.cast, "shout")
    task = start(scene.host(), "shout", text="hello")
    with as_owner(autocommit=False) as somebody:
        somebody.execute("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [task["taskId"]])
        scene.throw("tool")
        somebody.rollback()
    assert _row(task)["state"] == "queued"
    with as_owner() as conn:
        assert rows(conn, "SELECT enabled FROM tools_tool WHERE id = %s", scene.linger.pk) == [(False,)]


def _due() -> dict[str, Any]:
    return {"attempts": 0, "created_at": timezone.now(), "due_at": timezone.now(), "said": ""}


def test_a_job_that_was_let_go_of_after_it_was_killed_ends_so(scene: Scene) -> None:
    scene.linger = lasting(scene.cast, "shout")
    task = start(scene.host(), "shout", text="hello")
    fence = claim(task)
    scene.throw("tool")
    with as_owner() as conn:
        assert rows(conn, "SELECT jobs_release(%s, %s, 0, true, 'hub_stopped')", job_of(task).id, fence) == [("done",)]
    assert (_row(task)["state"], _row(task)["reason"]) == ("cancelled", "killed")
    assert _reasons(task)[-1] == ("job.ended", "killed")
