"""Asking for a tool that a rule refuses, from the refusal to the call that goes through, and until it ends."""

import datetime
import html
import re
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client as Browser
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from oversight import requests
from policy import actions
from policy.models import AccessRequest, Draft, Rule
from policy.rules import read
from policy.values import Effect
from tenants.models import Role, Tenant, User
from tests import ledger
from tests.cast import Cast
from tests.host import Answer, Host
from tests.oversight.governed import browser, draft, live, publish
from tests.person import forms
from tests.policy.judging import rule
from tests.waiting import until
from tools import actions as tool_actions

NO = rule("No echo here", "deny", priority=150, what={"tools": ["echo"]}, message="Echoes are for the desk.")
WEEK = datetime.timedelta(days=7)


@pytest.fixture
def host(cast: Cast, hub: list[str]) -> Host:
    """Uma's, who is refused `echo`."""
    cast.tool(cast.acme, "echo")
    publish(cast, NO)
    return Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1])


def said(answer: Answer) -> str:
    """The reason of a refusal; empty for a call that went through."""
    refusal = answer.result.get("_meta", {}).get("mcphub/refusal", {})
    return str(refusal.get("reason", ""))


def door(cast: Cast, tool: str = "echo") -> str:
    return f"/t/{cast.acme.slug}/ask?tool={tool}"


def text(reader: Browser, url: str, status: int = 200) -> str:
    """A page as people read it, without what is made anew each time."""
    answer = reader.get(url)
    assert answer.status_code == status
    return re.sub(r'value="\w{64}"', "", html.unescape(answer.text))


def asked(cast: Cast, why: str = "A customer waits", person: str = "uma", tool: str = "echo") -> AccessRequest:
    answer = browser(getattr(cast, person)).post(door(cast, tool), {"why": why})
    assert answer.status_code == 302, answer.text
    with cast.see(cast.acme):
        return AccessRequest.objects.select_related("tenant", "member__user").get(
            tenant=cast.acme, tool=tool, member__user=getattr(cast, person), state="open"
        )


def granted(cast: Cast, request: AccessRequest, actor: User | None = None, **given: Any) -> AccessRequest:
    with cast.see(cast.acme):
        return requests.grant(request, actor=actor or cast.adam, until=timezone.now() + WEEK, **given)


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


def test_it_ends_at_its_moment(cast: Cast, host: Host) -> None:
    with cast.see(cast.acme):
        request = AccessRequest.objects.create(
            tenant=cast.acme, member=cast.member(cast.acme, cast.uma), tool="echo", rule="No echo here", why="x"
        )
        soon = timezone.now() + datetime.timedelta(milliseconds=700)
        requests.grant(request, actor=cast.adam, until=soon)
    until(lambda: timezone.now() >= soon)
    assert said(host.call("echo", {"text": "hi"})) == "denied"
    assert "What was granted to you is over." in text(browser(cast.uma), door(cast))


def change(cast: Cast) -> None:
    """`echo` is something else from now on."""
    with cast.see(cast.acme):
        tool = cast.acme.tools.get(name="echo")
        tool.description = "Does something else for tests. Use it in tests; changes nothing."
        tool.save()
        tool_actions.publish(tool, actor=cast.staff)


def test_it_ends_when_the_tool_changes(cast: Cast, host: Host) -> None:
    granted(cast, asked(cast))
    assert said(host.call("echo", {"text": "hi"})) == ""
    change(cast)
    assert said(host.call("echo", {"text": "hi"})) == "denied"


def test_a_grant_leaves_the_rest_of_the_draft_unpublished(cast: Cast, host: Host) -> None:
    request = asked(cast)
    draft(cast, rule("Half written", "deny"))
    with cast.see(cast.acme):
        writers = Draft.objects.get(tenant=cast.acme).writers
    granted(cast, request)
    assert live(cast).rules[0]["name"] == "No echo here"
    assert "Half written" not in str(live(cast).rules)
    with cast.see(cast.acme):
        names = [one.name for one in actions.draft_of(cast.acme)]
        assert Draft.objects.get(tenant=cast.acme).writers == writers == [cast.adam.pk]
    assert len(names) == 2
    assert "Half written" in names
    assert said(host.call("echo", {"text": "hi"})) == ""


def test_a_grant_does_not_revive_another_rule_for_a_tool_that_changed(cast: Cast, host: Host) -> None:
    publish(cast, NO, rule("Old", "allow", priority=999, what={"tools": ["e*"]}), pins={"echo": "as it was"})
    assert said(host.call("echo", {"text": "hi"})) == "denied"
    with pytest.raises(ValidationError, match="has changed since the live rule 'Old' was published"):
        granted(cast, asked(cast))
    assert said(host.call("echo", {"text": "hi"})) == "denied"


def test_what_would_be_asked_about_is_asked_about_still(cast: Cast, host: Host) -> None:
    cast.tool(cast.acme, "shout", read_only=False, destructive=True)
    publish(cast, rule("No shouting", "deny", what={"tools": ["shout"]}))
    request = asked(cast, tool="shout")
    with cast.see(cast.acme):
        effect = requests.proposed(request)
    assert effect is Effect.CONFIRM
    granted(cast, request, effect=effect)
    assert live(cast).rules[-1]["effect"] == "confirm"
    assert said(host.call("shout", {"text": "hi"})) == "confirmation_needed"


REVIEWED = {"roles": ["approver"], "minutes": 5}


@pytest.mark.parametrize(
    "condition",
    [{}, {"if_": "has(args.text) && args.text == 'much'"}, {"where": ["127.0.0.0/8"]}, {"who": {"ways": ["key"]}}],
)
def test_what_would_be_reviewed_is_reviewed_still(cast: Cast, host: Host, condition: dict[str, Any]) -> None:
    publish(cast, NO, rule("Somebody looks", "review", priority=120, reviewers=REVIEWED, **condition))
    request = asked(cast)
    page = text(browser(cast.adam), reverse("admin:policy_accessrequest_change", args=[request.pk]))
    assert '<option value="review" selected>' in page
    assert "mark or change such calls any more: Somebody looks." in page
    granted(cast, request)
    assert live(cast).rules[-1]["effect"] == "review"
    assert live(cast).rules[-1]["reviewers"] == REVIEWED
    assert "mcphub/job" in host.call("echo", {"text": "much"}).result["_meta"], "it is held"


def test_where_different_people_would_look_nobody_is_chosen_for_all(cast: Cast, host: Host) -> None:
    small = rule("Small", "review", priority=120, if_="has(args.text) && args.text == 'small'", reviewers=REVIEWED)
    publish(cast, NO, small, rule("All else", "review", priority=110, reviewers={"roles": ["owner"]}))
    request = asked(cast)
    with pytest.raises(ValidationError, match="“Small”, “All else” ask different people"):
        granted(cast, request)
    assert granted(cast, request, effect=Effect.CONFIRM).state == "granted"


def test_what_is_changed_or_marked_no_more_is_named(cast: Cast, host: Host) -> None:
    masked = rule("Masked", "transform", what={"tools": ["echo"]}, transform=[{"set": "text", "to": "x"}])
    publish(cast, NO, masked, rule("Marked", "warn", priority=90), rule("Never red", "deny", priority=80, if_="false"))
    page = text(browser(cast.adam), reverse("admin:policy_accessrequest_change", args=[asked(cast).pk]))
    assert "mark or change such calls any more: Masked, Marked, Never red." in page


def test_a_grant_is_for_what_its_page_showed(cast: Cast, host: Host) -> None:
    request, adam, number = asked(cast), browser(cast.adam), live(cast).number
    page = text(adam, reverse("admin:policy_accessrequest_change", args=[request.pk]))
    assert f'name="seen" value="{number}"' in page
    publish(cast, NO, rule("Somebody looks", "review", priority=120))
    given = {"seen": number, "until": (timezone.now() + WEEK).date().isoformat(), "effect": "allow"}
    told = adam.post(reverse("admin:policy_accessrequest_grant", args=[request.pk]), given, follow=True)
    assert "Other rules were published after this page was shown." in told.content.decode()
    assert state(cast, request) == "open"


def test_what_is_above_the_refusal_holds_by_itself(cast: Cast, host: Host) -> None:
    review = rule("Somebody looks", "review", priority=900, if_="has(args.text) && args.text == 'much'")
    publish(cast, NO, review)
    granted(cast, asked(cast))
    assert live(cast).rules[-1]["effect"] == "allow"
    assert "mcphub/job" in host.call("echo", {"text": "much"}).result["_meta"], "it is held"
    assert said(host.call("echo", {"text": "hi"})) == ""


def test_who_chooses_less_gives_less(cast: Cast, host: Host) -> None:
    publish(cast, NO, rule("Somebody looks", "review", priority=120))
    granted(cast, asked(cast), effect=Effect.ALLOW)
    assert said(host.call("echo", {"text": "hi"})) == ""


def two_publish(cast: Cast) -> None:
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(second_publisher=True)


@pytest.fixture
def two(cast: Cast, host: Host) -> AccessRequest:
    """Uma's, where rules need a second person; adam has put it forward."""
    two_publish(cast)
    request = asked(cast)
    week = (timezone.now() + WEEK).date().isoformat()
    given = {"seen": live(cast).number, "until": week, "effect": "allow", "answer": "For this customer"}
    told = (
        browser(cast.adam)
        .post(reverse("admin:policy_accessrequest_grant", args=[request.pk]), given, follow=True)
        .content.decode()
    )
    assert "once somebody else has published it" in told
    return request


def publish_draft(reader: Browser, cast: Cast) -> str:
    url = f"{reverse('admin:policy_rule_publish')}?tenant={cast.acme.pk}"
    (form,) = [form for form in forms(reader.get(url).content.decode()) if "digest" in form.texts]
    return reader.post(url, form.data(), follow=True).content.decode()


def add(cast: Cast, name: str) -> None:
    """One more rule in the draft, of adam's."""
    with cast.see(cast.acme):
        actions.save_rule(actions.fill(Rule(tenant=cast.acme), read(rule(name, "warn"))), actor=cast.adam)


def state(cast: Cast, request: AccessRequest) -> str:
    with cast.see(cast.acme):
        request.refresh_from_db()
    return str(request.state)


def test_where_two_have_to_publish_a_grant_waits_for_the_second(cast: Cast, host: Host, two: AccessRequest) -> None:
    uma, number = browser(cast.uma), live(cast).number
    assert (state(cast, two), live(cast).number) == ("proposed", number)
    assert said(host.call("echo", {"text": "hi"})) == "denied"
    assert "an admin of Acme has to answer" in text(uma, door(cast))
    assert uma.post(door(cast), {"why": "again"}).status_code == 400
    assert "asks for a second person to publish it" in publish_draft(browser(cast.adam), cast)
    assert (state(cast, two), live(cast).number) == ("proposed", number)
    assert f"Rules v{number + 1} decide" in publish_draft(browser(cast.olga), cast)
    assert (state(cast, two), two.decided_by_id) == ("granted", cast.olga.pk)
    assert said(host.call("echo", {"text": "hi"})) == ""
    assert "For this customer" in text(uma, door(cast))


@pytest.fixture
def own(cast: Cast, host: Host) -> AccessRequest:
    """Olga's, who may publish; adam has put it forward where rules need a second person."""
    two_publish(cast)
    return granted(cast, asked(cast, person="olga"))


def test_who_asked_does_not_publish_what_grants_it(cast: Cast, host: Host, own: AccessRequest) -> None:
    zoe, number = cast.join(cast.acme, "zoe", Role.ADMIN).user, live(cast).number
    olga = browser(cast.olga)
    page = text(olga, f"{reverse('admin:policy_rule_publish')}?tenant={cast.acme.pk}")
    assert f"You asked for echo yourself, so somebody else has to publish the rule that grants it. Ask {zoe}." in page
    assert "You asked for echo yourself" in publish_draft(olga, cast)
    assert (state(cast, own), live(cast).number) == ("proposed", number)
    assert f"publish it. Ask {zoe}." in publish_draft(browser(cast.adam), cast), "and not olga"
    assert f"Rules v{number + 1} decide" in publish_draft(browser(zoe), cast)
    assert (state(cast, own), own.decided_by_id) == ("granted", zoe.pk)


def test_who_asked_does_not_publish_what_grants_it_when_it_was_out_of_the_draft_for_a_while(
    cast: Cast, host: Host, own: AccessRequest
) -> None:
    with cast.see(cast.acme):
        rules = [
            one.model_dump(mode="json", by_alias=True, exclude_defaults=True) for one in actions.draft_of(cast.acme)
        ]
    draft(cast, NO, rule("Another", "warn"))
    assert "decide" in publish_draft(browser(cast.olga), cast)
    assert state(cast, own) == "open"
    draft(cast, *rules)
    assert "You asked for echo yourself" in publish_draft(browser(cast.olga), cast)


def test_who_asked_publishes_what_else_is_written_beside_their_grant(
    cast: Cast, host: Host, own: AccessRequest
) -> None:
    zoe = cast.join(cast.acme, "zoe", Role.ADMIN).user
    publish_draft(browser(zoe), cast)
    add(cast, "Another")
    assert "decide" in publish_draft(browser(cast.olga), cast)


def test_who_asked_does_not_make_their_grant_longer(cast: Cast, host: Host, own: AccessRequest) -> None:
    publish_draft(browser(cast.join(cast.acme, "zoe", Role.ADMIN).user), cast)
    with cast.see(cast.acme):
        row = Rule.objects.get(tenant=cast.acme, name__startswith="Access for")
        row.spec = {**row.spec, "when": {"until": (timezone.now() + 2 * WEEK).isoformat()}}
        actions.save_rule(row, actor=cast.adam)
    assert "You asked for echo yourself" in publish_draft(browser(cast.olga), cast)


def test_who_asked_does_not_make_their_grant_hold_for_a_tool_that_changed(cast: Cast, host: Host) -> None:
    granted(cast, asked(cast, person="olga"))
    change(cast)
    two_publish(cast)
    add(cast, "Another")
    assert "You asked for echo yourself" in publish_draft(browser(cast.olga), cast)
    assert "decide" in publish_draft(browser(cast.join(cast.acme, "zoe", Role.ADMIN).user), cast)


@override_settings(SENDS_MAIL=True)
def test_who_asked_is_not_written_to_as_the_second_person(cast: Cast, host: Host) -> None:
    zoe = cast.join(cast.acme, "zoe", Role.ADMIN).user
    two_publish(cast)
    request = asked(cast, person="olga")
    mail.outbox.clear()
    granted(cast, request)
    assert [one.to for one in mail.outbox] == [[zoe.email]]


def test_nobody_publishes_beside_the_draft_where_two_have_to(cast: Cast, host: Host, two: AccessRequest) -> None:
    with cast.see(cast.acme), pytest.raises(ValidationError, match="go through the draft"):
        actions.publish_beside(cast.acme, read(rule("Mine", "allow")), actor=cast.adam, pins={})


def test_what_is_taken_out_of_the_draft_waits_for_an_admin_again(cast: Cast, host: Host, two: AccessRequest) -> None:
    draft(cast, NO, rule("Another", "warn"))
    publish_draft(browser(cast.olga), cast)
    assert (state(cast, two), two.until) == ("open", None)
    assert said(host.call("echo", {"text": "hi"})) == "denied"


def test_what_was_put_forward_can_be_denied_and_leaves_the_draft(cast: Cast, host: Host, two: AccessRequest) -> None:
    browser(cast.olga).post(reverse("admin:policy_accessrequest_deny", args=[two.pk]), {"answer": "Not now"})
    assert state(cast, two) == "denied"
    with cast.see(cast.acme):
        assert [one.name for one in actions.draft_of(cast.acme)] == [NO["name"]]


def test_after_a_denial_the_draft_holds_nothing_of_anybody(cast: Cast, host: Host, two: AccessRequest) -> None:
    browser(cast.olga).post(reverse("admin:policy_accessrequest_deny", args=[two.pk]), {"answer": "Not now"})
    draft(cast, NO, rule("Next", "warn"))
    assert "decide" in publish_draft(browser(cast.olga), cast)


def test_what_the_draft_makes_of_a_grant_before_it_is_published_is_none(
    cast: Cast, host: Host, two: AccessRequest
) -> None:
    with cast.see(cast.acme):
        row = Rule.objects.get(tenant=cast.acme, name__startswith="Access for")
        row.effect = "deny"
        actions.save_rule(row, actor=cast.adam)
    publish_draft(browser(cast.olga), cast)
    assert state(cast, two) == "open"


def test_where_two_have_to_publish_one_alone_binds_nothing_anew(cast: Cast, host: Host) -> None:
    publish(cast, rule("Echo", "allow", what={"tools": ["echo"]}), pins={"echo": "as it was"})
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(second_publisher=True)
        with pytest.raises(ValidationError, match="let rules hold for echo as changed since"):
            actions.publish(cast.acme, actor=cast.adam, pins={"echo": "as it is"})
        assert actions.publish(cast.acme, actor=cast.adam, pins={"echo": "as it was"})


@override_settings(SENDS_MAIL=True)
def test_the_second_person_is_written_to_and_then_who_asked(cast: Cast, host: Host) -> None:
    request = asked(cast)
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(second_publisher=True)
        request.tenant.refresh_from_db()
    mail.outbox.clear()
    granted(cast, request)
    assert [one.to for one in mail.outbox] == [[cast.olga.email]]
    assert f"/admin/policy/rule/publish/?tenant={cast.acme.pk}" in mail.outbox[0].body
    mail.outbox.clear()
    publish_draft(browser(cast.olga), cast)
    assert [(one.to, "You may use echo" in one.subject) for one in mail.outbox] == [([cast.uma.email], True)]


def test_denying_needs_a_reason_and_is_told(cast: Cast, host: Host) -> None:
    request = asked(cast)
    adam, number = browser(cast.adam), live(cast).number
    url = reverse("admin:policy_accessrequest_deny", args=[request.pk])
    adam.post(url, {"answer": " "})
    with cast.see(cast.acme):
        request.refresh_from_db()
    assert request.state == "open"
    adam.post(url, {"answer": "Ask the desk to do it"})
    shown = text(browser(cast.uma), door(cast))
    assert "it was denied" in shown
    assert "Ask the desk to do it" in shown
    assert live(cast).number == number
    assert said(host.call("echo", {"text": "hi"})) == "denied"
    asked(cast, "Again")
    with cast.see(cast.acme), pytest.raises(ValidationError, match="answered already"):
        requests.grant(request, actor=cast.adam, until=timezone.now() + WEEK)


def test_nobody_answers_what_they_asked_for(cast: Cast, host: Host) -> None:
    request = asked(cast, person="adam")
    with pytest.raises(ValidationError, match="another admin has to"):
        granted(cast, request, cast.adam)
    page = text(browser(cast.adam), reverse("admin:policy_accessrequest_change", args=[request.pk]))
    assert "another admin has to answer" in page
    assert granted(cast, request, cast.olga).state == "granted"


@pytest.mark.parametrize(("person", "may"), [("olga", 1), ("audrey", 0), ("anna", 0), ("uma", 0), ("bob", 0)])
def test_who_may_answer(cast: Cast, host: Host, person: str, may: int) -> None:
    request, reader = asked(cast, person="adam"), browser(getattr(cast, person))
    given = {"seen": live(cast).number, "until": (timezone.now() + WEEK).date().isoformat(), "effect": "allow"}
    answer = reader.post(reverse("admin:policy_accessrequest_grant", args=[request.pk]), given)
    assert answer.status_code in (302, 403, 404)
    with cast.see(cast.acme):
        request.refresh_from_db()
    assert (request.state == "granted") == bool(may)
    status = reader.get(reverse("admin:policy_accessrequest_change", args=[request.pk])).status_code
    assert (status == 200) == bool(may)


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


def test_a_rule_that_is_gone_or_highest_cannot_be_stood_above(cast: Cast, host: Host) -> None:
    request = asked(cast)
    publish(cast, {**NO, "priority": 1000})
    with pytest.raises(ValidationError, match="highest priority"):
        granted(cast, request)
    publish(cast)
    with pytest.raises(ValidationError, match="does not refuse it any more"):
        granted(cast, request)


def test_a_higher_rule_that_refuses_as_well_is_named(cast: Cast, host: Host) -> None:
    request = asked(cast)
    publish(cast, NO, rule("Never at all", "deny", priority=900, who={"roles": ["user"]}))
    page = text(browser(cast.adam), reverse("admin:policy_accessrequest_change", args=[request.pk]))
    assert "these may refuse it as well: Never at all" in page


@pytest.mark.parametrize("days", [-1, 0, 400])
def test_it_is_granted_for_a_time_that_is_yet_to_come(cast: Cast, host: Host, days: int) -> None:
    request = asked(cast)
    with cast.see(cast.acme), pytest.raises(ValidationError, match="Choose a day"):
        requests.grant(request, actor=cast.adam, until=timezone.now() + datetime.timedelta(days=days))


def test_all_of_it_is_in_the_ledger(cast: Cast, host: Host) -> None:
    granted(cast, asked(cast), answer="Fine")
    told = [
        (one.actor, one.reason, one.subject.partition(":")[0])
        for one in ledger.entries(cast, cast.acme, "changed", subject__startswith="policy.")
    ][-4:]
    adam, uma = cast.adam.username, cast.uma.username
    assert told == [
        (uma, "created", "policy.AccessRequest"),
        (adam, "published", "policy.Ruleset"),
        (adam, "created", "policy.Rule"),
        (adam, "changed", "policy.AccessRequest"),
    ]


@override_settings(SENDS_MAIL=True)
def test_admins_and_the_person_get_a_mail(cast: Cast, host: Host) -> None:
    mail.outbox.clear()
    request = asked(cast, "Something private")
    assert sorted(one.to[0] for one in mail.outbox) == sorted([cast.adam.email, cast.olga.email])
    assert "Something private" not in mail.outbox[0].body
    assert f"/admin/policy/accessrequest/{request.pk}/change/" in mail.outbox[0].body
    mail.outbox.clear()
    granted(cast, request, answer="Until Friday")
    assert [one.to for one in mail.outbox] == [[cast.uma.email]]
    assert "You may use echo in Acme" in mail.outbox[0].subject
    assert "Until Friday" in mail.outbox[0].body


def test_without_a_mail_server_nothing_is_sent(cast: Cast, host: Host) -> None:
    mail.outbox.clear()
    granted(cast, asked(cast))
    assert mail.outbox == []
