"""Upstreams that call back: what they say reaches the job, in order and for good once taken, and nobody else's does."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import httpx2
import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.test import Client

from jobs import callbacks
from jobs.callbacks import MOST_BYTES, MOST_WAITING, Ticket
from jobs.worker.called import Calls
from jobs.worker.runtime import Claim
from lib import db, events
from tests.cast import Cast
from tests.jobs.front import Front, change, claim, end, front
from tests.jobs.place import Placed, lose_lease, place
from tests.jobs.upstream import Answer, Asked, Upstream, upstream
from tests.postgres import as_owner, rows
from tests.waiting import until
from tools import trial
from tools.models import Connection, Tool

CALLED: dict[str, Any] = {
    "callback": {"in": "body", "name": "callback_url"},
    "failed": ["failed"],
    "progress": "progress",
    "message": "message",
    "result": "result",
}
DONE = {"status": "done", "result": {"open": 12}}


@pytest.fixture
def desk(hub: list[str]) -> Iterator[Upstream]:
    with upstream(hub[0]) as standing:
        yield standing


def described(cast: Cast, desk: Upstream, asynchronous: dict[str, Any], **fields: Any) -> dict[str, Any]:
    with cast.see(cast.acme):
        connection, _ = Connection.objects.get_or_create(
            tenant=cast.acme, name="Desk", base_url=desk.url, allow_hosts=["127.0.0.1"]
        )
    config = {"method": "POST", "path": "/reports", "asynchronous": asynchronous}
    given = {"runs": "background", "timeout": 60, "read_only": False, "idempotent": False}
    schema = {"type": "object"}
    return {"kind": "http", "connection": connection, "config": config, "input_schema": schema, **given, **fields}


def tool_of(cast: Cast, desk: Upstream, asynchronous: dict[str, Any] | None = None, **fields: Any) -> Tool:
    return cast.tool(cast.acme, "make_report", **described(cast, desk, asynchronous or CALLED, **fields))


def begun(cast: Cast, desk: Upstream, asynchronous: dict[str, Any] | None = None, **fields: Any) -> Placed:
    return place(cast).start(tool_of(cast, desk, asynchronous, **fields), {})


def waiting(job: Placed) -> int:
    """How many call-backs its job keeps."""
    with as_owner() as conn:
        return int(rows(conn, "SELECT count(*) FROM jobs_callback WHERE job_id = %s", job.id)[0][0])


# From the start to the end


@pytest.mark.usefixtures("worker")
def test_progress_and_the_result_come_by_calling_back(cast: Cast, desk: Upstream) -> None:
    job = begun(cast, desk)
    asked = desk.started()
    assert desk.call(asked, {"status": "running", "progress": 0.4, "message": "counting"}).status_code == 204
    until(lambda: job.row()["progress"] == 0.4)
    assert job.row()["message"] == "counting"
    answer = desk.call(asked, DONE)
    assert (answer.status_code, answer.content) == (204, b"")
    row = job.until_ended()
    assert (row["state"], job.result().structured) == ("succeeded", {"open": 12})
    assert len(desk.seen) == 1  # it was not asked


@pytest.mark.usefixtures("worker")
def test_work_that_the_upstream_says_has_failed_is_a_failed_job(cast: Cast, desk: Upstream) -> None:
    job = begun(cast, desk)
    desk.call(desk.started(), {"status": "failed", "message": "no disk"})
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("failed", "upstream_error")
    assert "It said: no disk" in job.text()


@pytest.mark.usefixtures("worker")
def test_the_url_ends_with_its_job_and_nothing_that_was_said_is_kept(cast: Cast, desk: Upstream) -> None:
    job = begun(cast, desk)
    asked = desk.started()
    for body in ({"progress": 0.1}, DONE):
        assert desk.call(asked, body).status_code == 204
    job.until_ended()
    assert desk.call(asked, DONE).status_code == 404
    assert waiting(job) == 0


@pytest.mark.usefixtures("worker")
def test_an_upstream_may_call_back_before_it_has_answered(cast: Cast, desk: Upstream) -> None:
    said: list[int] = []

    def hurried(asked: Asked) -> Answer:
        said.append(desk.call(asked, {"progress": 0.5}).status_code)
        said.append(desk.call(asked, DONE).status_code)
        return 202, b"Accepted"

    desk.answer = hurried
    job = begun(cast, desk)
    assert job.until_ended()["state"] == "succeeded"
    assert said == [204, 204]
    assert job.result().structured == {"open": 12}


@pytest.mark.usefixtures("worker")
def test_a_call_back_is_heard_at_once_where_the_upstream_is_asked_only_now_and_then(cast: Cast, desk: Upstream) -> None:
    desk.answer = lambda asked: (202, b'{"id": "r-1"}')
    job = begun(cast, desk, {**CALLED, "poll": "/reports/{id}", "every": 600})
    desk.call(desk.started(), DONE)
    assert job.until_ended()["state"] == "succeeded"
    assert len(desk.seen) == 1


@pytest.mark.usefixtures("worker")
def test_an_upstream_that_never_calls_back_is_asked_where_that_is_configured(cast: Cast, desk: Upstream) -> None:
    desk.answer = lambda asked: (200, json.dumps({**({} if asked.method == "POST" else DONE), "id": "r-1"}).encode())
    job = begun(cast, desk, {**CALLED, "poll": "/reports/{id}", "every": 0.1})
    assert job.until_ended()["state"] == "succeeded"
    assert [(one.method, one.path) for one in desk.seen] == [("POST", "/reports"), ("GET", "/reports/r-1")]
    assert job.result().structured == {"open": 12}


# While nobody runs it


@pytest.mark.usefixtures("worker")
def test_what_came_while_no_worker_had_the_job_is_heard_by_the_next(cast: Cast, desk: Upstream) -> None:
    desk.answer = lambda asked: (202, b'{"id": "r-1"}')
    job = begun(cast, desk)
    asked = desk.started()
    until(lambda: (job.row()["upstream"] or {}).get("id") == "r-1")
    os.kill(job.holder(), signal.SIGKILL)
    assert desk.call(asked, {"progress": 0.7}).status_code == 204
    assert desk.call(asked, DONE).status_code == 204
    lose_lease(job)
    row = job.until_ended()
    assert (row["state"], row["attempts"], row["progress"]) == ("succeeded", 2, 0.7)
    assert desk.starts() == 1


@pytest.mark.usefixtures("worker")
def test_who_called_back_before_it_answered_is_not_started_again_when_the_worker_dies(
    cast: Cast, desk: Upstream
) -> None:
    taken, go = threading.Event(), threading.Event()

    def hanging(asked: Asked) -> Answer:
        desk.call(asked, {"progress": 0.2})
        taken.set()
        go.wait(30)
        return 202, b""

    desk.answer = hanging
    job = begun(cast, desk)
    assert taken.wait(20)
    os.kill(job.holder(), signal.SIGKILL)
    go.set()
    lose_lease(job)
    until(lambda: job.row()["attempts"] == 2)
    assert desk.call(desk.started(), DONE).status_code == 204
    assert job.until_ended()["state"] == "succeeded"
    assert desk.starts() == 1


@pytest.fixture
def at_work(cast: Cast) -> tuple[Placed, Ticket]:
    """A job that this process has claimed, and what the URL that it gave its upstream is good for."""
    made = front(cast, "")
    job = made.job(cast.uma)
    return job, ticket_of(cast, job, claim(job))


def ticket_of(cast: Cast, job: Placed, fence: int, **changes: Any) -> Ticket:
    ticket = Ticket(tenant_id=cast.acme.pk, job_id=job.id, start=fence, until=int(time.time()) + 600)
    return replace(ticket, **changes)


def calls_of(ticket: Ticket, *, fence: int | None = None) -> Calls:
    """What the attempt with this fence hears, which may be a later one than began the work."""
    upstream = callbacks.named(ticket)
    return Calls(Claim(job=ticket.job_id, tenant_id=ticket.tenant_id, fence=fence or ticket.start), upstream, 0.0)


async def keep(ticket: Ticket, *bodies: Any) -> list[int]:
    def post() -> list[int]:
        client = Client()
        return [client.post(path_of(ticket), one, content_type="application/json").status_code for one in bodies]

    return await asyncio.to_thread(_and_let_go, post)


def _and_let_go(work: Any) -> Any:
    from django.db import connection

    try:
        return work()
    finally:
        connection.close()


def path_of(ticket: Ticket) -> str:
    return "/c/" + callbacks.url_of(ticket).rpartition("/")[2]


async def heard(calls: Calls) -> list[Any]:
    """All that it is told without waiting."""
    found = []
    while (body := await calls.next(0)) is not None:
        found.append(json.loads(body))
    return found


async def test_they_are_heard_in_the_order_in_which_they_came(running: None, at_work: tuple[Placed, Ticket]) -> None:
    _, ticket = at_work
    assert await keep(ticket, *({"n": number} for number in range(12))) == [204] * 12
    assert await heard(calls_of(ticket)) == [{"n": number} for number in range(12)]


async def test_the_last_that_was_heard_is_heard_again_by_the_next_attempt(
    running: None, at_work: tuple[Placed, Ticket]
) -> None:
    job, ticket = at_work
    await keep(ticket, {"n": 1}, {"n": 2}, {"n": 3})
    first = calls_of(ticket)
    assert [await first.next(0), await first.next(0)] == [b'{"n":1}', b'{"n":2}']
    change(job, "fence = fence + 2")
    assert await first.next(0) is None  # it has lost the job
    assert await heard(calls_of(ticket, fence=ticket.start + 2)) == [{"n": 2}, {"n": 3}]


async def test_who_runs_the_job_is_told_of_it_and_who_follows_it_is_not(
    listening: None, at_work: tuple[Placed, Ticket]
) -> None:
    _, ticket = at_work
    async with (
        events.watch(ticket.tenant_id, ticket.job_id) as follower,
        events.watch(ticket.tenant_id, ticket.job_id, runs=True) as runner,
    ):
        await keep(ticket, {"n": 1})
        told = await runner.get(20)
        assert told is not None
        assert told.kind == "called"
        assert await follower.get(0) is None


async def test_an_attempt_that_waits_hears_it_when_it_is_told(running: None, at_work: tuple[Placed, Ticket]) -> None:
    _, ticket = at_work
    calls = calls_of(ticket)
    waits = asyncio.create_task(calls.next(600))
    await asyncio.sleep(0)
    await keep(ticket, {"n": 1})
    calls.look()
    assert await asyncio.wait_for(waits, 20) == b'{"n":1}'


async def test_nothing_is_kept_of_a_job_that_is_cancelled_before_anybody_heard_it(
    running: None, at_work: tuple[Placed, Ticket]
) -> None:
    job, ticket = at_work
    change(job, "state = 'queued', holder = NULL, lease_until = NULL")
    assert await keep(ticket, {"n": 1}) == [204]
    assert job.ask_to_stop() == "cancelled"
    assert waiting(job) == 0
    assert await keep(ticket, {"n": 2}) == [404]


async def test_what_comes_while_the_job_ends_is_refused(running: None, at_work: tuple[Placed, Ticket]) -> None:
    job, ticket = at_work
    with as_owner(autocommit=False) as ending:
        rows(ending, "SELECT jobs_finish(%s, %s, 'succeeded', '', NULL, '', 0, NULL)", job.id, ticket.start)
        late = asyncio.create_task(keep(ticket, {"n": 1}))
        await asyncio.to_thread(until, partial(_somebody_waits_for, ending.info.backend_pid))
        ending.commit()
    assert await late == [404]
    assert waiting(job) == 0


def _somebody_waits_for(pid: int) -> bool:
    with as_owner() as conn:
        return bool(rows(conn, "SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))", pid))


async def test_what_was_said_is_kept_sealed(running: None, at_work: tuple[Placed, Ticket]) -> None:
    job, ticket = at_work
    await keep(ticket, {"customer": "Rosa Luxemburg"})
    with as_owner() as conn:
        ((kept,),) = rows(conn, "SELECT body FROM jobs_callback WHERE job_id = %s", job.id)
    assert b"Rosa" not in bytes(kept)


async def test_no_more_are_kept_than_may_wait_and_what_is_heard_makes_room(
    running: None, at_work: tuple[Placed, Ticket]
) -> None:
    job, ticket = at_work
    said = await keep(ticket, *({"n": number} for number in range(MOST_WAITING + 1)))
    assert said == [204] * MOST_WAITING + [429]
    assert waiting(job) == MOST_WAITING
    calls = calls_of(ticket)
    assert [await calls.next(0), await calls.next(0)]
    assert await keep(ticket, {"n": "last"}) == [204]


# What is refused


@pytest.fixture
def scene(cast: Cast, hub: list[str]) -> Front:
    return front(cast, hub[0])


def _post(scene: Front, ticket: Ticket | str, **given: Any) -> httpx2.Response:
    path = ticket if isinstance(ticket, str) else path_of(ticket)
    given = {"method": "POST", "json": {}} | given
    return httpx2.request(url=f"{scene.base}{path}", **given)


def _swapped(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def test_every_url_that_is_not_good_any_more_or_never_was_gets_the_same_answer(cast: Cast, scene: Front) -> None:
    job, ended, anew = (scene.job(cast.uma) for _ in range(3))
    ticket = ticket_of(cast, job, claim(job))
    ended_ticket, older = ticket_of(cast, ended, claim(ended)), ticket_of(cast, anew, claim(anew))
    end(ended, fence=ended_ticket.start)
    change(anew, "fence = fence + 2")
    path = path_of(ticket)
    refused: dict[str, Ticket | str] = {
        "made up": "/c/x",
        "nothing": "/c/%00",
        "endless": "/c/" + "a" * 5000,
        "not signed": path.partition(".")[0],
        "another's signature": f"{path_of(older).partition('.')[0]}.{path.partition('.')[2]}",
        "expired": replace(ticket, until=int(time.time())),
        "of another tenant": replace(ticket, tenant_id=cast.beta.pk),
        "of no job": replace(ticket, job_id=uuid.uuid4()),
        "of a job that ended": ended_ticket,
        "of work that was begun anew": older,
        "of a start that is none": replace(ticket, start=ticket.start + 1),
    }
    refused |= {f"changed at {at}": _swapped(path, at) for at in range(3, len(path) - 1, 7)}
    answers = {name: _post(scene, one) for name, one in refused.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(refused, 404)
    assert len({answer.content for answer in answers.values()}) == 1
    assert _post(scene, ticket).status_code == 204
    assert [waiting(one) for one in (job, ended, anew)] == [1, 0, 0]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tenants_tenant SET enabled = false WHERE id = (SELECT tenant_id FROM jobs_job WHERE id = %s)",
        "UPDATE tenants_member SET active = false WHERE id = (SELECT member_id FROM jobs_job WHERE id = %s)",
        "UPDATE tenants_user SET is_active = false WHERE id = ("
        "SELECT m.user_id FROM jobs_job j JOIN tenants_member m ON m.id = j.member_id WHERE j.id = %s)",
    ],
    ids=["tenant", "member", "user"],
)
def test_the_url_ends_with_the_standing_of_whose_job_it_is(cast: Cast, scene: Front, statement: str) -> None:
    job = scene.job(cast.uma)
    ticket = ticket_of(cast, job, claim(job))
    unknown = _post(scene, "/c/x").content
    with as_owner() as conn:
        conn.execute(statement.encode(), [job.id])
    answer = _post(scene, ticket)
    assert (answer.status_code, answer.content) == (404, unknown)
    assert waiting(job) == 0


WRONG: dict[str, tuple[dict[str, Any], int]] = {
    "read": ({"method": "GET"}, 405),
    "looked at": ({"method": "HEAD"}, 405),
    "asked for options": ({"method": "OPTIONS"}, 405),
    "deleted": ({"method": "DELETE"}, 405),
    "no JSON": ({"json": None, "content": b"status=done"}, 400),
    "nothing": ({"json": None, "content": b""}, 400),
    "no number": ({"json": None, "content": b'{"progress": NaN}'}, 400),
    "no UTF-8": ({"json": None, "content": b'{"a": "\xff"}'}, 400),
    "without a bottom": ({"json": None, "content": b"[" * 500 + b"]" * 500}, 400),
    "too large": ({"json": "x" * MOST_BYTES}, 413),
    "far too large": ({"json": "x" * 4 * MOST_BYTES}, 413),
}


@pytest.mark.parametrize(("given", "status"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_call_back_is_refused_in_words(cast: Cast, scene: Front, given: dict[str, Any], status: int) -> None:
    job = scene.job(cast.uma)
    ticket = ticket_of(cast, job, claim(job))
    answer = _post(scene, ticket, **given)
    assert answer.status_code == status
    assert answer.text or given["method"] == "HEAD"
    assert answer.headers.get("allow") == ("POST, PUT" if status == 405 else None)
    assert waiting(job) == 0


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_call_back_is_taken_without_cookie_or_credential_and_says_nothing(
    cast: Cast, scene: Front, method: str
) -> None:
    job = scene.job(cast.uma)
    answer = _post(
        scene,
        ticket_of(cast, job, claim(job)),
        method=method,
        json={"n": 1},
        headers={"Origin": "https://elsewhere.example"},
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not {"set-cookie", "access-control-allow-origin", "content-type"} & answer.headers.keys()
    assert waiting(job) == 1


def test_an_upstream_is_sent_away_while_postgres_is_and_no_log_has_the_url(
    cast: Cast, scene: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    job = scene.job(cast.uma)
    path = path_of(ticket_of(cast, job, claim(job)))
    for answered, problem in ((503, OperationalError("gone")), (500, ZeroDivisionError(path))):

        @contextlib.contextmanager
        def failing(tenant_ids: Any, problem: Exception = problem) -> Iterator[None]:
            raise problem
            yield

        monkeypatch.setattr(db, "tenant_scope", failing)
        answer = Client().post(path, {}, content_type="application/json")
        assert answer.status_code == answered
        assert answer.get("Retry-After") == ("5" if answered == 503 else None)
    assert Client().post(f"{path}x", {}, content_type="application/json").status_code == 404
    assert Client().post(path, "{", content_type="application/json").status_code == 400
    assert Client().get(path).status_code == 405
    assert "Postgres cannot be reached" in caplog.text
    assert path.rpartition(".")[2] not in caplog.text


# Who the URL is for


@pytest.mark.usefixtures("worker")
def test_the_url_is_nowhere_to_be_read_even_where_the_upstream_repeats_it(cast: Cast, desk: Upstream) -> None:
    desk.answer = lambda asked: (202, json.dumps({"id": asked.body["callback_url"]}).encode())
    job = begun(cast, desk)
    asked = desk.started()
    url = asked.body["callback_url"]
    desk.call(asked, {"progress": 0.3, "message": f"will call {url}"})
    until(lambda: job.row()["message"])
    assert job.row()["message"] == "will call [secret removed]"
    desk.call(asked, {"status": "done", "result": {"called": url, asked.token: [f"at {asked.token}"]}})
    job.until_ended()
    assert job.result().structured == {
        "called": "[secret removed]",
        "[secret removed]": ["at [secret removed]"],
    }
    with as_owner() as conn:
        kept = str(rows(conn, "SELECT j::text FROM jobs_job j WHERE id = %s", job.id))
        kept += str(rows(conn, "SELECT e::text FROM audit_entry e WHERE tenant_id = %s", cast.acme.pk))
    assert str(job.id) in kept
    assert asked.token not in kept
    assert asked.token.rpartition(".")[2] not in kept


@pytest.mark.usefixtures("worker")
def test_an_upstream_that_refuses_the_work_and_names_the_url_is_told_without_it(cast: Cast, desk: Upstream) -> None:
    desk.answer = lambda asked: (422, json.dumps({"error": f"cannot reach {asked.body['callback_url']}"}).encode())
    job = begun(cast, desk)
    assert job.until_ended()["state"] == "failed"
    said, note = (str(getattr(block, "text", "")) for block in job.result().content)
    assert "cannot reach [secret removed]" in said
    assert note == "[The hub removed 1 secret in this result.]"


# Where it cannot be


def test_a_tool_whose_upstream_only_calls_back_is_published_as_a_job_or_not_at_all(cast: Cast, desk: Upstream) -> None:
    with pytest.raises(ValidationError, match="calls back, which only reaches a job"):
        tool_of(cast, desk, runs="inline")


def test_trying_such_a_draft_says_that_only_a_job_can_be_called_back(cast: Cast, desk: Upstream) -> None:
    draft = cast.draft(cast.acme, "make_report", **described(cast, desk, CALLED))
    with cast.see(cast.acme):
        prepared = trial.prepare(draft, cast.member(cast.acme, cast.olga), username="olga")
    tried = trial.run(prepared, {}, address="192.0.2.1")
    assert tried.result is not None
    assert tried.result.reason == "misconfigured"
    assert "only a job can be called back" in str(tried.result.content)
    assert desk.seen == []
