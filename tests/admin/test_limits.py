"""The page of a limit: what fits together, and what it says in a list."""

import secrets
from importlib import import_module
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from lib import db
from policy.models import Limit
from tests.admin.conftest import SignIn
from tests.cast import Cast
from tests.postgres import as_owner

GIVEN = {"counts": "calls", "per": "member", "tool": "", "most": 10, "seconds": 60, "share": 100}
ADD = "admin:policy_limit_add"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, "at most 10 calls in 60 s for each member"),
        ({"counts": "concurrent", "tool": "refund"}, "at most 10 calls of refund at once for each member"),
        ({"counts": "bytes", "most": 1_000_000}, "at most 1,000,000 bytes of results in 60 s for each member"),
        ({"counts": "units", "per": "tenant"}, "at most 10 units a day for the whole tenant together"),
        ({"counts": "repeats"}, "at most 10 times the very same call in 60 s for each member"),
        ({"per": "tenant", "share": 60}, "for the whole tenant together, 60% of it for one member"),
        ({"per": "client"}, "at most 10 calls in 60 s for each OAuth client, over all its users"),
    ],
)
def test_the_list_says_each_limit_in_one_sentence(cast: Cast, olga: Client, changed: dict[str, Any], says: str) -> None:
    assert olga.post(reverse(ADD), {**GIVEN, **changed}).status_code == 302
    assert says in olga.get(reverse("admin:policy_limit_changelist")).content.decode()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"counts": "repeats", "per": "tenant"}, "The very same call is the same member&#x27;s"),
        ({"share": 60}, "A share is for what several members draw on together"),
        ({"per": "tenant", "share": 0}, "greater than or equal to 1"),
        ({"most": 0}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_an_error_beside_the_field(
    cast: Cast, olga: Client, changed: dict[str, Any], says: str
) -> None:
    page = olga.post(reverse(ADD), {**GIVEN, **changed})
    assert page.status_code == 200
    assert says in page.content.decode()
    with cast.see(cast.acme):
        assert not Limit.objects.filter(tenant=cast.acme).exists()


def test_seconds_mean_nothing_for_calls_at_once_and_for_units(cast: Cast, olga: Client) -> None:
    for counts in ("concurrent", "units"):
        olga.post(reverse(ADD), {**GIVEN, "counts": counts, "seconds": 7})
    with cast.see(cast.acme):
        assert set(Limit.objects.filter(tenant=cast.acme).values_list("seconds", flat=True)) == {60}


def test_a_new_tenant_tells_who_calls_in_a_tight_loop_and_its_admins_may_take_that_away(
    cast: Cast, sign_in: SignIn
) -> None:
    slug = f"new-{secrets.token_hex(4)}"
    given = {"name": "New", "slug": slug, "admits": "open", "scan_stops": "danger", "owner": cast.olga.username}
    answer = sign_in(cast.staff).post(reverse("admin:tenants_tenant_add"), given)
    assert answer.status_code == 302, answer.content.decode()
    olga = sign_in(cast.olga)
    page = olga.get(reverse("admin:policy_limit_changelist")).content.decode()
    assert "at most 60 times the very same call in 60 s for each member" in page
    (made,) = _limits(cast, slug)
    assert olga.post(reverse("admin:policy_limit_delete", args=[made]), {"post": "yes"}).status_code == 302
    assert _limits(cast, slug) == []


def _limits(cast: Cast, slug: str) -> list[int]:
    with db.tenant_scope(cast.reached_by(cast.olga)):
        return list(Limit.objects.filter(tenant__slug=slug).values_list("pk", flat=True))


def test_tenants_of_old_begin_to_count_repeats_once(cast: Cast) -> None:
    def both() -> list[list[int]]:
        found = []
        for tenant in (cast.acme, cast.beta):
            with cast.see(tenant):
                found.append(list(Limit.objects.filter(tenant=tenant).values_list("most", flat=True)))
        return found

    with cast.see(cast.beta):
        Limit.objects.create(tenant=cast.beta, counts="repeats", most=7, seconds=9)
    step = import_module("policy.migrations.0006_first_limits").REPEATS
    only = step + f" AND t.id IN ({cast.acme.pk}, {cast.beta.pk})"
    with as_owner() as conn:
        conn.execute(only)
        conn.execute(only)
    assert both() == [[60], [7]]
