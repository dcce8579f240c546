"""Signing in with an account elsewhere: who gets in, who gets an account, and what a provider's word is worth."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from allauth.socialaccount.models import SocialToken
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client, override_settings

from mcphub import oidc, providers
from tenants.models import Member, User
from tests.accounts.people import browser, ledger_of_platform, sign_in
from tests.accounts.provider import CLIENT_ID, CLIENT_SECRET, DISCOVERY, Provider, running
from tests.accounts.test_invitations import invite
from tests.cast import Cast

ENTRY = {
    "id": "corp",
    "name": "Corp",
    "issuer": "https://id.example.com",
    "client_id": "hub",
    "client_secret": "s3cr3t",
}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setattr(oidc, "_kept", {})
    with running() as found:
        yield found


def trusted(provider: Provider, **given: Any) -> Any:
    """The hub with this provider in SIGN_IN_WITH."""
    entry = {"id": "corp", "name": "Corp", "issuer": provider.issuer, "client_id": CLIENT_ID, **given}
    found = providers.parse(json.dumps([entry | {"client_secret": CLIENT_SECRET}]))
    return override_settings(SOCIALACCOUNT_PROVIDERS={"openid_connect": {"APPS": providers.as_apps(found)}})


def come_back(client: Client, *, process: str = "login", **changed: str) -> Any:
    """Go to the provider and come back with a code; what the hub then answers."""
    sent = client.post(f"/accounts/oidc/corp/login/?process={process}")
    asked = dict(parse_qsl(urlsplit(sent["location"]).query))
    assert asked["code_challenge_method"] == "S256"
    given = {"code": "a-code", "state": asked["state"], **changed}
    return client.get("/accounts/oidc/corp/login/callback/", given)


def who(client: Client) -> str | None:
    """The name of who is signed in."""
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key).username if key else None


def of(cast: Cast, name: str) -> dict[str, Any]:
    """What a provider claims of somebody."""
    full = f"{name}-{cast.acme.slug}"
    return {"sub": f"sub-{full}", "preferred_username": full, "email": f"{full}@example.com", "email_verified": True}


def test_somebody_unknown_gets_no_account_without_an_invitation(cast: Cast, provider: Provider) -> None:
    provider.claims = of(cast, "nina")
    client = browser()
    with trusted(provider):
        assert "by invitation" in come_back(client).content.decode()
    assert who(client) is None
    assert not User.objects.filter(username=provider.claims["preferred_username"]).exists()


def test_with_an_invitation_they_get_an_account_and_join(cast: Cast, provider: Provider) -> None:
    provider.claims = of(cast, "nina")
    _, link = invite(cast)
    client = browser()
    client.get(link)
    with trusted(provider):
        assert come_back(client)["location"] == "/join/"
        assert client.post("/join/").status_code == 302
    nina = User.objects.get(username=provider.claims["preferred_username"])
    assert who(client) == nina.username
    assert not nina.has_usable_password()
    with cast.see(cast.acme):
        assert Member.objects.filter(tenant=cast.acme, user=nina, active=True).exists()


def test_a_provider_that_opens_the_hub_gives_an_account_in_no_tenant(cast: Cast, provider: Provider) -> None:
    provider.claims = of(cast, "olaf")
    client = browser()
    with trusted(provider, opens=True):
        assert come_back(client).status_code == 302
        assert who(client) == provider.claims["preferred_username"]
        again = browser()
        come_back(again)
        assert who(again) == who(client), "the second time it is the same account"
    with cast.see(cast.acme, cast.beta):
        assert not Member.objects.filter(user__username=who(client)).exists()
    assert [entry.reason for entry in ledger_of_platform(actor=who(client))] == ["signed up"]


@pytest.mark.parametrize("verified", [True, False])
def test_an_address_that_a_provider_tells_opens_nobodys_account(cast: Cast, provider: Provider, verified: bool) -> None:
    provider.claims = of(cast, "eve") | {"email": cast.olga.email, "email_verified": verified}
    client = browser()
    with trusted(provider, opens=True):
        come_back(client)
    assert who(client) != cast.olga.username


def test_a_person_connects_a_provider_and_signs_in_with_it(cast: Cast, provider: Provider) -> None:
    provider.claims = of(cast, "uma-elsewhere")
    client = browser()
    sign_in(client, cast.uma.username, cast.password)
    client.post("/accounts/reauthenticate/", {"password": cast.password})
    with trusted(provider):
        assert come_back(client, process="connect").status_code == 302
        assert "Corp" in client.get("/accounts/3rdparty/").content.decode()
        other = browser()
        assert "Sign in with Corp" in other.get("/accounts/login/").content.decode()
        come_back(other)
    assert who(other) == cast.uma.username
    assert any("connected" in str(entry.detail) for entry in ledger_of_platform(actor=cast.uma.username))
    assert not SocialToken.objects.exists(), "the provider's tokens are not kept"


@pytest.mark.parametrize("wrong", ["state", "audience", "error"])
def test_an_answer_that_does_not_fit_signs_nobody_in(cast: Cast, provider: Provider, wrong: str) -> None:
    provider.claims = of(cast, "olaf")
    provider.audience = "another client" if wrong == "audience" else CLIENT_ID
    changed = {"state": {"state": "made-up"}, "audience": {}, "error": {"error": "access_denied", "code": ""}}[wrong]
    client = browser()
    with trusted(provider, opens=True):
        answer = come_back(client, **changed)
    assert who(client) is None
    if answer.status_code == 302:
        assert answer["location"] == "/accounts/3rdparty/login/cancelled/"
    else:
        assert "did not let you in" in answer.content.decode()


def test_going_to_a_provider_takes_a_press_of_a_button(provider: Provider) -> None:
    with trusted(provider):
        answer = browser().get("/accounts/oidc/corp/login/")
    assert answer.status_code == 200
    assert "Go to Corp" in answer.content.decode()


@pytest.mark.parametrize("answer", [b"", b"no JSON", b"[]", b"{}"], ids=["error", "no JSON", "a list", "empty"])
def test_a_provider_that_fails_is_a_page_going_there_and_coming_back(
    provider: Provider, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    client = browser()
    with trusted(provider):
        sent = client.post("/accounts/oidc/corp/login/")
        state = dict(parse_qsl(urlsplit(sent["location"]).query))["state"]
        oidc._kept.clear()
        provider.discovery = answer
        for page in (
            client.get("/accounts/oidc/corp/login/callback/", {"code": "a-code", "state": state}),
            client.post("/accounts/oidc/corp/login/"),
        ):
            assert page.status_code == 401
            assert "did not let you in" in page.content.decode()
        assert caplog.text.count("signing in with corp failed: ") == 2
        provider.discovery = None
        assert client.post("/accounts/oidc/corp/login/").status_code == 302, "what failed is not kept"


def test_the_discovery_document_is_read_now_and_then(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    with trusted(provider):
        for _ in range(3):
            browser().post("/accounts/oidc/corp/login/")
        assert provider.visits == [DISCOVERY]
        monkeypatch.setattr(oidc, "KEPT_SECONDS", -1.0)
        browser().post("/accounts/oidc/corp/login/")
    assert provider.visits == [DISCOVERY] * 2


def test_no_database_connection_is_held_while_a_provider_is_asked(
    cast: Cast, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[object] = []
    real = requests.Session.send

    def watched(*given: Any, **rest: Any) -> requests.Response:
        held.append(connection.connection)
        return real(*given, **rest)

    monkeypatch.setattr(requests.Session, "send", watched)
    provider.claims = of(cast, "olaf")
    with trusted(provider, opens=True):
        assert come_back(browser()).status_code == 302
    assert held == [None] * 3, "for the document, the code and the claims"


def test_going_to_a_provider_is_limited_for_each_address(
    provider: Provider, settings_of_limits: dict[str, str]
) -> None:
    settings_of_limits["sign_in_with"] = "2/m/ip"
    client = browser()
    with trusted(provider):
        answers = [client.post("/accounts/oidc/corp/login/").status_code for _ in range(3)]
        assert answers == [302, 302, 429]
        assert client.get("/accounts/oidc/corp/login/").status_code == 200
        assert browser().post("/accounts/oidc/corp/login/").status_code == 302


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("corp", "Invalid JSON"),
        ("{}", "list"),
        (json.dumps([{**ENTRY, "issuer": "http://id.example.com"}]), "0.issuer"),
        (json.dumps([{**ENTRY, "issuer": "https://u:p@id.example.com"}]), "0.issuer"),
        (json.dumps([{**ENTRY, "id": "Corp/../x"}]), "0.id"),
        (json.dumps([{**ENTRY, "client_secret": ""}]), "0.client_secret"),
        (json.dumps([{**ENTRY, "open": True}]), "0.open"),
        (json.dumps([ENTRY, ENTRY]), "two providers with the same id"),
    ],
)
def test_nonsense_in_the_setting_is_one_sentence_without_the_secret(text: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^SIGN_IN_WITH ") as found:
        providers.parse(text)
    assert says in str(found.value)
    assert "s3cr3t" not in str(found.value)
    assert "s3cr3t" not in repr(providers.parse(json.dumps([ENTRY])))
