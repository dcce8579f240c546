"""What a job was accepted with is asked again before it runs, and while it runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from access.actions import revoke_key
from access.models import Admission, APIKey, Consent
from access.standing import standing
from lib import db
from tenants import actions as tenant_actions
from tenants.caller import Caller
from tenants.models import User
from tests import tokens
from tests.cast import Cast
from tests.jobs.place import Place, held_back, marks, place
from tests.postgres import as_owner, rows
from tests.waiting import until
from tools.models import Tool

Take = Callable[[Cast, Place], object]


def key_of(at: Place) -> APIKey:
    return APIKey.objects.get(pk=at.credential.partition(":")[2])


def revoke(cast: Cast, at: Place) -> None:
    revoke_key(key_of(at), actor="olga")


def expire(cast: Cast, at: Place) -> None:
    APIKey.objects.filter(pk=key_of(at).pk).update(expires_at=timezone.now())


def retire(cast: Cast, at: Place) -> None:
    cast.acme.members.filter(pk=at.member_id).update(active=False)


def deactivate(cast: Cast, at: Place) -> None:
    User.objects.filter(pk=cast.uma.pk).update(is_active=False)


def narrow(cast: Cast, at: Place) -> None:
    APIKey.objects.filter(pk=key_of(at).pk).update(scopes=[])


def switch_off(cast: Cast, at: Place) -> None:
    Tool.objects.filter(tenant=cast.acme).update(enabled=False)


LOST: list[Take] = [revoke, expire, retire, deactivate, narrow, switch_off]


@pytest.fixture
def at(cast: Cast) -> Place:
    cast.scopes(cast.acme, {"a.read": "Read"})
    return place(cast, scopes=["a.read"])


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("take", LOST)
def test_a_job_whose_caller_may_no_longer_act_does_not_run(cast: Cast, at: Place, tmp_path: Path, take: Take) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background", scopes=["a.read"])
    with held_back(cast):
        job = at.accept(tool, {"path": str(tmp_path / "marks")})
        with cast.see(cast.acme):
            take(cast, at)
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("cancelled", "standing_lost")
    assert marks(tmp_path / "marks") == []


@pytest.mark.usefixtures("worker")
def test_the_jobs_of_a_disabled_tenant_do_not_run(cast: Cast, at: Place, tmp_path: Path) -> None:
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background", scopes=["a.read"])
    beside = cast.tool(cast.beta, "leave_a_mark", runs="background")
    with held_back(cast):
        job = at.accept(tool, {"path": str(tmp_path / "marks")})
        with cast.see(cast.acme):
            type(cast.acme).objects.filter(pk=cast.acme.pk).update(enabled=False)
    key, _ = cast.key(cast.bob, cast.beta)
    bob = Place(
        cast=cast,
        tenant=cast.beta,
        user=cast.bob,
        credential=f"key:{key.pk}",
        member_id=cast.member(cast.beta, cast.bob).pk,
    )
    assert bob.start(beside, {"path": str(tmp_path / "beside")}).until_ended()["state"] == "succeeded"
    assert job.row()["state"] == "queued"


def close_tenant(cast: Cast, at: Place) -> None:
    type(cast.acme).objects.filter(pk=cast.acme.pk).update(enabled=False)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("take", [revoke, retire, deactivate, switch_off, close_tenant])
def test_a_kill_switch_stops_a_running_job(cast: Cast, at: Place, tmp_path: Path, take: Take) -> None:
    tool = cast.tool(cast.acme, "linger", runs="background", scopes=["a.read"], timeout=60)
    job = at.start(tool, {"path": str(tmp_path / "note")})
    until(lambda: (tmp_path / "note").exists())
    with cast.see(cast.acme):
        take(cast, at)
    row = job.until_ended()
    assert (row["state"], row["reason"]) == ("cancelled", "standing_lost")
    assert (tmp_path / "note").read_text() == "cancelled"


@pytest.mark.usefixtures("worker")
def test_a_job_never_gets_more_scopes_than_it_was_accepted_with(cast: Cast, at: Place, tmp_path: Path) -> None:
    cast.scopes(cast.acme, {"a.write": "Write"})
    tool = cast.tool(cast.acme, "leave_a_mark", runs="background", scopes=["a.write"])
    with held_back(cast):
        job = at.accept(tool, {"path": str(tmp_path / "marks")})
        with cast.see(cast.acme):
            APIKey.objects.filter(pk=key_of(at).pk).update(scopes=["a.read", "a.write"])
    assert job.until_ended()["reason"] == "standing_lost"
    assert marks(tmp_path / "marks") == []


def standing_of(cast: Cast, credential: str, user: User | None = None) -> Caller | None:
    member = cast.member(cast.acme, user or cast.uma).pk

    async def ask() -> Caller | None:
        async with db.open_pool(size=2):
            return await standing(cast.acme.pk, member, credential)

    return asyncio.run(ask())


def test_a_key_stands_with_what_it_is_worth_now(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write"}, a_write=["a.read"])
    key, _ = cast.key(cast.uma, scopes=["a.write"])
    caller = standing_of(cast, f"key:{key.pk}")
    assert caller is not None
    assert caller.username == cast.uma.username
    assert caller.scopes == {"a.read", "a.write"}
    assert standing_of(cast, f"key:{key.pk}", cast.olga) is None


def test_a_consent_stands_until_it_is_revoked_or_its_client_is_blocked(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read"})
    consent = tokens.consent(cast, cast.uma, scopes=["a.read"])
    caller = standing_of(cast, f"app:{consent.pk}")
    assert caller is not None
    assert caller.scopes == {"a.read"}
    with cast.see(cast.acme):
        admission = Admission.objects.create(tenant=cast.acme, client=consent.client, state="blocked")
    assert standing_of(cast, f"app:{consent.pk}") is None
    with cast.see(cast.acme):
        admission.delete()
        Consent.objects.filter(pk=consent.pk).update(revoked_at=timezone.now())
    assert standing_of(cast, f"app:{consent.pk}") is None


@pytest.mark.parametrize("credential", ["", "key:", "key:x", "app:0", "nobody", "key:99999999999999", "outside:1"])
def test_a_credential_that_is_none_stands_for_nobody(cast: Cast, credential: str) -> None:
    assert standing_of(cast, credential) is None


def test_the_ledger_says_how_the_jobs_of_a_member_who_is_removed_ended(cast: Cast) -> None:
    tool, here = cast.tool(cast.acme, "leave_a_mark", runs="background"), place(cast)
    job = here.accept(tool, {"path": "/nowhere"})
    with cast.see(cast.acme):
        tenant_actions.remove_member(cast.member(cast.acme, here.user), actor="olga")
    with as_owner() as conn:
        assert rows(conn, "SELECT FROM jobs_job WHERE id = %s", job.id) == []
        told = rows(
            conn, "SELECT event, outcome, reason FROM audit_entry WHERE subject = %s ORDER BY id", f"job {job.id}"
        )
    assert told[-1] == ("job.ended", "cancelled", "standing_lost")


@pytest.mark.parametrize("credential", ["admin", "cli"])
def test_who_acts_without_a_credential_stands_as_long_as_the_member(cast: Cast, credential: str) -> None:
    assert standing_of(cast, credential) is not None
    with cast.see(cast.acme):
        tenant_actions.remove_member(cast.member(cast.acme, cast.adam), actor="olga")
        cast.acme.members.filter(user=cast.uma).update(active=False)
        member = cast.acme.members.get(user=cast.uma).pk

    async def ask() -> Caller | None:
        async with db.open_pool(size=2):
            return await standing(cast.acme.pk, member, credential)

    assert asyncio.run(ask()) is None
