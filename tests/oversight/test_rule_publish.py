"""Publishing the draft: what changes, what is probably not meant, and the versions that were."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from policy.models import Ruleset
from tenants.models import Tenant
from tests.admin.conftest import SignIn, entries, olga, sign_in
from tests.cast import Cast
from tests.oversight.drawn import filled
from tests.oversight.ruling import draft, page, publish, text_of, write
from tools import actions as tool_actions
from tools import queries
from tools.models import Tool

__all__ = ["olga", "sign_in"]


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
        assert live.pins == {one.name: one.pin for one in queries.subjects(cast.acme.pk)}
    assert not olga.get(page("publish")).context["review"].worth


def test_a_rule_for_a_sort_of_tools_stops_holding_for_one_that_comes_to_destroy(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    publish(cast, "- {name: Loose, effect: allow, what: {kinds: [function]}}")
    url = reverse("admin:tools_tool_publish", args=[tool.pk])
    with cast.see(cast.acme):
        tool.description = "Does another thing for tests. Changes nothing."
        tool.save()
    assert "stop holding" not in text_of(olga, url)
    with cast.see(cast.acme):
        tool.description, tool.read_only, tool.destructive = "Deletes a thing for tests.", False, True
        tool.save()
    assert "stop holding" in text_of(olga, url)
    with cast.see(cast.acme):
        tool_actions.publish(tool, actor=cast.staff)
    assert "<strong>Loose</strong> does not hold for echo" in olga.get(page("publish")).content.decode()
    olga.post(page("publish"), as_drawn(olga.get(page("publish"))))
    assert "does not hold for echo" not in olga.get(page("publish")).content.decode()


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
        "- {name: Attacks, priority: 800, effect: deny, found: [any]}\n"
        "- {name: Kept, priority: 500, effect: deny, secret: true, what: {tools: [wipe]}}",
        [],
    ),
    (
        "- {name: Asks, priority: 800, effect: confirm, who: {roles: [owner]}}\n"
        "- {name: Kept, priority: 500, effect: deny, secret: true, what: {tools: [wipe]}}",
        [("Kept", "It makes no secret of wipe where 'Asks' is about the caller, as that may let them call.")],
    ),
    (
        "- {name: Closed, priority: 800, effect: deny}\n"
        "- {name: Kept, priority: 500, effect: deny, secret: true, what: {tools: [wipe]}}",
        [],
    ),
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
        [
            ("Held", "There is no group nobody, so that nobody in it can say yes."),
            ("Held", "Nobody could say yes to what it holds."),
        ],
    ),
    (
        "- {name: Alone, effect: review, what: {tools: [echo]}, reviewers: {roles: [auditor]}}",
        [("Alone", "Only {audrey} could say yes to what it holds, and not to calls of their own.")],
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
    assert [(one.rule, one.message) for one in found] == [
        (rule, said.format(audrey=cast.audrey.username)) for rule, said in wanted
    ]


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
