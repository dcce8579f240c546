"""What is asked, what is answered already, and what is only a name: the pure part of consent, as tables."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from access.consent import answers, hosts, offer
from access.consent.imitation import imitated
from access.consent.offer import Described, Given, Offer
from access.models import Client
from access.unlocks import Unlocked
from tenants.pins import Pin, Sort
from tenants.scopes import ScopeRule

EVERYBODY = frozenset({"owner", "user"})


def _scope(*implies: str, needed: bool = False, roles: frozenset[str] = EVERYBODY) -> Described:
    return Described(says="Says", needed=needed, rule=ScopeRule(implies=frozenset(implies), roles=roles))


def _tool(name: str, sort: Sort, *scopes: str) -> Unlocked:
    return Unlocked(tool=name, title=name, sort=sort, scopes=frozenset(scopes))


TOOLS = [
    _tool("get", "reads", "read"),
    _tool("note", "writes", "write"),
    _tool("close", "destructive", "close"),
    _tool("purge", "destructive", "read", "purge"),
]
SCOPES = {
    "read": _scope(),
    "write": _scope("read"),
    "close": _scope(),
    "purge": _scope(),
    "secret": _scope(roles=frozenset({"owner"})),
}


def _offer(*asked: str, **changed: Any) -> Offer:
    given = {"scopes": SCOPES, "role": "user", "tools": TOOLS, "given": None, "about": {"client": "c"}}
    return offer.make(asked=asked, **(given | changed))


def _ticked(one: Offer) -> set[str]:
    return {line.scope for line in one.lines if line.ticked}


def _given(one: Offer, *scopes: str, before: Mapping[str, Pin] | None = None) -> Given:
    return Given(scopes=frozenset(scopes), shown=one.shown, pins=one.pins(frozenset(scopes), before or {}))


def test_a_request_that_names_no_scope_is_offered_what_live_tools_need() -> None:
    assert _offer().scopes == {"read", "write", "close", "purge"}


def test_an_offer_names_what_its_scopes_imply_and_nothing_that_the_role_may_not_hold() -> None:
    asked = _offer("write", "secret")
    assert asked.scopes == {"read", "write"}
    assert asked.forbidden == {"secret": "Says"}
    assert [line.part_of for line in asked.lines if line.scope == "read"] == [("write",)]


def test_everything_is_ticked_but_what_opens_a_destructive_tool() -> None:
    assert _ticked(_offer()) == {"read", "write"}


def test_a_scope_that_implies_a_destructive_one_is_not_ticked_either() -> None:
    scopes = SCOPES | {"all": _scope("close")}
    assert _ticked(_offer("all", "read", scopes=scopes)) == {"read"}


def test_a_needed_scope_is_granted_with_what_it_implies_whatever_is_ticked() -> None:
    asked = _offer("write", "close", scopes=SCOPES | {"write": _scope("read", needed=True)})
    assert asked.needed == {"read", "write"}
    assert asked.granted([]) == {"read", "write"}


@pytest.mark.parametrize(
    ("ticked", "granted"),
    [((), set()), (("write",), {"read", "write"}), (("close", "never.offered", "secret"), {"close"})],
)
def test_a_yes_grants_what_was_ticked_and_offered(ticked: tuple[str, ...], granted: set[str]) -> None:
    assert _offer().granted(ticked) == granted


def test_a_tool_that_needs_a_scope_outside_the_offer_is_not_promised() -> None:
    assert [tool.tool for line in _offer("read").lines for tool in line.tools] == ["get"]


def test_a_tool_that_needs_two_scopes_stands_under_both_and_names_the_other() -> None:
    lines = {line.scope: line for line in _offer("read", "purge").lines}
    purge = lines["purge"].tools[0]
    assert purge in lines["read"].tools
    assert (lines["purge"].together(purge), lines["read"].together(purge)) == (["read"], ["purge"])


def test_a_scope_is_marked_with_the_worst_it_opens_by_itself() -> None:
    sorts = {line.scope: line.sort for line in _offer().lines}
    assert sorts == {"read": "reads", "write": "writes", "close": "destructive", "purge": "reads"}
    needed = _offer(scopes=SCOPES | {"read": _scope(needed=True)})
    assert {line.scope: line.sort for line in needed.lines}["purge"] == "destructive"


def test_a_destructive_tool_that_a_new_scope_opens_is_told_beside_the_new_one() -> None:
    asked = _offer("read", "purge", given=_given(_offer("read"), "read"))
    assert [line.scope for line in asked.fresh] == ["purge"]


def test_only_what_is_new_has_to_be_read_again() -> None:
    before = _offer("read")
    asked = _offer("read", "write", given=_given(before, "read"))
    assert [line.scope for line in asked.fresh] == ["write"]
    assert [line.scope for line in asked.familiar] == ["read"]


def test_a_scope_that_gained_a_destructive_tool_is_shown_again_and_unticked() -> None:
    before = _offer("read")
    asked = _offer("read", tools=[*TOOLS, _tool("wipe", "destructive", "read")], given=_given(before, "read"))
    assert [(line.scope, line.gained, line.ticked) for line in asked.fresh] == [("read", {"wipe": "new"}, False)]


@pytest.mark.parametrize("between", [False, True])
def test_a_tool_that_was_seen_beside_a_refused_scope_was_not_allowed(between: bool) -> None:
    given = _given(_offer("read", "purge"), "read")
    if between:  # another page, on which what was granted is only kept
        other = _offer("write", scopes=SCOPES | {"write": _scope()}, given=given)
        given = _given(other, "read", "write", before=given.pins)
    asked = _offer("read", tools=[*TOOLS[:3], _tool("purge", "destructive", "read")], given=given)
    assert [(line.scope, line.gained) for line in asked.fresh] == [("read", {"purge": "new"})]


def test_a_tool_that_was_given_up_with_a_scope_is_not_allowed_any_more() -> None:
    both = _given(_offer("read", "purge"), "read", "purge")
    left = _given(_offer("purge", given=both), "read", before=both.pins)
    asked = _offer("read", tools=[_tool("purge", "destructive", "read")], given=left)
    assert [line.gained for line in asked.fresh] == [{"purge": "new"}]
    assert not _offer("read", "purge", given=both).fresh


def test_what_was_not_asked_for_this_time_is_named_as_kept() -> None:
    given = _given(_offer(), "read", "write")
    asked = _offer("read", given=given)
    assert asked.kept == {"write": "Says"}
    once_more = _offer("write", given=_given(asked, "read", "write", before=given.pins))
    assert not once_more.fresh


@pytest.mark.parametrize(
    "changed",
    [
        {"tools": [*TOOLS, _tool("peek", "reads", "read")]},
        {"tools": [_tool("get", "writes", "read")]},
        {"scopes": SCOPES | {"read": Described(says="Other", needed=False, rule=SCOPES["read"].rule)}},
        {"scopes": SCOPES | {"read": _scope(needed=True)}},
        {"about": {"client": "another"}},
        {"tools": [*TOOLS, _tool("ping", "reads")]},
        {"tools": [replace(TOOLS[0], hash="other"), *TOOLS[1:]]},
    ],
)
def test_the_hash_moves_with_everything_that_was_shown(changed: dict[str, Any]) -> None:
    assert _offer("read").hash == _offer("read").hash != _offer("read", **changed).hash


OLD = answers.Standing(live=True, scopes=frozenset({"read", "write"}), origin="https://a.example")
HOW: dict[str, Any] = {"origin": "https://a.example", "vouched": True, "source": "cimd"}


@pytest.mark.parametrize(
    ("old", "asked", "changed", "silent"),
    [
        (OLD, ("read",), {}, True),
        (OLD, ("read", "write"), {}, True),
        (OLD, ("read", "write"), {"source": "manual"}, True),
        (None, ("read",), {}, False),
        (answers.Standing(live=False, scopes=OLD.scopes, origin=OLD.origin), ("read",), {}, False),
        (OLD, ("read", "close"), {}, False),
        (OLD, ("read",), {"origin": "https://b.example"}, False),
        (OLD, ("read",), {"vouched": False}, False),
        (OLD, ("read",), {"source": "dcr"}, False),
        (OLD, ("secret",), {}, False),
    ],
)
def test_a_question_is_answered_already_only_when_nothing_in_it_is_new(
    old: answers.Standing | None, asked: tuple[str, ...], changed: dict[str, Any], silent: bool
) -> None:
    question = _offer(*asked, tools=TOOLS[:3], given=_given(_offer(tools=TOOLS[:3]), "read", "write"))
    assert answers.answers(old, question, **(HOW | changed)) is silent


@pytest.mark.parametrize(
    ("tool", "silent"),
    [
        (_tool("wipe", "destructive", "read"), False),
        (_tool("wipe", "destructive"), False),
        (_tool("peek", "reads", "read"), True),
        (_tool("jot", "writes", "read"), True),
        (_tool("wipe", "destructive", "close"), True),
    ],
)
def test_a_new_tool_asks_again_only_when_it_is_destructive_and_within_the_grant(tool: Unlocked, silent: bool) -> None:
    before = _given(_offer("read", "write"), "read", "write")
    question = _offer("read", "write", tools=[*TOOLS, tool], given=before)
    assert answers.answers(OLD, question, **HOW) is silent


STRONGER: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "reads, then writes": ({"sort": "reads"}, {"sort": "writes"}, "could only read and can now change things"),
    "reads, then destroys": (
        {"sort": "reads"},
        {"sort": "destructive"},
        "could only read and can now delete or overwrite",
    ),
    "writes, then destroys": (
        {"sort": "writes"},
        {"sort": "destructive"},
        "could change things and can now delete or overwrite",
    ),
    "goes elsewhere": (
        {"destination": "https://a.example"},
        {"destination": "https://b.example:8443"},
        "now sends to b.example:8443",
    ),
    "goes somewhere": ({}, {"destination": "http://b.example"}, "now sends to http://b.example"),
    "reaches beyond": ({}, {"open_world": True}, "now reaches beyond the company"),
    "two at once": (
        {"sort": "reads"},
        {"sort": "writes", "open_world": True},
        "could only read and can now change things, now reaches beyond the company",
    ),
}
WEAKER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"hash": "a"}, {"hash": "b"}),
    ({"sort": "destructive"}, {"sort": "reads"}),
    ({"open_world": True}, {}),
    ({"destination": "https://a.example"}, {}),
]


def _pinned(**changed: Any) -> Unlocked:
    return replace(_tool("get", "reads", "read"), **changed)


@pytest.mark.parametrize("case", STRONGER)
def test_a_tool_that_gained_power_is_asked_about_with_what_it_gained(case: str) -> None:
    then, now, said = STRONGER[case]
    before = _given(_offer("read", tools=[_pinned(**then)]), "read")
    question = _offer("read", tools=[_pinned(**now)], given=before)
    assert [(line.scope, line.gained) for line in question.fresh] == [("read", {"get": said})]
    assert not answers.answers(OLD, question, **HOW)


@pytest.mark.parametrize(("then", "now"), WEAKER)
def test_other_words_and_less_power_ask_nobody(then: dict[str, Any], now: dict[str, Any]) -> None:
    before = _given(_offer("read", tools=[_pinned(**then)]), "read")
    assert answers.answers(OLD, _offer("read", tools=[_pinned(**now)], given=before), **HOW)


def test_what_is_not_on_the_page_stays_as_it_was_agreed_to() -> None:
    old = _tool("note", "writes", "write")
    given = _given(_offer("read", "write", tools=[_pinned(), old]), "read", "write")
    grown = replace(old, sort="destructive", hash="other")
    page = _offer("read", tools=[replace(_pinned(), hash="new"), grown], given=given)
    agreed = page.pins(frozenset({"read", "write"}), given.pins)
    assert (agreed["get"].hash, agreed["note"]) == ("new", old.pin)
    assert not page.pins(frozenset({"read"}), given.pins).keys() - {"get"}


@pytest.mark.parametrize("span", list(answers.SPANS))
def test_the_span_that_was_chosen_is_proposed_again(span: str) -> None:
    assert answers.span_of(answers.SPANS[span]) == span


@pytest.mark.parametrize(
    ("name", "domain", "known"),
    [
        ("Claude", "claude.ai", ""),
        ("Claude Code", "tools.claude.ai", ""),
        ("Claude", "", ""),  # a program on the person's computer: nobody's domain contradicts it
        ("Claude", "claude.ai.evil.example", "Claude"),
        ("Claude", "evil.example", "Claude"),
        ("CLAUDE code", "evil.example", "Claude"),
        ("ClaudeCode", "evil.example", "Claude"),
        ("C l a u d e", "evil.example", "Claude"),
        ("С1аudе", "evil.example", "Claude"),  # noqa: RUF001 - Cyrillic, and a digit
        ("Cláude", "evil.example", "Claude"),
        ("ＣＬＡＵＤＥ", "evil.example", "Claude"),  # noqa: RUF001 - full width
        ("My tool", "claude-ai.example", "Claude"),
        ("My tool", "xn--laude-0ye.example", "Claude"),
        ("Claude", "github.com", "Claude"),
        ("Claude for GitHub", "anthropic.com", ""),
        ("VS Code", "vscode.dev", ""),
        ("Visual Studio Code", "evil.example", "Visual Studio Code"),
        ("Zed", "zed.dev", ""),
        ("Zed", "evil.example", "Zed"),
        ("Zedtown library", "library.example", ""),
        ("Precursor lab", "precursor.example", ""),
        ("Support desk", "desk.example", ""),
    ],
)
def test_a_name_is_held_against_the_domain_it_comes_from(name: str, domain: str, known: str) -> None:
    found = imitated(name, domain)
    assert (found.name if found else "") == known


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("  two\n lines\t", "two lines"),
        ("moc.live\u202e \u2066x\u2069", "moc.live x"),
        ("a\u3164\u2800b", "ab"),
        ("x" * 200, "x" * 59 + "…"),
        ("\u202e\u200b\u3164", "A program without a name"),
        ("<b>bold</b>", "<b>bold</b>"),  # the template escapes it
    ],
)
def test_a_name_is_short_and_says_nothing_that_cannot_be_seen(name: str, shown: str) -> None:
    assert hosts.name_of(Client(name=name)) == shown


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://claude.ai/cb?x=1", "claude.ai"),
        ("http://localhost:51234/callback", "localhost:51234"),
        ("http://[::1]:8/cb", "[::1]:8"),
        ("cursor://anysphere.cursor-mcp/oauth", "cursor:"),
    ],
)
def test_people_read_where_the_answer_goes(uri: str, shown: str) -> None:
    assert hosts.sends_to(uri) == shown
