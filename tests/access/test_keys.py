"""API keys: issued once, worth what their member may hold, kept as a digest only."""
# ruff: noqa: S608 - the names of tables come from this file and the models

import datetime

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from access.actions import issue_key, revoke_key
from access.models import APIKey, digest_of, new_secret
from tenants.models import Role
from tests.cast import Cast
from tests.postgres import as_owner, rows


@pytest.fixture
def scoped(cast: Cast) -> Cast:
    """a.write implies a.read; only owners may hold a.admin."""
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write", "a.admin": "All"}, a_write=["a.read"])
    cast.change_scope(cast.acme, "a.admin", roles=["owner"])
    return cast


def test_a_key_carries_the_scopes_it_was_asked_for(scoped: Cast) -> None:
    key, _ = scoped.key(scoped.uma, scopes=["a.write"])
    assert key.scopes == ["a.write"]


def test_a_key_without_named_scopes_carries_all_its_member_may_hold(scoped: Cast) -> None:
    assert scoped.key(scoped.uma)[0].scopes == ["a.read", "a.write"]
    assert scoped.key(scoped.olga)[0].scopes == ["a.admin", "a.read", "a.write"]


def test_a_key_may_carry_no_scope_at_all(scoped: Cast) -> None:
    assert scoped.key(scoped.uma, scopes=[])[0].scopes == []


@pytest.mark.parametrize("wanted", [["a.admin"], ["nothing"], ["a.read", "a.admin"], [""]])
def test_a_scope_beyond_the_member_is_refused_with_what_is_allowed(scoped: Cast, wanted: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        scoped.key(scoped.uma, scopes=wanted)
    (sentence,) = refused.value.messages
    assert "cannot have" in sentence
    assert "Allowed: a.read, a.write." in sentence


def test_a_scope_that_implies_more_than_the_member_may_hold_brings_all_of_it_within_reach(scoped: Cast) -> None:
    """Whoever may hold a scope may hold what it implies; the two cannot contradict each other."""
    scoped.scopes(scoped.acme, {"a.all": "All"}, a_all=["a.admin"])
    scoped.change_scope(scoped.acme, "a.all", roles=[Role.USER])
    assert scoped.key(scoped.uma, scopes=["a.all"])[0].scopes == ["a.all"]


def test_another_tenants_scope_is_no_scope_here(scoped: Cast) -> None:
    scoped.scopes(scoped.beta, {"b.read": "Read"})
    with pytest.raises(ValidationError):
        scoped.key(scoped.uma, scopes=["b.read"])


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_key_needs_a_name_of_bounded_length(cast: Cast, name: str) -> None:
    with cast.see(cast.acme), pytest.raises(ValidationError) as refused:
        issue_key(cast.member(cast.acme, cast.uma), name=name, actor="system")
    assert "name" in refused.value.message_dict


def test_a_secret_is_recognisable_and_long_and_never_the_same(cast: Cast) -> None:
    key, secret = cast.key(cast.uma)
    assert secret.startswith("mcphub_")
    assert len(secret) >= 58
    assert key.prefix == secret[:15]
    assert str(key) == f"{secret[:15]}… (test host)"
    assert len({new_secret() for _ in range(100)}) == 100


def test_a_secret_is_nowhere_in_the_database(cast: Cast) -> None:
    """Neither whole nor its secret part, in any row of any table; the digest is there, so the search works."""
    key, secret = cast.key(cast.uma)

    def tables_with(text: str) -> list[str]:
        with as_owner() as owner:
            names = rows(
                owner,
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace",
            )
            return [
                name
                for (name,) in names
                if rows(owner, f"SELECT 1 FROM {name} t WHERE t::text LIKE %s LIMIT 1", f"%{text}%")
            ]

    assert tables_with(digest_of(secret)) == ["access_apikey"]
    assert tables_with(secret) == []
    assert tables_with(secret[15:]) == []
    with cast.see(cast.acme):
        stored = APIKey.objects.get(pk=key.pk)
    assert secret[15:] not in repr(vars(stored))


def test_revoking_twice_is_revoking_once(cast: Cast) -> None:
    key, _ = cast.key(cast.uma)
    with cast.see(cast.acme):
        assert revoke_key(key, actor="olga") is True
        first = key.revoked_at
        assert revoke_key(key, actor="adam") is False
        key.refresh_from_db()
    assert key.revoked_at == first
    assert key.state == "revoked"


@pytest.mark.parametrize(("minutes", "state"), [(None, "active"), (5, "active"), (-5, "expired")])
def test_the_state_of_a_key_follows_its_expiry(cast: Cast, minutes: int | None, state: str) -> None:
    expiry = None if minutes is None else timezone.now() + datetime.timedelta(minutes=minutes)
    assert cast.key(cast.uma, expires_at=expiry)[0].state == state
