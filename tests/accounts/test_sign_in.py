"""Signing in with a password: what gets in, what does not, and what a stranger learns from it."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.contrib.sessions.models import Session
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from lib import db
from tenants import actions
from tenants.models import User
from tests.accounts.people import NEW_PASSWORD, browser, ledger_of_platform, sign_in
from tests.admin.conftest import form_of
from tests.cast import Cast

_names = itertools.count(1)


@pytest.mark.parametrize("by", ["username", "email"])
def test_a_person_signs_in_by_name_or_address_and_lands_where_they_wanted(cast: Cast, by: str) -> None:
    answer = sign_in(browser(), getattr(cast.uma, by), cast.password, next="/account/apps/?a=b")
    assert (answer.status_code, answer["location"]) == (302, "/account/apps/?a=b")


@pytest.mark.parametrize("spelled", [str.upper, str.title])
def test_a_name_is_the_same_name_in_capitals(cast: Cast, spelled: Callable[[str], str]) -> None:
    client = browser()
    assert sign_in(client, spelled(cast.uma.username), cast.password).status_code == 302
    assert client.session["_auth_user_id"] == str(cast.uma.pk)


def test_postgres_itself_keeps_names_apart_by_more_than_capitals(cast: Cast) -> None:
    """Two who sign up in the same moment do not see each other."""
    with pytest.raises(IntegrityError, match="one_user_name"):
        User.objects.create(username=cast.uma.username.upper())


@pytest.mark.parametrize(("page", "says"), [("add", "already exists"), ("change", "capitals make no difference")])
def test_staff_cannot_make_two_names_that_differ_by_capitals(cast: Cast, page: str, says: str) -> None:
    client, name = Client(), cast.uma.username.upper()
    client.force_login(cast.staff)
    url = reverse(f"admin:tenants_user_{page}", args=[cast.bob.pk] if page == "change" else [])
    given = form_of(client, url, username=name, password1=NEW_PASSWORD, password2=NEW_PASSWORD)
    answer = client.post(url, given)
    assert says in answer.content.decode()
    assert not User.objects.filter(username=name).exists()


@pytest.mark.parametrize("wanted", ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)"])
def test_signing_in_leads_to_no_other_site(cast: Cast, wanted: str) -> None:
    assert sign_in(browser(), cast.uma.username, cast.password, next=wanted)["location"] == "/"


def test_the_first_page_leads_each_person_to_what_there_is_for_them(cast: Cast) -> None:
    assert Client().get("/")["location"] == "/accounts/login/"
    for user, place in ((cast.olga, "/admin/"), (cast.uma, "/account/apps/")):
        client = Client()
        client.force_login(user)
        assert client.get("/")["location"] == place


def test_signing_in_gives_a_new_session_so_that_nobody_can_plant_one(cast: Cast) -> None:
    client = browser()
    client.get("/join/nothing")
    session = client.session
    session["planted"] = True
    session.save()
    client.cookies["sessionid"] = planted = str(session.session_key)
    assert sign_in(client, cast.uma.username, cast.password).status_code == 302
    assert client.cookies["sessionid"].value != planted
    assert not Session.objects.filter(session_key=planted).exists()


@pytest.mark.parametrize(("ticked", "lasts"), [("on", True), ("", False)])
def test_the_session_outlives_the_browser_only_when_the_person_says_so(cast: Cast, ticked: str, lasts: bool) -> None:
    client = browser()
    sign_in(client, cast.uma.username, cast.password, remember=ticked)
    assert bool(client.cookies["sessionid"]["max-age"]) is lasts


@pytest.mark.parametrize("at", ["", "@example.com"])
def test_a_wrong_password_and_an_unknown_name_are_answered_alike_and_as_slowly(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    hashed: list[str] = []
    real = hashers.PBKDF2PasswordHasher.encode

    def counted(*given: Any, **rest: Any) -> str:
        hashed.append("")
        return real(*given, **rest)

    monkeypatch.setattr(hashers.PBKDF2PasswordHasher, "encode", counted)
    pages = []
    for name in (cast.uma.username + at, "nobody-of-that-name" + at):
        hashed.clear()
        answer = sign_in(browser(), name, "wrong password")
        pages.append((answer.status_code, _bare(answer.content.decode(), name), len(hashed)))
    assert pages[0] == pages[1]
    assert "do not go together" in pages[0][1]


def test_five_wrong_passwords_for_a_name_end_the_attempts_from_every_address(cast: Cast) -> None:
    for _ in range(5):
        assert "do not go together" in sign_in(browser(), cast.uma.username, "wrong").content.decode()
    limited = sign_in(browser(), cast.uma.username.upper(), cast.password)
    assert "Too many attempts failed." in limited.content.decode(), "however it is spelled"
    limited = sign_in(browser(), cast.uma.username, cast.password)
    assert "Too many attempts failed." in limited.content.decode()
    assert sign_in(browser(), cast.anna.username, cast.password).status_code == 302, "others are not locked out"


def test_names_that_do_not_exist_are_limited_like_those_that_do(cast: Cast) -> None:
    name = f"nobody-{next(_names)}-{cast.acme.slug}"
    for _ in range(5):
        sign_in(browser(), name, "wrong")
    assert "Too many attempts failed." in sign_in(browser(), name, "wrong").content.decode()


def test_ten_wrong_passwords_from_an_address_end_its_attempts_for_every_name(cast: Cast) -> None:
    client = browser()
    for number in range(10):
        sign_in(client, f"guess-{number}-{cast.acme.slug}", "wrong")
    assert "Too many attempts failed." in sign_in(client, cast.uma.username, cast.password).content.decode()


def test_what_failed_is_in_the_platforms_ledger_without_what_was_typed_as_a_name(cast: Cast) -> None:
    client = browser()
    sign_in(client, cast.uma.username, "wrong")
    sign_in(client, "my-actual-password", "wrong")
    found = ledger_of_platform(address=client.defaults["REMOTE_ADDR"], reason="wrong_password")
    assert [entry.actor for entry in found] == [cast.uma.username, ""]
    assert "my-actual-password" not in str([vars(entry) for entry in found])


def test_signing_out_takes_a_post_and_ends_the_session(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.uma)
    assert client.get("/accounts/logout/").status_code == 200
    assert client.get("/accounts/2fa/").status_code == 200
    assert client.post("/accounts/logout/")["location"] == "/accounts/login/"
    assert client.get("/accounts/2fa/").status_code == 302


def test_a_user_who_is_switched_off_is_out_on_the_next_page_and_stays_out(cast: Cast) -> None:
    client = browser()
    sign_in(client, cast.uma.username, cast.password)
    assert client.get("/accounts/2fa/").status_code == 200
    cast.uma.is_active = False
    with db.tenant_scope([]):
        actions.change_user(cast.uma, actor="system")
    assert client.get("/accounts/2fa/").status_code == 302
    assert sign_in(browser(), cast.uma.username, cast.password)["location"] == "/accounts/inactive/"


def test_a_changed_password_ends_the_other_sessions_and_is_recorded(cast: Cast) -> None:
    here, there = browser(), browser()
    for client in (here, there):
        sign_in(client, cast.uma.username, cast.password)
    given = {"oldpassword": cast.password, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert here.post("/accounts/password/change/", given).status_code == 302
    assert here.get("/accounts/2fa/").status_code == 200
    assert there.get("/accounts/2fa/").status_code == 302
    assert [entry.detail for entry in ledger_of_platform(actor=cast.uma.username)] == [{"note": "set a new password"}]


@pytest.mark.parametrize("poor", ["short", "password1234", "12345678901234"])
def test_a_poor_password_is_refused_beside_its_field(cast: Cast, poor: str) -> None:
    client = Client()
    client.force_login(cast.uma)
    given = {"oldpassword": cast.password, "password1": poor, "password2": poor}
    answer = client.post("/accounts/password/change/", given)
    assert answer.status_code == 200
    assert 'id="id_password1_error"' in answer.content.decode()


def test_a_stranger_finds_no_way_to_make_an_account(cast: Cast) -> None:
    client = browser()
    given = {"email": "new@example.com", "username": f"new-{cast.acme.slug}", "password1": NEW_PASSWORD}
    for answer in (client.get("/accounts/signup/"), client.post("/accounts/signup/", given)):
        assert "by invitation" in answer.content.decode()
    assert not type(cast.uma).objects.filter(username=given["username"]).exists()


@pytest.mark.parametrize("path", ["login/code/", "login/code/confirm/", "password/reset/confirm/", "signup/passkey/"])
def test_what_makes_no_sense_here_is_not_there(path: str) -> None:
    assert Client().get(f"/accounts/{path}").status_code == 404


def test_without_a_mail_server_a_forgotten_password_leads_to_whoever_runs_the_hub() -> None:
    page = browser().get("/accounts/password/reset/").content.decode()
    assert "sends no mail" in page
    assert "<form" not in page


def _bare(page: str, name: str) -> str:
    """The page without what differs by itself: the name it repeats and the token against forged forms."""
    return re.sub(r'value="\w{64}"', "", page).replace(name, "NAME")
