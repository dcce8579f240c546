"""The hub's own tools: how a model in a host without tasks follows a job, and learns nothing of anybody else's."""

import asyncio
import uuid
from dataclasses import dataclass, replace

import pytest

from jobs import own_tools, words
from jobs.values import Handle, View
from lib import events
from policy.models import Limit, Per
from policy.values import Refusal
from tests.cast import Cast
from tests.jobs.desk import Desk, desk, hand, keep_workers_away
from tools.values import ABSENT, Embedded, Result, Text

NAMES = ["cancel_job", "get_job_result", "get_job_status"]


@dataclass(frozen=True)
class Scene:
    uma: Desk
    anna: Desk
    bob: Desk


@pytest.fixture
def scene(cast: Cast) -> Scene:
    cast.scopes(cast.acme, {"reports.read": "Read"})
    keep_workers_away(cast, cast.acme)
    cast.tool(cast.acme, "echo", runs="background")
    cast.tool(cast.acme, "shout", runs="background")
    cast.tool(cast.beta, "echo")
    return Scene(uma=desk(cast, cast.uma), anna=desk(cast, cast.anna), bob=desk(cast, cast.bob, cast.beta))


@pytest.fixture
async def view(scene: Scene, running: None) -> View:
    return await scene.uma.start("shout", text="a")


def said(answer: object) -> Result:
    assert isinstance(answer, Result), answer
    return answer


def text(result: Result) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, Text))


async def offered(who: Desk) -> list[str]:
    return [str(manifest["name"]) for manifest in own_tools.offered(await who.catalog(), who.caller)]


async def test_they_are_listed_where_a_tool_runs_as_a_job_and_nowhere_else(scene: Scene, running: None) -> None:
    assert await offered(scene.uma) == NAMES
    assert await offered(scene.bob) == []


@pytest.fixture
def out_of_reach(cast: Cast) -> Scene:
    """A tenant whose one long tool is for admins."""
    with cast.see(cast.acme):
        cast.scopes(cast.acme, {"reports.read": "Read"})
        cast.acme.scopes.update(roles=["owner", "admin"])
    cast.tool(cast.acme, "echo", runs="background", scopes=["reports.read"])
    return Scene(uma=desk(cast, cast.uma), anna=desk(cast, cast.anna), bob=desk(cast, cast.olga))


async def test_they_are_not_listed_to_who_reaches_no_such_tool(out_of_reach: Scene, running: None) -> None:
    assert await offered(out_of_reach.uma) == []
    assert await offered(out_of_reach.bob) == NAMES


async def test_what_is_read_only_and_what_destroys_is_told(scene: Scene, running: None) -> None:
    hints = {tool.name: tool.manifest["annotations"] for tool in own_tools.OWN.values()}
    assert {name: one["destructiveHint"] for name, one in hints.items()} == dict.fromkeys(NAMES, False) | {
        "cancel_job": True
    }
    assert [name for name, one in hints.items() if not one["readOnlyHint"]] == ["cancel_job"]
    assert all(one["idempotentHint"] for one in hints.values())
    assert all(tool.output is None for tool in own_tools.OWN.values())  # they give what other tools give


async def test_the_handle_tells_a_model_what_to_do(scene: Scene, view: View) -> None:
    answer = await scene.uma.call("shout", {"text": "a"})
    assert isinstance(answer, Handle)
    told = words.handed_over(answer, structured=True)
    for needed in (str(view.id), "get_job_status", "cancel_job", "Do not call shout again"):
        assert needed in text(told)
    assert told.structured == {
        "job_id": str(view.id),
        "tool": "shout",
        "status": "queued",
        "jobs_ahead": 0,
        "check_after_seconds": 1,
    }
    assert (told.is_error, words.handed_over(answer, structured=False).structured) == (False, ABSENT)


async def test_the_status_of_a_waiting_job_says_how_many_go_first(scene: Scene, view: View) -> None:
    second = await scene.uma.start("shout", text="b")
    told = said(await scene.uma.call("get_job_status", {"job_id": str(second.id), "wait_seconds": 0}))
    assert "1 of this tenant's jobs go first" in text(told)
    assert told.structured["jobs_ahead"] == 1


async def test_the_status_of_a_running_job_says_how_far_it_is(scene: Scene, view: View) -> None:
    async with hand() as worker:
        fence = await worker.begin(view)
        await worker.rows("SELECT jobs_beat(%s, %s, 60, 3, 12, 'page 3', NULL)", view.id, fence)
    told = said(await scene.uma.call("get_job_status", {"job_id": str(view.id), "wait_seconds": 0}))
    assert "running, 3 of 12 (25%), page 3" in text(told)
    assert "Call get_job_status again" in text(told)
    assert (told.structured["progress"], told.structured["total"], told.is_error) == (3.0, 12.0, False)


async def test_a_status_that_waits_gives_the_result_when_it_is_there(scene: Scene, view: View) -> None:
    given = Result(content=(Text(text="A"), Embedded(uri="test://x", mime_type="text/plain", text="x")))
    waiting = asyncio.create_task(scene.uma.call("get_job_status", {"job_id": str(view.id), "wait_seconds": 25}))
    async with asyncio.timeout(10):
        while not events._bus()._watchers.get((view.tenant_id, view.id)):  # noqa: ASYNC110 - the call adds itself
            await asyncio.sleep(0.001)
    async with hand() as worker:
        await worker.end(view, result=given)
    told = said(await waiting)
    assert told.content[1:] == given.content
    assert "succeeded" in text(told)
    assert told.structured == {"job_id": str(view.id), "tool": "shout", "status": "succeeded"}


async def test_structured_results_come_with_the_status(scene: Scene, view: View) -> None:
    async with hand() as worker:
        await worker.end(view, result=Result(content=(Text(text="{}"),), structured={"answer": 42}))
    told = said(await scene.uma.call("get_job_status", {"job_id": str(view.id)}))
    assert told.structured["result"] == {"answer": 42}


async def test_the_result_is_what_the_tool_gave(scene: Scene, view: View) -> None:
    given = Result(content=(Text(text="x" * 500_000),), structured={"answer": 42})
    async with hand() as worker:
        await worker.end(view, result=given)
    assert await scene.uma.call("get_job_result", {"job_id": str(view.id)}) == given


async def test_the_result_of_a_failed_job_is_its_error(scene: Scene, view: View) -> None:
    async with hand() as worker:
        await worker.end(view, "failed", Result.of_error("The printer is out of paper.", "paper"))
    got = said(await scene.uma.call("get_job_result", {"job_id": str(view.id)}))
    assert (got.is_error, got.reason, text(got)) == (True, "paper", "The printer is out of paper.")


async def test_a_result_that_is_not_there_yet_points_to_the_status(scene: Scene, view: View) -> None:
    got = said(await scene.uma.call("get_job_result", {"job_id": str(view.id)}))
    assert (got.is_error, got.reason) == (True, "not_ended")
    assert "get_job_status" in text(got)


@pytest.mark.parametrize(
    ("state", "reason", "words_of"),
    [
        ("interrupted", "process_gone", "It may have taken effect; check before calling again"),
        ("cancelled", "cancelled", "was cancelled. It may have taken partial effect"),
        ("cancelled", "standing_lost", "may no longer use it"),
        ("failed", "", "failed inside the hub"),
    ],
)
async def test_why_there_is_no_result(scene: Scene, view: View, state: str, reason: str, words_of: str) -> None:
    async with hand() as worker:
        fence = await worker.begin(view)
        await worker.rows("SELECT jobs_finish(%s, %s, %s, %s, NULL, '', 0, NULL)", view.id, fence, state, reason)
    got = said(await scene.uma.call("get_job_result", {"job_id": str(view.id)}))
    assert got.is_error
    assert words_of in text(got)


async def test_a_job_can_be_stopped(scene: Scene, view: View) -> None:
    told = said(await scene.uma.call("cancel_job", {"job_id": str(view.id)}))
    assert ("is cancelled" in text(told), told.structured["status"], told.is_error) == (True, "cancelled", False)
    again = said(await scene.uma.call("cancel_job", {"job_id": str(view.id)}))
    assert "is cancelled" in text(again)


async def test_a_running_job_is_told_to_stop(scene: Scene, view: View) -> None:
    async with hand() as worker:
        await worker.begin(view)
    assert "was told to stop" in text(said(await scene.uma.call("cancel_job", {"job_id": str(view.id)})))


async def test_an_ended_job_is_left_alone(scene: Scene, view: View) -> None:
    async with hand() as worker:
        await worker.end(view)
    assert "had ended already: succeeded" in text(said(await scene.uma.call("cancel_job", {"job_id": str(view.id)})))


@pytest.mark.parametrize("name", NAMES)
async def test_every_id_that_is_not_yours_gets_one_answer(scene: Scene, view: View, name: str) -> None:
    mine = await scene.uma.start("shout", text="of uma")
    ids = [str(uuid.uuid4()), str(mine.id), "nonsense", "{" + str(mine.id) + "}"]
    answers = [await scene.anna.call(name, {"job_id": job_id}) for job_id in ids]
    answers += [await scene.bob.call(name, {"job_id": job_id}) for job_id in ids]
    assert [said(answer) for answer in answers] == [said(answers[0])] * 8
    assert (said(answers[0]).is_error, said(answers[0]).reason) == (True, "unknown_job")
    async with hand() as owner:
        assert (await owner.row(mine.id))["state"] == "queued"


async def test_they_are_in_the_ledger_like_every_call(scene: Scene, view: View) -> None:
    await scene.uma.call("get_job_status", {"job_id": str(view.id), "wait_seconds": 0})
    await scene.uma.call("get_job_status", {"job_id": "nonsense", "wait_seconds": 0})
    async with hand() as owner:
        found = await owner.rows(
            "SELECT event, outcome, reason FROM audit_entry WHERE tenant_id = %s AND tool = 'get_job_status'"
            " ORDER BY id",
            scene.uma.caller.tenant_id,
        )
    assert [tuple(row.values()) for row in found] == [
        ("call.started", "", ""),
        ("call.finished", "ok", ""),
        ("call.started", "", ""),
        ("call.finished", "error", "unknown_job"),
    ]


@pytest.mark.parametrize("wrong", [{}, {"job_id": "x", "wait_seconds": 26}, {"job_id": "x", "wait_seconds": -1}])
async def test_wrong_arguments_are_refused(scene: Scene, running: None, wrong: dict[str, object]) -> None:
    answer = await scene.uma.call("get_job_status", wrong)
    assert isinstance(answer, Refusal)
    assert answer.reason == "invalid_arguments"


@pytest.fixture
def limited(scene: Scene, cast: Cast) -> Desk:
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per=Per.TENANT, most=1, seconds=3600)
    return desk(cast, cast.uma)


async def test_they_count_against_the_limits(limited: Desk, running: None) -> None:
    assert isinstance(await limited.call("cancel_job", {"job_id": "x"}), Result)
    refused = await limited.call("cancel_job", {"job_id": "x"})
    assert isinstance(refused, Refusal)
    assert refused.reason == "rate_limited"


async def test_a_tenants_own_tool_by_that_name_stays_until_it_has_jobs(scene: Scene, running: None) -> None:
    without, with_jobs = await scene.bob.catalog(), await scene.uma.catalog()
    theirs = without.tools["echo"]
    assert own_tools.find(replace(without, tools={"cancel_job": theirs}), "cancel_job") is None
    assert own_tools.find(without, "cancel_job") is own_tools.OWN["cancel_job"]
    both = replace(with_jobs, tools={**with_jobs.tools, "cancel_job": theirs})
    assert own_tools.find(both, "cancel_job") is own_tools.OWN["cancel_job"]
    assert own_tools.find(with_jobs, "echo") is None
