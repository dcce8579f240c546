"""Asking in the middle of a job: the worker waits with its lease, answers fit, and only the person asked answers."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.test import override_settings

from jobs import asking, rows
from jobs.models import State
from jobs.values import View
from tests.cast import Cast
from tests.functions import NAME
from tests.jobs.desk import Desk, Hand, desk, hand, keep_workers_away, told_of
from tools import calls, functions
from tools.calls import Ready
from tools.errors import ToolError
from tools.functions import Context
from tools.values import Origin, Question, Reply, Result, Text

SIZE = {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}
BOTH = {"name": Question(message="Who?", schema=NAME), "size": Question(message="How big?", schema=SIZE)}
ACCEPTED = {"action": "accept", "content": {"name": "Dana"}}


@dataclass(frozen=True)
class Scene:
    uma: Desk
    adam: Desk
    bob: Desk


@pytest.fixture
def scene(cast: Cast) -> Scene:
    keep_workers_away(cast, cast.acme)
    cast.tool(cast.acme, "greet_by_name", runs="background")
    return Scene(uma=desk(cast, cast.uma), adam=desk(cast, cast.adam), bob=desk(cast, cast.bob, cast.beta))


@dataclass
class Asked:
    """A job in the middle of its questions, and the worker that waits."""

    job: View
    fence: int
    worker: Hand
    waiting: "asyncio.Task[dict[str, Reply]]"


@pytest.fixture
async def asked(scene: Scene, running: None) -> AsyncIterator[Asked]:
    job = await scene.uma.start("greet_by_name")
    async with hand() as worker:
        fence = await worker.begin(job)
        waiting = asyncio.create_task(asking.ask(job.tenant_id, job.id, fence, BOTH, patience=30))
        await until(worker, job, State.INPUT)
        yield Asked(job=job, fence=fence, worker=worker, waiting=waiting)
        waiting.cancel()
        await asyncio.wait([waiting])


async def until(worker: Hand, job: View, state: State) -> None:
    async with asyncio.timeout(10):
        while (await worker.row(job.id))["state"] != state:  # noqa: ASYNC110 - another connection changes it
            await asyncio.sleep(0.005)


async def answer(who: Desk, job: View, responses: dict[str, Any]) -> View | None:
    return await rows.answer(who.caller, str(job.id), responses)


async def test_what_is_asked_is_shown_and_the_lease_is_kept(scene: Scene, asked: Asked) -> None:
    view = await rows.get(scene.uma.caller, str(asked.job.id))
    assert view is not None
    assert view.state == State.INPUT
    assert view.asked == {
        "name": {"message": "Who?", "requestedSchema": NAME},
        "size": {"message": "How big?", "requestedSchema": SIZE},
    }
    assert (await asked.worker.row(asked.job.id))["lease_until"] is not None


async def test_the_fields_of_a_form_keep_their_order(scene: Scene, running: None) -> None:
    job = await scene.uma.start("greet_by_name")
    form = {"type": "object", "properties": {"filename": {"type": "string"}, "age": {"type": "integer"}}}
    questions = {key: Question(message="?", schema=form) for key in ("second", "a")}
    async with hand() as worker:
        fence = await worker.begin(job)
        waiting = asyncio.create_task(asking.ask(job.tenant_id, job.id, fence, questions))
        await until(worker, job, State.INPUT)
        waiting.cancel()
    view = await rows.get(scene.uma.caller, str(job.id))
    assert view is not None
    assert [*view.asked] == ["second", "a"]
    assert [*view.asked["a"]["requestedSchema"]["properties"]] == ["filename", "age"]


async def test_answers_come_one_by_one_and_the_job_goes_on_after_the_last(scene: Scene, asked: Asked) -> None:
    first = await answer(scene.uma, asked.job, {"name": ACCEPTED})
    assert first is not None
    assert (first.state, list(first.asked)) == (State.INPUT, ["size"])
    last = await answer(scene.uma, asked.job, {"size": {"action": "accept", "content": {"size": 3}}})
    assert last is not None
    assert (last.state, last.asked) == (State.RUNNING, {})
    assert await asked.waiting == {
        "name": Reply(action="accept", content={"name": "Dana"}),
        "size": Reply(action="accept", content={"size": 3}),
    }
    assert await asked.worker.events(asked.job) == ["job.accepted", "job.asked", "job.answered", "job.answered"]


async def test_an_outage_of_postgres_does_not_fail_what_waits_for_a_person(
    scene: Scene, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, away = asking._answers, asyncio.Event()

    async def none_at_first(*given: Any) -> dict[str, Any] | None:
        if not away.is_set():
            away.set()
            raise psycopg.OperationalError("the server closed the connection unexpectedly")
        return await answers(*given)

    monkeypatch.setattr(asking, "_answers", none_at_first)
    await answer(scene.uma, asked.job, {"name": ACCEPTED})
    async with asyncio.timeout(10):
        await away.wait()
    await answer(scene.uma, asked.job, {"size": {"action": "decline"}})
    assert (await asked.waiting)["name"] == Reply(action="accept", content={"name": "Dana"})


async def test_declining_is_an_answer(scene: Scene, asked: Asked) -> None:
    await answer(scene.uma, asked.job, {"name": {"action": "decline", "content": {"name": "x"}}})
    await answer(scene.uma, asked.job, {"size": {"action": "cancel"}})
    assert await asked.waiting == {"name": Reply(action="decline"), "size": Reply(action="cancel")}


@pytest.mark.parametrize(
    "wrong",
    [
        {"other": ACCEPTED},
        {"name": {"action": "accept", "content": {"name": ""}}},
        {"name": {"action": "accept", "content": {}}},
        {"name": {"action": "accept"}},
        {"name": {"action": "accept", "content": "Dana"}},
        {"name": {"action": "perhaps", "content": {"name": "Dana"}}},
        {"name": {"action": ["accept"], "content": {"name": "Dana"}}},
        {"name": {"content": {"name": "Dana"}}},
        {"name": "Dana"},
        {"name": None},
        {"name": {"action": "accept", "content": {"name": "x" * 1024 * 1024}}},
        {},
    ],
)
async def test_what_does_not_fit_is_left_out_and_stays_open(scene: Scene, asked: Asked, wrong: dict[str, Any]) -> None:
    view = await answer(scene.uma, asked.job, wrong)
    assert view is not None
    assert (view.state, sorted(view.asked)) == (State.INPUT, ["name", "size"])
    assert (await asked.worker.row(asked.job.id))["answers"] is None


async def test_the_first_answer_stands(scene: Scene, asked: Asked) -> None:
    await answer(scene.uma, asked.job, {"name": ACCEPTED})
    await answer(scene.uma, asked.job, {"name": {"action": "accept", "content": {"name": "Eve"}}})
    await answer(scene.uma, asked.job, {"size": {"action": "decline"}})
    assert (await asked.waiting)["name"].content == {"name": "Dana"}


async def test_two_answers_at_once_both_count(scene: Scene, asked: Asked) -> None:
    await asyncio.gather(
        answer(scene.uma, asked.job, {"name": ACCEPTED}),
        answer(scene.uma, asked.job, {"size": {"action": "decline"}}),
    )
    assert sorted(await asked.waiting) == ["name", "size"]


async def test_nobody_answers_for_somebody_else(scene: Scene, asked: Asked) -> None:
    for stranger in (scene.adam, scene.bob):
        assert await answer(stranger, asked.job, {"name": ACCEPTED}) is None
    view = await rows.get(scene.uma.caller, str(asked.job.id))
    assert view is not None
    assert sorted(view.asked) == ["name", "size"]


async def test_questions_and_answers_are_sealed_and_go_with_the_end(scene: Scene, asked: Asked) -> None:
    await answer(scene.uma, asked.job, {"name": {"action": "accept", "content": {"name": "hunter2"}}})
    (row,) = await asked.worker.rows("SELECT t::text AS said FROM jobs_job t WHERE id = %s", asked.job.id)
    for content in ("hunter2", "How big?"):
        assert content not in row["said"]
        assert content.encode().hex() not in row["said"]
    await asked.worker.finish(asked.job, asked.fence)
    ended = await asked.worker.row(asked.job.id)
    assert (ended["inputs"], ended["answers"]) == (None, None)


async def test_news_of_a_job_that_asks_and_its_entries_say_nothing_of_what_it_asks(scene: Scene, running: None) -> None:
    job = await scene.uma.start("greet_by_name")
    async with hand() as worker, await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as listener:
        await listener.set_autocommit(True)
        await listener.execute("LISTEN mcphub")
        fence = await worker.begin(job)
        waiting = asyncio.create_task(asking.ask(job.tenant_id, job.id, fence, BOTH, patience=30))
        await until(worker, job, State.INPUT)
        await answer(scene.uma, job, {"name": ACCEPTED, "size": {"action": "decline"}})
        await waiting
        news = [one for one in await told_of(job, listener, "running") if str(job.id) in one]
        entries = await worker.rows("SELECT e::text AS said FROM audit_entry e WHERE subject = %s", f"job {job.id}")
    assert len(news) == 2
    for said in (*news, *(row["said"] for row in entries)):
        assert not any(content in said for content in ("Who?", "How big?", "Dana"))


async def test_questions_that_no_key_opens_are_not_shown_and_fail_no_list(
    scene: Scene, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(SEAL_KEYS=[Fernet.generate_key().decode()]):
        (view,) = await rows.listing(scene.uma.caller)
        assert (view.state, view.asked) == (State.INPUT, {})
        await answer(scene.uma, asked.job, {"name": ACCEPTED})
    assert str(asked.job.id) in caplog.text
    assert (await asked.worker.row(asked.job.id))["answers"] is None


async def test_answers_to_what_asks_no_more_do_nothing(scene: Scene, asked: Asked) -> None:
    await asked.worker.finish(asked.job, asked.fence)
    view = await answer(scene.uma, asked.job, {"name": ACCEPTED})
    assert view is not None
    assert view.state == State.SUCCEEDED


async def test_who_is_told_to_stop_asks_no_longer(scene: Scene, asked: Asked) -> None:
    await rows.cancel(scene.uma.caller, str(asked.job.id))
    with pytest.raises(ToolError) as stopped:
        await asked.waiting
    assert stopped.value.reason == "cancelled"


async def test_a_worker_that_lost_its_lease_gets_no_answers(scene: Scene, asked: Asked) -> None:
    await asked.worker.rows("UPDATE jobs_job SET fence = fence + 1 WHERE id = %s", asked.job.id)
    await answer(scene.uma, asked.job, {"name": ACCEPTED, "size": {"action": "decline"}})
    with pytest.raises(ToolError):
        await asked.waiting
    with pytest.raises(ToolError):
        await asking.ask(asked.job.tenant_id, asked.job.id, asked.fence, BOTH)


async def test_one_thing_is_asked_at_a_time(asked: Asked) -> None:
    with pytest.raises(ToolError):
        await asking.ask(asked.job.tenant_id, asked.job.id, asked.fence, BOTH)


async def test_when_nobody_answers_the_tool_is_told_and_the_question_taken_back(scene: Scene, running: None) -> None:
    job = await scene.uma.start("greet_by_name")
    async with hand() as worker:
        fence = await worker.begin(job)
        with pytest.raises(ToolError) as late:
            await asking.ask(job.tenant_id, job.id, fence, BOTH, patience=0.05)
        assert late.value.reason == "nobody_answered"
        row = await worker.row(job.id)
    assert (row["state"], row["inputs"]) == ("running", None)


async def test_what_is_no_schema_is_not_asked(scene: Scene, running: None) -> None:
    job = await scene.uma.start("greet_by_name")
    async with hand() as worker:
        fence = await worker.begin(job)
        broken = {"name": Question(message="?", schema={"type": "nothing"})}
        with pytest.raises(ToolError, match="no schema"):
            await asking.ask(job.tenant_id, job.id, fence, broken)
        assert (await worker.row(job.id))["state"] == "running"


class Person:
    """A Report whose person takes their time."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...

    async def log(self, level: str, data: object) -> None: ...

    async def ask(self, questions: dict[str, Question]) -> dict[str, Reply]:
        await asyncio.sleep(self.seconds)
        return {key: Reply(action="accept", content={"name": "Dana"}) for key in questions}


async def ready(who: Desk) -> Ready:
    """A call with 0.3 s for the tool."""
    catalog = await who.catalog()
    found = await calls.prepare(who.caller, "greet_by_name", {}, catalog=catalog, origin=Origin(via="cli"))
    assert isinstance(found, Ready)
    return replace(found, tool=replace(found.tool, timeout=0.3))


async def test_a_function_asks_by_its_context_and_the_tools_clock_stands_still(scene: Scene, running: None) -> None:
    ended = await calls.execute(await ready(scene.uma), report=Person(0.5))
    assert isinstance(ended, Result)
    assert ended.content == (Text(text="Hello, Dana!"),)


async def test_the_clock_goes_on_after_the_answer(scene: Scene, running: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dawdle(ctx: Context) -> None:
        await ctx.ask("name", "?", NAME)
        await asyncio.sleep(60)

    monkeypatch.setitem(functions._registry, "greet_by_name", functions.describe("greet_by_name", dawdle))
    ended = await calls.execute(await ready(scene.uma), report=Person(0.01))
    assert isinstance(ended, Result)
    assert ended.reason == "timeout"


async def test_a_function_in_a_thread_asks_too(scene: Scene, running: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def greet(ctx: Context) -> str:
        return str(ctx.ask_sync("name", "?", NAME).content["name"])

    monkeypatch.setitem(functions._registry, "greet_by_name", functions.describe("greet_by_name", greet))
    ended = await calls.execute(await ready(scene.uma), report=Person(0.01))
    assert isinstance(ended, Result)
    assert ended.content == (Text(text="Dana"),)


async def test_a_tool_that_is_no_job_cannot_ask(scene: Scene, running: None) -> None:
    ended = await calls.execute(await ready(scene.uma))
    assert isinstance(ended, Result)
    assert (ended.is_error, ended.reason) == (True, "misconfigured")
