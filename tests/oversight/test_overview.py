"""The admin's first page: how a tenant does, and its kill switch."""

import re

import pytest
from django.test import Client as Browser

from oversight import overview
from tenants.models import User
from tests.gateway.following import change, claim, lasting, start
from tests.ledger import calls
from tests.oversight.scene import Scene
from tests.waiting import until


def first_page(user: User, query: str = "") -> str:
    found = Browser()
    found.force_login(user)
    page = found.get(f"/admin/{query}").text
    return re.sub(r"\s+", " ", page).replace("&amp;", "&")


def shown(page: str) -> dict[str, str]:
    """The numbers by their names."""
    found = re.findall(r"<div[^>]*><dt>([^<]+)</dt><dd>(?:<a [^>]+>)?([^<]+)<", page)
    return dict(found)


@pytest.fixture
def busy(scene: Scene) -> Scene:
    """Acme, of which three calls went well, one failed and two were refused."""
    cast, host = scene.cast, scene.host()
    cast.tool(cast.acme, "fail")
    cast.tool(cast.acme, "who_am_i")
    for _ in range(3):
        host.call("echo", {"text": "hello"})
    host.call("fail", {"how": "badly"})
    for _ in range(2):
        host.call("echo", {"text": 7})
    until(lambda: len(calls(cast, cast.acme, "echo", "call.finished")) == 3)
    until(lambda: len(calls(cast, cast.acme, "fail", "call.finished")) == 1)
    until(lambda: len(calls(cast, cast.acme, "echo", "call.refused")) == 2)
    return scene


def test_it_shows_the_last_day_and_what_waits_and_runs_now(busy: Scene) -> None:
    cast = busy.cast
    tool = lasting(cast, "shout")
    tasks = [start(busy.host(), "shout", text=text) for text in ("a", "b", "c", "d")]
    claim(tasks[0])
    change(tasks[1], "state = 'awaiting_approval'")
    page = first_page(cast.olga)
    found = shown(page)
    assert {name: found[name] for name in ("Calls", "Errors", "Refused")} == {
        "Calls": "4",
        "Errors": "1",
        "Refused": "2",
    }
    assert (found["Approvals that wait"], found["Jobs that run"], found["Jobs that wait"]) == ("1", "1", "2")
    assert found["99 of 100 took at most"].endswith(" ms")
    assert "<dt>2</dt><dd><code>invalid_arguments</code></dd>" in page
    assert "<dt>1 of 1</dt><dd><code>fail</code></dd>" in page
    assert "3 of the tools that are offered" in page
    assert "<li><code>linger</code></li>" in page
    assert f"<li><code>{tool.name}</code></li>" in page
    assert "<li><code>echo</code></li>" not in page


def test_a_tool_whose_calls_were_all_refused_is_not_one_that_nobody_called(scene: Scene) -> None:
    scene.host().call("echo", {"text": 7})
    until(lambda: len(calls(scene.cast, scene.cast.acme, "echo", "call.refused")) == 1)
    page = first_page(scene.cast.olga)
    assert "<li><code>linger</code></li>" in page
    assert "<code>echo</code>" not in page


def test_it_has_the_tenants_kill_switch_for_who_may_throw_it(scene: Scene) -> None:
    cast = scene.cast
    for person, may in ((cast.olga, True), (cast.adam, False), (cast.audrey, False)):
        page = first_page(person)
        assert "Acme in the last day" in page
        assert ("Stop Acme now" in page) == may
    scene.throw("tenant")
    assert "Kill switch: Acme is stopped" in first_page(cast.olga)


def test_who_reads_several_tenants_chooses_one_and_nobody_sees_another(scene: Scene) -> None:
    cast = scene.cast
    staff = first_page(cast.staff)
    assert "in the last day" not in staff
    assert f'<option value="{cast.beta.pk}">' in staff
    assert "Beta in the last day" in first_page(cast.staff, f"?tenant={cast.beta.pk}")
    for wanted in (cast.beta.pk, "x", 9**30):
        assert "in the last day" not in first_page(cast.olga, f"?tenant={wanted}")
    assert "Beta" not in first_page(cast.olga)


def test_what_it_goes_through_is_bounded_and_it_says_so(busy: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "these are of the newest" not in first_page(busy.cast.olga)
    monkeypatch.setattr(overview, "MOST", 3)
    page = first_page(busy.cast.olga)
    assert "these are of the newest 3." in page
    assert shown(page)["Refused"] == "2"


def test_a_tenant_to_which_nobody_came_has_zeros(scene: Scene) -> None:
    found = shown(first_page(scene.cast.olga))
    assert (found["Calls"], found["Errors"], found["99 of 100 took at most"]) == ("0", "0", "none ran")
