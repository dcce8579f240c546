"""The page on which a tenant's owners say which authorization server they trust instead of the hub."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client, override_settings

from access.models import OutsideIssuer
from audit.models import Entry
from tenants.actions import add_member
from tenants.models import Role, User
from tests.access.test_outside import RSA, Elsewhere, elsewhere, jwk, trust
from tests.cast import Cast

__all__ = ["elsewhere"]

PAGE = "/admin/access/outsideissuer/"
GIVEN = {
    "issuer": "https://id.example.com",
    "jwks_uri": "https://id.example.com/keys",
    "algorithms": ["ES256"],
    "claim": "sub",
    "matches": "username",
    "scope_claim": "scope",
    "enabled": "on",
}


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def add(cast: Cast, user: User, **fields: Any) -> Any:
    return browser(user).post(f"{PAGE}add/?tenant={cast.acme.pk}", GIVEN | fields)


def trusted(cast: Cast) -> list[str]:
    with cast.see(cast.acme):
        return list(OutsideIssuer.objects.filter(tenant=cast.acme).values_list("issuer", flat=True))


def test_an_owner_names_an_issuer_and_the_ledger_keeps_it(cast: Cast) -> None:
    assert add(cast, cast.olga).status_code == 302
    assert trusted(cast) == ["https://id.example.com"]
    with cast.see(cast.acme):
        entry = Entry.objects.get(tenant_id=cast.acme.pk, subject__contains="OutsideIssuer")
    assert entry.actor == cast.olga.username
    assert entry.detail is not None
    assert entry.detail["after"]["issuer"] == "https://id.example.com"


def test_whoever_is_no_owner_may_look_and_change_nothing(cast: Cast) -> None:
    """An admin could name an issuer that calls anybody an owner."""
    assert add(cast, cast.adam).status_code == 403
    assert add(cast, cast.olga).status_code == 302
    with cast.see(cast.acme):
        page = f"{PAGE}{OutsideIssuer.objects.get(tenant=cast.acme).pk}"
    assert browser(cast.adam).get(f"{page}/change/").status_code == 200
    assert browser(cast.adam).post(f"{page}/change/", GIVEN | {"issuer": "https://evil.example"}).status_code == 403
    assert browser(cast.adam).post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    assert trusted(cast) == ["https://id.example.com"]


def test_an_owner_elsewhere_is_no_owner_here(cast: Cast) -> None:
    with cast.see(cast.beta):
        add_member(cast.beta, cast.olga, role=Role.ADMIN, actor="system")
    assert browser(cast.olga).post(f"{PAGE}add/?tenant={cast.beta.pk}", GIVEN).status_code == 403
    add(cast, cast.bob)
    assert add(cast, cast.audrey).status_code == 403
    assert trusted(cast) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issuer", "http://127.0.0.1:8000"),
        ("issuer", "not a url"),
        ("jwks_uri", "https://user:password@id.example.com/keys"),
        ("jwks_uri", "file:///etc/passwd"),
        ("jwks_uri", "https://id.example.com/keys#one"),
        ("algorithms", ["HS256"]),
        ("algorithms", ["none"]),
        ("algorithms", []),
    ],
)
@override_settings(BASE_URL="http://127.0.0.1:8000")
def test_what_could_not_be_trusted_is_not_taken(cast: Cast, field: str, value: Any) -> None:
    assert add(cast, cast.olga, **{field: value}).status_code == 200
    assert trusted(cast) == []


@override_settings(BASE_URL="https://hub.example.com")
def test_a_hub_with_https_reads_keys_by_https_only(cast: Cast) -> None:
    assert add(cast, cast.olga, jwks_uri="http://id.example.com/keys").status_code == 200
    assert trusted(cast) == []


def test_checking_the_keys_says_what_is_there(cast: Cast, elsewhere: Elsewhere) -> None:
    issuer = trust(cast, elsewhere)
    answer = browser(cast.olga).post(f"{PAGE}{issuer.pk}/check/")
    assert answer.status_code == 302
    assert said(answer) == ["2 keys can check tokens, by algorithm: ES256 (1), RS256 (1)."]


def test_checking_keys_that_cannot_be_used_says_why(cast: Cast, elsewhere: Elsewhere) -> None:
    elsewhere.keys = [jwk(RSA, "one")]
    issuer = trust(cast, elsewhere, algorithms=["EdDSA"])
    (reason,) = said(browser(cast.olga).post(f"{PAGE}{issuer.pk}/check/"))
    assert "none for the ticked algorithms" in reason
    elsewhere.status = 404
    with cast.see(cast.acme):
        OutsideIssuer.objects.filter(pk=issuer.pk).update(jwks_uri=f"{elsewhere.url}/elsewhere")
    (reason,) = said(browser(cast.olga).post(f"{PAGE}{issuer.pk}/check/"))
    assert "404" in reason


def test_nobody_checks_the_keys_of_another_tenant(cast: Cast, elsewhere: Elsewhere) -> None:
    issuer = trust(cast, elsewhere)
    assert browser(cast.bob).post(f"{PAGE}{issuer.pk}/check/").status_code == 404
    assert elsewhere.reads == 0


def said(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]
