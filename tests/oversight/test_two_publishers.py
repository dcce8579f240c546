"""Granting where a tenant asks for a second person to publish rules."""

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client as Browser
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from policy import actions
from policy.models import AccessRequest, Rule
from policy.rules import read
from tenants.models import Role, Tenant
from tests.cast import Cast
from tests.host import Host
from tests.oversight.governed import browser, draft, live, publish
from tests.oversight.requesting import NO, WEEK, asked, change, door, granted, refused, said, state, text
from tests.person import forms
from tests.policy.judging import pinned_as, rule


@pytest.fixture
def host(cast: Cast, hub: list[str]) -> Host:
    return refused(cast, hub)


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
        actions.publish_beside(cast.acme, read(rule("Mine", "allow")), actor=cast.adam, tools=())


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
            actions.publish(cast.acme, actor=cast.adam, tools=pinned_as(echo="as it is"))
        assert actions.publish(cast.acme, actor=cast.adam, tools=pinned_as(echo="as it was"))


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
