"""Hooks: what a tenant's own systems are told when a job ends, how they know that it is true, and what if they fail."""

import asyncio
import base64
import hashlib
import hmac
import json
import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from audit.models import Entry, Event
from jobs import actions, hooks
from jobs.models import Delivery, Hook
from lib import seal
from tests.cast import Cast
from tests.database import apart
from tests.jobs.front import Front, change, end, front
from tests.jobs.place import Placed
from tests.jobs.receiver import Receiver, receiver
from tests.postgres import as_app, as_owner, rows
from tests.waiting import until
from tools.values import Result


@pytest.fixture
def listener() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@dataclass(frozen=True, kw_only=True)
class Scene:
    """acme with one hook, and a job of uma's."""

    front: Front
    hook: Hook
    secret: str
    job: Placed

    def delivery(self) -> Delivery:
        """Read past the policies, from any thread."""

        def ask() -> Delivery:
            with self.front.cast.see(self.front.cast.acme):
                return Delivery.objects.select_related("hook").get(hook=self.hook, job_id=self.job.id)

        return apart(ask)

    def due(self) -> None:
        with as_owner() as conn:
            conn.execute("UPDATE jobs_delivery SET due_at = now() WHERE hook_id = %s", [self.hook.pk])

    async def settled(self, attempts: int) -> Delivery:
        """Deliver what is due, and the delivery once its attempt is over, whichever process made it."""
        await hooks.deliver_due()
        found = await asyncio.to_thread(lambda: until(lambda: self._settled(attempts)))
        assert found is not None
        return found

    def _settled(self, attempts: int) -> Delivery | None:
        found = self.delivery()
        return found if found.attempts == attempts and (found.status or found.said) and not self._away(found) else None

    @staticmethod
    def _away(found: Delivery) -> bool:
        """Still as it was taken, for so many seconds."""
        taken_until = (found.due_at - found.tried_at).total_seconds() if found.tried_at else 0
        return found.state == Delivery.State.WAITING and abs(taken_until - hooks._TAKEN) < 0.001


@pytest.fixture
def scene(cast: Cast, listener: Receiver) -> Scene:
    made = front(cast, "")
    with cast.see(cast.acme):
        hook, secret = actions.add_hook(cast.acme, listener.url, actor=cast.olga)
    return Scene(front=made, hook=hook, secret=secret, job=made.job(cast.uma))


async def test_a_job_that_ended_is_told_with_a_signature_that_the_published_recipe_verifies(
    running: None, scene: Scene, listener: Receiver
) -> None:
    await asyncio.to_thread(end, scene.job)
    found = await scene.settled(1)
    assert (found.state, found.status) == ("delivered", 204)
    (message,) = listener.messages
    _verify(scene.secret, message.headers, message.body)
    with pytest.raises(AssertionError):
        _verify(hooks.new_secret(), message.headers, message.body)
    with pytest.raises(AssertionError):
        _verify(scene.secret, message.headers, message.body.replace(b"succeeded", b"failed"))


def _verify(secret: str, headers: dict[str, str], body: bytes) -> None:
    """As docs/how-to/jobs.md tells receivers."""
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [one.removeprefix("v1,") for one in headers["webhook-signature"].split() if one.startswith("v1,")]
    assert any(hmac.compare_digest(expected, one) for one in given)


async def test_what_is_told_names_the_job_and_never_its_content(
    running: None, scene: Scene, listener: Receiver
) -> None:
    await asyncio.to_thread(end, scene.job, "succeeded", Result.of_text("the result itself"))
    await scene.settled(1)
    body = listener.messages[0].body
    told = json.loads(body)
    slug = scene.front.cast.acme.slug
    assert (told["type"], told["data"]["tenant"]) == ("job.ended", slug)
    job = told["data"]["job"]
    assert (job["id"], job["tool"], job["state"]) == (str(scene.job.id), "echo", "succeeded")
    assert job["url"].endswith(f"/api/v1/t/{slug}/jobs/{scene.job.id}/")
    assert told["timestamp"] == job["ended_at"]
    assert b"result itself" not in body
    assert b"hello" not in body


async def test_what_failed_is_tried_again_later_and_later_under_the_same_id_until_it_is_given_up(
    running: None, scene: Scene, listener: Receiver
) -> None:
    await asyncio.to_thread(end, scene.job)
    tries = len(hooks.BACKOFF) + 1
    listener.answers = [(500, b"try %d" % number) for number in range(1, tries + 1)]
    for number in range(1, tries + 1):
        found = await scene.settled(number)
        assert (found.status, found.said) == (500, f"try {number}")
        assert found.hook.failing_since is not None
        if number < tries:
            wait = (found.due_at - found.tried_at).total_seconds() if found.tried_at else 0
            assert found.state == "waiting"
            assert 0.8 * hooks.BACKOFF[number - 1] <= wait <= 1.2 * hooks.BACKOFF[number - 1] + 10
            await asyncio.to_thread(scene.due)
    assert found.state == "given_up"
    assert len({message.headers["webhook-id"] for message in listener.messages}) == 1
    assert len({message.body for message in listener.messages}) == 1
    for message in listener.messages:
        _verify(scene.secret, message.headers, message.body)


async def test_a_hook_that_works_again_is_no_longer_called_failing(
    running: None, scene: Scene, listener: Receiver
) -> None:
    await asyncio.to_thread(end, scene.job)
    listener.answers = [(503, b"later")]
    assert (await scene.settled(1)).hook.failing_since is not None
    await asyncio.to_thread(scene.due)
    found = await scene.settled(2)
    assert (found.state, found.hook.failing_since) == ("delivered", None)


async def test_a_receiver_that_is_gone_switches_its_hook_off(
    running: None, cast: Cast, scene: Scene, listener: Receiver
) -> None:
    listener.answers = [(410, b"no more")]
    await asyncio.to_thread(end, scene.job)
    found = await scene.settled(1)
    assert (found.state, found.hook.enabled) == ("given_up", False)
    entries = await asyncio.to_thread(apart, lambda: _changes(cast, scene.hook))
    assert entries[-1].reason == "switched off"
    other = await asyncio.to_thread(apart, lambda: scene.front.job(cast.uma))
    await asyncio.to_thread(end, other)
    with as_owner() as conn:
        assert rows(conn, "SELECT FROM jobs_delivery WHERE job_id = %s", other.id) == []


async def test_a_receiver_that_is_gone_does_not_switch_off_the_hook_that_leads_elsewhere_by_now(
    running: None, cast: Cast, scene: Scene
) -> None:
    def move() -> None:
        with cast.see(cast.acme):
            actions.change_hook(scene.hook, url="https://hooks.example.com/new", enabled=True, actor=cast.olga)

    await asyncio.to_thread(end, scene.job)
    begun = await _message(scene)
    await asyncio.to_thread(apart, move)
    await hooks._record(begun, hooks._Outcome(status=410, said="no more"))
    found = await asyncio.to_thread(scene.delivery)
    assert (found.hook.url, found.hook.enabled) == ("https://hooks.example.com/new", True)


def _changes(cast: Cast, hook: Hook) -> list[Entry]:
    with cast.see(cast.acme):
        found = Entry.objects.filter(event=Event.CHANGED, subject__startswith=f"jobs.Hook:{hook.pk} ")
        return list(found.order_by("id"))


@pytest.mark.parametrize("status", [301, 302])
async def test_a_redirect_is_not_followed(running: None, scene: Scene, listener: Receiver, status: int) -> None:
    listener.answers = [(status, b"")]
    await asyncio.to_thread(end, scene.job)
    found = await scene.settled(1)
    assert (found.state, found.status) == ("waiting", status)
    assert len(listener.messages) == 1


async def test_private_addresses_are_refused_unless_the_operator_allows_them(
    running: None, scene: Scene, listener: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(end, scene.job)
    monkeypatch.setattr("django.conf.settings.ALLOWED_PRIVATE_HOSTS", [])
    message = await _message(scene)
    outcome = await hooks._send(message)
    assert outcome.status is None
    assert not outcome.delivered
    assert "127.0.0.1" in outcome.said
    monkeypatch.setattr("django.conf.settings.ALLOWED_PRIVATE_HOSTS", ["127.0.0.1"])
    assert (await hooks._send(message)).delivered


async def _message(scene: Scene) -> hooks._Message:
    found = await hooks._message((await asyncio.to_thread(scene.delivery)).pk, scene.front.cast.acme.pk)
    assert found is not None
    return found


async def test_what_a_receiver_says_is_kept_short_and_without_secrets(
    running: None, scene: Scene, listener: Receiver
) -> None:
    leaked = "mcphub_key_" + "a1B2" * 10
    listener.answers = [(500, f"bad\r\n\x00token {leaked} {'x' * 5000}".encode())]
    await asyncio.to_thread(end, scene.job)
    said = (await scene.settled(1)).said
    assert said.startswith("bad token [redacted] xxx")
    assert leaked not in said
    assert len(said) == 300


@pytest.mark.parametrize("how", ["finished", "cancelled", "expired"])
def test_every_way_to_end_queues_one_message_and_only_for_hooks_that_are_on(scene: Scene, how: str) -> None:
    cast = scene.front.cast
    with cast.see(cast.acme):
        off, _ = actions.add_hook(cast.acme, "https://hooks.example.com/off", actor=cast.olga)
        actions.change_hook(off, url=off.url, enabled=False, actor=cast.olga)
    with cast.see(cast.beta):
        actions.add_hook(cast.beta, "https://hooks.example.com/beta", actor=cast.bob)
    match how:
        case "finished":
            end(scene.job)
        case "cancelled":
            scene.job.ask_to_stop()
        case "expired":
            change(scene.job, "patience_until = now() - interval '1 s'")
            with as_app() as conn:
                until(lambda: rows(conn, "SELECT jobs_sweep(15)") and scene.job.row()["state"] == "expired")
    with as_owner() as conn:
        found = rows(conn, "SELECT hook_id FROM jobs_delivery WHERE job_id = %s", scene.job.id)
    assert found == [(scene.hook.pk,)]


def test_a_delivery_that_was_taken_is_nobody_elses_meanwhile(scene: Scene) -> None:
    end(scene.job)
    with as_app() as one, as_app() as other:
        taken = [set(rows(conn, "SELECT * FROM jobs_due(1000, 1000, 60)")) for conn in (one, other)]
    assert not taken[0] & taken[1]
    until(lambda: scene.delivery().attempts == 1)


def test_one_hook_is_given_a_few_at_a_time(scene: Scene) -> None:
    cast = scene.front.cast
    for _ in range(6):
        end(scene.front.job(cast.uma))
    with as_owner() as conn, conn.transaction(force_rollback=True):
        # As they were made: a process of the hub may have taken some of them by now.
        again = "UPDATE jobs_delivery SET state = 'waiting', due_at = now() WHERE hook_id = %s"
        conn.execute(again, [scene.hook.pk])
        taken = [tenant for _, tenant in rows(conn, "SELECT * FROM jobs_due(1000, 4, 60)")]
    assert taken.count(cast.acme.pk) == 4


def test_a_tenant_with_much_to_tell_does_not_keep_another_waiting(scene: Scene) -> None:
    cast = scene.front.cast
    with as_owner() as conn, conn.transaction(force_rollback=True):
        conn.execute("DELETE FROM jobs_delivery")
        hook = (
            "INSERT INTO jobs_hook (tenant_id, url, secret, enabled, created_at)"
            " VALUES (%s, 'https://hooks.example.com/x', '', true, now()) RETURNING id"
        )
        told = (
            "INSERT INTO jobs_delivery (tenant_id, hook_id, job_id, state, attempts, created_at, due_at, said)"
            " VALUES (%s, %s, %s, 'waiting', 0, now(), now() - %s::interval, '')"
        )
        for tenant, ago in [*[(cast.acme, "1 h")] * 20, (cast.beta, "0 s")]:
            ((made,),) = rows(conn, hook, tenant.pk)
            conn.execute(told, [tenant.pk, made, scene.job.id, ago])
        taken = [tenant for _, tenant in rows(conn, "SELECT * FROM jobs_due(2, 4, 60)")]
    assert sorted(taken) == sorted([cast.acme.pk, cast.beta.pk])


def test_a_hook_that_is_being_deleted_does_not_stand_in_the_way_of_a_jobs_end(scene: Scene) -> None:
    with as_owner(autocommit=False) as admin, ThreadPoolExecutor(1) as thread:
        admin.execute("DELETE FROM jobs_hook WHERE id = %s", [scene.hook.pk])
        ending = thread.submit(end, scene.job)
        until(_waits_for_a_lock)
        admin.commit()
        ending.result(10)
    assert scene.job.row()["state"] == "succeeded"


def _waits_for_a_lock() -> bool:
    with as_owner() as conn:
        return bool(
            rows(
                conn,
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%jobs_finish%%'"
                " AND datname = current_database()",
            )
        )


async def test_nothing_is_sent_for_a_tenant_that_is_switched_off(
    running: None, scene: Scene, listener: Receiver
) -> None:
    with as_owner() as conn:
        conn.execute("UPDATE tenants_tenant SET enabled = false WHERE id = %s", [scene.front.cast.acme.pk])
    await asyncio.to_thread(end, scene.job)
    await hooks.deliver_due()
    assert listener.messages == []


def test_the_web_servers_deliver_by_themselves(hub: list[str], scene: Scene, listener: Receiver) -> None:
    end(scene.job)
    until(lambda: scene.delivery().state == "delivered")
    assert len(listener.messages) == 1


def test_a_secret_is_kept_sealed_and_shown_once(scene: Scene) -> None:
    cast = scene.front.cast
    with as_owner() as conn:
        ((kept,),) = rows(conn, "SELECT secret FROM jobs_hook WHERE id = %s", scene.hook.pk)
    assert scene.secret.encode() not in bytes(kept)
    assert seal.unseal(kept) == scene.secret
    assert len(base64.b64decode(scene.secret.removeprefix("whsec_"))) == 32
    with cast.see(cast.acme):
        renewed = actions.renew_hook_secret(scene.hook, actor=cast.olga)
    assert renewed != scene.secret
    entries = _changes(cast, scene.hook)
    assert [entry.reason for entry in entries] == ["created", "renewed the secret of"]
    assert all(secret not in str(entry.detail) for entry in entries for secret in (scene.secret, renewed))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "https://user:pw@hooks.example.com/",
        "ftp://hooks.example.com/",
        "https://hooks.example.com/#x",
        "nonsense",
    ],
)
def test_a_url_that_would_not_be_sent_to_is_refused(cast: Cast, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.ALLOWED_PRIVATE_HOSTS", ["hooks.internal"])
    with cast.see(cast.acme):
        with pytest.raises(ValidationError):
            actions.add_hook(cast.acme, url, actor=cast.olga)
        hook, _ = actions.add_hook(cast.acme, "http://hooks.internal/x", actor=cast.olga)
        assert hook.enabled


def test_a_hook_goes_with_the_log_of_its_deliveries(scene: Scene) -> None:
    cast = scene.front.cast
    end(scene.job)
    with cast.see(cast.acme):
        actions.remove_hook(scene.hook, actor=cast.olga)
        assert not Delivery.objects.filter(job_id=scene.job.id).exists()
    assert _changes_of(cast, "deleted")


async def test_the_ledger_and_the_log_name_a_hook_by_its_host_as_its_path_may_be_a_secret(
    running: None, scene: Scene, listener: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast, hook = scene.front.cast, scene.hook

    def change_it() -> None:
        with cast.see(cast.acme):
            for tail in ("/T0/first-secret", "/T0/second-secret?key=third-secret"):
                actions.change_hook(hook, url=f"{listener.url}{tail}", enabled=True, actor=cast.olga)

    await asyncio.to_thread(apart, change_it)
    await asyncio.to_thread(end, scene.job)
    with monkeypatch.context() as broken:
        broken.setattr(hooks, "_outbound", _quoting)
        await hooks._deliver((await asyncio.to_thread(scene.delivery)).pk, cast.acme.pk)
    listener.answers = [(410, b"gone")]
    await asyncio.to_thread(scene.due)
    await scene.settled(1)
    await asyncio.to_thread(apart, lambda: _removed(cast, hook))
    said = await asyncio.to_thread(apart, lambda: _changes(cast, hook))
    assert [entry.reason for entry in said] == ["created", "changed", "changed", "switched off", "deleted"]
    assert all(entry.subject == f"jobs.Hook:{hook.pk} {listener.url.removesuffix('/told')}" for entry in said)
    first, second = ((entry.detail or {})["after"]["url"]["digest"] for entry in said[1:3])
    assert first != second
    assert "failed inside the hub" in caplog.text
    assert "-secret" not in caplog.text + "".join(f"{entry.subject} {entry.detail}" for entry in said)


def _quoting(message: hooks._Message, now: int) -> None:
    raise ValueError(f"cannot send to {message.url}")


def _removed(cast: Cast, hook: Hook) -> None:
    with cast.see(cast.acme):
        actions.remove_hook(Hook.objects.get(pk=hook.pk), actor=cast.olga)


def test_of_two_last_hooks_that_are_added_at_once_one_is_too_many(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "MOST_HOOKS", 1)

    def add() -> str:
        with cast.see(cast.acme):
            pid = connection.connection.info.backend_pid
            waiting.put(pid)
            actions.add_hook(cast.acme, "https://hooks.example.com/other", actor=cast.olga)
        return "added"

    waiting: queue.Queue[int] = queue.Queue()
    with ThreadPoolExecutor(1) as thread, as_app() as looker:
        with cast.see(cast.acme):
            actions.add_hook(cast.acme, "https://hooks.example.com/one", actor=cast.olga)
            other = thread.submit(apart, add)
            pid = waiting.get(timeout=10)
            blocked = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
            until(lambda: rows(looker, blocked, pid) or other.done())
        with pytest.raises(ValidationError, match="at most 1 hooks"):
            other.result(10)
    with cast.see(cast.acme):
        assert Hook.objects.count() == 1


def _changes_of(cast: Cast, verb: str) -> list[Entry]:
    with cast.see(cast.acme):
        return list(Entry.objects.filter(event=Event.CHANGED, reason=verb, subject__startswith="jobs.Hook:"))


def test_another_tenants_hooks_and_deliveries_are_out_of_sight(scene: Scene) -> None:
    end(scene.job)
    with scene.front.cast.see(scene.front.cast.beta):
        assert not Hook.objects.exists()
        assert not Delivery.objects.exists()


def test_a_job_that_is_forgotten_takes_its_deliveries_along(scene: Scene) -> None:
    end(scene.job)
    change(scene.job, "expires_at = NULL, ended_at = now() - interval '31 days'")
    with as_app() as conn:
        until(lambda: rows(conn, "SELECT jobs_forget()") or True)
    with as_owner() as conn:
        assert rows(conn, "SELECT FROM jobs_job WHERE id = %s", scene.job.id) == []
        assert rows(conn, "SELECT FROM jobs_delivery WHERE job_id = %s", scene.job.id) == []
