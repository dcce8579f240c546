"""Second factors without a browser: the app's codes, recovery codes, and how their secrets are kept."""

import re
import time
from types import SimpleNamespace

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth
from django.test import Client

from tests.accounts import totp
from tests.accounts.people import browser, ledger_of_platform, sign_in
from tests.accounts.totp import code_of
from tests.cast import Cast


@pytest.fixture(autouse=True)
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app and the hub read one clock that stands, so that no code runs out between the two."""
    moment = time.time()
    for module in (auth, totp):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: moment))


def prove(client: Client, password: str) -> None:
    """Type the password again, as pages ask for it that change how one signs in."""
    assert client.post("/accounts/reauthenticate/", {"password": password}).status_code == 302


def set_up_app(cast: Cast) -> tuple[Client, str, list[str]]:
    """uma's browser, the secret of her new app, and her recovery codes."""
    client = browser()
    sign_in(client, cast.uma.username, cast.password)
    prove(client, cast.password)
    page = client.get("/accounts/2fa/totp/activate/").content.decode()
    found = re.search(r'id="authenticator_secret">([A-Z2-7]+)<', page)
    assert found
    answer = client.post("/accounts/2fa/totp/activate/", {"code": code_of(found[1])}, follow=True)
    codes = re.search(r'id="recovery_codes">([^<]+)<', answer.content.decode())
    assert codes
    return client, found[1], codes[1].split()


def test_with_an_app_the_password_alone_opens_nothing(cast: Cast) -> None:
    _, secret, _ = set_up_app(cast)
    client = browser()
    assert sign_in(client, cast.uma.username, cast.password, next="/account/apps/")["location"].startswith(
        "/accounts/2fa/authenticate/"
    )
    assert client.get("/account/apps/").status_code == 302
    wrong = client.post("/accounts/2fa/authenticate/", {"code": code_of(secret, steps=9)})
    assert "This code is not right" in wrong.content.decode()
    assert client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})["location"] == "/account/apps/"
    assert client.get("/accounts/2fa/").status_code == 200


def test_a_code_of_the_app_works_once(cast: Cast) -> None:
    _, secret, _ = set_up_app(cast)
    first, second = browser(), browser()
    for client in (first, second):
        sign_in(client, cast.uma.username, cast.password)
    code = code_of(secret)
    assert first.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 302
    assert second.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 200


def test_a_recovery_code_works_once(cast: Cast) -> None:
    _, _, codes = set_up_app(cast)
    answers = []
    for _ in range(2):
        client = browser()
        sign_in(client, cast.uma.username, cast.password)
        answers.append(client.post("/accounts/2fa/authenticate/", {"code": codes[0]}).status_code)
    assert answers == [302, 200]


def test_guessing_codes_is_limited_for_the_person_from_every_address(cast: Cast) -> None:
    _, secret, _ = set_up_app(cast)
    pages = []
    for number in range(6):
        client = browser()
        sign_in(client, cast.uma.username, cast.password)
        code = code_of(secret, steps=10 + number) if number < 5 else code_of(secret)
        pages.append(client.post("/accounts/2fa/authenticate/", {"code": code}))
    assert [page.status_code for page in pages] == [200] * 6, "the last code was right, and comes too late"
    found = ledger_of_platform(reason="wrong_second_factor", actor=cast.uma.username)
    assert len(found) == 5


def test_recovery_codes_are_shown_once(cast: Cast) -> None:
    client, _, codes = set_up_app(cast)
    page = client.get("/accounts/2fa/recovery-codes/").content.decode()
    assert not any(code in page for code in codes)
    assert "never again" in page
    assert client.get("/accounts/2fa/recovery-codes/download/").status_code == 403


def test_secrets_of_second_factors_are_sealed_in_the_database(cast: Cast) -> None:
    _, secret, codes = set_up_app(cast)
    kept = {one.type: one.data for one in Authenticator.objects.filter(user=cast.uma)}
    assert kept.keys() == {Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES}
    assert kept[Authenticator.Type.TOTP]["secret"].startswith("gAAAA")
    assert not any(plain in str(kept) for plain in (secret, *codes))


def test_what_changes_how_one_signs_in_takes_the_password_again_and_is_recorded(cast: Cast) -> None:
    client = browser()
    sign_in(client, cast.anna.username, cast.password)
    for page in ("totp/activate/", "webauthn/add/"):
        assert client.get(f"/accounts/2fa/{page}")["location"].startswith("/accounts/reauthenticate/")
    assert (
        "This is not your password." in client.post("/accounts/reauthenticate/", {"password": "wrong"}).content.decode()
    )
    uma, _, _ = set_up_app(cast)
    prove(uma, cast.password)
    assert uma.post("/accounts/2fa/totp/deactivate/").status_code == 302
    notes = [(entry.detail or {})["note"] for entry in ledger_of_platform(actor=cast.uma.username, reason="changed")]
    assert "added an authenticator app" in notes
    assert "removed an authenticator app" in notes


def test_platform_staff_takes_lost_second_factors_off(cast: Cast) -> None:
    set_up_app(cast)
    staff = browser()
    staff.force_login(cast.staff)
    url = f"/admin/tenants/user/{cast.uma.pk}/second-factors/"
    assert "take a second step" in staff.get(url).content.decode()
    assert staff.post(url).status_code == 302
    assert sign_in(browser(), cast.uma.username, cast.password)["location"] == "/"
    (entry,) = [one for one in ledger_of_platform(actor=cast.staff.username) if "second factors" in str(one.detail)]
    assert str(cast.uma.pk) in entry.subject


def test_nobody_else_takes_second_factors_off(cast: Cast) -> None:
    set_up_app(cast)
    olga = browser()
    olga.force_login(cast.olga)
    assert olga.post(f"/admin/tenants/user/{cast.uma.pk}/second-factors/").status_code in (403, 404)
    assert Authenticator.objects.filter(user=cast.uma).exists()
