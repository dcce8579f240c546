"""Accepting: a handle is given for what is durable and for nothing else, and nothing of it lies open anywhere."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from audit.models import Event
from audit.writer import LedgerUnavailable
from jobs import rows, sealed
from jobs.models import State
from jobs.values import Follow, Handle
from lib import db
from policy.models import Limit, Per
from policy.values import Refusal
from tests import database
from tests.cast import Cast
from tests.jobs.desk import FOLLOWING, Desk, Hand, desk, hand, keep_workers_away, told_of
from tools.values import ABSENT, Audio, Embedded, Image, ResourceLink, Result, Text

SECRET = "hunter2-and-more"


@dataclass(frozen=True)
class Scene:
    uma: Desk
    bob: Desk


@pytest.fixture
def scene(cast: Cast) -> Scene:
    for tenant in (cast.acme, cast.beta):
        keep_workers_away(cast, tenant, queued=3)
        cast.tool(tenant, "echo", runs="background", keep_hours=2)
        cast.tool(tenant, "sign_in", runs="background")
        cast.tool(tenant, "give_back", runs="background")
        cast.tool(tenant, "shout", runs="automatic", task_required=True)
    return Scene(uma=desk(cast, cast.uma), bob=desk(cast, cast.bob, cast.beta))


def refusal(answer: object) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


async def test_a_handle_is_given_for_a_row_that_is_durable(scene: Scene, running: None) -> None:
    answer = await scene.uma.call("echo", {"text": "a"})
    assert isinstance(answer, Handle)
    async with hand() as other:
        row = await other.row(answer.view.id)
    assert (row["state"], row["tool"], row["credential"], row["client"]) == ("queued", "echo", "test", "test-host/1")
    assert (answer.view.state, answer.view.place, answer.joined) == (State.QUEUED, 0, False)


async def test_what_was_accepted_is_in_the_ledger_under_the_jobs_own_id(scene: Scene, running: None) -> None:
    job = await scene.uma.start(text="a")
    async with hand() as other:
        (entry,) = await other.rows("SELECT * FROM audit_entry WHERE call_id = %s", job.id)
    assert (entry["event"], entry["subject"]) == (Event.JOB_ACCEPTED, f"job {job.id}")
    assert (entry["preview"], entry["address"], entry["via"]) == ({"text": "a"}, "192.0.2.7", "mcp")


async def test_the_tool_gets_exactly_the_arguments_that_were_sent(scene: Scene, running: None) -> None:
    sent = {"value": [2**80, -0.5, "\udcff", {"deep": None}]}
    job = await scene.uma.start("give_back", **sent)
    async with hand() as other:
        row = await other.row(job.id)
    assert sealed.unseal_arguments(row["arguments"]) == sent


@pytest.mark.parametrize("structured", [ABSENT, None, {"a": [1, None]}])
def test_a_result_comes_out_as_it_went_in(structured: Any) -> None:
    blocks = (
        Text(text="ü"),
        Image(data="QQ==", mime_type="image/png"),
        Audio(data="QQ==", mime_type="audio/wav"),
        ResourceLink(uri="test://x", name="x", description=None, mime_type="text/plain"),
        Embedded(uri="test://y", mime_type="text/plain", blob="QQ=="),
    )
    result = Result(content=blocks, structured=structured, is_error=True, reason="why")
    assert sealed.unseal_result(sealed.seal_result(result)) == result


@pytest.mark.parametrize("size", [rows.MOST_ARGUMENTS, 3 * rows.MOST_ARGUMENTS])
async def test_arguments_above_a_mebibyte_are_refused(scene: Scene, running: None, size: int) -> None:
    refused = refusal(await scene.uma.call("give_back", {"value": "x" * size}, follow=FOLLOWING))
    assert refused.reason == "too_large"
    assert str(rows.MOST_ARGUMENTS) in refused.message
    async with hand() as other:
        (entry,) = await other.rows(
            "SELECT event, reason FROM audit_entry WHERE tenant_id = %s AND event <> 'changed'",
            scene.uma.caller.tenant_id,
        )
        assert not await other.rows("SELECT FROM jobs_job WHERE tenant_id = %s", scene.uma.caller.tenant_id)
    assert entry == {"event": Event.REFUSED, "reason": "too_large"}


async def test_arguments_of_just_below_a_mebibyte_are_taken(scene: Scene, running: None) -> None:
    frame = len(json.dumps({"value": ""}, separators=(",", ":")))
    assert await scene.uma.start("give_back", value="x" * (rows.MOST_ARGUMENTS - frame))
    assert await scene.uma.start("give_back", value="ü" * (rows.MOST_ARGUMENTS // 2 - frame))


async def test_a_full_queue_says_when_to_come_back(scene: Scene, running: None) -> None:
    for text in "abc":
        await scene.uma.start(text=text)
    refused = refusal(await scene.uma.call("echo", {"text": "d"}))
    assert (refused.reason, refused.retryable) == ("queue_full", True)
    assert refused.retry_after is not None
    assert 5 <= refused.retry_after <= 300
    async with hand() as other:
        (entry,) = await other.rows(
            "SELECT outcome, reason FROM audit_entry WHERE tenant_id = %s AND event = 'call.refused'",
            scene.uma.caller.tenant_id,
        )
    assert entry == {"outcome": "refused", "reason": "queue_full"}


async def test_a_queue_is_full_for_its_own_tenant_alone_and_until_a_job_is_claimed(scene: Scene, running: None) -> None:
    jobs = [await scene.uma.start(text=text) for text in "abc"]
    assert await scene.bob.start(text="d")
    async with hand() as worker:
        await worker.take(jobs[0])
    assert await scene.uma.start(text="d")


async def test_the_wait_that_a_full_queue_names_shrinks_with_the_pace_of_its_tenant(
    scene: Scene, running: None
) -> None:
    async with hand() as worker:
        for text in "fghi":
            await worker.end(await scene.uma.start(text=text))
    for text in "abc":
        await scene.uma.start(text=text)
    refused = refusal(await scene.uma.call("echo", {"text": "d"}))
    assert refused.retry_after == 45.0  # three wait, and four ended within the last minute


async def test_the_same_call_joins_a_full_queue_as_its_job_is_in_it(scene: Scene, running: None) -> None:
    jobs = [await scene.uma.start(text=text) for text in "abc"]
    assert (await scene.uma.start(text="b")).id == jobs[1].id


async def test_no_secret_lies_open_in_any_table(scene: Scene, running: None) -> None:
    job = await scene.uma.start("sign_in", user="uma", password=SECRET)
    async with hand() as worker:
        await worker.end(job, result=Result(content=(Text(text=SECRET),), structured={"token": SECRET}))
        found = [await everything(worker, table) for table in ("jobs_job", "audit_entry", "pgmq.q_jobs")]
    assert "sign_in" in found[0] + found[1]
    assert not [text for text in found if SECRET in text or SECRET.encode().hex() in text]


async def everything(worker: Hand, table: str) -> str:
    return " ".join([str(row["said"]) for row in await worker.rows(f"SELECT t::text AS said FROM {table} t")])  # noqa: S608


async def test_no_notification_carries_content(scene: Scene, running: None) -> None:
    async with (
        await psycopg.AsyncConnection.connect(database.superuser_conninfo(), autocommit=True) as listener,
        hand() as worker,
    ):
        await listener.execute("LISTEN mcphub")
        job = await scene.uma.start("sign_in", user="uma", password=SECRET)
        fence = await worker.begin(job)
        await rows.cancel(scene.uma.caller, str(job.id))
        await worker.finish(job, fence, "cancelled", Result.of_text(SECRET))
        told = await told_of(job, listener, "cancelled")
    assert len([payload for payload in told if str(job.id) in payload]) >= 2
    assert not [payload for payload in told if SECRET in payload or "uma" in payload]


async def test_the_preview_of_a_job_is_redacted(scene: Scene, running: None) -> None:
    job = await scene.uma.start("sign_in", user="uma", password=SECRET)
    assert job.preview == {"user": "uma", "password": "[redacted]"}


@pytest.mark.parametrize(("wished", "kept"), [(None, 7200.0), (600.0, 600.0), (10**9, 7200.0), (1.0, 60.0)])
async def test_a_host_may_have_its_result_kept_for_less_but_not_for_longer(
    scene: Scene, running: None, wished: float | None, kept: float
) -> None:
    answer = await scene.uma.call("echo", {"text": "a"}, follow=Follow(declared=True, keep=wished))
    assert isinstance(answer, Handle)
    assert answer.view.keep == kept


async def test_a_tool_that_must_be_followed_is_refused_to_hosts_that_cannot(scene: Scene, running: None) -> None:
    refused = refusal(await scene.uma.call("shout", {"text": "a"}))
    assert refused.reason == "capability_missing"
    assert isinstance(await scene.uma.call("shout", {"text": "a"}, follow=FOLLOWING), Handle)
    async with hand() as other:
        found = await other.rows(
            "SELECT reason FROM audit_entry WHERE tenant_id = %s AND tool = 'shout' AND event = 'call.refused'",
            scene.uma.caller.tenant_id,
        )
    assert found == [{"reason": "capability_missing"}]


async def test_wrong_arguments_make_no_job(scene: Scene, running: None) -> None:
    assert refusal(await scene.uma.call("echo", {"wrong": 1}, follow=FOLLOWING)).reason == "invalid_arguments"
    async with hand() as other:
        assert not await other.rows("SELECT FROM jobs_job WHERE tenant_id = %s", scene.uma.caller.tenant_id)


@pytest.fixture
def limited(cast: Cast) -> Desk:
    keep_workers_away(cast, cast.acme)
    cast.tool(cast.acme, "echo", runs="background")
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per=Per.TENANT, most=2, seconds=3600)
    return desk(cast, cast.uma)


async def test_a_job_is_charged_when_it_is_accepted_and_once(limited: Desk, running: None) -> None:
    assert await limited.start(text="a")
    assert await limited.start(text="b")
    assert refusal(await limited.call("echo", {"text": "c"})).reason == "rate_limited"


async def test_the_bell_is_rung_only_for_what_could_be_run_now(
    scene: Scene, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[int] = []
    mine = asyncio.current_task()

    async def ring(count: int = 1) -> None:
        if asyncio.current_task() is mine:  # the sweep rings too, when it likes
            rung.append(count)

    monkeypatch.setattr("jobs.wake.ring", ring)
    await scene.uma.start(text="a")  # its tenant may run none
    assert rung == []
    async with hand() as owner:
        await owner.rows("UPDATE jobs_allowance SET running = 2 WHERE tenant_id = %s", scene.uma.caller.tenant_id)
        await scene.uma.start(text="b")
        await owner.rows("UPDATE jobs_allowance SET running = 0 WHERE tenant_id = %s", scene.uma.caller.tenant_id)
    assert rung == [1]


async def test_another_tenants_row_cannot_be_made(scene: Scene, running: None) -> None:
    job = await scene.uma.start(text="a")
    async with hand() as owner:
        row = await owner.row(job.id)
    given: dict[str, Any] = {"id": str(job.id), "tenant_id": row["tenant_id"], "fingerprint": "0" * 32}
    with pytest.raises(psycopg.errors.Error):
        async with db.tenant_write(scene.bob.caller.tenant_id) as conn:
            await conn.execute(
                "SELECT * FROM jobs_accept(%s::jsonb, '', '{}'::jsonb, 60, 60, 60, 8, 100)", [json.dumps(given)]
            )


async def test_a_job_that_cannot_be_recorded_is_said_to_be_unknown_rather_than_not_run(
    scene: Scene, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(rows, "_insert", away)
    with pytest.raises(LedgerUnavailable, match="the same call joins it"):
        await scene.uma.start(text="a")
