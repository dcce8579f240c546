"""Signing in in a real browser: passkeys under the strict policy, by keyboard, on a narrow screen."""

from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tenants.models import User
from tests.accounts.totp import code_of
from tests.cast import Cast

pytestmark = pytest.mark.browser

LABELLED = "[...document.querySelectorAll('input:not([type=hidden])')].every(one => one.labels.length)"


@pytest.fixture
def base(hub: list[str]) -> str:
    """The hub by the one plain name at which browsers offer passkeys."""
    return hub[0].replace("127.0.0.1", "localhost")


def _sign_in(page: Page, base: str, user: User, cast: Cast) -> None:
    page.goto(f"{base}/accounts/login/?next=/accounts/2fa/")
    page.fill("[name=login]", user.username)
    page.fill("[name=password]", cast.password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def _sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/")


def _add_passkey(page: Page, base: str, cast: Cast, *, alone: bool) -> None:
    page.goto(f"{base}/accounts/2fa/webauthn/add/")
    page.fill("[name=password]", cast.password)
    page.get_by_role("button", name="Go on").click()
    page.set_checked("[name=passwordless]", alone)
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()


def test_a_passkey_alone_signs_in(page: Page, base: str, cast: Cast) -> None:
    _sign_in(page, base, cast.uma, cast)
    _add_passkey(page, base, cast, alone=True)
    _sign_out(page)
    page.goto(f"{base}/accounts/login/?next=/accounts/2fa/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/accounts/2fa/")
    expect(page.locator("header")).to_contain_text(cast.uma.username)


def test_a_key_confirms_after_the_password(page: Page, base: str, cast: Cast) -> None:
    _sign_in(page, base, cast.uma, cast)
    _add_passkey(page, base, cast, alone=False)
    _sign_out(page)
    _sign_in(page, base, cast.uma, cast)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    page.get_by_role("button", name="Use a passkey or security key").click()
    page.wait_for_url("**/accounts/2fa/")


def test_a_passkey_that_does_not_come_is_told_beside_the_button(page: Page, base: str) -> None:
    page.add_init_script("navigator.credentials.get = () => Promise.reject(new DOMException('', 'NotAllowedError'))")
    page.goto(f"{base}/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was used")


def test_the_app_is_set_up_and_asked_for_by_keyboard_alone(page: Page, base: str, cast: Cast) -> None:
    page.goto(f"{base}/accounts/login/?next=/accounts/2fa/totp/activate/")
    for text in (cast.uma.username, cast.password):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_label("Password").press_sequentially(cast.password)
    page.keyboard.press("Enter")
    secret = page.locator("#authenticator_secret").inner_text()
    page.get_by_label("Code").press_sequentially(code_of(secret))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    expect(page.locator("img.qr")).to_have_count(0)


@pytest.mark.parametrize(
    "path",
    ["login/", "password/change/", "2fa/", "2fa/totp/activate/", "2fa/webauthn/", "2fa/webauthn/add/", "logout/"],
)
def test_every_page_fits_a_narrow_screen_and_keeps_its_policy(page: Page, base: str, cast: Cast, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    if path != "login/":
        _sign_in(page, base, cast.olga, cast)
        page.goto(f"{base}/accounts/reauthenticate/")
        page.fill("[name=password]", cast.password)
        page.get_by_role("button", name="Go on").click()
        page.wait_for_load_state()
    schemes: list[Literal["light", "dark"]] = ["light", "dark"]
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        answer = page.goto(f"{base}/accounts/{path}", wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200
        assert "script-src 'self'; style-src 'self';" in answer.headers["content-security-policy"]
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate(LABELLED)
        assert page.locator("h1").count() == 1
