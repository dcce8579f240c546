"""Connected apps: what a person sees of what they allowed, and taking it back."""

import uuid
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client as Browser

import policy.queries
from access.actions.consents import revoke_consents_of_client
from access.models import Consent, Grant
from audit.entries import instance
from policy.rules import Rules, compiled
from tests.access.asking import Asking, asking, furnish
from tests.cast import Cast
from tests.gateway.confirming import govern
from tests.person import words
from tests.tokens import described

APPS = "/account/apps/"


@pytest.fixture
def acme(cast: Cast) -> Cast:
    furnish(cast)
    return cast


def _connected(cast: Cast, **who: Any) -> Asking:
    ask = asking(cast, **who)
    ask.allow()
    return ask


def _says(ask: Asking) -> str:
    response = ask.browser.get(APPS)
    assert response.status_code == 200
    return words(response.content.decode())


def _revoke(browser: Browser, consent: Consent) -> Any:
    return browser.post(f"{APPS}{consent.pk}/revoke")


def _call(ask: Asking, tool: str, *, actor: str, credential: str, outcome: str = "ok") -> None:
    entry = {
        "tenant_id": ask.tenant.pk,
        "event": "call.finished",
        "call_id": str(uuid.uuid4()),
        "instance_id": str(instance()),
        "actor": actor,
        "credential": credential,
        "tool": tool,
        "outcome": outcome,
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([entry]).decode()])


def test_a_card_says_what_may_do_what_and_what_it_did(acme: Cast) -> None:
    ask = _connected(acme)
    mine = f"app:{ask.consent().pk}"
    for number in range(6):
        _call(ask, f"tool_{number}", actor=acme.uma.username, credential=mine)
    _call(ask, "wrong_tool", actor=acme.uma.username, credential=mine, outcome="error")
    _call(ask, "tool_of_olga", actor=acme.olga.username, credential=mine)
    _call(ask, "tool_of_a_key", actor=acme.uma.username, credential="key:1")
    with acme.see():
        Consent.objects.filter(pk=ask.consent().pk).update(
            last_address="203.0.113.9", last_used_at=ask.consent().given_at
        )
    said = _says(ask)
    assert "Acme Desk uses Acme" in said
    assert "From desk.example Since" in said
    assert "from 203.0.113.9" in said
    assert "It may Write internal notes Read tickets Its last calls" in said
    shown = [tool for tool in ("wrong_tool", "tool_5", "tool_4", "tool_3", "tool_2", "tool_1") if tool in said]
    assert shown == ["wrong_tool", "tool_5", "tool_4", "tool_3", "tool_2"]
    assert "error" in said.split("wrong_tool")[1].split("tool_5")[0]
    assert "tool_of_" not in said


def test_the_rules_of_a_tenant_are_made_ready_once_however_many_programs_it_lets_in(
    acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    govern(acme, {"name": "open", "effect": "allow"})
    ask = _connected(acme)
    _connected(acme, client=described(name="Second"))
    made: list[int] = []

    def ready(row: Any) -> Rules:
        made.append(row["tenant_id"])
        return compiled(row)

    monkeypatch.setattr(policy.queries, "compiled", ready)
    said = _says(ask)
    assert "Acme Desk uses Acme" in said
    assert "Second uses Acme" in said
    assert made == [acme.acme.pk]


def test_an_empty_page_says_what_will_be_here_and_how(acme: Cast) -> None:
    page = asking(acme).browser.get(APPS).content.decode()
    assert "Nothing is connected." in page
    assert f'href="/t/{acme.acme.slug}/"' in page
    assert asking(acme).browser.get("/account/")["Location"] == APPS


def test_keys_are_listed_without_what_opens_the_door(acme: Cast) -> None:
    key, secret = acme.key(acme.uma)
    acme.key(acme.olga)
    said = _says(asking(acme))
    assert f"test host for Acme {key.prefix}… last used never" in said
    assert said.count("test host") == 1
    assert secret not in said


def test_revoking_ends_its_tokens_and_is_in_the_ledger(acme: Cast) -> None:
    ask = _connected(acme)
    consent = ask.consent()
    answer = _revoke(ask.browser, consent)
    assert answer["Location"] == APPS
    assert "Acme Desk can no longer use Acme. Connected apps" in _says(ask)
    with acme.see():
        assert Consent.objects.get(pk=consent.pk).revoked_at is not None
        assert not Grant.objects.filter(consent=consent, used_at=None).exists()
    entry = ask.changes()[-1]
    assert (entry.actor, entry.reason) == (acme.uma.username, "revoked")
    assert ask.get(scope="tickets.read").status_code == 200  # it has to be allowed anew


def test_revoking_twice_is_once(acme: Cast) -> None:
    ask = _connected(acme)
    consent = ask.consent()
    assert [_revoke(ask.browser, consent).status_code for _ in range(2)] == [302, 302]
    assert [entry.reason for entry in ask.changes()].count("revoked") == 1


def test_revoking_everything_leaves_what_others_allowed(acme: Cast) -> None:
    first = _connected(acme)
    second = _connected(acme, client=described(name="Second"))
    olgas = _connected(acme, client=second.client, user=acme.olga)
    assert "Revoke the access of all 2 apps" in _says(first)
    assert first.browser.post(f"{APPS}revoke-all").status_code == 302
    assert "Nothing is connected." in _says(first)
    assert "Second uses Acme" in _says(olgas)


@pytest.mark.parametrize("somebody", ["olga", "adam", "bob", "staff"])
def test_what_somebody_else_allowed_is_neither_shown_nor_revoked(acme: Cast, somebody: str) -> None:
    ask = _connected(acme)
    other = asking(acme, user=getattr(acme, somebody))
    assert "Acme Desk" not in _says(other)
    assert _revoke(other.browser, ask.consent()).status_code == 404
    assert other.browser.post(f"{APPS}revoke-all").status_code == 302
    assert ask.consent().live


@pytest.mark.parametrize("path", ["0/revoke", "99999999999999999999999/revoke"])
def test_what_there_is_not_is_not_found(acme: Cast, path: str) -> None:
    assert asking(acme).browser.post(APPS + path).status_code == 404


def test_a_link_revokes_nothing(acme: Cast) -> None:
    ask = _connected(acme)
    for path in (f"{APPS}{ask.consent().pk}/revoke", f"{APPS}revoke-all"):
        assert ask.browser.get(path).status_code == 405
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(acme.uma)
    assert _revoke(strict, ask.consent()).status_code == 403
    assert ask.consent().live


def test_a_stranger_signs_in_first(acme: Cast) -> None:
    assert Browser().get(APPS)["Location"] == f"/accounts/login/?next={APPS}"
    assert Browser().post(f"{APPS}revoke-all")["Location"].startswith("/accounts/login/")


def test_a_blocked_client_loses_every_consent_at_that_tenant_only(acme: Cast) -> None:
    furnish(acme, acme.beta)
    mine = _connected(acme)
    olgas = _connected(acme, client=mine.client, user=acme.olga)
    bobs = _connected(acme, client=mine.client, user=acme.bob, tenant=acme.beta)
    with acme.see(acme.acme):
        assert revoke_consents_of_client(acme.acme.pk, mine.client, "adam") == 2
    assert all("Nothing is connected." in _says(ask) for ask in (mine, olgas))
    assert bobs.consent().live
