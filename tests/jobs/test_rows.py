"""Who sees a job, who stops it, and that an id which is not yours to see says nothing."""

import asyncio
import uuid
from dataclasses import dataclass, replace

import pytest

from jobs import queries, rows
from jobs.models import Job, State
from jobs.values import View, may_answer, may_see, may_stop
from lib import db, events
from tenants import actions
from tenants.caller import Caller
from tests.callers import UMA
from tests.cast import Cast
from tests.database import apart
from tests.jobs.desk import Desk, desk, hand, keep_workers_away
from tools.values import Result

NEEDED = frozenset({"tickets.read"})


def caller(role: str = "user", member: int = 1, tenant: int = 1, scopes: frozenset[str] = NEEDED) -> Caller:
    return replace(UMA, tenant_id=tenant, member_id=member, user_id=member, role=role, scopes=scopes, reach=NEEDED)


@pytest.mark.parametrize(
    ("who", "sees", "stops", "answers"),
    [
        (caller(), True, True, True),
        (caller(member=2), False, False, False),
        (caller("approver", member=2), False, False, False),
        (caller("auditor", member=2), True, False, False),
        (caller("admin", member=2), True, True, False),
        (caller("owner", member=2), True, True, False),
        (caller("owner", tenant=2), False, False, False),
        (caller("owner", member=2, tenant=2), False, False, False),
        (caller(scopes=frozenset()), False, False, False),
        (caller("owner", member=2, scopes=frozenset()), False, False, False),
        (replace(caller("auditor", member=2, scopes=frozenset()), reach=frozenset()), True, False, False),
        (replace(caller(scopes=frozenset()), reach=frozenset()), False, False, False),
    ],
)
async def test_who_may(view: View, who: Caller, sees: bool, stops: bool, answers: bool) -> None:
    job = replace(view, tenant_id=1, member_id=1, needed=NEEDED)
    assert (may_see(who, job), may_stop(who, job), may_answer(who, job)) == (sees, stops, answers)


@dataclass(frozen=True)
class Scene:
    uma: Desk
    olga: Desk
    anna: Desk
    adam: Desk
    audrey: Desk
    bob: Desk


@pytest.fixture
def scene(cast: Cast) -> Scene:
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    for tenant in (cast.acme, cast.beta):
        keep_workers_away(cast, tenant)
        cast.tool(tenant, "echo", runs="background", scopes=["tickets.read"] if tenant is cast.acme else [])
        cast.tool(tenant, "shout", runs="background")
    acme = {name: desk(cast, getattr(cast, name)) for name in ("uma", "olga", "anna", "adam", "audrey")}
    return Scene(**acme, bob=desk(cast, cast.bob, cast.beta))


@pytest.fixture
async def view(scene: Scene, running: None) -> View:
    return await scene.uma.start(text="a")


def strangers(scene: Scene) -> list[Caller]:
    """Everybody who is not to learn of a job of uma's."""
    return [scene.anna.caller, scene.bob.caller, scene.uma.by(scopes=frozenset()).caller]


IDS = ["unknown", "", "x", "../../etc/passwd", "{%s}", "urn:uuid:%s", "0" * 5000, "\x00"]


@pytest.mark.parametrize("wrong", IDS)
async def test_an_id_that_is_not_there_or_is_none_is_answered_like_a_foreign_one(
    scene: Scene, view: View, wrong: str
) -> None:
    job_id = str(uuid.uuid4()) if wrong == "unknown" else wrong.replace("%s", str(view.id))
    me = scene.uma.caller
    assert await rows.get(me, job_id, content=True) is None
    assert await rows.wait(me, job_id, 0) is None
    assert await rows.cancel(me, job_id) is None
    assert await rows.answer(me, job_id, {}) is None


async def test_whose_it_is_not_can_do_nothing_with_its_id(scene: Scene, view: View) -> None:
    for stranger in strangers(scene):
        assert await rows.get(stranger, str(view.id), content=True) is None
        assert await rows.wait(stranger, str(view.id), 0) is None
        assert await rows.cancel(stranger, str(view.id)) is None
        assert await rows.answer(stranger, str(view.id), {}) is None
        assert view.id not in [job.id for job in await rows.listing(stranger, mine=False)]
    async with hand() as other:
        assert (await other.row(view.id))["state"] == "queued"


async def test_an_auditor_reads_and_does_not_stop(scene: Scene, view: View) -> None:
    assert await rows.get(scene.audrey.caller, str(view.id))
    assert await rows.cancel(scene.audrey.caller, str(view.id)) is None
    async with hand() as other:
        assert (await other.row(view.id))["cancel_at"] is None


async def test_an_admin_stops_what_others_started(scene: Scene, view: View) -> None:
    stopped = await rows.cancel(scene.adam.caller, str(view.id))
    assert stopped is not None
    assert (stopped.state, stopped.reason) == (State.CANCELLED, "cancelled")
    async with hand() as other:
        assert (await other.row(view.id))["cancelled_by"] == scene.adam.caller.username
        assert await other.events(view) == ["job.accepted", "job.cancelled"]


async def test_content_comes_only_when_it_is_asked_for_and_there(scene: Scene, view: View) -> None:
    me, job_id = scene.uma.caller, str(view.id)
    assert (await rows.get(me, job_id, content=True) or view).result is None
    async with hand() as worker:
        await worker.end(view, result=Result.of_data({"answer": 42}))
    plain, whole = await rows.get(me, job_id), await rows.get(me, job_id, content=True)
    assert plain is not None
    assert whole is not None
    assert (plain.state, plain.result) == (State.SUCCEEDED, None)
    assert whole.result == Result.of_data({"answer": 42})


async def test_what_is_forgotten_is_said_to_be(scene: Scene, view: View) -> None:
    async with hand() as worker:
        await worker.end(view)
        await worker.rows("UPDATE jobs_job SET expires_at = now() - interval '1 s' WHERE id = %s", view.id)
        await worker.rows("SELECT jobs_forget()")
    found = await rows.get(scene.uma.caller, str(view.id), content=True)
    assert found is not None
    assert (found.forgotten, found.result, found.preview) == (True, None, None)


async def test_a_running_job_is_told_to_stop_once(scene: Scene, view: View) -> None:
    async with hand() as worker:
        await worker.begin(view)
        for _ in range(2):
            stopping = await rows.cancel(scene.uma.caller, str(view.id))
            assert stopping is not None
            assert (stopping.state, stopping.cancelling) == (State.RUNNING, True)
        assert (await worker.events(view)).count("job.cancelled") == 1


async def test_what_has_ended_stays_as_it_is(scene: Scene, view: View) -> None:
    async with hand() as worker:
        await worker.end(view)
        stopped = await rows.cancel(scene.uma.caller, str(view.id))
        assert stopped is not None
        assert (stopped.state, stopped.cancelling) == (State.SUCCEEDED, False)
        assert await worker.events(view) == ["job.accepted", "job.ended"]


async def test_a_cancel_that_races_with_the_end_gives_one_end(scene: Scene, view: View) -> None:
    async with hand() as worker, hand() as owner:
        fence = await worker.begin(view)
        finished, cancelled = await asyncio.gather(
            worker.finish(view, fence, result=Result.of_text("x")), rows.cancel(scene.uma.caller, str(view.id))
        )
        assert (finished, cancelled is not None) == ("done", True)
        assert (await owner.events(view)).count("job.ended") == 1
        row = await owner.row(view.id)
        assert row["state"] == ("cancelled" if row["cancel_at"] else "succeeded")  # whichever came first


class Heard:
    """A Report that keeps what it is told."""

    def __init__(self) -> None:
        self.progressed: list[tuple[float, float | None, str | None]] = []
        self.logged: list[tuple[str, object]] = []

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self.progressed.append((progress, total, message))

    async def log(self, level: str, data: object) -> None:
        self.logged.append((level, data))


async def until_watched(view: View) -> None:
    async with asyncio.timeout(10):
        while not events._bus()._watchers.get((view.tenant_id, view.id)):  # noqa: ASYNC110 - the waiter adds itself
            await asyncio.sleep(0.001)


async def test_waiting_ends_with_the_job(scene: Scene, view: View) -> None:
    waiting = asyncio.create_task(rows.wait(scene.uma.caller, str(view.id), 30, content=True))
    await until_watched(view)
    async with hand() as worker:
        await worker.end(view, result=Result.of_text("there"))
    ended = await waiting
    assert ended is not None
    assert ended.result == Result.of_text("there")


async def test_waiting_hears_what_the_tool_says_meanwhile(scene: Scene, view: View) -> None:
    heard = Heard()
    waiting = asyncio.create_task(rows.wait(scene.uma.caller, str(view.id), 30, report=heard))
    await until_watched(view)
    said = {"tenant_id": view.tenant_id, "job_id": view.id}
    async with asyncio.timeout(10):
        while not (heard.progressed and heard.logged):  # news may be lost while the listener connects anew
            await events.publish(events.Event(kind="progress", progress=1, total=2, message="half", **said))  # type: ignore[arg-type]
            await events.publish(events.Event(kind="log", level="info", message="hm", **said))  # type: ignore[arg-type]
            await asyncio.sleep(0.01)
    async with hand() as worker:
        await worker.end(view)
    await waiting
    assert (set(heard.progressed), set(heard.logged)) == ({(1.0, 2.0, "half")}, {("info", "hm")})


async def test_waiting_ends_when_its_time_is_over(scene: Scene, view: View) -> None:
    found = await rows.wait(scene.uma.caller, str(view.id), 0.05)
    assert found is not None
    assert found.state == State.QUEUED


async def test_waiting_for_what_has_ended_does_not_wait(scene: Scene, view: View) -> None:
    async with hand() as worker:
        await worker.end(view)
    async with asyncio.timeout(10):
        assert await rows.wait(scene.uma.caller, str(view.id), 1000)


async def test_the_place_in_the_queue_goes_by_priority_and_age(scene: Scene, running: None) -> None:
    jobs = [await scene.uma.start("shout", text=text) for text in "abc"]
    other = await scene.bob.start(text="x")
    async with hand() as owner:
        await owner.rows("UPDATE jobs_job SET priority = 1 WHERE id = %s", jobs[2].id)
        found = [await rows.get(scene.uma.caller, str(job.id)) for job in jobs]
        assert [job.place for job in found if job] == [1, 2, 0]
        assert other.place == 0
        await owner.begin(jobs[0])
    running_one = await rows.get(scene.uma.caller, str(jobs[0].id))
    assert running_one is not None
    assert running_one.place is None


async def test_a_list_shows_ones_own_and_to_readers_everybodys(scene: Scene, running: None) -> None:
    mine = [(await scene.uma.start("shout", text=text)).id for text in "ab"]
    theirs = (await scene.adam.start(text="c")).id
    foreign = (await scene.bob.start(text="d")).id

    async def shown(who: Desk, **wanted: bool) -> set[uuid.UUID]:
        return {job.id for job in await rows.listing(who.caller, **wanted)}  # type: ignore[arg-type]

    assert await shown(scene.uma) == await shown(scene.uma, mine=False) == set(mine)
    assert await shown(scene.anna, mine=False) == set()
    assert await shown(scene.adam) == {theirs}
    assert await shown(scene.adam, mine=False) == await shown(scene.audrey, mine=False) == {*mine, theirs}
    assert foreign in await shown(scene.bob)
    narrowed = scene.adam.by(scopes=frozenset())
    assert await shown(narrowed) == set()  # `echo` needs a scope
    assert await shown(narrowed, mine=False) == set(mine)


async def test_a_list_is_in_order_filtered_and_goes_on_after_an_id(scene: Scene, running: None) -> None:
    jobs = [await scene.uma.start("shout" if text < "c" else "echo", text=text) for text in "abcd"]
    async with hand() as worker:
        await worker.end(jobs[0])
    me, newest_first = scene.uma.caller, [job.id for job in reversed(jobs)]
    assert [job.id for job in await rows.listing(me)] == newest_first
    first = await rows.listing(me, limit=3)
    assert [job.id for job in await rows.listing(me, after=str(first[-1].id))] == newest_first[3:]
    assert [job.id for job in await rows.listing(me, tool="echo")] == newest_first[:2]
    assert [job.id for job in await rows.listing(me, state="succeeded")] == newest_first[3:]
    assert await rows.listing(me, after="nonsense") == await rows.listing(me, after=str(uuid.uuid4())) == []


def by_pages(who: Caller, job_id: uuid.UUID) -> View | None:
    def ask() -> View | None:
        with db.tenant_scope([who.tenant_id]):
            return queries.find(who, str(job_id), content=True)

    return apart(ask)


async def test_both_doors_show_the_same(scene: Scene, view: View) -> None:
    me = scene.uma.caller
    async with hand() as worker:
        for _ in ("queued", "ended"):
            found = await rows.get(me, str(view.id), content=True)
            assert found is not None
            assert await asyncio.to_thread(by_pages, me, view.id) == found
            if not found.ended:
                await worker.end(view, result=Result.of_text("x"))
    for stranger in strangers(scene):
        assert await asyncio.to_thread(by_pages, stranger, view.id) is None


def visible_to(who: Caller) -> list[uuid.UUID]:
    def ask() -> list[uuid.UUID]:
        with db.tenant_scope([who.tenant_id]):
            return [queries.view_of(job).id for job in queries.visible(who)]

    return apart(ask)


async def test_lists_pages_and_single_looks_show_the_same_to_every_role(scene: Scene, running: None) -> None:
    everybody = [scene.olga, scene.adam, scene.audrey, scene.anna, scene.uma, scene.bob]
    made = [await who.start("shout", text="a") for who in everybody]
    made += [await who.start(text="b") for who in (scene.adam, scene.uma, scene.bob)]
    seen_by = {}
    for who in [*everybody, *(one.by(scopes=frozenset()) for one in everybody)]:
        listed = [job.id for job in await rows.listing(who.caller, mine=False)]
        assert await asyncio.to_thread(visible_to, who.caller) == listed
        assert {job.id for job in made if await rows.get(who.caller, str(job.id))} == set(listed)
        seen_by[who.caller.role, bool(who.caller.scopes)] = len(listed)
    assert len(set(seen_by.values())) > 3  # or this would compare nothing with nothing


def test_a_member_who_has_jobs_can_be_removed_and_their_jobs_go_with_them(cast: Cast, scene: Scene, view: View) -> None:
    member = cast.member(cast.acme, cast.uma)
    with cast.see(cast.acme):
        actions.remove(member, actor="system")
        assert not Job.objects.filter(pk=view.id).exists()
