"""The form's part on safety: what arguments are searched for, what results are rid of; and a tenant's guards."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from lib.detect.attacks import DETECTORS
from tenants.models import Tenant
from tests.admin.conftest import form_of
from tests.browser import opened
from tests.cast import Cast
from tests.person import words
from tools import actions
from tools.models import Tool, Version


def _change(tool: Tool) -> str:
    return reverse("admin:tools_tool_change", args=[tool.pk])


def _post(client: Client, tool: Tool, **changed: Any) -> Any:
    return client.post(_change(tool), form_of(client, _change(tool), _save="1", **changed))


def test_what_is_said_about_safety_is_stored_frozen_and_shown_as_a_difference(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    given = {
        "inspect": ["sql", "shell"],
        "high_risk": "on",
        "units": 250,
        "cleaning__personal": ["iban", "email"],
        "cleaning__instructions": "remove",
    }
    assert _post(olga, tool, **given).status_code == 302
    with cast.see(cast.acme):
        draft = Tool.objects.get(pk=tool.pk)
        assert (draft.inspect, draft.high_risk, draft.units) == (["shell", "sql"], True, 250)
        assert draft.cleaning == {"personal": ["email", "iban"], "instructions": "remove"}
    read = words(olga.get(reverse("admin:tools_tool_publish", args=[tool.pk])).content.decode())
    for line in ("Units that a call spends - 1 + 250", "Judged by the classifier too - no + yes"):
        assert line in read
    for title in ("What its arguments are searched for + [ + ", "What is taken out of its results + { + "):
        assert title in read
    with cast.see(cast.acme):
        version = actions.publish(draft, actor=cast.olga)
        frozen = Version.objects.get(pk=version.pk)
    assert (frozen.inspect, frozen.cleaning, frozen.units) == (draft.inspect, draft.cleaning, 250)


def test_what_is_on_by_default_is_stored_only_when_it_is_switched_off(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    assert _post(olga, tool, title="Another").status_code == 302
    with cast.see(cast.acme):
        assert Tool.objects.get(pk=tool.pk).cleaning == {}
    given = form_of(olga, _change(tool), _save="1")
    given.pop("cleaning-secrets")
    given.pop("untrusted")
    assert olga.post(_change(tool), given).status_code == 302
    with cast.see(cast.acme):
        draft = Tool.objects.get(pk=tool.pk)
    assert (draft.cleaning, draft.untrusted) == ({"secrets": False}, False)


@pytest.mark.parametrize("wrong", [{"cleaning__links": "burn"}, {"inspect": ["nonsense"]}, {"units": -1}])
def test_what_cannot_be_chosen_is_said_beside_its_field(cast: Cast, olga: Client, wrong: dict[str, Any]) -> None:
    page = _post(olga, cast.draft(cast.acme, "echo"), **wrong)
    assert set(page.context["adminform"].form.errors) == {next(iter(wrong)).replace("__", "-")}


def test_a_tenant_names_where_results_may_link_to_and_asks_for_a_second_person(cast: Cast, olga: Client) -> None:
    url = reverse("admin:tenants_tenant_change", args=[cast.acme.pk])
    given = {"link_hosts": "Acme.example\n*.acme.example", "second_publisher": "on"}
    assert olga.post(url, form_of(olga, url, **given)).status_code == 302
    with cast.see(cast.acme):
        tenant = Tenant.objects.get(pk=cast.acme.pk)
    assert (tenant.link_hosts, tenant.second_publisher) == (["acme.example", "*.acme.example"], True)
    for wrong in ("https://acme.example", "acme.*", "acme.example:80", "two words"):
        page = olga.post(url, form_of(olga, url, link_hosts=wrong))
        assert "Write hosts like acme.example" in str(page.context["adminform"].form.errors["link_hosts"]), wrong


@pytest.fixture
def page() -> Iterator[Page]:
    with opened(without="the tool form was not tested in a browser", viewport={"width": 1400, "height": 1000}) as page:
        yield page


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 360])
def test_safety_is_ticked_and_chosen_in_the_form(page: Page, hub: list[str], cast: Cast, width: int) -> None:
    tool = cast.tool(cast.acme, "echo")
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(f"{hub[0]}/admin/login/?next={_change(tool)}")
    page.fill("[name=login]", cast.olga.username)
    page.fill("[name=password]", cast.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"**{_change(tool)}")
    for one in DETECTORS.values():
        expect(page.get_by_text(f"{one.label}: {one.help}")).to_be_visible()
    page.get_by_text(f"{DETECTORS['sql'].label}: ").click()
    page.get_by_text("national id").click()
    page.select_option("[name=cleaning-links]", "remove")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.locator(".mh-look")).to_contain_text("What is taken out of its results")
    page.get_by_role("button", name="Save and review for publishing").click()
    expect(page.get_by_text("What its arguments are searched for")).to_be_visible()
    with cast.see(cast.acme):
        draft = Tool.objects.get(pk=tool.pk)
    assert (draft.inspect, draft.cleaning) == (["sql"], {"personal": ["national_id"], "links": "remove"})
