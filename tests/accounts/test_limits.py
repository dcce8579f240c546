"""What strangers may try how often, and what they can take of the hub while they do."""

import re
import time
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from allauth.core.internal import ratelimit
from django.contrib.auth import hashers
from django.core import mail
from django.db import connection
from django.test import override_settings

from mcphub import passwords
from tests.accounts import test_second_factor as second_factor
from tests.accounts.people import NEW_PASSWORD, browser, ledger_of_platform, sign_in
from tests.accounts.totp import code_of
from tests.cast import Cast
from tests.servers import serve

TOO_MANY = "Too many attempts failed."


def test_no_host_a_client_makes_up_gives_it_more_guesses(cast: Cast) -> None:
    for number in range(5):
        client = browser()
        client.defaults["HTTP_HOST"] = f"localhost:{number + 1}"
        assert TOO_MANY not in sign_in(client, cast.uma.username, "wrong").content.decode()
    for host in ("localhost:6", "LOCALHOST", "127.0.0.1"):
        client = browser()
        client.defaults["HTTP_HOST"] = host
        assert TOO_MANY in sign_in(client, cast.uma.username, cast.password).content.decode(), host


def test_the_name_and_the_address_of_a_person_share_their_guesses(cast: Cast) -> None:
    for login in (cast.uma.username, cast.uma.email, cast.uma.email.upper(), cast.uma.username.upper(), cast.uma.email):
        assert TOO_MANY not in sign_in(browser(), login, "wrong").content.decode()
    for login in (cast.uma.username, cast.uma.email):
        assert TOO_MANY in sign_in(browser(), login, cast.password).content.decode()


def test_a_new_password_by_mail_lets_a_person_in_again(cast: Cast) -> None:
    for _ in range(5):
        sign_in(browser(), cast.uma.username, "wrong")
    mail.outbox.clear()
    client = browser()
    with override_settings(SENDS_MAIL=True):
        client.post("/accounts/password/reset/", {"email": cast.uma.email})
    link = re.search(r"https?://[^/\s]+(/accounts/password/reset/key/\S+)", str(mail.outbox[0].body))
    assert link
    form = client.get(link[1], follow=True)
    client.post(form.request["PATH_INFO"], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    assert sign_in(browser(), cast.uma.username, NEW_PASSWORD).status_code == 302


def test_a_right_code_of_ones_own_gives_no_more_guesses_at_others(
    cast: Cast, settings_of_limits: dict[str, str]
) -> None:
    settings_of_limits["login_failed_from"] = "3/m/ip"
    _, secret, _ = second_factor.set_up_app(cast)
    client = browser()
    for number in range(3):
        sign_in(client, f"guess-{number}-{cast.acme.slug}", "wrong")
        if number == 1:
            assert sign_in(client, cast.uma.username, cast.password).status_code == 302
            assert client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)}).status_code == 302
            client.post("/accounts/logout/")
    assert TOO_MANY in sign_in(client, cast.anna.username, cast.password).content.decode()


def test_signing_in_rightly_uses_up_no_guess_of_an_address(cast: Cast, settings_of_limits: dict[str, str]) -> None:
    settings_of_limits["login_failed_from"] = "2/m/ip"
    client = browser()
    for _ in range(4):
        assert sign_in(client, cast.uma.username, cast.password).status_code == 302
        client.post("/accounts/logout/")


def test_an_address_that_no_trusted_proxy_tells_counts_for_nothing(cast: Cast) -> None:
    limits = {"BEHIND_PROXY": "yes", "FORWARDED_ALLOW_IPS": "192.0.2.1", "SIGN_INS_PER_MINUTE": "2"}
    with serve(count=1, **limits) as (url,), httpx2.Client(base_url=url) as client:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get("/accounts/login/").text)
        assert token
        given = {"login": "nobody", "password": "wrong", "csrfmiddlewaretoken": token[1]}
        answers = [
            client.post("/accounts/login/", data=given, headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code
            for number in range(3)
        ]
    assert answers == [200, 200, 429]


def test_an_address_is_mailed_a_link_five_times_an_hour_whoever_asks(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.outbox.clear()
    start, answers = time.time(), list[int]()
    clock = SimpleNamespace(time=lambda: start + 600 * len(answers), monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(ratelimit, "time", clock)
    with override_settings(SENDS_MAIL=True):
        for _ in range(6):
            given = {"email": f"nobody-{cast.acme.slug}@example.com"}
            answers.append(browser().post("/accounts/password/reset/", given).status_code)
    assert answers == [302] * 5 + [429]
    assert len(mail.outbox) == 5


@pytest.mark.parametrize("spelled", [str.upper, str.lower])
@pytest.mark.parametrize("by", ["username", "email"])
def test_the_ledger_names_the_person_however_the_login_was_typed(cast: Cast, by: str, spelled: Any) -> None:
    client = browser()
    sign_in(client, spelled(getattr(cast.uma, by)), "wrong")
    found = ledger_of_platform(address=client.defaults["REMOTE_ADDR"], reason="wrong_password")
    assert [entry.actor for entry in found] == [cast.uma.username]


@pytest.mark.parametrize("known", [True, False])
def test_no_database_connection_is_held_while_a_password_is_hashed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    held: list[object] = []
    real = hashers.PBKDF2PasswordHasher.encode

    def watched(*given: Any, **rest: Any) -> str:
        held.append(connection.connection)
        return real(*given, **rest)

    monkeypatch.setattr(hashers.PBKDF2PasswordHasher, "encode", watched)
    sign_in(browser(), cast.uma.username if known else "nobody-of-that-name", "wrong")
    assert held == [None]


@pytest.fixture
def _busy(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every turn to hash a password is taken, once the people have theirs."""
    monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.01)
    for _ in range(passwords.AT_ONCE):
        assert passwords._turns.acquire(timeout=5)
    yield
    passwords._turns.release(passwords.AT_ONCE)


@pytest.mark.usefixtures("_busy")
@pytest.mark.parametrize("known", [True, False])
def test_who_gets_no_turn_to_have_a_password_checked_is_told_so_and_loses_no_guess(cast: Cast, known: bool) -> None:
    client, name = browser(), cast.uma.username if known else f"nobody-{cast.acme.slug}"
    for _ in range(6):
        answer = sign_in(client, name, cast.password)
        assert (answer.status_code, answer["Retry-After"]) == (429, "5")
        assert "The hub is busy" in answer.content.decode()
    assert ledger_of_platform(address=client.defaults["REMOTE_ADDR"]) == []


@pytest.mark.usefixtures("_busy")
def test_a_signed_in_person_who_gets_no_turn_is_told_so_and_nothing_is_changed(cast: Cast) -> None:
    client = browser()
    client.force_login(cast.uma)
    given = {"oldpassword": cast.password, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert client.post("/accounts/password/change/", given).status_code == 429
    assert client.get("/accounts/2fa/").status_code == 200
    assert ledger_of_platform(actor=cast.uma.username) == []
