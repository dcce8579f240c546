"""The tool editor in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser import opened
from tests.cast import Cast
from tools.models import Tool

pytestmark = pytest.mark.browser


@pytest.fixture
def page() -> Iterator[Page]:
    with opened(without="the tool editor was not tested in a browser", viewport={"width": 1400, "height": 900}) as page:
        yield page


def _open(page: Page, base: str, cast: Cast, tool: Tool) -> None:
    page.goto(f"{base}/admin/login/?next=/admin/tools/tool/{tool.pk}/change/")
    page.fill("[name=login]", cast.olga.username)
    page.fill("[name=password]", cast.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"**/admin/tools/tool/{tool.pk}/change/")


def test_the_preview_follows_what_is_typed_without_saving(page: Page, hub: list[str], cast: Cast) -> None:
    tool = cast.tool(cast.acme, "echo")
    _open(page, hub[0], cast, tool)
    shown = page.locator("[data-manifest]")
    expect(shown).to_contain_text("Does one thing for tests.")
    page.fill("[name=description]", "Repeats a text. Use it when asked; <i>never</i> else.")
    expect(shown).to_contain_text("Repeats a text. Use it when asked; <i>never</i> else.")
    expect(page.locator(".mh-look ins").first).to_contain_text("Repeats a text.")
    page.fill("[name=input_schema]", "{")
    expect(page.locator(".mh-look")).to_contain_text("because it has errors: input_schema")
    with cast.see(cast.acme):
        assert Tool.objects.get(pk=tool.pk).description == tool.description


def test_choosing_a_kind_redraws_its_fields_and_a_function_gives_its_schemas(
    page: Page, hub: list[str], cast: Cast
) -> None:
    tool = cast.draft(cast.acme, "echo")
    _open(page, hub[0], cast, tool)
    expect(page.locator("[name=config-http-path]")).to_be_hidden()
    page.select_option("[name=kind]", "http")
    expect(page.locator("[name=config-http-path]")).to_be_visible()
    expect(page.locator("[name=config-function-function]")).to_be_hidden()
    page.select_option("[name=kind]", "function")
    page.select_option("[name=config-function-function]", "sign_in")
    page.get_by_role("button", name="Take the schemas from the function").click()
    expect(page.locator("[data-manifest]")).to_contain_text("password")


def test_the_editor_fits_a_narrow_screen(page: Page, hub: list[str], cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.very.long.scope.name": "Lets somebody do a great many things with a long description"})
    tool = cast.draft(cast.acme, "echo")
    page.set_viewport_size({"width": 360, "height": 800})
    _open(page, hub[0], cast, tool)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("where", ["", "tools/tool/", "tools/tool/add/", "audit/entry/", "tools/tool/{}/change/"])
def test_no_page_of_the_admin_breaks_its_own_policy(page: Page, hub: list[str], cast: Cast, where: str) -> None:
    tool = cast.tool(cast.acme, "echo")
    _open(page, hub[0], cast, tool)
    answer = page.goto(f"{hub[0]}/admin/{where.format(tool.pk)}", wait_until="networkidle")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self' 'unsafe-eval';" in policy
    assert answer.status == 200
