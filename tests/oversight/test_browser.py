"""Throwing a kill switch in a real browser, by one press on the tool's page, until the last call has stopped."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import opened
from tests.gateway.following import claim, lasting, start
from tests.oversight.scene import Scene
from tests.oversight.test_pages import _end

pytestmark = pytest.mark.browser

PICTURES = os.environ.get("PICTURES", "")


@pytest.fixture
def page() -> Iterator[Page]:
    with opened(without="kill switches were not tested in a browser", viewport={"width": 1280, "height": 800}) as page:
        yield page


def _picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def test_a_tool_is_stopped_from_its_page_and_the_page_reports_until_the_last_has_stopped(
    page: Page, scene: Scene
) -> None:
    cast = scene.cast
    scene.linger = lasting(cast, "shout")
    task = start(scene.host(), "shout", text="hello")
    fence = claim(task)
    where = f"/admin/tools/tool/{scene.linger.pk}/change/"
    page.goto(f"{scene.hub[0]}/admin/login/?next={where}")
    page.fill("[name=login]", cast.adam.username)
    page.fill("[name=password]", cast.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"**{where}")
    _picture(page, "K-tool")
    expect(page.get_by_text("What cannot be undone:")).to_be_visible()
    page.get_by_role("button", name="Stop shout in Acme now").click()
    expect(page.get_by_text("stopping: 1 job left")).to_be_visible()
    _picture(page, "K-stopping")
    page.get_by_label("Why it was stopped").fill("It sends customer data to the wrong desk")
    page.get_by_role("button", name="Keep this reason").click()
    expect(page.get_by_role("definition").get_by_text("It sends customer data")).to_be_visible()
    _end(task, fence)
    expect(page.get_by_text("all stopped after")).to_be_visible()
    _picture(page, "K-stopped")
    page.get_by_role("link", name="All kill switches").click()
    expect(page.get_by_role("cell", name="Tool shout in Acme")).to_be_visible()
    _picture(page, "K-list")
    page.get_by_role("link", name="Switch on again").click()
    page.get_by_role("button", name="Switch shout in Acme on again").click()
    expect(page.get_by_text("shout in Acme is on again.")).to_be_visible()
    page.get_by_role("link", name="All kill switches").click()
    expect(page.get_by_text("Nothing is switched off.")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert "shout" in scene.host().tools()
