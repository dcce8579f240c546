"""Jobs as tasks of 2025-11-25, where they are part of the core and a host asks for one with each call."""

import asyncio
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from access.actions import revoke_key
from gateway import tasks
from lib import events
from tenants.models import Scope
from tests.cast import Cast
from tests.gateway.following import CORE, change, claim, end, get, job_of, lasting, start, streaming, tell, waiting
from tests.host import MODERN, REVISIONS, Host
from tests.jobs.place import Placed
from tests.ledger import calls
from tests.postgres import as_app
from tests.waiting import until
from tools.values import Result

Make = Callable[..., Host]
Core = Callable[..., Host]

RELATED = "io.modelcontextprotocol/related-task"


@pytest.fixture
def core(host: Make) -> Core:
    """Make a host of 2025-11-25."""
    return lambda *user, **how: host(*user, **{"revision": CORE, **how})


def ask(host: Host, method: str, task: dict[str, Any], **params: Any) -> Any:
    return host.request(method, {"taskId": task["taskId"], **params})


def test_tasks_are_offered_to_who_negotiates_the_revision_that_has_them(host: Make) -> None:
    params = {"capabilities": {}, "clientInfo": {"name": "test-host", "version": "1"}}
    offered = {
        asked: host(revision=CORE).request("initialize", {**params, "protocolVersion": asked}).result["capabilities"]
        for asked in (*REVISIONS[:3], "2099-01-01")
    }
    whole: dict[str, Any] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    assert {asked: one.get("tasks") for asked, one in offered.items()} == {
        "2025-03-26": None,
        "2025-06-18": None,
        CORE: whole,
        "2099-01-01": whole,
    }
    assert not any("extensions" in one for one in offered.values())


def test_the_list_says_of_each_tool_whether_it_runs_as_a_task(cast: Cast, host: Make) -> None:
    lasting(cast, "echo")
    lasting(cast, "shout", task_required=True)
    cast.tool(cast.acme, "fail")
    answers = {revision: host(revision=revision).request("tools/list").result["tools"] for revision in REVISIONS}
    listed = {revision: {tool["name"]: tool.get("execution") for tool in tools} for revision, tools in answers.items()}
    assert listed[CORE] == {
        "echo": {"taskSupport": "optional"},
        "shout": {"taskSupport": "required"},
        "fail": None,
        "cancel_job": None,
        "get_job_result": None,
        "get_job_status": None,
    }
    for revision in ("2025-03-26", "2025-06-18", MODERN):
        assert not any(listed[revision].values())


def test_a_call_that_asks_for_a_task_gets_one_that_every_server_knows_at_once(cast: Cast, core: Core) -> None:
    lasting(cast)
    answer = core().request("tools/call", {"name": "echo", "arguments": {"text": "hello"}, "task": {"ttl": 90_000}})
    assert set(answer.result) == {"task"}
    task = answer.result["task"]
    assert (task["status"], task["ttl"]) == ("working", 90_000)
    assert type(task["pollInterval"]) is int
    found = get(core(worker=1), task)
    assert found == task, "tasks/get gives the task itself"


def test_a_ttl_is_kept_to_at_the_most_as_the_tool_says(cast: Cast, core: Core) -> None:
    lasting(cast, keep_hours=1)
    params = {"name": "echo", "arguments": {"text": "hello"}, "task": {"ttl": 10**12}}
    assert core().request("tools/call", params).result["task"]["ttl"] == 3_600_000


@pytest.mark.parametrize("task", [5, None, [], {"ttl": 0}, {"ttl": -1}, {"ttl": "long"}, {"ttl": True}])
def test_what_is_no_task_is_refused_and_nothing_runs(cast: Cast, core: Core, task: Any) -> None:
    lasting(cast)
    answer = core().request("tools/call", {"name": "echo", "arguments": {"text": "hello"}, "task": task})
    assert (answer.status, answer.error["code"]) == (200, -32602)
    assert not calls(cast, cast.acme, "echo", "job.accepted")


def test_a_tool_that_answers_at_once_refuses_to_be_a_task(cast: Cast, core: Core) -> None:
    cast.tool(cast.acme, "echo")
    answer = core().request("tools/call", {"name": "echo", "arguments": {"text": "hello"}, "task": {}})
    assert (answer.status, answer.error["code"]) == (200, -32601)
    assert not calls(cast, cast.acme, "echo", "call.started")


def test_a_job_tool_refuses_to_be_a_task(cast: Cast, core: Core) -> None:
    lasting(cast)
    params = {"name": "get_job_status", "arguments": {"job_id": start(core())["taskId"]}, "task": {}}
    assert core().request("tools/call", params).error["code"] == -32601


def test_a_tool_that_must_be_a_task_refuses_to_be_none(cast: Cast, core: Core) -> None:
    lasting(cast, task_required=True)
    assert core().call("echo", {"text": "hello"}).error["code"] == -32601
    assert start(core())["status"] == "working"


def test_a_hidden_tool_is_unknown_whether_or_not_it_is_to_be_a_task(cast: Cast, core: Core) -> None:
    cast.scopes(cast.acme, {"staff.only": "For staff"})
    with cast.see(cast.acme):
        Scope.objects.filter(name="staff.only").update(roles=["owner"])
    cast.tool(cast.acme, "echo", scopes=["staff.only"])
    errors = [
        core().request("tools/call", {"name": name, "arguments": {}, "task": {}}).error for name in ("nothing", "echo")
    ]
    assert [error["code"] for error in errors] == [-32602, -32602]


def test_a_result_is_waited_for_and_is_what_the_call_would_have_given(cast: Cast, core: Core) -> None:
    lasting(cast)
    asking = core()
    task = start(asking)
    with waiting(asking, "tasks/result", {"taskId": task["taskId"]}) as answers:
        claim_it = claim(task)
        end(task, result=Result.of_data({"text": "hello"}), fence=claim_it)
    (answer,) = answers
    assert answer.result["structuredContent"] == {"text": "hello"}
    assert answer.result["_meta"] == {RELATED: {"taskId": task["taskId"]}}
    again = ask(core(worker=1), "tasks/result", task)
    assert again.result == answer.result
    assert get(asking, task)["status"] == "completed"


def test_a_tool_error_is_a_failed_task_with_its_result(cast: Cast, core: Core) -> None:
    lasting(cast)
    task = start(core())
    end(task, "failed", Result.of_error("The printer is out of paper.", "tool_error"))
    assert get(core(), task)["status"] == "failed"
    answer = ask(core(), "tasks/result", task)
    assert answer.result["isError"] is True
    assert answer.text == "The printer is out of paper."


def test_where_there_is_no_result_its_place_is_taken_by_an_error(cast: Cast, core: Core) -> None:
    lasting(cast)
    asking = core()
    task = start(asking)
    end(task, "interrupted", None, reason="process_gone")
    assert get(asking, task)["status"] == "failed"
    answer = ask(asking, "tasks/result", task)
    assert (answer.status, answer.error["code"]) == (200, -32603)
    assert "may have taken effect" in answer.error["message"]
    assert answer.error["data"] == {"reason": "process_gone"}


def test_progress_comes_on_the_stream_of_who_waits(cast: Cast, core: Core) -> None:
    lasting(cast)
    asking = core(worker=1)
    task = start(asking)
    fence = claim(task)
    params = {"taskId": task["taskId"], "_meta": {"progressToken": "mine"}}
    with streaming(asking, "tasks/result", params) as frames:
        # It is told until it is heard: the request may still be on its way.
        until(lambda: tell(cast, task, e="progress", p=3, of=10, m="reading") or frames.waiting())
        for step in (2, 4, 4):
            tell(cast, task, e="progress", p=step, of=10)
        end(task, fence=fence)
        assert frames.told() == (
            "notifications/progress",
            {
                "progressToken": "mine",
                "progress": 3,
                "total": 10,
                "message": "reading",
                "_meta": {RELATED: {"taskId": task["taskId"]}},
            },
        )
        assert frames.told()[1]["progress"] == 4, "progress grows"
        assert frames.next()["result"]["content"][0]["text"] == "done"


def test_who_gives_up_waiting_does_not_stop_the_task(cast: Cast, core: Core) -> None:
    lasting(cast)
    asking = core()
    task = start(asking)
    fence = claim(task)
    params = {"taskId": task["taskId"], "_meta": {"progressToken": 1}}
    with streaming(asking, "tasks/result", params) as frames:
        until(lambda: tell(cast, task, e="progress", p=1) or frames.waiting())
    with streaming(asking, "tasks/result", params) as frames:
        until(lambda: tell(cast, task, e="progress", p=1) or frames.waiting())
        # Of two requests of one id neither would be cancelled, so this also shows that the first one is over.
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "stream"}}
        until(lambda: asking.post(cancelled).status == 202 and None in frames.all())
    assert get(asking, task)["status"] == "working"
    end(task, fence=fence)
    assert ask(asking, "tasks/result", task).text == "done"


def test_a_wait_outlives_a_listener_that_lost_its_session(cast: Cast, core: Core) -> None:
    lasting(cast)
    asking = core()
    task = start(asking)
    fence = claim(task)
    params = {"taskId": task["taskId"], "_meta": {"progressToken": 1}}
    with streaming(asking, "tasks/result", params) as frames:
        until(lambda: tell(cast, task, e="progress", p=1) or frames.waiting())
        frames.next()
        with as_app() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'mcphub events' AND datname = current_database()"
            )
        end(task, fence=fence)
        assert frames.next()["result"]["content"][0]["text"] == "done"


def test_a_wait_ends_with_the_right_to_see_the_end(cast: Cast, core: Core) -> None:
    lasting(cast)
    task = start(core())
    key, secret = cast.key(cast.uma)
    asking = Host(core().base, cast.acme.slug, secret, CORE)
    params = {"taskId": task["taskId"], "_meta": {"progressToken": 1}}
    with streaming(asking, "tasks/result", params) as frames:
        until(lambda: tell(cast, task, e="progress", p=1) or frames.waiting())
        frames.next()
        with cast.see(cast.acme):
            revoke_key(key, actor="system")
        end(task)
        assert frames.next()["error"]["code"] == -32600


async def test_a_wait_is_let_in_anew_however_much_progress_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy:
        """A job that never stops telling how far it is."""

        async def get(self, seconds: float) -> events.Event:
            await asyncio.sleep(0)
            return events.Event(tenant_id=1, job_id=events.NO_JOB, kind="progress", progress=time.monotonic())

    class Told:
        def __init__(self) -> None:
            self.times = 0

        async def progress(self, *_: Any) -> None:
            self.times += 1

    monkeypatch.setattr(tasks, "LOOK_AGAIN", 0.05)
    told = Told()
    async with asyncio.timeout(30):
        await tasks._changed(Busy(), told)  # type: ignore[arg-type] # as much of them as it uses
    assert told.times


@pytest.mark.parametrize("meta", ["mine", 5, ["mine"]])
def test_a_wait_with_what_is_no_meta_is_refused(cast: Cast, core: Core, meta: Any) -> None:
    lasting(cast)
    asking = core()
    answer = ask(asking, "tasks/result", start(asking), _meta=meta)
    assert (answer.status, answer.error["code"]) == (200, -32602)


def test_cancelling_shows_at_once_and_only_once(cast: Cast, core: Core) -> None:
    lasting(cast)
    asking = core()
    for taken in (False, True):
        task = start(asking, text=f"taken {taken}")
        if taken:
            claim(task)
        answer = ask(asking, "tasks/cancel", task)
        assert (answer.result["taskId"], answer.result["status"]) == (task["taskId"], "cancelled")
        assert get(asking, task)["status"] == "cancelled"
        assert ask(asking, "tasks/cancel", task).error["code"] == -32602
        assert ask(asking, "tasks/result", task).error["code"] == -32600


def test_a_task_that_was_said_to_be_cancelled_stays_so_whatever_its_tool_gives_then(
    cast: Cast, core: Core, worker: int, tmp_path: Path
) -> None:
    lasting(cast, "succeed_when_told_to_stop", run=True, timeout=60)
    asking, job = core(), str(tmp_path / "marks")
    task = start(asking, "succeed_when_told_to_stop", path=job)
    until(lambda: Path(job).exists())
    assert ask(asking, "tasks/cancel", task).result["status"] == "cancelled"
    placed = Placed(id=job_of(task).id)
    seen: set[str] = set()

    def ended() -> bool:
        seen.add(get(asking, task)["status"])
        return placed.row()["ended_at"] is not None

    until(ended)
    row = placed.row()
    assert (row["state"], row["reason"], row["result"]) == ("cancelled", "cancelled", None)
    assert seen | {get(asking, task)["status"]} == {"cancelled"}
    assert ask(asking, "tasks/result", task).error["code"] == -32600
    assert ("call.finished", "ok") in placed.events(), "the tool did give something"
    assert placed.events()[-1] == ("job.ended", "cancelled")


def test_what_has_ended_cannot_be_cancelled(cast: Cast, core: Core) -> None:
    lasting(cast)
    task = start(core())
    end(task)
    assert ask(core(), "tasks/cancel", task).error["code"] == -32602
    assert get(core(), task)["status"] == "completed"


def test_a_list_holds_ones_own_tasks_the_newest_first_in_pages(cast: Cast, core: Core) -> None:
    lasting(cast)
    asking = core()
    start(core(cast.olga), text="another's")
    made = [start(asking, text=f"number {number}")["taskId"] for number in range(52)]
    first = asking.request("tasks/list").result
    assert [task["taskId"] for task in first["tasks"]] == made[:1:-1]
    rest = core(worker=1).request("tasks/list", {"cursor": first["nextCursor"]}).result
    assert [task["taskId"] for task in rest["tasks"]] == made[1::-1]
    assert "nextCursor" not in rest
    for wrong in ("", "nonsense", 5, first["nextCursor"] + "x"):
        assert asking.request("tasks/list", {"cursor": wrong}).error["code"] == -32602
    assert core(cast.olga).request("tasks/list", {"cursor": first["nextCursor"]}).error["code"] == -32602


@pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
def test_an_id_that_is_not_yours_answers_like_one_that_is_not_there(cast: Cast, core: Core, method: str) -> None:
    lasting(cast)
    lasting(cast, tenant=cast.beta)
    asking = core()
    foreign = start(Host(asking.base, cast.beta.slug, cast.key(cast.bob, cast.beta)[1], CORE))["taskId"]
    others = start(core(cast.olga))["taskId"]
    forgotten = start(asking)
    end(forgotten)
    change(forgotten, "expires_at = NULL, result = NULL")
    answers = [
        asking.request(method, {"taskId": task_id})
        for task_id in (str(uuid.uuid4()), foreign, others, forgotten["taskId"], "nonsense", "")
    ]
    assert {(answer.status, answer.error["code"], answer.error["message"]) for answer in answers} == {
        (200, -32602, "There is no such task.")
    }


@pytest.mark.parametrize("revision", REVISIONS[:2])
@pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/list", "tasks/cancel"])
def test_earlier_revisions_have_no_tasks(cast: Cast, core: Core, host: Make, revision: str, method: str) -> None:
    lasting(cast)
    task = start(core())
    answer = ask(host(revision=revision), method, task)
    assert (answer.status, answer.error["code"]) == (200, -32601)
