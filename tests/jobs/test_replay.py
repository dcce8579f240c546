"""The same call again joins the job that is there: hosts time out and ask once more, and nothing is done twice."""

import asyncio
from dataclasses import dataclass

import pytest

from jobs.values import Handle
from tests.cast import Cast
from tests.jobs.desk import FOLLOWING, Desk, desk, hand, keep_workers_away
from tests.postgres import CANCEL
from tools.values import Result


@dataclass(frozen=True)
class Scene:
    uma: Desk
    adam: Desk


@pytest.fixture
def scene(cast: Cast) -> Scene:
    keep_workers_away(cast, cast.acme)
    for name in ("echo", "shout"):
        cast.tool(cast.acme, name, runs="background", replay_seconds=120, read_only=False, idempotent=name == "shout")
    cast.tool(cast.acme, "sign_in", runs="background", replay_seconds=0)
    return Scene(uma=desk(cast, cast.uma), adam=desk(cast, cast.adam))


async def test_twelve_equal_calls_at_once_are_one_job(scene: Scene, running: None) -> None:
    answers = await asyncio.gather(*[scene.uma.call("echo", {"text": "a"}, follow=FOLLOWING) for _ in range(12)])
    handles = [answer for answer in answers if isinstance(answer, Handle)]
    assert len({handle.view.id for handle in handles}) == 1
    assert sorted(handle.joined for handle in handles) == [False] + [True] * 11
    async with hand() as other:
        assert (await other.events(handles[0].view)).count("job.joined") == 11


async def test_it_joins_a_running_job(scene: Scene, running: None) -> None:
    job = await scene.uma.start(text="a")
    async with hand() as worker:
        await worker.begin(job)
        assert (await scene.uma.start(text="a")).id == job.id


async def test_it_is_given_the_result_that_is_there(scene: Scene, running: None) -> None:
    job = await scene.uma.start(text="a")
    async with hand() as worker:
        await worker.end(job, result=Result.of_text("the result"))
    assert await scene.uma.call("echo", {"text": "a"}) == Result.of_text("the result")


async def test_the_order_of_arguments_does_not_matter(scene: Scene, running: None) -> None:
    one = await scene.uma.call("echo", {"text": "a"}, follow=FOLLOWING)
    other = await scene.uma.call("echo", dict(reversed([("text", "a")])), follow=FOLLOWING)
    assert isinstance(one, Handle)
    assert isinstance(other, Handle)
    assert other.view.id == one.view.id


@pytest.mark.parametrize("tool", ["echo", "shout"])
@pytest.mark.parametrize("ended", ["failed", "cancelled"])
async def test_an_error_does_not_stick(scene: Scene, running: None, ended: str, tool: str) -> None:
    job = await scene.uma.start(tool, text="a")
    async with hand() as worker:
        await worker.end(job, ended, Result.of_error("no"))
    assert (await scene.uma.start(tool, text="a")).id != job.id


@pytest.mark.parametrize(("tool", "sticks"), [("echo", True), ("shout", False)])
async def test_an_interruption_sticks_where_running_again_could_do_it_twice(
    scene: Scene, running: None, tool: str, sticks: bool
) -> None:
    job = await scene.uma.start(tool, text="a")
    async with hand() as worker:
        await worker.end(job, "interrupted")
    assert ((await scene.uma.start(tool, text="a")).id == job.id) == sticks


async def test_a_job_that_was_told_to_stop_is_not_joined(scene: Scene, running: None) -> None:
    job = await scene.uma.start(text="a")
    async with hand() as worker:
        await worker.begin(job)
        await worker.rows(CANCEL, job.tenant_id, job.id, job.tenant_id)
    assert (await scene.uma.start(text="a")).id != job.id


async def test_other_arguments_another_tool_member_or_credential_do_not_join(scene: Scene, running: None) -> None:
    job = await scene.uma.start(text="a")
    others = [
        await scene.uma.start(text="b"),
        await scene.uma.start("shout", text="a"),
        await scene.adam.start(text="a"),
        await scene.uma.by(credential="key:1").start(text="a"),
    ]
    assert len({job.id, *(other.id for other in others)}) == 5


async def test_after_its_window_it_runs_again(scene: Scene, running: None) -> None:
    job = await scene.uma.start(text="a")
    async with hand() as owner:
        await owner.rows("UPDATE jobs_job SET created_at = created_at - interval '60 s' WHERE id = %s", job.id)
        assert (await scene.uma.start(text="a")).id == job.id
        await owner.rows("UPDATE jobs_job SET created_at = created_at - interval '61 s' WHERE id = %s", job.id)
    assert (await scene.uma.start(text="a")).id != job.id


async def test_a_tool_without_a_window_runs_every_time(scene: Scene, running: None) -> None:
    jobs = [await scene.uma.start("sign_in", user="uma", password="x") for _ in range(2)]
    assert jobs[0].id != jobs[1].id


async def test_a_result_that_is_no_longer_kept_is_not_joined(scene: Scene, running: None) -> None:
    job = await scene.uma.start(text="a")
    async with hand() as worker:
        await worker.end(job)
        await worker.rows("UPDATE jobs_job SET expires_at = now() - interval '1 s' WHERE id = %s", job.id)
    assert (await scene.uma.start(text="a")).id != job.id
