"""Where calls enter: what runs at once, what becomes a job, how long its host waits, and what it is then given."""

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest

from audit.models import Event, Outcome
from jobs import calls as job_calls
from jobs import rows
from jobs.asking import asked_inputs
from jobs.values import Answer, Handle, View
from lib import events
from policy.values import Refusal
from tests.cast import Cast
from tests.host import MODERN, REVISIONS, Host
from tests.jobs.desk import FOLLOWING, Desk, desk, hand, keep_workers_away
from tools import calls
from tools.calls import Ready
from tools.values import Origin, Result, Text


@dataclass(frozen=True)
class Scene:
    uma: Desk
    adam: Desk


@pytest.fixture
def scene(cast: Cast) -> Scene:
    keep_workers_away(cast, cast.acme)
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    cast.tool(cast.acme, "echo")
    cast.tool(cast.acme, "shout", runs="automatic", wait=20, scopes=["tickets.read"])
    cast.tool(cast.acme, "long_text", runs="background", max_result=1024)
    cast.tool(cast.acme, "linger", runs="background")
    shouting = {"config": {"function": "shout"}, "read_only": False, "destructive": False}
    cast.tool(cast.acme, "order", runs="automatic", wait=20, idempotent=False, **shouting)
    cast.tool(cast.acme, "replace", runs="automatic", wait=20, idempotent=True, **shouting)
    return Scene(uma=desk(cast, cast.uma), adam=desk(cast, cast.adam))


def handle(answer: Answer) -> Handle:
    assert isinstance(answer, Handle), answer
    return answer


async def test_a_tool_that_runs_while_its_host_waits_leaves_no_job(scene: Scene, running: None) -> None:
    answer = await scene.uma.call("echo", {"text": "a"}, follow=FOLLOWING)
    assert isinstance(answer, Result)
    async with hand() as other:
        assert not await other.rows("SELECT id FROM jobs_job WHERE tenant_id = %s", scene.uma.caller.tenant_id)


async def test_a_background_job_gives_its_handle_at_once(scene: Scene, running: None) -> None:
    async with asyncio.timeout(10):
        assert not handle(await scene.uma.call("long_text", {"length": 1})).view.ended


async def test_who_follows_gets_the_handle_at_once_whatever_the_tool_waits_for_others(
    scene: Scene, running: None
) -> None:
    async with asyncio.timeout(10):
        assert not handle(await scene.uma.call("shout", {"text": "a"}, follow=FOLLOWING)).view.ended


Called = asyncio.Task[Answer | None]


async def waited_for(who: Desk, scope: anyio.CancelScope | None = None, *, tool: str = "shout") -> tuple[Called, View]:
    """A call that waits for its job, and the job. scope: what the gateway cancels when the host goes away."""

    async def in_scope() -> Answer | None:
        with scope or anyio.CancelScope():
            return await who.call(tool, {"text": "a"})
        return None

    call = asyncio.create_task(in_scope())
    async with asyncio.timeout(10):
        while not (jobs := await rows.listing(who.caller)):  # noqa: ASYNC110 - the call makes it
            await asyncio.sleep(0.001)
        while not events._bus()._watchers.get((jobs[0].tenant_id, jobs[0].id)):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return call, jobs[0]


async def test_an_automatic_job_that_ends_in_time_gives_its_result(scene: Scene, running: None) -> None:
    call, job = await waited_for(scene.uma)
    async with hand() as worker:
        await worker.end(job, result=Result.of_text("A"))
    assert await call == Result.of_text("A")


async def test_an_automatic_job_that_asks_gives_its_handle(scene: Scene, running: None) -> None:
    call, job = await waited_for(scene.uma)
    async with hand() as worker:
        await worker.begin(job)
        await worker.rows(
            "UPDATE jobs_job SET state = 'input_required', inputs = %s WHERE id = %s",
            asked_inputs({}),
            job.id,
        )
        await events.publish(events.Event(tenant_id=job.tenant_id, job_id=job.id, kind="state", state="input_required"))
    answer = await call
    assert isinstance(answer, Handle)
    assert answer.view.state == "input_required"


async def test_an_automatic_job_that_takes_longer_gives_its_handle(
    scene: Scene, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_calls, "LONGEST_WAIT", 0.05)
    assert not handle(await scene.uma.call("shout", {"text": "a"})).view.ended


async def test_a_failed_job_gives_its_error(scene: Scene, running: None) -> None:
    call, job = await waited_for(scene.uma)
    async with hand() as worker:
        await worker.end(job, "failed", Result.of_error("out of paper", "paper"))
    assert await call == Result.of_error("out of paper", "paper")


async def left(call: Called, scope: anyio.CancelScope) -> None:
    scope.cancel()
    assert await call is None


async def test_a_host_that_goes_away_before_it_heard_of_the_job_stops_it(scene: Scene, running: None) -> None:
    scope = anyio.CancelScope()
    call, job = await waited_for(scene.uma, scope)
    await left(call, scope)
    async with hand() as other:
        assert (await other.row(job.id))["state"] == "cancelled"


async def test_a_host_that_goes_away_stops_nothing_that_the_same_call_has_joined(scene: Scene, running: None) -> None:
    scope = anyio.CancelScope()
    call, job = await waited_for(scene.uma, scope)
    handle(await scene.uma.call("shout", {"text": "a"}, follow=FOLLOWING))
    await left(call, scope)
    async with hand() as other:
        assert (await other.row(job.id))["cancel_at"] is None


async def test_a_host_that_goes_away_stops_nothing_that_has_begun_and_may_not_be_run_twice(
    scene: Scene, running: None
) -> None:
    scope = anyio.CancelScope()
    call, job = await waited_for(scene.uma, scope, tool="order")
    async with hand() as worker:
        await worker.begin(job)
        await left(call, scope)
        assert (await worker.row(job.id))["cancel_at"] is None
    again = handle(await scene.uma.call("order", {"text": "a"}, follow=FOLLOWING))
    assert (again.joined, again.view.id) == (True, job.id)


async def test_what_an_upstream_was_given_already_is_not_stopped_while_it_waits_for_its_next_worker(
    scene: Scene, running: None
) -> None:
    scope = anyio.CancelScope()
    call, job = await waited_for(scene.uma, scope, tool="order")
    async with hand() as worker:
        fence = await worker.begin(job)
        await worker.rows("SELECT jobs_beat(%s, %s, 60, NULL, NULL, NULL, %s::jsonb)", job.id, fence, '{"id": "7"}')
        await worker.rows("SELECT jobs_release(%s, %s, 0, false, 'hub_stopped')", job.id, fence)
        await left(call, scope)
        row = await worker.row(job.id)
    assert (row["state"], row["cancel_at"]) == ("queued", None)


@pytest.mark.parametrize(("tool", "begun"), [("order", False), ("replace", False), ("replace", True)])
async def test_a_host_that_goes_away_stops_what_may_be_run_again(
    scene: Scene, running: None, tool: str, begun: bool
) -> None:
    scope = anyio.CancelScope()
    call, job = await waited_for(scene.uma, scope, tool=tool)
    async with hand() as worker:
        if begun:
            await worker.begin(job)
        await left(call, scope)
        row = await worker.row(job.id)
    assert (row["cancel_at"] is not None, row["cancelled_by"]) == (True, scene.uma.caller.username)


async def test_a_job_that_begins_just_as_its_host_goes_away_is_not_stopped(scene: Scene, running: None) -> None:
    scope = anyio.CancelScope()
    call, job = await waited_for(scene.uma, scope, tool="order")
    async with hand() as worker:
        fence = await worker.take(job)
        async with worker._conn.transaction():
            await worker.rows("SELECT jobs_begin(%s, %s)", job.id, fence)
            leaving = asyncio.create_task(left(call, scope))
            async with asyncio.timeout(10):
                while not await worker.rows(
                    "SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
                ):
                    await worker.rows("SELECT pg_stat_clear_snapshot()")
        await leaving
        assert (await worker.row(job.id))["cancel_at"] is None


async def test_a_host_that_goes_away_while_postgres_does_too_stops_nothing_and_breaks_nothing(
    scene: Scene, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise psycopg.OperationalError

    scope = anyio.CancelScope()
    call, job = await waited_for(scene.uma, scope)
    monkeypatch.setattr(rows, "cancel_unless_shared", away)
    await left(call, scope)
    async with hand() as other:
        assert (await other.row(job.id))["cancel_at"] is None


async def test_a_server_that_is_stopped_stops_no_job(scene: Scene, running: None) -> None:
    call, job = await waited_for(scene.uma)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    async with hand() as other:
        assert (await other.row(job.id))["cancel_at"] is None


async def test_a_host_that_joined_and_goes_away_stops_nothing(scene: Scene, running: None) -> None:
    await scene.uma.start("shout", text="a")
    scope = anyio.CancelScope()
    call, job = await waited_for(scene.uma, scope)
    await left(call, scope)
    async with hand() as other:
        assert (await other.row(job.id))["cancel_at"] is None


async def test_a_job_whose_host_cannot_be_told_how_it_stands_still_gives_its_handle(
    scene: Scene, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(rows, "wait", away)
    job = handle(await scene.uma.call("shout", {"text": "a"})).view
    async with hand() as other:
        assert (await other.row(job.id))["state"] == "queued"


async def ready(who: Desk, name: str, **arguments: Any) -> Ready:
    found = await calls.prepare(
        who.caller, name, arguments, catalog=await who.catalog(), origin=Origin(via="mcp", address="192.0.2.7")
    )
    assert isinstance(found, Ready), found
    return found


async def entries(of: Ready) -> list[dict[str, Any]]:
    async with hand() as other:
        return list(
            await other.rows(
                "SELECT event, call_id, outcome, reason, subject, digest <> '' AS asked FROM audit_entry"
                " WHERE tenant_id = %s AND event LIKE 'call.%%' ORDER BY id",
                of.caller.tenant_id,
            )
        )


async def test_what_is_ready_is_not_recorded_until_it_runs(scene: Scene, running: None) -> None:
    found = await ready(scene.uma, "echo", text="a")
    assert await entries(found) == []
    assert isinstance(await calls.execute(found), Result)
    started, finished = await entries(found)
    assert [started["event"], finished["event"]] == [Event.STARTED, Event.FINISHED]
    assert {started["call_id"], finished["call_id"]} == {found.id}
    assert (started["subject"], finished["subject"]) == ("", "")


async def test_an_attempt_is_a_call_of_its_own_that_names_its_job(scene: Scene, running: None) -> None:
    found = await ready(scene.uma, "echo", text="a")
    for _ in range(2):
        assert isinstance(await calls.execute(found, job=found.id), Result)
    kept = await entries(found)
    assert [entry["event"] for entry in kept] == [Event.STARTED, Event.FINISHED] * 2
    assert {entry["subject"] for entry in kept} == {f"job {found.id}"}
    assert len({entry["call_id"] for entry in kept} - {found.id}) == 2
    assert kept[0]["call_id"] == kept[1]["call_id"] != kept[2]["call_id"]


async def test_nothing_runs_when_what_is_asked_last_says_no(scene: Scene, running: None, tmp_path: Path) -> None:
    async def no() -> bool:
        (entry,) = await entries(found)  # the started entry is durable before this is asked
        assert entry["event"] == Event.STARTED
        return False

    found = await ready(scene.uma, "linger", path=str(tmp_path / "note"))
    answer = await calls.execute(found, job=found.id, before=no)
    assert isinstance(answer, Refusal)
    assert answer.reason == "cancelled"
    assert not (tmp_path / "note").exists()
    assert [(entry["event"], entry["outcome"]) for entry in await entries(found)] == [
        (Event.STARTED, ""),
        (Event.FINISHED, Outcome.CANCELLED),
    ]


async def test_an_attempt_is_decided_again(scene: Scene, running: None) -> None:
    found = await ready(scene.uma, "shout", text="a")
    stripped = replace(found, caller=replace(found.caller, scopes=frozenset()))
    answer = await calls.execute(stripped, job=found.id)
    assert isinstance(answer, Refusal)
    assert answer.reason == "insufficient_scope"
    (entry,) = await entries(found)
    assert (entry["event"], entry["subject"], entry["reason"]) == (
        Event.REFUSED,
        f"job {found.id}",
        "insufficient_scope",
    )


async def test_the_result_of_a_job_is_not_cut(scene: Scene, running: None) -> None:
    found = await ready(scene.uma, "long_text", length=5000)
    cut, whole = await calls.execute(found), await calls.execute(found, job=found.id)
    assert isinstance(cut, Result)
    assert cut.reason == "result_too_large"
    assert isinstance(whole, Result)
    assert whole.content == (Text(text="x" * 5000),)


# Through two real servers, and a worker.


@pytest.fixture
def noting(cast: Cast) -> str:
    """A key for a tenant whose tool leaves a line in a file each time that it runs, and may not be run twice."""
    cast.tool(
        cast.acme,
        "note",
        runs="automatic",
        wait=20,
        timeout=60,
        read_only=False,
        idempotent=False,
        destructive=False,
        replay_seconds=120,
    )
    return cast.key(cast.uma)[1]


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_same_call_at_once_on_two_servers_runs_once_and_both_get_its_result(
    hub: list[str], worker: object, cast: Cast, noting: str, tmp_path: Path, revision: str
) -> None:
    path = tmp_path / "notes"
    together = threading.Barrier(2)

    def call(base: str) -> str:
        host = Host(base, cast.acme.slug, noting, revision)
        together.wait(30)
        return host.call("note", {"path": str(path), "text": "once", "seconds": 0.2}).text

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(call, hub)) == ["noted once"] * 2
    assert path.read_text() == "once\n"


def test_a_handle_from_one_server_is_good_at_the_other_right_away(
    hub: list[str], worker: object, cast: Cast, tmp_path: Path
) -> None:
    cast.tool(cast.acme, "wait_for_file", runs="background", timeout=60)
    key = cast.key(cast.uma)[1]
    here, there = (Host(base, cast.acme.slug, key, MODERN) for base in hub)
    path = tmp_path / "go"
    told = here.call("wait_for_file", {"path": str(path)})
    job_id = told.result["structuredContent"]["job_id"]
    assert uuid.UUID(job_id)
    status = there.call("get_job_status", {"job_id": job_id, "wait_seconds": 0})
    assert status.result["structuredContent"]["status"] in ("queued", "running")
    path.touch()
    ended = there.call("get_job_status", {"job_id": job_id, "wait_seconds": 25})
    assert ended.result["structuredContent"]["status"] == "succeeded"
    assert ended.result["content"][1]["text"] == "found"
    assert here.call("get_job_result", {"job_id": job_id}).text == "found"
