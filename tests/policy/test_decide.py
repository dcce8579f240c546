"""Deciding, as tables."""

from dataclasses import replace
from typing import Any

import pytest

from policy.decide import decide, visible
from policy.rules import NO_RULES, Rules
from policy.values import Agreed, Decision, Effect, Refusal, Reviewers, Subject
from tenants.caller import Caller
from tenants.scopes import ScopeRule, expand, reachable
from tests.callers import UMA
from tests.policy.judging import APPROVED, CONFIRMED, LOOK, REFUND, facts, judged, rule, rules


def caller(scopes: str, reach: str) -> Caller:
    return replace(UMA, scopes=frozenset(scopes.split()), reach=frozenset(reach.split()))


def refused(someone: Caller, subject: Subject, live: Rules = NO_RULES) -> Refusal | None:
    return decide(someone, subject, facts(), live).refusal


TABLE = [
    # needed, held, within reach: seen, reason
    ("", "", "", True, None),
    ("", "a", "a", True, None),
    ("a", "a", "a", True, None),
    ("a b", "a b", "a b c", True, None),
    ("a", "", "a", True, "insufficient_scope"),
    ("a b", "a", "a b", True, "insufficient_scope"),
    ("a", "", "", False, "unknown_tool"),
    ("a b", "a", "a", False, "unknown_tool"),
    # More than the role may hold: the tool does not exist, whatever a credential claims.
    ("a", "a", "", False, "unknown_tool"),
]


@pytest.mark.parametrize("live", [NO_RULES, rules(rule("everything", "allow"))])
@pytest.mark.parametrize(("needed", "held", "reach", "seen", "reason"), TABLE)
def test_what_exists_is_decided_before_what_was_granted_and_no_rule_allows_more(
    needed: str, held: str, reach: str, seen: bool, reason: str | None, live: Rules
) -> None:
    subject = Subject(name="restart", scopes=frozenset(needed.split()))
    refusal = refused(caller(held, reach), subject, live)
    assert visible(caller(held, reach), subject, live) is seen
    assert (refusal.reason if refusal else None) == reason


def test_a_missing_scope_is_named_with_all_the_call_needs_and_whom_to_ask() -> None:
    refusal = refused(caller("a", "a b c"), Subject(name="restart", scopes=frozenset("abc")))
    assert refusal is not None
    assert refusal.scopes == frozenset("abc")
    assert "b, c" in refusal.message
    assert "acme" in refusal.message
    assert not refusal.retryable


def test_a_tool_out_of_reach_is_refused_in_the_words_of_one_that_does_not_exist() -> None:
    refusal = refused(caller("", ""), Subject(name="restart", scopes=frozenset("a")))
    assert refusal is not None
    assert refusal.message == "There is no tool named 'restart' here."
    assert refusal.scopes == frozenset()


@pytest.mark.parametrize(
    ("subject", "agreed", "effect"),
    [
        (LOOK, Agreed(), Effect.ALLOW),
        (Subject(name="write", scopes=frozenset()), Agreed(), Effect.ALLOW),
        (REFUND, Agreed(), Effect.CONFIRM),
        (REFUND, CONFIRMED, Effect.ALLOW),
        (REFUND, APPROVED, Effect.ALLOW),
    ],
)
def test_without_a_rule_the_annotations_decide(subject: Subject, agreed: Agreed, effect: Effect) -> None:
    decision = judged(NO_RULES, subject=subject, given=facts(agreed=agreed))
    assert (decision.effect, decision.rule, decision.ruleset) == (effect, "", 0)


def outcome(decision: Decision) -> str:
    return f"{decision.effect} {decision.rule}".strip()


EFFECTS = [
    # effect of the one rule, agreed: what comes of a call that changes nothing
    ("allow", Agreed(), "allow r"),
    ("warn", Agreed(), "warn r"),
    ("deny", Agreed(), "deny r"),
    ("deny", Agreed(confirmed=True, approved=True), "deny r"),
    ("confirm", Agreed(), "confirm r"),
    ("confirm", CONFIRMED, "allow r"),
    ("confirm", APPROVED, "allow r"),
    ("review", Agreed(), "review r"),
    ("review", CONFIRMED, "review r"),
    ("review", APPROVED, "allow r"),
    ("transform", Agreed(), "allow"),
]


@pytest.mark.parametrize(("effect", "agreed", "expected"), EFFECTS)
def test_a_rule_does_what_it_says_until_the_person_it_asks_for_agrees(
    effect: str, agreed: Agreed, expected: str
) -> None:
    decision = judged(rules(rule("r", effect), number=7), given=facts(agreed=agreed))
    assert outcome(decision) == expected
    assert decision.ruleset == 7
    assert decision.runs is expected.startswith(("allow", "warn"))


PRIORITIES: list[tuple[list[tuple[str, int]], str]] = [
    # rules as (effect, priority), named by both: what decides
    ([("allow", 10), ("deny", 5)], "allow allow10"),
    ([("deny", 10), ("allow", 5)], "deny deny10"),
    ([("allow", 5), ("deny", 5)], "deny deny5"),
    ([("allow", 5), ("warn", 5), ("confirm", 5), ("review", 5), ("deny", 5)], "deny deny5"),
    ([("allow", 5), ("warn", 5), ("confirm", 5), ("review", 5)], "review review5"),
    ([("allow", 5), ("warn", 5), ("confirm", 5)], "confirm confirm5"),
    ([("allow", 5), ("warn", 5)], "warn warn5"),
    ([("transform", 9), ("deny", 5)], "deny deny5"),
    ([("transform", 5), ("deny", 5)], "deny deny5"),
    ([("allow", 0)], "allow allow0"),
]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("given", "expected"), PRIORITIES)
def test_the_highest_decides_and_of_equal_ones_the_strictest(
    given: list[tuple[str, int]], expected: str, turned: bool
) -> None:
    written = [rule(f"{effect}{priority}", effect, priority=priority) for effect, priority in given]
    assert outcome(judged(rules(*(reversed(written) if turned else written)))) == expected


def test_a_rule_that_is_switched_off_decides_nothing() -> None:
    assert judged(rules(rule("off", "deny", enabled=False))).runs


def test_an_allow_runs_what_would_be_confirmed_by_default() -> None:
    assert outcome(judged(rules(rule("trusted", "allow")), subject=REFUND)) == "allow trusted"


@pytest.mark.parametrize("effect", ["allow", "warn", None])
@pytest.mark.parametrize(("agreed", "runs"), [(Agreed(), False), (CONFIRMED, True), (APPROVED, True)])
def test_a_tool_that_gained_power_is_confirmed_whatever_loosens(effect: str | None, agreed: Agreed, runs: bool) -> None:
    live = rules(rule("r", effect)) if effect else NO_RULES
    decision = judged(live, given=facts(gained="It may delete now.", agreed=agreed))
    assert decision.runs is runs
    if not runs:
        assert (decision.effect, decision.message) == (Effect.CONFIRM, "It may delete now.")


@pytest.mark.parametrize(("effect", "expected"), [("deny", "deny r"), ("review", "review r"), ("confirm", "confirm r")])
def test_a_tool_that_gained_power_does_not_loosen_a_rule(effect: str, expected: str) -> None:
    assert outcome(judged(rules(rule("r", effect)), given=facts(gained="It may delete now."))) == expected


def test_a_review_says_who_may_release_the_call() -> None:
    named = rule("r", "review", reviewers={"roles": ["approver"], "groups": ["refunds"], "minutes": 5})
    decision = judged(rules(named))
    assert decision.reviewers == Reviewers(roles=frozenset({"approver"}), groups=frozenset({"refunds"}), minutes=5)
    assert judged(rules(rule("r", "review"))).reviewers == Reviewers()


def test_a_refusal_names_the_rule_and_not_what_it_holds() -> None:
    refusal = judged(rules(rule("No refunds at night", "deny", if_="args.x != 'sesame'")), x="a").refusal
    assert refusal is not None
    assert (refusal.reason, refusal.retryable, refusal.retry_after) == ("denied", False, None)
    assert refusal.message == "The rule 'No refunds at night' of acme does not allow this call."


def test_a_message_of_the_rule_is_what_the_model_reads() -> None:
    refusal = judged(rules(rule("r", "deny", message="Ask finance."))).refusal
    assert refusal is not None
    assert refusal.message == "Ask finance."


CLOSED = {"days": ["wed"], "from": "08:00", "to": "14:00"}
HOURS: list[tuple[list[dict[str, Any]], float | None]] = [
    # rules: seconds until the same call is let through
    ([rule("closed", "deny", when=CLOSED)], 7200.0),
    ([rule("closed", "deny", when={"until": "2026-11-18T12:00:30Z"})], 30.0),
    ([rule("closed", "deny", when={"until": "2026-11-20T12:00:00Z"})], None),
    ([rule("closed", "deny", when={"since": "2026-11-18T11:00:00Z"})], None),
    ([rule("closed", "deny", when={"days": ["wed"]})], 43200.0),
    # Then it is refused by something else.
    ([rule("closed", "deny", when=CLOSED), rule("never", "deny", priority=1)], None),
    # Then it is asked about, which is not refused.
    ([rule("closed", "deny", when=CLOSED), rule("ask", "confirm", priority=1)], 7200.0),
    # The condition would go on to hold, but the hours do not.
    ([rule("closed", "deny", when=CLOSED, if_="true")], 7200.0),
    ([rule("always", "deny")], None),
]


@pytest.mark.parametrize(("written", "wait"), HOURS)
def test_what_only_the_time_stands_against_is_retryable_then(written: list[dict[str, Any]], wait: float | None) -> None:
    refusal = judged(rules(*written)).refusal
    assert refusal is not None
    assert (refusal.retryable, refusal.retry_after) == (wait is not None, wait)


SECRET = rule("hidden", "deny", secret=True, what={"tools": ["look_*"]}, priority=50)


@pytest.mark.parametrize(
    ("others", "seen"),
    [
        ([], False),
        ([rule("low", "allow", priority=1)], False),
        ([rule("equal", "allow", priority=50)], False),
        ([rule("changed", "transform", priority=90)], False),
        ([rule("for uma", "allow", priority=90, who={"users": ["uma"]})], True),
        ([rule("for others", "allow", priority=90, who={"users": ["adam"]})], False),
        ([rule("if", "allow", priority=90, if_="args.a == 1")], True),
        ([rule("asked", "review", priority=90, found=["sql"])], True),
        ([rule("no secret", "deny", priority=90)], False),
        ([rule("no attacks", "deny", priority=90, found=["any"])], False),
        ([rule("no attacks", "deny", priority=90, found=["any"]), rule("ask", "confirm", priority=80)], True),
    ],
)
def test_a_secret_tool_is_unknown_unless_a_higher_rule_may_let_through(
    others: list[dict[str, Any]], seen: bool
) -> None:
    live = rules(SECRET, *others)
    assert visible(UMA, LOOK, live) is seen
    refusal = judged(live).refusal
    if not seen:
        assert refusal is not None
        assert refusal == Refusal(reason="unknown_tool", message="There is no tool named 'look_up' here.")
    assert visible(UMA, REFUND, live)


def test_what_inspection_found_stands_in_every_decision() -> None:
    for live in (NO_RULES, rules(rule("r", "warn")), rules(rule("r", "deny"))):
        assert judged(live, given=facts(found=frozenset({"sql"}))).found == {"sql"}


def test_each_rule_is_explained_in_the_order_in_which_they_are_asked() -> None:
    live = rules(
        rule("for admins", "deny", priority=900, who={"roles": ["admin"]}),
        rule("large", "review", priority=500, if_="args.amount > 100"),
        rule("quiet", "transform", priority=400, transform=[{"set": "amount", "to": 1}]),
        rule("all", "allow", priority=300),
        rule("asked", "confirm", priority=300, if_="args.amount == 1"),
        rule("last", "deny", priority=1),
    )
    assert live.explain(UMA, LOOK, facts({"amount": 7})) == [
        ("for admins", "Does not apply: The role user is not among admin."),
        ("large", "Does not match: args.amount > 100."),
        ("quiet", "Matches."),
        ("asked", "Matches. Decides: confirm."),
        ("all", "Matches. 'asked' has the same priority and is stricter."),
        ("last", "Not asked: 'asked' had decided."),
    ]
    assert NO_RULES.explain(UMA, LOOK, facts()) == []


SCOPES = {
    "admin": ScopeRule(implies=frozenset({"write"}), roles=frozenset({"owner"})),
    "write": ScopeRule(implies=frozenset({"read", "gone"}), roles=frozenset({"owner", "admin"})),
    "read": ScopeRule(implies=frozenset({"write"}), roles=frozenset({"owner", "user"})),
    "other": ScopeRule(implies=frozenset(), roles=frozenset({"user"})),
}


@pytest.mark.parametrize(
    ("granted", "worth"),
    [
        ("", ""),
        ("other", "other"),
        ("gone", ""),
        ("admin", "admin write read"),
        ("read", "read write"),  # a loop does no harm
        ("other admin", "admin write read other"),
    ],
)
def test_a_scope_is_worth_what_it_implies_however_deep(granted: str, worth: str) -> None:
    assert expand(granted.split(), SCOPES) == frozenset(worth.split())


@pytest.mark.parametrize(
    ("role", "reach"),
    [("owner", "admin write read"), ("admin", "write read"), ("user", "read write other"), ("auditor", "")],
)
def test_a_role_reaches_what_its_scopes_imply(role: str, reach: str) -> None:
    assert reachable(role, SCOPES) == frozenset(reach.split())
