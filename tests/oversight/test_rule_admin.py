"""Rules in the admin: the list, the form, YAML, publishing and versions; who may, and what the ledger keeps."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from policy import actions
from policy.models import Draft, Rule, Ruleset
from policy.rules import Spec, from_yaml, read, to_yaml
from policy.rules.spec import Before, Change, ReviewedBy, What, When, Who
from tenants.models import Member, Role, Tenant
from tests.admin.conftest import SignIn, entries, olga, sign_in
from tests.cast import Cast
from tests.oversight.drawn import Drawn, drawn, filled
from tools import actions as tool_actions
from tools import queries
from tools.models import Tool

__all__ = ["olga", "sign_in"]

WHOLE = """\
- name: Everything that can be asked
  priority: 310
  effect: review
  enabled: false
  who: {users: [zoe, adam], roles: [user, admin], clients: ['Acme, Inc *', 'key:12', ' odd '], ways: [key, app]}
  what:
    tools: [refund_*, echo, close_ticket]
    tags: [money, new]
    traits: [not read_only, destructive]
    kinds: [http, function]
    scopes: [tickets.write]
  if: "args.amount > 500 &&\\n  args.note != 'a, b'"
  when: {days: [sun, mon], from: "22:00", to: "06:00", zone: Europe/Berlin, since: 2026-12-01T00:00:00Z,
    until: 2027-12-01T12:30:00.5+02:00}
  where: [10.0.0.0/8, 2001:db8::/32]
  not_where: [10.1.0.0/16]
  before: {more_than: 0, seconds: 60, of: any, shared_by: tenant}
  found: [sql, any, too_long]
  message: "Ask the desk.\\nThey know."
  reviewers: {roles: [owner], groups: [refunds, night], minutes: 120}

- name: What is hidden
  effect: deny
  what: {tools: [close_ticket]}
  secret: true

- name: What is changed
  effect: transform
  transform:
    - {set: customer.currency, to: EUR}
    - {set: 'lines[0]["odd name"]', to: {a: [1, true, null, 1.0, "é"]}}
    - {set: nothing, to: null}
    - {remove: bcc}
    - {mask: lines.*.card}
    - {clamp: amount, least: 1, most: 500.5}
    - {clamp: count, most: 0}

- name: ' The least'
  effect: allow
"""


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:policy_rule_{name}", args=args)


def write(cast: Cast, text: str, tenant: Tenant | None = None) -> None:
    tenant = tenant or cast.acme
    with cast.see(tenant):
        actions.replace_draft(tenant, text, actor=cast.adam)


def publish(cast: Cast, text: str = "") -> Ruleset:
    if text:
        write(cast, text)
    with cast.see(cast.acme):
        return actions.publish(cast.acme, actor=cast.adam, pins=queries.pins(cast.acme.pk))


def draft(cast: Cast) -> list[Spec]:
    with cast.see(cast.acme):
        return actions.draft_of(cast.acme)


def row(cast: Cast, name: str) -> Rule:
    with cast.see(cast.acme):
        return Rule.objects.get(tenant=cast.acme, name=name)


def text_of(browser: Client, url: str) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


# The form


@pytest.mark.parametrize("name", [spec.name for spec in from_yaml(WHOLE)])
def test_a_form_that_is_saved_untouched_changes_nothing(cast: Cast, olga: Client, name: str) -> None:
    write(cast, WHOLE)
    before, url = to_yaml(draft(cast)), page("change", row(cast, name).pk)
    answer = olga.post(url, filled(olga, url))
    assert (answer.status_code, answer["location"]) == (302, f"{page('changelist')}?tenant={cast.acme.pk}")
    assert to_yaml(draft(cast)) == before
    assert [one.reason for one in entries(cast, cast.acme, subject__startswith="policy.Rule:")] == ["created"] * 4


@pytest.mark.parametrize("name", [spec.name for spec in from_yaml(WHOLE)])
def test_a_form_typed_in_makes_the_same_rule_as_the_yaml(cast: Cast, olga: Client, name: str) -> None:
    write(cast, WHOLE)
    typed = drawn(olga, page("change", row(cast, name).pk)).data
    wanted = next(spec for spec in draft(cast) if spec.name == name)
    write(cast, "")
    answer = olga.post(page("add"), typed)
    assert answer.status_code == 302, answer.context["errors"]
    (made,) = draft(cast)
    assert made == sorted_as(wanted.model_copy(update={"name": name.strip()}), made)


def sorted_as(wanted: Spec, made: Spec) -> Spec:
    """Boxes come in the order of the page and lines without the space around them, so that neither counts."""

    def same(one: Any, other: Any) -> Any:
        if isinstance(one, dict):
            return {name: same(value, other.get(name)) for name, value in one.items()}
        words = isinstance(one, list) and isinstance(other, list) and all(isinstance(word, str) for word in one)
        return other if words and sorted(word.strip() for word in one) == sorted(other) else one

    return read(same(wanted.written(), made.written()))


def test_the_rules_of_these_tests_use_every_field_there_is() -> None:
    used: set[tuple[str, str]] = set()
    for spec in from_yaml(WHOLE):
        parts = [spec, spec.who, spec.what, spec.when, spec.before, spec.reviewers, *spec.transform]
        for part in parts:
            if part is not None:
                used |= {(type(part).__name__, name) for name in part.model_fields_set}
    there = {
        (part.__name__, name)
        for part in (Spec, Who, What, When, Before, Change, ReviewedBy)
        for name in part.model_fields
    }
    assert used == there


def test_what_does_not_apply_to_the_effect_is_left_out_whatever_the_browser_sends(cast: Cast, olga: Client) -> None:
    given = {
        "name": "Nobody writes",
        "effect": "confirm",
        "secret": "on",
        "transform-0-verb": "mask",
        "transform-0-path": "to",
        "reviewers_roles": ["owner"],
        "reviewers_minutes": "5",
        "before_of": "any",
    }
    answer = olga.post(page("add"), filled(olga, page("add"), **given))
    assert answer.status_code == 302, answer.context["errors"]
    (made,) = draft(cast)
    assert made == read({"name": "Nobody writes", "effect": "confirm"})


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"condition": "args.amount >"}, "condition", "It cannot be read at character"),
        ({"condition": "amount > 5"}, "condition", "There is no 'amount' to look at; there are args,"),
        ({"where_more": "10.0.0.1/8"}, "where", "is neither an address nor a range"),
        ({"when_from": "9"}, "when_from", "'9' is no time of day. Write it like 09:30."),
        ({"when_from": "09:00"}, "when_from", "Give both from and to, or neither."),
        ({"when_zone": "Mars/Base"}, "when_zone", "'Mars/Base' is no time zone."),
        ({"before_more_than": "5"}, "before_seconds", "It is missing."),
        ({"priority": "1001"}, "priority", "less than or equal to 1000"),
        ({"name": "Comments are confirmed"}, "__all__", "already exists"),
        ({"effect": "transform"}, "transform", "transform and the effect transform go together"),
        (
            {"effect": "transform", "transform-1-verb": "set", "transform-1-path": "to", "transform-1-to": "EUR"},
            "transform",
            "Text goes between double quotes.",
        ),
        (
            {"effect": "transform", "transform-0-verb": "mask", "transform-0-path": "a..b"},
            "transform",
            "Change 1: 'a..b' is not a path.",
        ),
        (
            {"effect": "transform", "transform-0-verb": "clamp", "transform-0-path": "a"},
            "transform",
            "Change 1: clamp goes with least, most, or both.",
        ),
        ({"secret": "on", "condition": "true"}, "secret", "A tool exists or does not"),
        ({"name": " "}, "name", "required"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_lost(
    cast: Cast, olga: Client, typed: dict[str, str], field: str, said: str
) -> None:
    write(cast, "- {name: Comments are confirmed, effect: confirm}")
    given = filled(olga, page("add"), **({"name": "New", "what_tools_more": "refund_*"} | typed))
    answer = olga.post(page("add"), given)
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert said in " ".join(errors[field]), errors
    assert kept(Drawn(answer.content.decode(), "rule_form").data) == kept(given)
    assert [spec.name for spec in draft(cast)] == ["Comments are confirmed"]


def kept(data: dict[str, Any]) -> dict[str, Any]:
    """What was typed, without what is drawn anew: rows of changes move up to the first that is empty."""
    found = {name: value for name, value in data.items() if not name.startswith(("csrf", "transform-"))}
    changes = sorted(value for name, value in data.items() if name.startswith("transform-") and value != [""])
    return {**found, "changes": changes}


def test_the_form_offers_what_the_tenant_has_and_nothing_of_another(cast: Cast, sign_in: SignIn) -> None:
    """Also to platform staff, who may see all tenants."""
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    cast.tool(cast.acme, "echo", tags=["talk"], scopes=["tickets.read"])
    cast.tool(cast.beta, "shout", tags=["loud"])
    key, _ = cast.key(cast.uma)
    offered = drawn(sign_in(cast.staff), f"{page('add')}?tenant={cast.acme.pk}").offered
    assert offered["what_tools"] == ["echo"]
    assert offered["what_tags"] == ["talk"]
    assert offered["what_scopes"] == ["tickets.read"]
    assert offered["who_clients"] == [f"key:{key.pk}"]
    assert cast.uma.username in offered["who_users"]
    assert cast.bob.username not in offered["who_users"]
    assert offered["found"][:2] == ["any", "shell"]


def test_saving_says_that_nothing_decides_yet_and_leaves_an_entry(cast: Cast, olga: Client) -> None:
    answer = olga.post(page("add"), filled(olga, page("add"), name="Nobody writes"), follow=True)
    assert "“Nobody writes” is in the draft. It decides nothing until the draft is published." in (
        answer.content.decode()
    )
    (entry,) = entries(cast, cast.acme, subject__startswith="policy.Rule:")
    assert (entry.reason, entry.actor) == ("created", cast.olga.username)


def test_a_rule_is_taken_out_of_the_draft_and_stays_live(cast: Cast, olga: Client) -> None:
    publish(cast, "- {name: Nobody writes, effect: deny}")
    olga.post(page("delete", row(cast, "Nobody writes").pk), {"post": "yes"})
    shown = text_of(olga, page("changelist"))
    assert draft(cast) == []
    assert "Live, and no longer in the draft" in shown
    assert "1 change is not published." in " ".join(shown.split())


def test_the_usual_rules_of_the_how_to_can_be_saved_as_they_stand(cast: Cast, olga: Client) -> None:
    page_of_docs = (Path(__file__).parents[2] / "docs/how-to/rules.md").read_text()
    (written,) = re.findall(r"```yaml\n(.*?)```", page_of_docs, re.DOTALL)
    base = olga.get(page("yaml")).context["base"]
    assert olga.post(page("yaml"), {"yaml": written, "base": base}).status_code == 302
    assert len(draft(cast)) == 5


# The list


def test_rules_are_listed_as_they_are_asked_with_what_they_match_and_whether_they_are_live(
    cast: Cast, olga: Client
) -> None:
    publish(
        cast,
        "- {name: B is the same, effect: allow, what: {tags: [talk]}}\n"
        "- {name: A is changed, effect: allow}\n- {name: C is stricter, effect: deny}",
    )
    write(
        cast,
        "- {name: B is the same, effect: allow, what: {tags: [talk]}}\n- {name: A is changed, effect: warn}\n"
        "- {name: C is stricter, effect: deny}\n- {name: Z is first, priority: 900, effect: transform,"
        " transform: [{mask: a}], if: args.a == 'x'}",
    )
    state = olga.get(page("changelist")).context["state"]
    assert [(line.row.name, line.state, line.says) for line in state.lines] == [
        ("Z is first", "new", "Calls of any tool, if args.a == 'x': mask a."),
        ("C is stricter", "same", "Calls of any tool."),
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


# YAML


def test_yaml_is_saved_as_a_whole_or_not_at_all_and_nothing_typed_is_lost(cast: Cast, olga: Client) -> None:
    write(cast, "- {name: Old, effect: deny}")
    base = olga.get(page("yaml")).context["base"]
    wrong = "- name: New\n  effect: allow\n- name: Other\n  effect: forbid\n  when: {from: '9'}\n"
    answer = olga.post(page("yaml"), {"yaml": wrong, "base": base})
    shown = answer.content.decode()
    assert "Line 4: effect: It is not one of allow," in shown
    assert "Line 5: when.from: &#x27;9&#x27; is no time of day." in shown
    assert drawn_text(answer) == wrong
    assert [spec.name for spec in draft(cast)] == ["Old"]
    right = wrong.replace("forbid", "deny").replace("'9'", "'09:00', to: '10:00'")
    answer = olga.post(page("yaml"), {"yaml": right, "base": base}, follow=True)
    assert "The draft is saved: 2 added, 1 removed." in answer.content.decode()
    assert [spec.name for spec in draft(cast)] == ["New", "Other"]


def drawn_text(answer: Any) -> str:
    (text,) = Drawn(answer.content.decode(), "yaml_form").data["yaml"]
    return text.replace("\r\n", "\n")


def test_yaml_written_over_somebody_elses_change_asks_first(cast: Cast, olga: Client) -> None:
    base = olga.get(page("yaml")).context["base"]
    write(cast, "- {name: Theirs, effect: deny}")
    answer = olga.post(page("yaml"), {"yaml": "- {name: Mine, effect: deny}", "base": base})
    assert "Somebody changed the draft meanwhile." in answer.content.decode()
    assert [spec.name for spec in draft(cast)] == ["Theirs"]
    olga.post(page("yaml"), {"yaml": "- {name: Mine, effect: deny}", "base": answer.context["base"]})
    assert [spec.name for spec in draft(cast)] == ["Mine"]


def test_yaml_is_downloaded_as_it_is_read(cast: Cast, olga: Client) -> None:
    write(cast, WHOLE)
    answer = olga.get(page("download"))
    assert answer["content-disposition"] == f'attachment; filename="rules-{cast.acme.slug}.yaml"'
    assert from_yaml(answer.content.decode()) == draft(cast)


# Publishing


def test_publishing_shows_what_changes_and_publishes_exactly_that(cast: Cast, olga: Client) -> None:
    publish(cast, "- {name: Stays, effect: deny, what: {tags: [a]}}\n- {name: Goes, effect: deny}")
    write(cast, "- {name: Stays, effect: deny, what: {tags: [a, b]}}\n- {name: Comes, effect: confirm}")
    answer = olga.get(page("publish"))
    state = answer.context["review"].state
    assert [line.row.name for line in state.added] == ["Comes"]
    assert [one.name for one in state.gone] == ["Goes"]
    ((what,),) = [line.differs for line in state.changed]
    assert (what.label, list(what.lines)) == ("What", [("-", "tags: a"), ("+", "tags: a, b")])
    done = olga.post(page("publish"), as_drawn(answer, note="After the audit"), follow=True)
    assert "Rules v2 decide from the next call on." in done.content.decode()
    with cast.see(cast.acme):
        live = Ruleset.objects.filter(tenant=cast.acme).latest("number")
    assert (live.number, live.note, [rule["name"] for rule in live.rules]) == (2, "After the audit", ["Comes", "Stays"])
    assert [one.reason for one in entries(cast, cast.acme, subject__startswith="policy.Ruleset:")] == [
        "published",
        "published",
    ]


def as_drawn(answer: Any, **typed: str) -> dict[str, str]:
    review = answer.context["review"]
    return {"digest": review.digest, "tools": review.tools, **typed}


def test_a_draft_that_changed_after_it_was_shown_is_not_published(cast: Cast, olga: Client) -> None:
    write(cast, "- {name: Shown, effect: deny}")
    shown = as_drawn(olga.get(page("publish")))
    write(cast, "- {name: Another, effect: deny}")
    answer = olga.post(page("publish"), shown)
    assert "The draft changed after this page was shown." in answer.content.decode()
    with cast.see(cast.acme):
        assert not Ruleset.objects.filter(tenant=cast.acme).exists()


def test_a_tool_that_changed_after_the_page_was_shown_is_not_bound_unseen(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    write(cast, "- {name: Loose, effect: allow, what: {tools: [echo]}}")
    shown = as_drawn(olga.get(page("publish")))
    change(cast, tool)
    assert "A tool changed after this page was shown." in olga.post(page("publish"), shown).content.decode()
    assert olga.post(page("publish"), as_drawn(olga.get(page("publish")))).status_code == 302


def change(cast: Cast, tool: Tool, says: str = "Does another thing for tests. Changes nothing.") -> None:
    with cast.see(cast.acme):
        tool.description = says
        tool.save()
        tool_actions.publish(tool, actor=cast.staff)


def test_a_rule_that_loosens_is_published_again_once_its_tool_changed(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    publish(cast, "- {name: Loose, effect: allow, what: {tools: ['e*']}}")
    assert not olga.get(page("publish")).context["review"].worth
    change(cast, tool)
    cast.tool(cast.acme, "enter", config={"function": "echo"})
    answer = olga.get(page("publish"))
    shown = " ".join(answer.content.decode().split())
    assert "<strong>Loose</strong> does not hold for echo: the tool changed." in shown
    assert "<strong>Loose</strong> does not hold for enter: the tool was not live then." in shown
    assert reverse("admin:tools_tool_versions", args=[tool.pk]) in shown
    assert "Rules that loosen do not hold for tools that changed, in 2 places." in text_of(olga, page("changelist"))
    olga.post(page("publish"), as_drawn(answer))
    with cast.see(cast.acme):
        live = Ruleset.objects.filter(tenant=cast.acme).latest("number")
        assert live.pins == queries.pins(cast.acme.pk)
    assert not olga.get(page("publish")).context["review"].worth


def test_a_tools_own_publish_page_names_the_rules_that_stop_holding(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    publish(
        cast,
        "- {name: Loose, effect: allow, what: {tools: ['e*']}}\n- {name: Tight, effect: deny, what: {tools: [echo]}}",
    )
    url = reverse("admin:tools_tool_publish", args=[tool.pk])
    assert "stop holding" not in text_of(olga, url)
    with cast.see(cast.acme):
        tool.description = "Does another thing for tests. Changes nothing."
        tool.save()
    shown = text_of(olga, url)
    assert "stop holding" in shown
    assert "Loose" in shown
    assert "Tight" not in shown


def test_where_a_second_person_has_to_publish_the_first_is_told_whom_to_ask(
    cast: Cast, olga: Client, sign_in: SignIn
) -> None:
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(second_publisher=True)
    olga.post(page("add"), filled(olga, page("add"), name="Nobody writes"))
    answer = olga.get(page("publish"))
    assert f"Ask {cast.adam.username}." in answer.content.decode()
    assert "Publish rules v1" not in answer.content.decode()
    refused = olga.post(page("publish"), as_drawn(answer))
    assert "asks for a second person to publish it" in refused.content.decode()
    adam = sign_in(cast.adam)
    assert adam.post(page("publish"), as_drawn(adam.get(page("publish")))).status_code == 302


LINT = [
    (
        "- {name: First, priority: 200, effect: deny, what: {tools: ['*']}}\n- {name: Second, effect: allow}",
        [("Second", "It never decides: 'First' is asked before and matches as much.")],
    ),
    (
        "- {name: First, effect: deny, who: {roles: [user]}}\n"
        "- {name: Second, effect: confirm, who: {roles: [user], users: [uma]}}",
        [("Second", "It never decides: 'First' is asked before and matches as much.")],
    ),
    ("- {name: First, priority: 200, effect: deny, if: 'true'}\n- {name: Second, effect: confirm}", []),
    ("- {name: First, priority: 200, effect: deny, who: {roles: [user]}}\n- {name: Second, effect: confirm}", []),
    ("- {name: First, priority: 200, effect: deny, enabled: false}\n- {name: Second, effect: confirm}", []),
    (
        "- {name: First, priority: 200, effect: warn, what: {tools: [echo]}}\n"
        "- {name: Second, effect: confirm, what: {tools: [echo]}}",
        [],
    ),
    (
        "- {name: First, effect: deny}\n- {name: Second, effect: transform, transform: [{mask: text}]}",
        [],
    ),
    (
        "- {name: Loose, effect: allow, what: {tools: [wipe]}}",
        [("Loose", "It lets calls run without anybody being asked that may delete or overwrite: wipe.")],
    ),
    ("- {name: Tight, effect: review, what: {tools: [wipe]}}", []),
    (
        "- {name: Typo, effect: deny, what: {tools: [ecko, 'wip?']}}",
        [("Typo", "No live tool is called ecko. Did you mean echo?")],
    ),
    ("- {name: Nothing, effect: deny, what: {tags: [none]}}", [("Nothing", "It matches no tool that is live.")]),
    (
        "- {name: Asks, effect: deny, what: {tools: [echo]}, if: \"args.txt == 'args.other' && args['text'] != ''\"}",
        [("Asks", "No tool that it matches describes an argument txt. Did you mean text?")],
    ),
    (
        "- {name: Masks, effect: transform, what: {tools: [echo]}, transform: [{mask: card.number}, {mask: text}]}",
        [("Masks", "No tool that it matches describes an argument card.")],
    ),
    (
        "- {name: Held, effect: review, what: {tools: [echo]}, reviewers: {groups: [nobody]}}",
        [("Held", "There is no group nobody, so that nobody in it can say yes.")],
    ),
]


@pytest.mark.parametrize(("rules", "wanted"), LINT)
def test_what_is_probably_not_meant_is_said_before_publishing(
    cast: Cast, olga: Client, rules: str, wanted: list[tuple[str, str]]
) -> None:
    cast.tool(cast.acme, "echo")
    cast.tool(cast.acme, "wipe", config={"function": "echo"}, read_only=False, destructive=True)
    write(cast, rules)
    found = olga.get(page("publish")).context["review"].findings
    assert [(one.rule, one.message) for one in found] == wanted


# Versions


def test_an_earlier_version_is_looked_at_compared_and_made_to_decide_again(cast: Cast, olga: Client) -> None:
    publish(cast, "- {name: Kept, effect: deny}\n- {name: Dropped, effect: warn}")
    publish(cast, "- {name: Kept, effect: confirm}\n- {name: Came, effect: warn}")
    listed = " ".join(text_of(olga, page("versions")).split())
    assert "v2 <span" in listed
    assert cast.adam.username in listed
    differs = olga.get(page("version", 1)).context["differs"]
    assert [one.name for one in differs.added] == ["Dropped"]
    assert [one.name for one in differs.removed] == ["Came"]
    ((name, (effect,)),) = differs.changed
    assert (name, list(effect.lines)) == ("Kept", [("-", "confirm"), ("+", "deny")])
    asked = text_of(olga, page("roll_back", 1))
    assert "Its 2 rules decide from the next call on, under a new number" in asked
    olga.post(page("roll_back", 1))
    with cast.see(cast.acme):
        live = Ruleset.objects.filter(tenant=cast.acme).latest("number")
    assert (live.number, [rule["effect"] for rule in live.rules]) == (3, ["warn", "deny"])
    assert [spec.name for spec in draft(cast)] == ["Came", "Kept"]
    assert olga.get(page("version", 9)).status_code == 404


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
