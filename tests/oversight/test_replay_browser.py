"""Replay, effective access and an access request in a real browser, wide and narrow."""

import pytest
from playwright.sync_api import Page, expect

from tests.cast import Cast
from tests.host import Host
from tests.oversight.governed import draft, publish
from tests.oversight.looking import page, picture, sign_in
from tests.policy.judging import rule

__all__ = ["page"]

pytestmark = pytest.mark.browser


def _picture(page: Page, name: str) -> None:
    """Wide and narrow; narrow, nothing may stick out."""
    picture(page, f"V2-{name}")
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    picture(page, f"V2-{name}-360")
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.fixture
def scene(cast: Cast, hub: list[str]) -> Cast:
    cast.tool(cast.acme, "echo")
    cast.tool(cast.acme, "shout", read_only=False, destructive=True)
    cast.draft(cast.acme, "long_text")
    publish(cast, rule("Nothing blue", "deny", priority=200, if_="args.text == 'blue'", message="Blue is taken."))
    host = Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1])
    for text in ("red", "blue", "green", "x" * 300):
        host.call("echo", {"text": text})
    return cast


def test_a_draft_is_replayed_and_each_changed_call_is_found(page: Page, scene: Cast, hub: list[str]) -> None:
    draft(
        scene, rule("No green", "deny", if_="args.text == 'green'"), rule("Long", "review", if_="size(args.text) > 9")
    )
    where = f"/admin/policy/rule/replay/?tenant={scene.acme.pk}"
    sign_in(page, hub[0], scene.adam, scene.password, where)
    _picture(page, "replay-begin")
    page.get_by_label("Over the calls of").select_option("the last day")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status")).to_contain_text("Of 4 calls")
    expect(page.get_by_role("row", name="No green")).to_contain_text("refused")
    _picture(page, "replay")
    page.get_by_role("link", name="Which calls of echo: No green").click()
    expect(page.get_by_role("cell", name=scene.uma.username)).to_be_visible()
    _picture(page, "replay-calls")
    page.get_by_role("link", name="Entry").click()
    expect(page.get_by_text("green")).to_be_visible()


def test_effective_access_is_read_for_a_member_and_one_tool_is_explained(
    page: Page, scene: Cast, hub: list[str]
) -> None:
    where = f"/admin/policy/rule/effective/?tenant={scene.acme.pk}"
    sign_in(page, hub[0], scene.audrey, scene.password, where)
    page.get_by_label("Member").select_option(f"{scene.uma.username} (user)")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="2 tools in their list")).to_be_visible()
    expect(page.get_by_role("row", name="long_text")).to_contain_text("It was never published.")
    page.get_by_label("How they come").select_option(index=1)
    page.get_by_role("button", name="Show").click()
    _picture(page, "effective")
    page.get_by_role("link", name="Explain echo rule by rule").click()
    page.get_by_label("Arguments").fill('{"text": "blue"}')
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("status")).to_contain_text("by the rule “Nothing blue”. Blue is taken.")
    _picture(page, "effective-tool")


def test_access_is_asked_for_and_granted(page: Page, scene: Cast, hub: list[str]) -> None:
    where = f"/t/{scene.acme.slug}/ask?tool=echo"
    sign_in(page, hub[0], scene.uma, scene.password, where)
    _picture(page, "ask")
    page.get_by_label("What do you need it for?").fill("The customer's colour is blue.")
    page.get_by_role("button", name="Ask for access").click()
    expect(page.get_by_text("an admin of Acme has to answer")).to_be_visible()
    _picture(page, "ask-waits")
    sign_in(page, hub[0], scene.adam, scene.password, "/admin/policy/accessrequest/")
    _picture(page, "requests")
    page.get_by_role("link", name="echo", exact=True).click()
    expect(page.get_by_text("“The customer's colour is blue.”")).to_be_visible()
    _picture(page, "request")
    page.get_by_role("button", name=f"Grant echo to {scene.uma.username}").click()
    expect(page.get_by_text("from the next call on")).to_be_visible()
    sign_in(page, hub[0], scene.uma, scene.password, where)
    expect(page.get_by_text("Granted")).to_be_visible()
    _picture(page, "ask-granted")
