"""Where a tenant asks for a second person, nobody makes live alone what they wrote, moved or proposed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client
from django.urls import reverse

from audit.models import Event
from tenants import actions as tenant_actions
from tenants.models import Role, Tenant, User
from tests.admin.conftest import SignIn, entries, form_of, sign_in
from tests.cast import Cast
from tests.gateway.conftest import Make, host
from tests.person import words
from tools import actions
from tools.models import Connection, Tool, Version

__all__ = ["host", "sign_in"]


@pytest.fixture
def acme(cast: Cast) -> Cast:
    """adam and dana are its admins; it asks for a second person."""
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(second_publisher=True)
    cast.acme.second_publisher = True
    return cast


@pytest.fixture
def tool(cast: Cast) -> Tool:
    """`echo`, which was published before anybody asked for two."""
    return cast.tool(cast.acme, "echo", title="First")


def _page(name: str, tool: Tool, *more: Any) -> str:
    return reverse(f"admin:tools_tool_{name}", args=[tool.pk, *more])


def _write(browser: Client, tool: Tool, **fields: Any) -> None:
    url = _page("change", tool)
    assert browser.post(url, form_of(browser, url, _save="1", **fields)).status_code == 302


def _press(browser: Client, tool: Tool, button: str = "") -> str:
    """Press the button of the publish page as it is drawn; what the next page says."""
    url = _page("publish", tool)
    page = browser.get(url)
    assert (' name="propose"' in page.content.decode()) == (button == "propose")
    given = {"digest": page.context["look"].digest} | ({"propose": "yes"} if button else {})
    return words(browser.post(url, given, follow=True).content.decode())


def _reads(browser: Client, tool: Tool) -> str:
    return words(browser.get(_page("publish", tool)).content.decode())


def _live(cast: Cast, tool: Tool) -> int:
    with cast.see(cast.acme):
        return Version.objects.get(pk=Tool.objects.values_list("live", flat=True).get(pk=tool.pk)).number


@contextmanager
def _refused(cast: Cast, says: str) -> Iterator[None]:
    with cast.see(cast.acme), pytest.raises(ValidationError, match=says):
        yield


def test_one_proposes_and_another_publishes_after_reading_what_changes(
    tool: Tool, acme: Cast, sign_in: SignIn, host: Make
) -> None:
    adam, olga = sign_in(acme.adam), sign_in(acme.olga)
    _write(adam, tool, title="Second")
    assert "asks for a second person. Propose it" in _reads(adam, tool)
    assert "is proposed. Somebody else has to publish it." in _press(adam, tool, "propose")
    assert host().request("tools/list").result["tools"][0]["title"] == "First"
    read = _reads(olga, tool)
    assert re.search(rf"Proposed by {re.escape(acme.adam.username)} , (just now|\d+ s ago)", read)
    assert "- First + Second" in read
    assert "echo v2 is live" in _press(olga, tool)
    assert host().request("tools/list").result["tools"][0]["title"] == "Second"
    told = [(one.actor, one.reason) for one in entries(acme, acme.acme, event=Event.CHANGED)]
    told = [one for one in told if one[1] in ("proposed", "published")][-2:]
    assert told == [(acme.adam.username, "proposed"), (acme.olga.username, "published")]


@pytest.mark.parametrize("name", ["adam", "olga", "staff"])
def test_nobody_publishes_what_they_proposed_whoever_they_are(
    tool: Tool, acme: Cast, sign_in: SignIn, name: str
) -> None:
    who: User = getattr(acme, name)
    browser = sign_in(who)
    _write(sign_in(acme.adam if name != "adam" else acme.olga), tool, title="Second")
    with _refused(acme, "Propose it"):
        actions.publish(tool, actor=who)
    _press(browser, tool, "propose")
    assert "You proposed it" in _reads(browser, tool)
    assert "Publish version" not in _reads(browser, tool)
    with _refused(acme, "You proposed it"):
        actions.publish(tool, actor=who)
    assert _live(acme, tool) == 1


def test_who_wrote_at_it_is_no_second_person_even_when_somebody_wrote_later(
    tool: Tool, acme: Cast, sign_in: SignIn
) -> None:
    dana = acme.join(acme.acme, "dana", Role.ADMIN).user
    _write(sign_in(acme.adam), tool, title="Poisoned")
    _write(sign_in(acme.olga), tool, description="Does one thing for tests. Use it in tests; a comma changed.")
    _press(sign_in(acme.olga), tool, "propose")
    assert "You wrote at it" in _reads(sign_in(acme.adam), tool)
    with _refused(acme, "You wrote at it"):
        actions.publish(tool, actor=acme.adam)
    assert "is live" in _press(sign_in(dana), tool)
    with acme.see(acme.acme):
        assert Tool.objects.get(pk=tool.pk).writers == []


def test_a_change_of_the_draft_voids_the_proposal(tool: Tool, acme: Cast, sign_in: SignIn) -> None:
    dana = acme.join(acme.acme, "dana", Role.ADMIN).user
    adam, olga = sign_in(acme.adam), sign_in(acme.olga)
    _write(adam, tool, title="Second")
    _press(adam, tool, "propose")
    page = olga.get(_page("publish", tool))
    _write(adam, tool, title="Third")
    answer = olga.post(_page("publish", tool), {"digest": page.context["look"].digest})
    assert "The draft changed after this page was shown" in words(answer.content.decode())
    with _refused(acme, "Propose it"):
        actions.publish(tool, actor=dana)
    with acme.see(acme.acme):
        Tool.objects.filter(pk=tool.pk).update(title="Second")  # written past the editor: it is what was proposed
        assert Tool.objects.get(pk=tool.pk).proposed_digest == ""
    assert _live(acme, tool) == 1


def test_a_draft_that_was_changed_past_the_editor_is_not_what_was_proposed(
    tool: Tool, acme: Cast, sign_in: SignIn
) -> None:
    _write(sign_in(acme.adam), tool, title="Second")
    _press(sign_in(acme.adam), tool, "propose")
    with acme.see(acme.acme):
        Tool.objects.filter(pk=tool.pk).update(title="Third")
    with _refused(acme, "Propose it"):
        actions.publish(tool, actor=acme.olga)


def test_what_is_proposed_is_not_proposed_again_by_another(tool: Tool, acme: Cast, sign_in: SignIn) -> None:
    _write(sign_in(acme.adam), tool, title="Second")
    _press(sign_in(acme.adam), tool, "propose")
    with acme.see(acme.acme):
        draft = Tool.objects.get(pk=tool.pk)
        with pytest.raises(ValidationError, match="proposed already"):
            actions.propose(draft, actor=acme.olga, reviewed=actions.digest(draft))


def test_an_earlier_version_comes_back_by_two_people_as_well(tool: Tool, cast: Cast, sign_in: SignIn) -> None:
    with cast.see(cast.acme):
        tool.title = "Second"
        tool.save()
        actions.publish(tool, actor=cast.staff)
        tenant_actions.change_tenant(_asking(cast), actor=cast.olga)
    url = _page("roll_back", tool, 1)
    adam, olga = sign_in(cast.adam), sign_in(cast.olga)
    assert "Propose to make version 1 live again" in words(adam.get(url).content.decode())
    assert "Propose it" in words(adam.post(url, follow=True).content.decode())
    assert "echo v1 is proposed" in words(adam.post(url, {"propose": "yes"}, follow=True).content.decode())
    assert "You proposed it" in words(adam.post(url, follow=True).content.decode())
    assert _live(cast, tool) == 2
    assert f"Proposed by {cast.adam.username}" in words(olga.get(url).content.decode())
    assert "echo v1 is live again" in words(olga.post(url, follow=True).content.decode())
    assert _live(cast, tool) == 1


def _asking(cast: Cast, second: bool = True) -> Tenant:
    tenant = Tenant.objects.get(pk=cast.acme.pk)
    tenant.second_publisher = second
    return tenant


def _through(cast: Cast) -> tuple[Connection, Tool]:
    with cast.see(cast.acme):
        connection = Connection.objects.create(tenant=cast.acme, name="Desk", base_url="https://desk.example/v1")
    given: dict[str, Any] = {"kind": "http", "config": {"path": "/t"}, "input_schema": {"type": "object"}}
    return connection, cast.tool(cast.acme, "desk", connection=connection, **given)


def test_who_moves_a_connection_is_no_second_person_for_its_tools(cast: Cast, sign_in: SignIn) -> None:
    connection, tool = _through(cast)
    dana = cast.join(cast.acme, "dana", Role.ADMIN).user
    with cast.see(cast.acme):
        tenant_actions.change_tenant(_asking(cast), actor=cast.olga)
    _write(sign_in(cast.adam), tool, title="Second")
    _press(sign_in(cast.adam), tool, "propose")
    with cast.see(cast.acme):
        connection.base_url = "https://elsewhere.example/v1"
        actions.save_connection(connection, actor=cast.olga)
        actions.follow(connection, actor=cast.olga)
        assert Tool.objects.get(pk=tool.pk).proposed_digest == "", "it would have led to where nobody looked"
    assert _live(cast, tool) == 1
    _press(sign_in(dana), tool, "propose")
    with _refused(cast, "You wrote at it"):
        actions.publish(tool, actor=cast.olga)
    read = _reads(sign_in(cast.staff), tool)
    assert "- https://desk.example + https://elsewhere.example" in read
    assert "is live" in _press(sign_in(cast.staff), tool)


def test_tools_of_old_are_not_led_elsewhere_by_one_person(cast: Cast) -> None:
    connection, tool = _through(cast)
    with cast.see(cast.acme):
        version = Version.objects.get(tool=tool)
        fields = {field.name: getattr(version, field.name) for field in Version._meta.fields if not field.primary_key}
        old = Version.objects.create(**(fields | {"number": 2, "destination": ""}))
        Tool.objects.filter(pk=tool.pk).update(live=old)
        tenant_actions.change_tenant(_asking(cast), actor=cast.olga)
        connection.base_url = "https://elsewhere.example/v1"
        with pytest.raises(ValidationError, match="Publish desk anew first"):
            actions.save_connection(connection, actor=cast.olga)


@pytest.mark.parametrize(("name", "may"), [("olga", True), ("adam", False), ("staff", False)])
def test_only_an_owner_lets_one_person_publish_alone_again(
    acme: Cast, sign_in: SignIn, name: str, may: bool, caplog: pytest.LogCaptureFixture
) -> None:
    who: User = getattr(acme, name)
    url = reverse("admin:tenants_tenant_change", args=[acme.acme.pk])
    browser = sign_in(who)
    given = form_of(browser, url)
    given.pop("second_publisher", None)
    assert browser.post(url, given).status_code == 302
    with acme.see(acme.acme):
        assert Tenant.objects.get(pk=acme.acme.pk).second_publisher is not may
        loud = [one.actor for one in entries(acme, acme.acme) if one.reason == "took the second publisher off"]
        assert loud == ([who.username] if may else [])
        assert ("took the second publisher off" in caplog.text) is may
        Tenant.objects.filter(pk=acme.acme.pk).update(second_publisher=True)
        if not may:
            with pytest.raises(PermissionDenied):
                tenant_actions.change_tenant(_asking(acme, False), actor=who)


def test_a_draft_that_is_saved_beside_another_keeps_both_writers(tool: Tool, acme: Cast) -> None:
    with acme.see(acme.acme):
        one, other = Tool.objects.get(pk=tool.pk), Tool.objects.get(pk=tool.pk)
        one.title, other.title = "By adam", "By olga"
        actions.save_tool(one, actor=acme.adam)
        actions.save_tool(other, actor=acme.olga)
        kept = Tool.objects.get(pk=tool.pk)
    assert (kept.title, kept.writers) == ("By olga", sorted([acme.adam.pk, acme.olga.pk]))


def test_without_a_second_person_one_publishes_as_ever(tool: Tool, cast: Cast, sign_in: SignIn) -> None:
    _write(sign_in(cast.adam), tool, title="Second")
    assert "is live" in _press(sign_in(cast.adam), tool)
