"""Asking for a tool that a rule refuses: the page, and who sees what there."""

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from policy.models import AccessRequest
from tenants.models import Role
from tests.cast import Cast
from tests.host import Host
from tests.oversight.governed import browser, live, publish
from tests.oversight.requesting import NO, WEEK, asked, door, granted, refused, said, text
from tests.policy.judging import rule


@pytest.fixture
def host(cast: Cast, hub: list[str]) -> Host:
    return refused(cast, hub)


def test_from_the_refusal_to_the_call_that_goes_through(cast: Cast, host: Host) -> None:
    answer = host.call("echo", {"text": "hi"})
    assert said(answer) == "denied"
    at = answer.result["_meta"]["mcphub/refusal"]["askAt"]
    uma = browser(cast.uma)
    assert at.endswith(door(cast))
    assert "<bdi>Echoes are for the desk.</bdi>" in text(uma, door(cast))
    request = asked(cast)
    assert (request.rule, request.why) == ("No echo here", "A customer waits")
    assert "an admin of Acme has to answer" in text(uma, door(cast))
    adam = browser(cast.adam)
    assert "echo" in text(adam, reverse("admin:policy_accessrequest_changelist"))
    page = reverse("admin:policy_accessrequest_change", args=[request.pk])
    assert "A customer waits" in text(adam, page)
    week = (timezone.now() + WEEK).date()
    given = {"seen": live(cast).number, "until": week.isoformat(), "effect": "allow", "answer": "For this customer"}
    assert adam.post(reverse("admin:policy_accessrequest_grant", args=[request.pk]), given)["Location"] == page
    assert said(host.call("echo", {"text": "hi"})) == ""
    shown = text(uma, door(cast))
    assert "Granted" in shown
    assert "For this customer" in shown
    rules = live(cast).rules
    assert rules[-1] == {
        "name": f"Access for {cast.uma.username}: echo until {week} (request {request.pk})",
        "priority": 151,
        "effect": "allow",
        "who": {"users": [cast.uma.username]},
        "what": {"tools": ["echo"]},
        "when": {"until": f"{week}T23:59:59Z"},
    }
    assert said(Host(host.base, cast.acme.slug, cast.key(cast.adam)[1]).call("echo", {"text": "hi"})) == "denied"


@pytest.mark.parametrize(
    ("person", "tool", "status"),
    [
        ("uma", "hidden", 404),
        ("uma", "nothing_of_the_kind", 404),
        ("uma", "", 404),
        ("uma", "x" * 5000, 404),
        ("uma", "%00", 404),
        ("uma", "beyond", 404),
        ("uma", "off", 404),
        ("bob", "echo", 404),
        ("staff", "echo", 404),
        ("uma", "echo", 200),
    ],
)
def test_what_is_not_there_for_the_reader_is_not_there(
    cast: Cast, host: Host, person: str, tool: str, status: int
) -> None:
    cast.scopes(cast.acme, {"close": "Close"})
    cast.change_scope(cast.acme, "close", roles=[Role.ADMIN])
    config = {"function": "echo"}
    cast.tool(cast.acme, "hidden", config=config)
    cast.tool(cast.acme, "beyond", config=config, scopes=["close"])
    cast.tool(cast.acme, "off", config=config, enabled=False)
    publish(cast, NO, rule("Nobody knows", "deny", secret=True, message="It is a secret.", what={"tools": ["hidden"]}))
    reader = browser(getattr(cast, person))
    page = text(reader, door(cast, tool), status)
    assert "secret" not in page
    assert "Nobody knows" not in page
    if person == "uma" and status == 404:
        assert page == text(reader, door(cast, "no_such_tool"), 404)
        assert reader.post(door(cast, tool), {"why": "x"}).status_code == 404
    if person in ("bob", "staff"):
        assert "Acme" not in page


def test_strangers_sign_in_first(cast: Cast, host: Host) -> None:
    answer = Browser().get(door(cast))
    assert answer.status_code == 302
    assert "/login/" in answer["Location"]
    assert "ask%3Ftool%3Decho" in answer["Location"]


def test_one_open_request_for_a_tool_and_twenty_of_a_member(cast: Cast, host: Host) -> None:
    asked(cast)
    uma = browser(cast.uma)
    answer = uma.post(door(cast), {"why": "again"})
    assert answer.status_code == 400
    member = cast.member(cast.acme, cast.uma)
    cast.tool(cast.acme, "shout")
    publish(cast, NO, rule("No shouting", "deny", what={"tools": ["shout"]}))
    with cast.see(cast.acme):
        AccessRequest.objects.bulk_create(
            AccessRequest(tenant=cast.acme, member=member, tool=f"t{number}", why="x") for number in range(19)
        )
    answer = uma.post(door(cast, "shout"), {"why": "one too many"})
    assert answer.status_code == 400
    assert "20 of your requests wait" in answer.text
    assert "one too many" in answer.text, "what was written stays"


def test_without_a_reason_nothing_is_asked(cast: Cast, host: Host) -> None:
    answer = browser(cast.uma).post(door(cast), {"why": "  "})
    assert answer.status_code == 400
    assert "Say in up to 500 characters" in answer.text


def test_what_nothing_refuses_is_not_asked_for(cast: Cast, host: Host) -> None:
    publish(cast)
    uma = browser(cast.uma)
    assert "Nothing refuses it to you now" in text(uma, door(cast))
    assert uma.post(door(cast), {"why": "x"}).status_code == 400


def test_a_rule_that_looks_at_arguments_is_found_by_what_it_refused(cast: Cast, host: Host) -> None:
    publish(cast, rule("Not blue", "deny", if_="has(args.text) && args.text == 'blue'", message="Blue is wrong."))
    uma = browser(cast.uma)
    assert said(host.call("echo", {"text": "red"})) == ""
    assert said(host.call("echo", {"text": "blue"})) == "denied"
    assert "Blue is wrong." in text(uma, door(cast))
    granted(cast, asked(cast))
    assert said(host.call("echo", {"text": "blue"})) == ""


def test_who_lacks_a_scope_is_led_to_connect_again(cast: Cast, hub: list[str]) -> None:
    cast.scopes(cast.acme, {"read": "Read"})
    cast.tool(cast.acme, "echo", scopes=["read"])
    host = Host(hub[0], cast.acme.slug, cast.key(cast.uma, scopes=[])[1])
    assert host.call("echo", {"text": "x"}).status == 403
    shown = text(browser(cast.uma), door(cast))
    assert "Your role in Acme may hold it." in shown
    assert "<code>read</code>" in shown
    assert f'href="/t/{cast.acme.slug}/"' in shown
