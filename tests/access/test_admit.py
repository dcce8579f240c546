"""Who is at a tenant's door: what a presented secret opens, read fresh every time."""

import asyncio
import datetime
from collections.abc import Callable

import pytest
from django.utils import timezone

from access.actions import revoke_key
from access.admit import Door, admit, record_use
from access.models import APIKey
from lib import db
from tenants import actions as tenant_actions
from tenants.models import Role
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


def test_a_demoted_member_keeps_only_what_the_new_role_may_hold(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.admin": "All"})
    with cast.see(cast.acme):
        cast.acme.scopes.filter(name="a.admin").update(roles=["admin"])
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
