"""Who is at a tenant's door: what a presented secret opens, read fresh every time."""

import asyncio
import datetime
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from access.actions import revoke_key
from access.admit import Door, admit, record_use
from access.models import AccessToken, Admission, APIKey, Client, Consent, digest_of
from lib import db
from tenants import actions as tenant_actions
from tenants.models import Role, User
from tests import tokens
from tests.cast import Cast


def at_the_door(*asked: tuple[str, str | None]) -> list[Door | None]:
    """All of them at once, so that they share one read."""

    async def ask() -> list[Door | None]:
        async with db.open_pool(size=2):
            return list(await asyncio.gather(*(admit(slug, secret) for slug, secret in asked)))

    return asyncio.run(ask())


def test_a_key_opens_its_own_tenant_as_its_member(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write"}, a_write=["a.read"])
    key, secret = cast.key(cast.uma, scopes=["a.write"])
    (door,) = at_the_door((cast.acme.slug, secret))
    assert door is not None
    caller = door.caller
    assert caller is not None
    assert (caller.tenant_id, caller.username, caller.role) == (cast.acme.pk, cast.uma.username, "user")
    assert caller.credential == f"key:{key.pk}"
    assert caller.scopes == caller.reach == {"a.read", "a.write"}


@pytest.mark.parametrize("secret", [None, "", "mcphub_00000000_nothing", "x" * 10_000, "ü\x00", "' OR 1=1 --"])
def test_a_secret_that_opens_nothing_leaves_a_door_without_a_caller(cast: Cast, secret: str | None) -> None:
    (door,) = at_the_door((cast.acme.slug, secret))
    assert door is not None
    assert (door.tenant_id, door.caller) == (cast.acme.pk, None)


def test_a_digest_is_no_secret(cast: Cast) -> None:
    key, _ = cast.key(cast.uma)
    (door,) = at_the_door((cast.acme.slug, key.digest))
    assert door is not None
    assert door.caller is None


def test_a_key_opens_no_other_tenant_even_of_the_same_person(cast: Cast) -> None:
    _, secret = cast.key(cast.uma)
    with cast.see(cast.beta):
        tenant_actions.add_member(cast.beta, cast.uma, role=Role.OWNER, actor="system")
    (door,) = at_the_door((cast.beta.slug, secret))
    assert door is not None
    assert door.caller is None


def revoke(cast: Cast, key: APIKey) -> None:
    revoke_key(key, actor="olga")


def expire(cast: Cast, key: APIKey) -> None:
    APIKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - datetime.timedelta(seconds=1))


def retire(cast: Cast, key: APIKey) -> None:
    cast.acme.members.filter(user=cast.uma).update(active=False)


def remove(cast: Cast, key: APIKey) -> None:
    tenant_actions.remove_member(cast.member(cast.acme, cast.uma), actor="olga")


def deactivate(cast: Cast, key: APIKey) -> None:
    cast.uma.is_active = False
    cast.uma.save()


@pytest.mark.parametrize("take_away", [revoke, expire, retire, remove, deactivate])
def test_what_is_taken_away_is_refused_on_the_next_request(
    cast: Cast, take_away: Callable[[Cast, APIKey], None]
) -> None:
    key, secret = cast.key(cast.uma)

    async def twice() -> list[Door | None]:
        async with db.open_pool(size=2):
            before = await admit(cast.acme.slug, secret)
            await asyncio.to_thread(taken)
            return [before, await admit(cast.acme.slug, secret)]

    def taken() -> None:
        from django.db import connection

        with cast.see(cast.acme):
            take_away(cast, key)
        connection.close()

    before, after = asyncio.run(twice())
    assert before is not None
    assert before.caller is not None
    assert after is not None
    assert after.caller is None


def test_a_token_opens_its_own_tenant_as_the_member_who_let_the_program_in(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write", "b": "More"}, a_write=["a.read"])
    consent, secret = tokens.granted(cast, cast.uma, scopes="a.write a.read gone")
    (door,) = at_the_door((cast.acme.slug, secret))
    assert door is not None
    caller = door.caller
    assert caller is not None
    assert (caller.tenant_id, caller.username, caller.role) == (cast.acme.pk, cast.uma.username, "user")
    assert (caller.credential, caller.client) == (f"app:{consent.pk}", "Test program")
    assert caller.scopes == {"a.read", "a.write"}
    assert caller.reach == {"a.read", "a.write", "b"}


def test_what_a_scope_comes_to_imply_is_not_in_the_tokens_of_programs(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write"}, a_write=["a.read"])
    _, app = tokens.granted(cast, cast.uma, scopes="a.write")
    _, machine = tokens.machine(cast, cast.uma, "a.write")
    doors = at_the_door((cast.acme.slug, app), (cast.acme.slug, machine))
    assert [door.caller.scopes for door in doors if door and door.caller] == [{"a.write"}, {"a.write", "a.read"}]


def test_a_token_carries_no_scope_that_is_not_for_the_role_any_more(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write"})
    _, secret = tokens.granted(cast, cast.uma, scopes="a.read a.write")
    cast.change_scope(cast.acme, "a.write", roles=["admin"])
    (door,) = at_the_door((cast.acme.slug, secret))
    assert door is not None
    assert door.caller is not None
    assert door.caller.scopes == {"a.read"}


def test_a_machines_token_opens_its_tenant_as_its_member(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read"})
    machine, secret = tokens.machine(cast, cast.uma, "a.read")
    (door,) = at_the_door((cast.acme.slug, secret))
    assert door is not None
    assert door.caller is not None
    assert (door.caller.credential, door.caller.username) == (f"client:{machine.pk}", cast.uma.username)
    assert door.caller.scopes == {"a.read"}


Take = Callable[[Cast, Consent], object]


def of_tokens(consent: Consent) -> Any:
    return AccessToken.objects.filter(consent_id=consent.pk)


TAKEN: dict[str, Take] = {
    "expired": lambda cast, consent: of_tokens(consent).update(expires=timezone.now()),
    "deleted": lambda cast, consent: of_tokens(consent).delete(),
    "consent revoked": lambda cast, consent: Consent.objects.update(revoked_at=timezone.now()),
    "consent run out": lambda cast, consent: Consent.objects.update(until=timezone.now()),
    "client blocked": lambda cast, consent: Client.objects.filter(pk=consent.client_id).update(
        blocked_at=timezone.now()
    ),
    "client blocked here": lambda cast, consent: Admission.objects.create(
        tenant=cast.acme, client=consent.client, state=Admission.State.BLOCKED
    ),
    "member inactive": lambda cast, consent: cast.acme.members.filter(user=cast.uma).update(active=False),
    "member removed": lambda cast, consent: tenant_actions.remove_member(consent.member, actor="olga"),
    "user inactive": lambda cast, consent: User.objects.filter(pk=cast.uma.pk).update(is_active=False),
    "no consent behind it": lambda cast, consent: of_tokens(consent).update(consent=None),
}


@pytest.mark.parametrize("taken", TAKEN)
def test_a_token_whose_ground_is_taken_away_opens_nothing_on_the_next_request(cast: Cast, taken: str) -> None:
    consent, secret = tokens.granted(cast, cast.uma)
    (before,) = at_the_door((cast.acme.slug, secret))
    with cast.see(cast.acme):
        TAKEN[taken](cast, consent)
    (after,) = at_the_door((cast.acme.slug, secret))
    assert before is not None
    assert before.caller is not None
    assert after is not None
    assert after.caller is None


@pytest.mark.parametrize("state", [Admission.State.ASKED, Admission.State.ADMITTED])
def test_an_admission_that_is_no_block_takes_nothing_away(cast: Cast, state: str) -> None:
    consent, secret = tokens.granted(cast, cast.uma)
    with cast.see(cast.acme):
        Admission.objects.create(tenant=cast.acme, client=consent.client, state=state)
    with cast.see(cast.beta):
        Admission.objects.create(tenant=cast.beta, client=consent.client, state=Admission.State.BLOCKED)
    (door,) = at_the_door((cast.acme.slug, secret))
    assert door is not None
    assert door.caller is not None


@pytest.mark.parametrize("taken", ["another member", "another tenant"])
def test_a_machines_token_falls_with_what_the_machine_was_bound_to(cast: Cast, taken: str) -> None:
    machine, secret = tokens.machine(cast, cast.uma)
    other = cast.member(cast.acme, cast.adam) if taken == "another member" else cast.member(cast.beta, cast.bob)
    with cast.see():
        Client.objects.filter(pk=machine.pk).update(member=other, tenant=other.tenant)
    (door,) = at_the_door((cast.acme.slug, secret))
    assert door is not None
    assert door.caller is None


def test_a_token_opens_no_other_tenant_even_of_the_same_person_and_is_known_as_astray(cast: Cast) -> None:
    _, token = tokens.granted(cast, cast.uma)
    _, key = cast.key(cast.uma)
    with cast.see(cast.beta):
        tenant_actions.add_member(cast.beta, cast.uma, role=Role.OWNER, actor="system")
    doors = at_the_door((cast.beta.slug, token), (cast.beta.slug, key), (cast.beta.slug, "x"), (cast.beta.slug, None))
    found = [(door.caller, door.stray) for door in doors if door]
    assert found == [(None, cast.acme.pk), (None, cast.acme.pk), (None, None), (None, None)]


def test_a_checksum_is_no_token(cast: Cast) -> None:
    _, secret = tokens.granted(cast, cast.uma)
    digest = digest_of(secret)
    doors = at_the_door(*((cast.acme.slug, f"{prefix}{digest}") for prefix in ("", "mcphub_at_")))
    assert [door.caller if door else "nothing" for door in doors] == [None, None]


def test_all_credentials_of_one_read_are_answered_each_by_its_own(cast: Cast) -> None:
    _, key = cast.key(cast.adam)
    _, token = tokens.granted(cast, cast.uma)
    _, machine = tokens.machine(cast, cast.olga)
    asked = [(cast.acme.slug, one) for one in (key, token, None, machine, "a.b.c", token + "x")]
    names = [door.caller.username if door and door.caller else None for door in at_the_door(*asked * 20)]
    assert names == [cast.adam.username, cast.uma.username, None, cast.olga.username, None, None] * 20


def test_a_demoted_member_keeps_only_what_the_new_role_may_hold(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.admin": "All"})
    cast.change_scope(cast.acme, "a.admin", roles=["admin"])
    _, secret = cast.key(cast.adam)
    with cast.see(cast.acme):
        cast.acme.members.filter(user=cast.adam).update(role="user")
    (door,) = at_the_door((cast.acme.slug, secret))
    assert door is not None
    assert door.caller is not None
    assert door.caller.scopes == door.caller.reach == {"a.read"}


@pytest.mark.parametrize("slug", ["no-such-tenant", "", "a\x00b", "\ud800", "x" * 100])
def test_an_unknown_tenant_is_nothing_and_disturbs_nobody_else(cast: Cast, slug: str) -> None:
    _, secret = cast.key(cast.uma)
    nothing, door = at_the_door((slug, secret), (cast.acme.slug, secret))
    assert nothing is None
    assert door is not None
    assert door.caller is not None


def test_a_disabled_tenant_is_nothing(cast: Cast) -> None:
    _, secret = cast.key(cast.uma)
    with cast.see(cast.acme):
        cast.acme.enabled = False
        cast.acme.save()
    assert at_the_door((cast.acme.slug, secret), (cast.acme.slug, None)) == [None, None]


def test_answers_of_one_read_go_to_whom_they_belong(cast: Cast) -> None:
    people = [cast.olga, cast.adam, cast.uma]
    secrets = [cast.key(user)[1] for user in people]
    _, beta = cast.key(cast.bob, cast.beta)
    asked = [(cast.acme.slug, secret) for secret in secrets] + [(cast.beta.slug, beta), (cast.acme.slug, None)]
    callers = [door.caller if door else None for door in at_the_door(*asked * 40)]
    names = [user.username for user in (*people, cast.bob)]
    assert [caller.username if caller else None for caller in callers] == [*names, None] * 40


def test_the_use_of_a_key_is_written_down_now_and_then(cast: Cast) -> None:
    used, secret = cast.key(cast.uma)
    idle, _ = cast.key(cast.uma)

    async def use() -> None:
        async with db.open_pool(size=2):
            await admit(cast.acme.slug, secret)
            await record_use()

    began = timezone.now()
    asyncio.run(use())
    with cast.see(cast.acme):
        used.refresh_from_db()
        idle.refresh_from_db()
    assert used.last_used_at is not None
    assert used.last_used_at >= began
    assert idle.last_used_at is None


def test_the_use_of_a_consent_is_written_down_with_where_it_came_from(cast: Cast) -> None:
    used, secret = tokens.granted(cast, cast.uma)
    idle, _ = tokens.granted(cast, cast.adam)

    async def use() -> None:
        async with db.open_pool(size=2):
            await admit(cast.acme.slug, secret, address="192.0.2.1")
            await admit(cast.acme.slug, secret, address="192.0.2.7")
            await record_use()

    began = timezone.now()
    asyncio.run(use())
    with cast.see(cast.acme):
        used.refresh_from_db()
        idle.refresh_from_db()
    assert used.last_used_at is not None
    assert (used.last_used_at >= began, used.last_address) == (True, "192.0.2.7")
    assert (idle.last_used_at, idle.last_address) == (None, "")


def test_writing_down_the_use_of_a_consent_waits_for_nobody_who_holds_it(cast: Cast) -> None:
    consent, secret = tokens.granted(cast, cast.uma)

    async def use() -> None:
        async with db.open_pool(size=2):
            await admit(cast.acme.slug, secret)
            async with asyncio.timeout(5):
                await record_use()

    with cast.see(cast.acme):
        Consent.objects.select_for_update(no_key=True).get(pk=consent.pk)
        in_thread = threading.Thread(target=asyncio.run, args=[use()])
        in_thread.start()
        in_thread.join(10)
        assert not in_thread.is_alive()
