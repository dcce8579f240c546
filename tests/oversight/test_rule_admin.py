"""Rules in the admin: the list of them, and who may see and change what."""

import pytest
from django.test import Client

from policy import actions
from policy.models import Draft, Rule, Ruleset
from policy.rules import to_yaml
from tenants.models import Member, Role
from tests.admin.conftest import SignIn, olga, sign_in
from tests.cast import Cast
from tests.oversight.ruling import WHOLE, draft, page, publish, row, text_of, write

__all__ = ["olga", "sign_in"]


# The list


def test_rules_are_listed_as_they_are_asked_with_what_they_match_and_whether_they_are_live(
    cast: Cast, olga: Client
) -> None:
    publish(
        cast,
        "- {name: B is the same, effect: allow, what: {tags: [talk]}}\n"
        "- {name: A is changed, effect: allow}\n- {name: C is stricter, effect: deny, secret: true}",
    )
    write(
        cast,
        "- {name: B is the same, effect: allow, what: {tags: [talk]}}\n- {name: A is changed, effect: warn}\n"
        "- {name: C is stricter, effect: deny, secret: true}\n- {name: Z is first, priority: 900, effect: transform,"
        " transform: [{mask: a}], if: args.a == 'x'}",
    )
    state = olga.get(page("changelist")).context["state"]
    assert [(line.row.name, line.state, line.says) for line in state.lines] == [
        ("Z is first", "new", "Calls of any tool, if args.a == 'x': mask a."),
        ("C is stricter", "same", "Calls of any tool. For them the tool does not exist."),
        ("A is changed", "changed", "Calls of any tool."),
        ("B is the same", "same", "Calls of any tool tagged talk."),
    ]
    assert state.changes == 2


def test_a_rule_that_cannot_be_read_is_listed_and_keeps_the_draft_from_being_published(
    cast: Cast, olga: Client
) -> None:
    write(cast, "- {name: Broken, effect: deny}")
    with cast.see(cast.acme):
        Rule.objects.filter(tenant=cast.acme).update(spec={"if": "nonsense ("})
    assert "It cannot be read." in text_of(olga, page("changelist"))
    assert "It cannot be published yet." in text_of(olga, page("publish"))
    assert "“Broken” is not in the box" in text_of(olga, page("yaml"))


def test_throwing_the_draft_away_brings_back_what_is_live(cast: Cast, olga: Client) -> None:
    publish(cast, WHOLE)
    live = to_yaml(draft(cast))
    write(cast, "- {name: Other, effect: deny}")
    olga.post(page("throw_away"))
    assert to_yaml(draft(cast)) == live
    assert olga.get(page("changelist")).context["state"].changes == 0


# Who may

PAGES = ("changelist", "add", "yaml", "download", "publish", "versions", "throw_away")
READ = {"changelist", "yaml", "download", "publish", "versions"}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("person", ["olga", "adam", "audrey", "staff", "anna", "uma", "bob"])
def test_admins_and_owners_write_auditors_read_and_nobody_else_sees_a_page(
    cast: Cast, sign_in: SignIn, person: str, name: str
) -> None:
    browser = sign_in(getattr(cast, person))
    status = browser.get(f"{page(name)}?tenant={cast.acme.pk}").status_code
    if person in ("anna", "uma"):
        assert status == 302  # they are shown out of the whole admin
    elif person == "bob":
        assert status in (403, 404)
    else:
        assert status == (200 if person != "audrey" or name in READ else 403)


@pytest.mark.parametrize("person", ["audrey", "bob", "anna"])
def test_nobody_else_changes_anything_whatever_they_post(cast: Cast, sign_in: SignIn, person: str) -> None:
    version = publish(cast, "- {name: Stays, effect: deny}")
    write(cast, "- {name: Stays, effect: confirm}")
    browser, of, kept = sign_in(getattr(cast, person)), f"?tenant={cast.acme.pk}", row(cast, "Stays")
    with cast.see(cast.acme):
        digest = actions.digest(actions.draft_of(cast.acme))
    for url, data in (
        (page("add") + of, {"name": "Mine", "effect": "allow", "priority": "1"}),
        (page("change", kept.pk), {"name": "Stays", "effect": "allow", "priority": "1"}),
        (page("delete", kept.pk), {"post": "yes"}),
        (page("yaml") + of, {"yaml": "", "base": digest}),
        (page("publish") + of, {"digest": digest, "tools": ""}),
        (page("throw_away") + of, {}),
        (page("roll_back", version.number) + of, {}),
    ):
        assert browser.post(url, data).status_code in (302, 403, 404), url
    with cast.see(cast.acme):
        assert Ruleset.objects.filter(tenant=cast.acme).count() == 1
        assert [spec.effect for spec in actions.draft_of(cast.acme)] == ["confirm"]
        assert Draft.objects.get(tenant=cast.acme).writers == [cast.adam.pk]


def test_an_auditor_reads_a_rule_without_a_form(cast: Cast, sign_in: SignIn) -> None:
    write(cast, "- {name: Nobody writes, effect: deny, message: Not today.}")
    shown = text_of(sign_in(cast.audrey), page("change", row(cast, "Nobody writes").pk))
    assert "message: Not today." in shown
    assert 'id="rule_form"' not in shown


def test_who_looks_after_several_tenants_chooses_one_first(cast: Cast, sign_in: SignIn) -> None:
    write(cast, "- {name: Of acme, effect: deny}")
    write(cast, "- {name: Of beta, effect: deny}", cast.beta)
    with cast.see(cast.beta):
        Member.objects.create(tenant=cast.beta, user=cast.adam, role=Role.AUDITOR)
    adam = sign_in(cast.adam)
    assert "Rules: of which tenant?" in text_of(adam, page("changelist"))
    shown = text_of(adam, f"{page('changelist')}?tenant={cast.beta.pk}")
    assert "Of beta" in shown
    assert "Of acme" not in shown
    assert "Add a rule" not in shown
    assert adam.get(f"{page('add')}?tenant={cast.beta.pk}").status_code == 403
    assert adam.get(page("yaml")).status_code == 404
