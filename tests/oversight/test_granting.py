"""Answering requests: what a grant lets through, until when, and who answers."""

import datetime
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from oversight.requests import answering
from oversight.requests.case import case_of
from policy import actions
from policy.models import AccessRequest, Draft
from policy.values import Effect
from tests import ledger
from tests.cast import Cast
from tests.host import Host
from tests.oversight.governed import browser, draft, live, publish
from tests.oversight.requesting import NO, WEEK, asked, change, door, granted, refused, said, state, text
from tests.policy.judging import rule
from tests.waiting import until


@pytest.fixture
def host(cast: Cast, hub: list[str]) -> Host:
    return refused(cast, hub)


def test_it_ends_at_its_moment(cast: Cast, host: Host) -> None:
    with cast.see(cast.acme):
        request = AccessRequest.objects.create(
            tenant=cast.acme, member=cast.member(cast.acme, cast.uma), tool="echo", rule="No echo here", why="x"
        )
        soon = timezone.now() + datetime.timedelta(milliseconds=700)
        answering.grant(request, actor=cast.adam, until=soon)
    until(lambda: timezone.now() >= soon)
    assert said(host.call("echo", {"text": "hi"})) == "denied"
    assert "What was granted to you is over." in text(browser(cast.uma), door(cast))


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
        effect = case_of(request).proposed
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
        answering.grant(request, actor=cast.adam, until=timezone.now() + WEEK)


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
        answering.grant(request, actor=cast.adam, until=timezone.now() + datetime.timedelta(days=days))


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
