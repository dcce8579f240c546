"""What tools gained, in a real browser: read, unfolded and agreed to by keyboard, on narrow and dark screens."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.access.asking import asking, furnish
from tests.browser import opened
from tests.cast import Cast
from tools import actions
from tools.models import Connection, Tool

pytestmark = pytest.mark.browser


@pytest.fixture
def page() -> Iterator[Page]:
    narrow: Any = {"viewport": {"width": 320, "height": 740}, "color_scheme": "dark"}
    with opened(without="agreeing anew was not tested in a browser", **narrow) as page:
        yield page


def test_a_person_reads_what_changed_and_agrees_by_keyboard(page: Page, hub: list[str], cast: Cast) -> None:
    furnish(cast)
    ask = asking(cast)
    ask.allow("tickets.read")
    with cast.see(cast.acme):
        tool = Tool.objects.get(tenant=cast.acme, name="get_ticket")
        url = "https://a-rather-long-name-of-some-upstream.elsewhere.example"
        tool.connection = Connection.objects.create(tenant=cast.acme, name="Elsewhere", base_url=url)
        tool.read_only, tool.destructive = False, True
        tool.save()
        actions.publish(tool, actor=cast.staff)
    page.goto(f"{hub[0]}/account/apps/")
    page.fill("[name=login]", cast.uma.username)
    page.fill("[name=password]", cast.password)
    page.press("[name=password]", "Enter")
    expect(page.get_by_role("heading", name="1 tool changed since you agreed")).to_be_visible()
    page.get_by_text("What is different").focus()
    page.keyboard.press("Enter")
    expect(page.locator("ins", has_text=url)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_role("button", name="Agree to this change").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("may use its tools as they are now")).to_be_visible()
    expect(page.get_by_text("changed since you agreed")).to_have_count(0)
    with cast.see(cast.acme):
        assert ask.consent().pins["get_ticket"]["destination"] == url
