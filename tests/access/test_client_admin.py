"""Clients in the admin: made by hand, shown their secret once, blocked; and admissions, decided by buttons."""

from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse

from access.actions.clients import create_client, create_machine
from access.models import Admission, AuthMethod, Client, digest_of
from tenants.models import Tenant, User
from tests import tokens
from tests.admin.conftest import SignIn, entries, form_of, sign_in
from tests.cast import Cast

__all__ = ["sign_in"]

ADD = reverse("admin:access_client_add")
LIST = reverse("admin:access_client_changelist")


@pytest.fixture
def adam(cast: Cast, sign_in: SignIn) -> Browser:
    """The browser of an admin of acme, which has two scopes."""
    cast.scopes(cast.acme, {"tickets.read": "Read tickets", "tickets.write": "Change tickets"})
    return sign_in(cast.adam)


def page(name: str, row: Any) -> str:
    return reverse(f"admin:access_{name}", args=[row.pk])


def own(cast: Cast, tenant: Tenant) -> Client:
    with cast.see(tenant):
        return create_client(tenant, name="ours", redirect_uris=["https://ours.example/cb"], actor="olga")


def fresh(cast: Cast, client: Client) -> Client:
    with cast.see():
        client.refresh_from_db()
    return client


def made(cast: Cast, name: str) -> Client:
    with cast.see(cast.acme):
        return Client.objects.get(name=name, tenant=cast.acme)


def test_an_admin_makes_a_public_client(cast: Cast, adam: Browser) -> None:
    uris = "cursor://one/cb\nhttp://localhost/cb"
    shown = adam.post(ADD, form_of(adam, ADD, name="Tool", auth_method="none", redirect_uris=uris))
    client = made(cast, "Tool")
    assert client.client_id in shown.content.decode()
    assert (client.redirect_uris, client.client_secret) == ("cursor://one/cb http://localhost/cb", "")
    assert client.client_type == "public"
    assert [entry.reason for entry in entries(cast, cast.acme, subject__startswith="access.Client:")] == ["created"]


def test_an_admin_makes_a_machine_whose_secret_is_shown_once(cast: Cast, adam: Browser) -> None:
    uma = cast.member(cast.acme, cast.uma)
    given = {"name": "Robot", "auth_method": "client_secret_basic", "member": uma.pk, "scopes": ["tickets.read"]}
    shown = adam.post(ADD, form_of(adam, ADD, **given))
    client = made(cast, "Robot")
    secret = shown.context["secret"]
    assert digest_of(secret) == client.client_secret
    assert "no-store" in shown["Cache-Control"]
    assert (client.member_id, client.scopes) == (uma.pk, ["tickets.read"])
    assert secret not in adam.get(page("client_change", client)).content.decode()
    again = adam.post(page("client_rotate", client))
    fresh(cast, client)
    assert digest_of(again.context["secret"]) == client.client_secret != digest_of(secret)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("redirect_uris", {"auth_method": "none", "redirect_uris": "http://evil.example/cb"}),
        ("redirect_uris", {"auth_method": "none"}),
        ("name", {"auth_method": "none", "name": "", "redirect_uris": "https://a.example/cb"}),
        ("auth_method", {"auth_method": "none", "redirect_uris": "https://a.example/cb", "scopes": ["tickets.read"]}),
        ("member", {"auth_method": "client_secret_post", "scopes": ["tickets.read"]}),
        ("scopes", {"auth_method": "client_secret_post", "member": "uma"}),
        ("member", {"auth_method": "client_secret_post", "member": "olga", "scopes": ["tickets.read"]}),
        ("member", {"auth_method": "client_secret_post", "member": "bob", "scopes": ["tickets.read"]}),
        ("jwks", {"auth_method": "private_key_jwt", "member": "uma", "scopes": ["tickets.read"]}),
        (
            "jwks_uri",
            {"auth_method": "private_key_jwt", "member": "uma", "scopes": ["tickets.read"], "jwks_uri": "http://a/k"},
        ),
    ],
)
def test_a_form_that_cannot_be_is_refused_at_its_field(
    cast: Cast, adam: Browser, field: str, given: dict[str, Any]
) -> None:
    if who := given.get("member"):
        user, tenant = getattr(cast, who), cast.beta if who == "bob" else cast.acme
        given = {**given, "member": cast.member(tenant, user).pk}
    answer = adam.post(ADD, form_of(adam, ADD, **{"name": "x", **given}))
    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors
    with cast.see(cast.acme):
        assert not Client.objects.filter(tenant=cast.acme).exists()


def test_an_admin_changes_and_blocks_a_client_of_the_tenant(cast: Cast, adam: Browser) -> None:
    client = own(cast, cast.acme)
    url = page("client_change", client)
    assert adam.post(url, form_of(adam, url, redirect_uris="https://new.example/cb")).status_code == 302
    fresh(cast, client)
    assert client.redirect_uris == "https://new.example/cb"
    assert adam.get(page("client_block", client)).status_code == 200
    for verb, live in (("block", False), ("unblock", True)):
        assert adam.post(page(f"client_{verb}", client)).status_code == 302
        assert fresh(cast, client).live is live
    said = [entry.reason for entry in entries(cast, cast.acme, subject__startswith="access.Client:")]
    assert said == ["created", "changed", "blocked", "unblocked"]


def machine(cast: Cast, user: User, **fields: Any) -> Client:
    member = cast.member(cast.acme, user)
    given = {"auth_method": AuthMethod.BASIC, "scopes": ["tickets.read"], **fields}
    with cast.see(cast.acme):
        return create_machine(member, name="Robot", actor="olga", **given)[0]


def test_an_admin_does_not_become_an_owner_through_an_owners_machine(
    cast: Cast, adam: Browser, sign_in: SignIn
) -> None:
    client = machine(cast, cast.olga)
    before, url = client.client_secret, page("client_change", client)
    shown = adam.get(url).content.decode()
    assert page("client_block", client) in shown
    assert page("client_rotate", client) not in shown
    assert adam.post(url, {"name": "Mine", "scopes": ["tickets.write"]}).status_code == 403
    assert adam.post(page("client_rotate", client)).status_code == 403
    assert adam.post(page("client_block", client)).status_code == 302
    assert page("client_unblock", client) not in adam.get(url).content.decode()
    assert adam.post(page("client_unblock", client)).status_code == 403
    fresh(cast, client)
    assert (client.name, client.scopes, client.client_secret) == ("Robot", ["tickets.read"], before)
    assert not client.live
    olga = sign_in(cast.olga)
    assert olga.post(page("client_unblock", client)).status_code == 302
    assert digest_of(olga.post(page("client_rotate", client)).context["secret"]) == fresh(cast, client).client_secret


def test_an_admin_keeps_the_machines_of_those_below(cast: Cast, adam: Browser) -> None:
    client = machine(cast, cast.uma)
    url = page("client_change", client)
    assert page("client_rotate", client) in adam.get(url).content.decode()
    assert adam.post(url, form_of(adam, url, scopes=["tickets.write"])).status_code == 302
    assert fresh(cast, client).scopes == ["tickets.write"]


def test_nobody_sees_or_touches_a_client_of_another_tenant(cast: Cast, adam: Browser) -> None:
    client = own(cast, cast.beta)
    assert page("client_change", client) not in adam.get(LIST).content.decode()
    assert page("client_change", own(cast, cast.acme)) in adam.get(LIST).content.decode()
    for name in ("client_block", "client_unblock", "client_rotate"):
        assert adam.post(page(name, client)).status_code == 404
    assert adam.get(page("client_change", client)).status_code == 302  # as for any id there is not
    assert fresh(cast, client).live


def test_a_client_of_the_hub_is_read_where_it_was_let_in_and_changed_by_staff(
    cast: Cast, adam: Browser, sign_in: SignIn
) -> None:
    stranger, met = tokens.client(name="Stranger"), tokens.client(name="Met here")
    tokens.consent(cast, cast.uma, by=met)
    assert adam.get(page("client_change", stranger)).status_code == 302
    shown = adam.get(page("client_change", met))
    assert shown.status_code == 200
    assert page("client_block", met) not in shown.content.decode()
    assert adam.post(page("client_change", met), {"name": "Mine"}).status_code == 403
    assert adam.post(page("client_block", met)).status_code == 403
    assert f"?client={met.client_id}" in shown.content.decode()
    staff = sign_in(cast.staff)
    assert staff.get(page("client_change", stranger)).status_code == 200
    assert staff.post(page("client_block", stranger)).status_code == 302
    stranger.refresh_from_db()
    assert not stranger.live


def test_admissions_are_decided_by_buttons(cast: Cast, adam: Browser) -> None:
    client = tokens.client(name="Wanted")
    with cast.see(cast.acme):
        asked = Admission.objects.create(
            tenant=cast.acme, client=client, state="asked", asked_by=cast.member(cast.acme, cast.uma)
        )
    url = page("admission_change", asked)
    assert page("admission_admit", asked) in adam.get(url).content.decode()
    for verb, state in (("admit", "admitted"), ("block", "blocked")):
        assert adam.get(page(f"admission_{verb}", asked)).status_code == 200
        assert adam.post(page(f"admission_{verb}", asked)).status_code == 302
        with cast.see(cast.acme):
            asked.refresh_from_db()
        assert asked.state == state
    assert cast.uma.username in adam.get(reverse("admin:access_admission_changelist")).content.decode()


@pytest.mark.parametrize("decision", ["admitted", "blocked"])
def test_a_client_is_put_on_the_list_by_its_id(cast: Cast, adam: Browser, decision: str) -> None:
    client, url = tokens.client(), reverse("admin:access_admission_add")
    assert form_of(adam, f"{url}?client={client.client_id}")["client_id_text"] == client.client_id
    unknown = adam.post(url, form_of(adam, url, client_id_text="https://nobody.example/c", decision=decision))
    assert "No program of this id was here yet" in unknown.content.decode()
    assert adam.post(url, form_of(adam, url, client_id_text=client.client_id, decision=decision)).status_code == 302
    with cast.see(cast.acme):
        assert Admission.objects.get(tenant=cast.acme, client=client).state == decision


def test_an_admission_of_another_tenant_is_out_of_reach(cast: Cast, adam: Browser) -> None:
    with cast.see(cast.beta):
        theirs = Admission.objects.create(tenant=cast.beta, client=tokens.client(), state="asked")
    for verb in ("admit", "block"):
        assert adam.post(page(f"admission_{verb}", theirs)).status_code == 404
