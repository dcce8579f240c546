"""Writing a rule in a real browser, and what it does to a call by HTTP once it is published."""

from itertools import product
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from policy import actions
from tests.cast import Cast
from tests.host import Host
from tests.oversight.looking import page, picture, sign_in
from tests.oversight.scene import said
from tests.policy.judging import pinned_as

__all__ = ["page"]

pytestmark = pytest.mark.browser

RULES = "/admin/policy/rule/"
SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]
USUAL = """\
- name: Nothing is deleted at night
  priority: 300
  effect: deny
  what: {traits: [destructive]}
  when: {from: "22:00", to: "06:00", zone: Europe/Berlin}
- name: Refunds above 500 need a second person
  priority: 200
  effect: review
  what: {tools: [refund_*]}
  if: args.amount > 500
- name: Card numbers are hidden
  priority: 200
  effect: transform
  transform: [{mask: customer.card}]
- name: The desk may answer without being asked
  effect: allow
  who: {roles: [user]}
  what: {tools: [echo]}
- name: Old
  effect: warn
"""


def test_a_rule_written_in_the_form_is_seen_as_yaml_published_and_refuses_a_real_call(
    page: Page, hub: list[str], cast: Cast
) -> None:
    cast.tool(cast.acme, "echo")
    host = Host(hub[1], cast.acme.slug, cast.key(cast.uma)[1])
    assert host.call("echo", {"text": "secret plans"}).text == '{"text":"secret plans"}'
    sign_in(page, hub[0], cast.olga, cast.password, RULES)
    page.get_by_role("link", name="Add the first rule").click()
    page.fill("[name=name]", "Plans stay inside")
    page.get_by_role("checkbox", name="echo").check()
    page.fill("[name=condition]", "args.text.contains('plans'")
    page.fill("[name=message]", "Plans are not for tools.")
    picture(page, "V1-form")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".field-condition")).to_contain_text("It cannot be read at character")
    picture(page, "V1-form-wrong")
    page.fill("[name=condition]", "args.text.contains('plans')")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("1 change is not published.")).to_be_visible()
    picture(page, "V1-list")
    assert host.call("echo", {"text": "secret plans"}).text == '{"text":"secret plans"}'
    page.get_by_role("link", name="Show YAML").click()
    expect(page.get_by_label("The draft as YAML")).to_have_value(
        "- name: Plans stay inside\n  priority: 100\n  effect: deny\n  what:\n    tools: [echo]\n"
        "  if: args.text.contains('plans')\n  message: Plans are not for tools.\n"
    )
    picture(page, "V1-yaml")
    page.get_by_role("link", name="Back to the list").click()
    page.get_by_role("link", name="Review and publish").click()
    picture(page, "V1-publish")
    page.get_by_role("button", name="Publish rules v1").click()
    expect(page.get_by_text("Rules v1 decide from the next call on.")).to_be_visible()
    reason, message = said(host.call("echo", {"text": "secret plans"}))
    assert reason == "denied"
    assert message.startswith("Plans are not for tools.")
    assert host.call("echo", {"text": "lunch"}).text == '{"text":"lunch"}'


def test_only_what_goes_with_the_effect_is_shown_and_arguments_are_changed_as_written(
    page: Page, hub: list[str], cast: Cast
) -> None:
    cast.tool(cast.acme, "echo")
    host = Host(hub[1], cast.acme.slug, cast.key(cast.uma)[1])
    sign_in(page, hub[0], cast.olga, cast.password, RULES)
    page.goto(f"{hub[0]}/admin/policy/rule/add/")
    reviewers, secret = page.locator("[name=reviewers_minutes]"), page.locator("[name=secret]")
    verb = page.locator("[name=transform-0-verb]")
    expect(secret).to_be_visible()
    expect(reviewers).to_be_hidden()
    page.select_option("[name=effect]", "review")
    expect(reviewers).to_be_visible()
    expect(secret).to_be_hidden()
    page.select_option("[name=effect]", "transform")
    expect(reviewers).to_be_hidden()
    expect(verb).to_be_visible()
    for _ in range(2):
        page.get_by_role("button", name="One more change").click()
    page.fill("[name=name]", "Everything is lunch")
    page.select_option("[name=transform-4-verb]", "set")
    page.fill("[name=transform-4-path]", "text")
    page.fill("[name=transform-4-to]", '"lunch"')
    expect(page.locator("[name=transform-4-least]")).to_be_hidden()
    page.get_by_role("checkbox", name="only read").check()
    picture(page, "V1-transform")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="Review and publish").click()
    page.get_by_role("button", name="Publish rules v1").click()
    expect(page.get_by_text("Rules v1 decide from the next call on.")).to_be_visible()
    assert host.call("echo", {"text": "secret plans"}).text == '{"text":"lunch"}'


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_of_rules_scrolls_sideways(page: Page, hub: list[str], cast: Cast, width: int) -> None:
    cast.tool(cast.acme, "echo")
    with cast.see(cast.acme):
        actions.replace_draft(cast.acme, USUAL, actor=cast.adam)
        actions.publish(cast.acme, actor=cast.adam, note="The usual five", tools=pinned_as(echo="another version"))
        changed = USUAL.replace("> 500", "> 1000").replace("Old", "New").replace("[user]", "[user, approver]")
        actions.replace_draft(cast.acme, changed, actor=cast.adam)
        hidden = cast.acme.rules.get(name="Card numbers are hidden")
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, hub[0], cast.olga, cast.password, RULES)
    places = ("", f"{hidden.pk}/change/", "add/", "yaml/", "publish/", "versions/", "versions/1/", "throw-away/")
    for scheme, place in product(SCHEMES, places):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{hub[0]}/admin/policy/rule/{place}", wait_until="networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (scheme, place)
        picture(page, f"V1-{width}-in-{scheme}-{place.replace('/', '-') or 'list'}")
