"""Consent and connected apps in a real browser: keyboard, narrow and dark screens, and the content security policy."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.access.asking import asking, furnish, tool
from tests.browser import opened
from tests.cast import Cast
from tests.person import answer_of
from tests.serving import Handler, served
from tests.tokens import described, registered

pytestmark = pytest.mark.browser


@pytest.fixture
def page(program: tuple[str, list[tuple[str, str | None]]]) -> Iterator[Page]:
    """program: ended after the browser, which may still ask it for its icon."""
    narrow: Any = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
    with opened(without="the consent page was not tested in a browser", forgiven="status of 400", **narrow) as page:
        yield page


@pytest.fixture
def program() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A program that waits for its answer on this computer: its redirect URI, and what came with which referrer."""
    came: list[tuple[str, str | None]] = []

    class Answers(Handler):
        def do_GET(self) -> None:
            if self.path.startswith("/callback"):
                came.append((self.path, self.headers["Referer"]))
            self.send_response(200)
            self.end_headers()

    with served(Answers) as origin:
        yield f"{origin}/callback", came


def _sign_in(page: Page, cast: Cast) -> None:
    page.fill("[name=login]", cast.uma.username)
    page.fill("[name=password]", cast.password)
    page.press("[name=password]", "Enter")


def test_a_person_signs_in_reads_and_allows_by_keyboard_alone(
    page: Page, hub: list[str], cast: Cast, program: tuple[str, list[tuple[str, str | None]]]
) -> None:
    furnish(cast)
    uri, came = program
    ask = asking(cast, registered(uri=uri))
    page.goto(hub[0] + ask.url(resource=f"{hub[0]}/t/{cast.acme.slug}/mcp"))
    _sign_in(page, cast)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Claude Code wants to use Acme")
    boxes = page.get_by_role("group", name="It will be able to").get_by_role("checkbox")
    assert [box.is_checked() for box in boxes.all()] == [True, True, False]
    expect(boxes.nth(0)).to_have_accessible_name("Write internal notes changes things")
    expect(boxes.nth(0)).to_have_accessible_description("add_note")
    boxes.nth(0).focus()
    page.keyboard.press("Space")
    page.get_by_role("radio", name="30 days").focus()
    page.keyboard.press("ArrowUp")
    page.get_by_role("button", name="Allow").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/callback?**")
    (answer, referrer), *others = came
    assert ("code" in answer_of(answer), referrer, others) == (True, None, [])
    assert ask.consent().scopes == ["tickets.read"]
    assert ask.consent().until == ask.consent().given_at + datetime.timedelta(days=1)


@pytest.mark.parametrize("width", [320, 360, 1200])
def test_the_pages_fit_the_screen_whatever_a_client_calls_itself(
    page: Page, hub: list[str], cast: Cast, width: int
) -> None:
    furnish(cast)
    cast.scopes(cast.acme, {"a.scope": "W" * 120})
    tool(cast, cast.acme, "a_tool_with_a_very_long_name_that_goes_on_and_on_and_on_and_on", "a.scope")
    page.set_viewport_size({"width": width, "height": 740})
    client = described(name="W" * 100, domain="a-very-long-name-for-a-domain-of-a-program.subdomain.desk.example")
    ask = asking(cast, client)
    ask.allow("tickets.read", span="hour")
    for path in (ask.url(resource=f"{hub[0]}/t/{cast.acme.slug}/mcp"), "/account/apps/", "/authorize?client_id=nobody"):
        page.goto(hub[0] + path)
        if "/accounts/login/" in page.url:
            _sign_in(page, cast)
            page.wait_for_url(f"{hub[0]}/authorize?**")
        for fold in page.locator("details").all():
            fold.evaluate("fold => fold.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_somebody_else_can_sign_in_and_comes_back_to_the_same_question(page: Page, hub: list[str], cast: Cast) -> None:
    furnish(cast)
    url = hub[0] + asking(cast).url(resource=f"{hub[0]}/t/{cast.acme.slug}/mcp", state="a%2Fb")
    page.goto(url)
    _sign_in(page, cast)
    page.get_by_role("button", name="Not you?").click()
    page.wait_for_url("**/accounts/login/**")
    page.fill("[name=login]", cast.olga.username)
    page.fill("[name=password]", cast.password)
    page.press("[name=password]", "Enter")
    page.wait_for_url(url)
    expect(page.get_by_text(f"You are {cast.olga.username}.")).to_be_visible()


def test_an_app_is_revoked_after_saying_what_that_does(page: Page, hub: list[str], cast: Cast) -> None:
    furnish(cast)
    ask = asking(cast)
    ask.allow()
    page.goto(f"{hub[0]}/account/apps/")
    _sign_in(page, cast)
    card = page.get_by_role("region", name="Acme Desk uses Acme")
    button = card.get_by_role("button", name="Revoke Acme Desk’s access to Acme")  # noqa: RUF001
    expect(button).to_be_hidden()
    card.get_by_text("Revoke its access").press("Enter")
    expect(card.get_by_text("Its next request is refused")).to_be_visible()
    button.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Acme Desk can no longer use Acme.")
    expect(page.get_by_text("Nothing is connected.")).to_be_visible()


def test_a_host_that_asks_in_a_popup_hears_the_answer(
    page: Page, hub: list[str], cast: Cast, program: tuple[str, list[tuple[str, str | None]]]
) -> None:
    """Web hosts open the sign-in in a popup, and the page it ends at tells the one that opened it."""
    furnish(cast)
    uri, _ = program
    ask = asking(cast, registered(uri=uri))
    page.goto(uri.replace("/callback", "/host"))
    with page.expect_popup() as opened:
        page.evaluate("url => { window.open(url) }", hub[0] + ask.url(resource=f"{hub[0]}/t/{cast.acme.slug}/mcp"))
    popup = opened.value
    _sign_in(popup, cast)
    popup.get_by_role("button", name="Allow").click()
    popup.wait_for_url("**/callback?**")
    assert popup.evaluate("window.opener !== null")
