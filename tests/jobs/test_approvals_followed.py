"""A held call, by every way in which its host can follow it: it awaits, then the result is there."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.test import override_settings

from jobs import hooks, mails
from jobs.actions import add_hook
from tests.accounts import mail_server
from tests.cast import Cast
from tests.database import apart
from tests.gateway.following import CORE, get, job_of, listening, start, waiting
from tests.host import MODERN, REVISIONS, Host
from tests.jobs.place import Placed
from tests.jobs.receiver import receiver
from tests.jobs.review import Review, held_of, review, run_out
from tests.postgres import as_owner, rows
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("worker")

LONELY_REASON = "Nobody is there today."


@pytest.fixture
def scene(cast: Cast, hub: list[str], tmp_path: Path) -> Review:
    return review(cast, hub[0], tmp_path)


@pytest.fixture
def lasting(cast: Cast, hub: list[str], tmp_path: Path) -> Review:
    """The same with a tool that runs as a job anyway."""
    return review(cast, hub[0], tmp_path, runs="background")


def placed(task: dict[str, Any]) -> Placed:
    return Placed(id=job_of(task).id)


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_host_that_knows_no_tasks_is_told_in_words_and_waits_with_a_tool(scene: Review, revision: str) -> None:
    host = scene.host(revision)
    assert "get_job_status" in host.tools()
    answer = host.call(scene.tool.name, scene.arguments())
    assert "a second person has to approve this call first" in answer.text
    job_id = answer.result["_meta"]["mcphub/job"]["job_id"]
    assert job_id in answer.text
    asked = {"job_id": job_id, "wait_seconds": 0}
    assert "waiting for somebody to approve it" in host.call("get_job_status", asked).text
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(host.call, "get_job_status", {"job_id": job_id, "wait_seconds": 25})
        job = placed({"taskId": job_id})
        assert scene.decide(job, "approve", scene.cast.anna) == "done"
        told = waits.result().result["content"]
    assert told[-1]["text"] == "marked"


def test_a_host_with_the_tasks_extension_sees_a_task_that_works_until_the_result_is_there(scene: Review) -> None:
    host = scene.host(MODERN)
    task = start(host, scene.tool.name, **scene.arguments())
    assert (task["resultType"], task["status"]) == ("task", "working")
    assert task["statusMessage"] == "waiting for somebody to approve it"
    with listening(host, {"taskIds": [task["taskId"]]}) as frames:
        frames.told()
        assert frames.told()[1]["status"] == "working"
        assert scene.decide(placed(task), "approve", scene.cast.anna) == "done"
        while (told := frames.told()[1])["status"] == "working":
            pass
    assert (told["status"], told["result"]["content"][0]["text"]) == ("completed", "marked")
    assert get(host, task)["status"] == "completed"


def test_a_task_that_was_denied_is_cancelled_and_says_why(scene: Review) -> None:
    host = scene.host(MODERN)
    task = start(host, scene.tool.name, **scene.arguments())
    scene.decide(placed(task), "deny", scene.cast.anna, reason="Not today.")
    found = get(host, task)
    assert (found["status"], "They said: Not today." in found["statusMessage"]) == ("cancelled", True)


def test_a_task_that_nobody_decided_on_has_failed_and_says_so(scene: Review) -> None:
    host = scene.host(MODERN)
    task = start(host, scene.tool.name, **scene.arguments())
    run_out(placed(task))
    placed(task).until("expired")  # by the hub's own sweep
    assert "nobody decided in time" in get(host, task)["statusMessage"]


def test_a_host_of_the_core_gets_its_result_from_the_request_that_waits(lasting: Review) -> None:
    host = lasting.host(CORE)
    task = start(host, lasting.tool.name, **lasting.arguments())
    assert (task["status"], task["statusMessage"]) == ("working", "waiting for somebody to approve it")
    with waiting(host, "tasks/result", {"taskId": task["taskId"]}) as got:
        lasting.decide(placed(task), "approve", lasting.cast.anna)
    assert got[0].text == "marked"
    denied = start(host, lasting.tool.name, **lasting.arguments("other"))
    lasting.decide(placed(denied), "deny", lasting.cast.anna, reason="Not today.")
    assert "Not today." in host.request("tasks/result", {"taskId": denied["taskId"]}).error["message"]


def test_programs_follow_it_over_rest_and_by_its_events(scene: Review) -> None:
    job = scene.call()
    base = f"{scene.base}/api/v1/t/{scene.cast.acme.slug}/jobs/{job.id}/"
    with httpx2.Client(headers={"authorization": f"Bearer {scene.key}"}, timeout=30) as client:
        assert client.get(base).json()["state"] == "awaiting_approval"
        assert client.get(f"{base}result/").status_code == 409
        states: list[str] = []
        with client.stream("GET", f"{base}events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: ") and "state" in (data := json.loads(line[6:])):
                    if not states:
                        scene.decide(job, "approve", scene.cast.anna)
                    states.append(data["state"])
        assert (states[0], states[-1]) == ("awaiting_approval", "succeeded")
        assert client.get(f"{base}result/").json()["result"]["content"][0]["text"] == "marked"


def test_what_is_withdrawn_over_rest_is_decided_by_nobody(scene: Review) -> None:
    job = scene.call()
    base = f"{scene.base}/api/v1/t/{scene.cast.acme.slug}/jobs/{job.id}/"
    with httpx2.Client(headers={"authorization": f"Bearer {scene.key}"}, timeout=30) as client:
        assert client.post(f"{base}cancel/").json()["state"] == "cancelled"
    assert scene.decide(job, "approve", scene.cast.anna) == "already_decided"


# Who is told besides


async def test_hooks_are_told_what_waits_and_what_was_released_without_a_reviewer(running: None, scene: Review) -> None:
    with receiver() as listener:
        _, secret = await asyncio.to_thread(_hook, scene, listener.url)
        job = await asyncio.to_thread(scene.call)
        approval = await asyncio.to_thread(scene.approval, job)
        await hooks.deliver_due()
        await asyncio.to_thread(until, lambda: listener.messages, 15)
        message = listener.messages[0]
        told = json.loads(message.body)
        signed = hooks.signature(
            secret, message.headers["webhook-id"], int(message.headers["webhook-timestamp"]), message.body
        )
        assert message.headers["webhook-signature"] == signed
        assert (told["type"], told["data"]["job"]["id"]) == ("approval.waiting", str(job.id))
        assert told["data"]["approval"]["url"].endswith(f"/approvals/{approval.pk}/")
        assert str(scene.path).encode() not in message.body
        olga = scene.cast.olga
        await asyncio.to_thread(scene.decide, job, "break_glass", olga, reason=LONELY_REASON)
        await asyncio.to_thread(job.until_ended)
        await hooks.deliver_due()
        await asyncio.to_thread(until, lambda: len(listener.messages) == 3, 15)
        types = {(one := json.loads(message.body))["type"]: one for message in listener.messages}
        assert set(types) == {"approval.waiting", "approval.broken", "job.ended"}
        broken = types["approval.broken"]["data"]["approval"]
        assert (broken["by"], broken["reason"]) == (olga.username, LONELY_REASON)


@pytest.mark.parametrize(
    ("verb", "given", "event"),
    [("approve", {}, "approval.given"), ("deny", {"reason": "Not today."}, "approval.denied")],
)
async def test_hooks_are_told_what_was_decided_by_whom_and_why(
    running: None, scene: Review, verb: str, given: dict[str, str], event: str
) -> None:
    with receiver() as listener:
        await asyncio.to_thread(_hook, scene, listener.url)
        job = await asyncio.to_thread(scene.call)
        await asyncio.to_thread(scene.decide, job, verb, scene.cast.anna, **given)
        await asyncio.to_thread(job.until_ended)
        await hooks.deliver_due()
        await asyncio.to_thread(until, lambda: len(listener.messages) == 3, 15)
    types = {(one := json.loads(message.body))["type"]: one for message in listener.messages}
    assert set(types) == {"approval.waiting", event, "job.ended"}
    told = types[event]["data"]["approval"]
    assert (told["by"], told["reason"]) == (scene.cast.anna.username, given.get("reason", ""))
    assert all(str(scene.path).encode() not in message.body for message in listener.messages)


def _hook(scene: Review, url: str) -> Any:
    def add() -> Any:
        with scene.cast.see(scene.cast.acme):
            return add_hook(scene.cast.acme, url, actor=scene.cast.olga)

    return apart(add)


def _only(*jobs: Placed) -> None:
    """Nobody is to be written to about other tests' jobs."""
    with as_owner() as conn:
        conn.execute("UPDATE jobs_approval SET mail_due_at = NULL WHERE job_id <> ALL (%s)", [[job.id for job in jobs]])


def _due(job: Placed) -> None:
    with as_owner() as conn:
        conn.execute("UPDATE jobs_approval SET mail_due_at = now() WHERE job_id = %s", [job.id])


def by_mail(port: int) -> Any:
    """The hub with a mail server at this port of loopback."""
    return override_settings(SENDS_MAIL=True, EMAIL_HOST="127.0.0.1", EMAIL_PORT=port)


def _readers(server: mail_server.MailServer) -> dict[str, str]:
    """Each mail by whom it went to."""
    found = {}
    for mail in server.mails:
        to = next(line for line in mail.splitlines() if line.startswith("To: "))
        found[to.removeprefix("To: ").partition("-")[0]] = mail.replace("=\r\n", "")
    return found


async def test_reviewers_are_written_to_and_no_mail_holds_an_argument(running: None, scene: Review) -> None:
    job = await asyncio.to_thread(scene.call)
    await asyncio.to_thread(_only, job)
    with mail_server.running() as server, by_mail(server.port):
        server.greets.set()
        await mails.send_due()
        await asyncio.to_thread(until, lambda: len(server.mails) >= 3, 15)
        assert set(_readers(server)) == {"anna", "adam", "olga"}
        assert all(str(scene.path) not in mail for mail in server.mails)
        approval = await asyncio.to_thread(scene.approval, job)
        assert all(f"/approvals/{approval.pk}/" in mail for mail in _readers(server).values())
        server.mails.clear()
        await asyncio.to_thread(scene.decide, job, "ask", scene.cast.anna, text="Which shop?")
        await mails.send_due()
        await asyncio.to_thread(until, lambda: server.mails, 15)
        assert set(_readers(server)) == {"uma"}
        server.mails.clear()
        await asyncio.to_thread(scene.decide, job, "break_glass", scene.cast.olga, reason=LONELY_REASON)
        await mails.send_due()
        await asyncio.to_thread(until, lambda: server.mails, 15)
        assert set(_readers(server)) == {"olga", "uma"}
        assert all(LONELY_REASON in mail for mail in _readers(server).values())
    found = await asyncio.to_thread(scene.approval, job)
    assert found.mailed_at is not None
    assert found.owners_mailed_at is not None
    assert found.mail_due_at is None


@pytest.mark.parametrize(
    ("verb", "given", "says"),
    [
        ("approve", {}, "approved the call of leave_a_mark that was made for you in Acme. It runs now."),
        ("deny", {"reason": "Not today."}, "The reason given: Not today."),
    ],
)
async def test_whoever_asked_is_written_to_what_was_decided(
    running: None, scene: Review, verb: str, given: dict[str, str], says: str
) -> None:
    job = await asyncio.to_thread(scene.call)
    await asyncio.to_thread(scene.decide, job, verb, scene.cast.anna, **given)
    await asyncio.to_thread(_only, job)
    with mail_server.running() as server, by_mail(server.port):
        server.greets.set()
        await mails.send_due()
        await asyncio.to_thread(until, lambda: server.mails, 15)
        assert set(_readers(server)) == {"uma"}
        told = " ".join(_readers(server)["uma"].split())
        assert says in told
        assert f"/jobs/{job.id}/" in told
        assert str(scene.path) not in told
        server.mails.clear()
        await mails.send_due()
        assert server.mails == []


async def test_a_decision_from_before_there_was_a_mail_server_is_no_news(running: None, scene: Review) -> None:
    job = await asyncio.to_thread(scene.call)
    await asyncio.to_thread(scene.decide, job, "approve", scene.cast.anna)
    await asyncio.to_thread(_only, job)
    with as_owner() as conn:
        conn.execute("UPDATE jobs_approval SET decided_at = now() - interval '2 days' WHERE job_id = %s", [job.id])
    with mail_server.running() as server, by_mail(server.port):
        server.greets.set()
        await mails.send_due()
    assert server.mails == []
    assert (await asyncio.to_thread(scene.approval, job)).mail_due_at is None


async def test_who_comes_to_a_mail_late_does_not_tell_what_another_told(running: None, scene: Review) -> None:
    job = await asyncio.to_thread(scene.call)
    await asyncio.to_thread(_only, job)
    with as_owner() as conn:
        ((approval, tenant, attempts),) = rows(conn, "SELECT approval, tenant, attempts FROM jobs_mails(20, 120)")
    await asyncio.to_thread(scene.decide, job, "approve", scene.cast.anna)
    with mail_server.running() as server, by_mail(server.port):
        server.greets.set()
        await mails.send_due()
        assert set(_readers(server)) == {"uma"}
        server.mails.clear()
        await asyncio.to_thread(mails._attempt, approval, tenant, attempts)
        assert server.mails == []


async def test_nobody_is_written_to_what_they_did_themselves(running: None, scene: Review) -> None:
    key = await asyncio.to_thread(_key, scene)
    job = held_of(await asyncio.to_thread(Host(scene.base, scene.cast.acme.slug, key).call, *_marks(scene)))
    await asyncio.to_thread(scene.decide, job, "break_glass", scene.cast.olga, reason=LONELY_REASON)
    await asyncio.to_thread(_only, job)
    with mail_server.running() as server, by_mail(server.port):
        server.greets.set()
        await mails.send_due()
    assert [_readers(server).keys(), len(server.mails)] == [{"olga"}, 1]


def _key(scene: Review) -> str:
    return apart(lambda: scene.cast.key(scene.cast.olga)[1])


def _marks(scene: Review) -> tuple[str, dict[str, Any]]:
    return scene.tool.name, scene.arguments()


async def test_a_mail_that_could_not_be_sent_is_tried_again_and_given_up_in_the_end(
    running: None, scene: Review, caplog: pytest.LogCaptureFixture
) -> None:
    job = await asyncio.to_thread(scene.call)
    await asyncio.to_thread(_only, job)
    with by_mail(9):
        for attempt in range(1, len(mails.BACKOFF) + 2):
            await asyncio.to_thread(_due, job)
            await mails.send_due()
            await asyncio.to_thread(until, partial(_tried, job, attempt), 15)
    found = await asyncio.to_thread(scene.approval, job)
    assert (found.mail_due_at, found.mailed_at) == (None, None)
    assert "were not sent" in caplog.text


def _attempts(job: Placed) -> int:
    with as_owner() as conn:
        return int(rows(conn, "SELECT mail_attempts FROM jobs_approval WHERE job_id = %s", job.id)[0][0])


def _tried(job: Placed, times: int) -> bool:
    return _attempts(job) >= times


async def test_without_a_mail_server_nothing_is_claimed(running: None, scene: Review) -> None:
    job = await asyncio.to_thread(scene.call)
    await mails.send_due()
    assert _attempts(job) == 0


def _to(*readers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who decide have these addresses instead of their own."""
    letters = mails._letters

    def changed(_: Any, subject: str, says: list[str]) -> Any:
        return letters(readers, subject, says)

    monkeypatch.setattr(mails, "_letters", changed)


@pytest.mark.parametrize("wrong", ["nobody@refused.example", "no\nbody@acme.example", "@"])
async def test_one_reader_who_cannot_be_written_to_keeps_no_other_from_it(
    running: None, scene: Review, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    job = await asyncio.to_thread(scene.call)
    await asyncio.to_thread(_only, job)
    _to(wrong, "anna-x@acme.example", monkeypatch=monkeypatch)
    with mail_server.running() as server, by_mail(server.port):
        server.greets.set()
        await mails.send_due()
    assert set(_readers(server)) == {"anna"}
    assert "does not reach one of its readers" in caplog.text
    found = await asyncio.to_thread(scene.approval, job)
    assert (found.mailed_at is not None, found.mail_due_at) == (True, None)


async def test_what_reached_nobody_is_tried_again(
    running: None, scene: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await asyncio.to_thread(scene.call)
    await asyncio.to_thread(_only, job)
    _to("nobody@refused.example", monkeypatch=monkeypatch)
    with mail_server.running() as server, by_mail(server.port):
        server.greets.set()
        await mails.send_due()
    found = await asyncio.to_thread(scene.approval, job)
    assert found.mailed_at is None
    assert found.mail_due_at is not None


async def test_a_mail_that_cannot_be_made_keeps_no_other_and_is_tried_again(
    running: None, scene: Review, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = await asyncio.to_thread(scene.call, "bad"), await asyncio.to_thread(scene.call, "good")
    await asyncio.to_thread(_only, bad, good)
    broken, post = await asyncio.to_thread(scene.approval, bad), mails._post

    def made(approval: Any) -> Any:
        if approval.pk == broken.pk:
            raise RuntimeError("no sentence for it")
        return post(approval)

    monkeypatch.setattr(mails, "_post", made)
    with mail_server.running() as server, by_mail(server.port):
        server.greets.set()
        await mails.send_due()
    mailed, left = await asyncio.to_thread(scene.approval, good), await asyncio.to_thread(scene.approval, bad)
    assert mailed.mailed_at is not None
    assert (left.mailed_at, left.mail_attempts) == (None, 1)
    assert left.mail_due_at is not None
    seconds = (left.mail_due_at - left.created_at).total_seconds()
    assert seconds < mails.BACKOFF[0] + 15
    assert [one.message for one in caplog.records if one.name == "jobs.mails"] == [
        f"mails about approval {left.pk} could not be made"
    ]


async def test_nobody_is_asked_to_decide_on_what_cannot_run(running: None, scene: Review) -> None:
    waits, broken = await asyncio.to_thread(scene.call, "waits"), await asyncio.to_thread(scene.call, "broken")
    await asyncio.to_thread(scene.decide, broken, "break_glass", scene.cast.olga, reason=LONELY_REASON)
    await asyncio.to_thread(_only, waits, broken)
    assert await asyncio.to_thread(_asked_for, "INSERT INTO tenants_stop VALUES (true, now())") == {broken.id}
    off = "UPDATE tenants_tenant SET enabled = false"
    assert await asyncio.to_thread(_asked_for, off) == {broken.id}
    assert await asyncio.to_thread(_asked_for, "SELECT") == {waits.id, broken.id}


def _asked_for(first: str) -> set[Any]:
    """The jobs about which mails are due when this was done; all of it is taken back."""
    with as_owner(autocommit=False) as conn:
        conn.execute(first)
        found = rows(
            conn,
            "SELECT a.job_id FROM jobs_mails(20, 1) m JOIN jobs_approval a ON a.id = m.approval",
        )
        conn.rollback()
    return {job for (job,) in found}
