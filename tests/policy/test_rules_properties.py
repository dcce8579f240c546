"""What holds for every set of rules and every call, whatever they are."""

import datetime
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policy.rules import Rules
from policy.rules.spec import When
from policy.rules.times import Hours
from policy.values import Agreed, Decision, Effect, Facts, Subject
from tenants.caller import Caller
from tests.callers import UMA
from tests.policy.judging import LOOK, NOON, REFUND, rules
from tests.policy.test_conditions import JSON

STRICTNESS = [Effect.ALLOW, Effect.WARN, Effect.CONFIRM, Effect.REVIEW, Effect.DENY]
CONDITIONS = [
    "args.a > 3",
    "args.a == 'x'",
    "has(args.b)",
    "args.a.exists(x, x == 1)",
    "true",
    "false",
    "user == 'uma'",
]
HOURS = [{"from": "11:00", "to": "13:00"}, {"days": ["sun"]}, {"until": "2026-11-18T12:30:00Z"}]
CHANGES = [{"set": "a", "to": 9}, {"remove": "b"}, {"mask": "a"}, {"clamp": "a", "most": 2}]

PARTS = st.fixed_dictionaries(
    {},
    optional={
        "who": st.sampled_from([{"users": ["uma"]}, {"roles": ["owner"]}, {"ways": ["key"]}, {"clients": ["h*"]}]),
        "what": st.sampled_from([{"tools": ["look_*"]}, {"traits": ["destructive"]}, {"tags": ["money"]}]),
        "if": st.sampled_from(CONDITIONS),
        "when": st.sampled_from(HOURS),
        "where": st.sampled_from([["192.0.2.0/24"], ["10.0.0.0/8"]]),
        "found": st.sampled_from([["sql"], ["any"]]),
        "before": st.just({"more_than": 2, "seconds": 60}),
    },
)
NAMES = st.sampled_from([f"rule {letter}" for letter in "abcdefghij"])
PRIORITIES = st.sampled_from([0, 100, 100, 100, 1000])


def one_of(*effects: str) -> st.SearchStrategy[dict[str, Any]]:
    def whole(name: str, effect: str, priority: int, parts: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
        transform = {"transform": [change]} if effect == "transform" else {}
        return {"name": name, "effect": effect, "priority": priority, **parts, **transform}

    return st.builds(whole, NAMES, st.sampled_from(effects), PRIORITIES, PARTS, st.sampled_from(CHANGES))


OLA = replace(UMA, member_id=2, username="ola", role="owner", credential="app:2", client="other")
ANY = one_of("allow", "warn", "transform", "confirm", "review", "deny")
SETS = st.lists(ANY, max_size=6, unique_by=lambda written: written["name"])
SUBJECTS = st.sampled_from([LOOK, REFUND])
AGREED = st.builds(Agreed, confirmed=st.booleans(), approved=st.booleans())
CALLS = st.builds(
    Facts,
    arguments=st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON | st.integers(0, 9)),
    at=st.integers(-(10**9), 10**9).map(lambda seconds: NOON + datetime.timedelta(seconds=seconds)) | st.just(NOON),
    address=st.sampled_from(["192.0.2.7", "10.1.1.1", "", "nowhere"]),
    before=st.dictionaries(NAMES, st.integers(0, 5)),
    found=st.sampled_from([frozenset(), frozenset({"sql"}), frozenset({"other"})]),
    gained=st.sampled_from(["", "It may delete now."]),
    agreed=AGREED,
)


def judge(written: list[dict[str, Any]], subject: Subject, call: Facts) -> Decision:
    live: Rules = rules(*written)
    live.windows(UMA, subject)
    return live.judge(UMA, subject, call)


def strictness(decision: Decision) -> int:
    return STRICTNESS.index(decision.effect)


@settings(max_examples=300, deadline=None)
@given(SETS, SUBJECTS, CALLS)
def test_no_call_makes_deciding_or_explaining_raise(
    written: list[dict[str, Any]], subject: Subject, call: Facts
) -> None:
    before = repr(call.arguments)
    decision = judge(written, subject, call)
    assert decision.effect is not Effect.TRANSFORM
    assert (decision.refusal is not None) is (decision.effect is Effect.DENY)
    assert repr(call.arguments) == before
    told = rules(*written).explain(UMA, subject, call)
    assert sorted(name for name, _ in told) == sorted(one["name"] for one in written)
    decided = [name for name, said in told if "Decides" in said]
    gained = bool(call.gained) and decision.effect is Effect.CONFIRM and not decision.rule
    assert gained or decided == ([decision.rule] if decision.rule else [])


@settings(max_examples=300, deadline=None)
@given(SETS, SUBJECTS, CALLS)
def test_what_becomes_of_a_call_was_to_be_foreseen(
    written: list[dict[str, Any]], subject: Subject, call: Facts
) -> None:
    outlook = rules(*written).outlook(UMA, subject)
    decision = judge(written, subject, replace(call, gained="", agreed=Agreed()))
    assert decision.effect in outlook.effects
    assert not decision.rule or decision.rule in [spec.name for spec in outlook.deciders]


@settings(max_examples=200, deadline=None)
@given(SETS, st.lists(st.tuples(SUBJECTS, st.sampled_from([UMA, OLA]), CALLS), max_size=6))
def test_what_was_judged_before_changes_nothing(
    written: list[dict[str, Any]], calls: list[tuple[Subject, Caller, Facts]]
) -> None:
    live = rules(*written)
    for subject, caller, call in calls:
        assert repr(live.judge(caller, subject, call)) == repr(rules(*written).judge(caller, subject, call))


SECONDS = st.sampled_from([0, 1, 59, 60, 1799, 1800, 3599, 3600, 3601, -3600, -3601])
"""From noon, some of them at either side of a moment that HOURS name."""


@given(st.sampled_from(HOURS), st.lists(SECONDS, min_size=2))
def test_hours_that_were_asked_before_answer_the_same(written: dict[str, Any], asked: list[int]) -> None:
    when = When.model_validate(written)
    kept = Hours(when)
    for at in [NOON + datetime.timedelta(seconds=seconds) for seconds in asked]:
        assert kept.hold(at) == Hours(when).hold(at)


@settings(max_examples=300, deadline=None)
@given(SETS, ANY, st.sampled_from(["who", "what", "if", "found"]), SUBJECTS, CALLS)
def test_an_unrelated_rule_changes_nothing(
    written: list[dict[str, Any]], other: dict[str, Any], way: str, subject: Subject, call: Facts
) -> None:
    apart: dict[str, Any] = {
        "who": {"users": ["nobody"]},
        "what": {"tools": ["no_such_tool"]},
        "if": "false",
        "found": ["nothing"],
    }
    unrelated = {**other, "name": "unrelated", way: apart[way]}
    assert repr(judge([*written, unrelated], subject, call)) == repr(judge(written, subject, call))


@settings(max_examples=300, deadline=None)
@given(SETS, SUBJECTS, CALLS, st.randoms(use_true_random=False))
def test_the_order_in_which_rules_were_written_never_matters(
    written: list[dict[str, Any]], subject: Subject, call: Facts, chance: Any
) -> None:
    shuffled = chance.sample(written, len(written))
    assert repr(judge(shuffled, subject, call)) == repr(judge(written, subject, call))


@settings(max_examples=300, deadline=None)
@given(SETS, one_of("deny"), SUBJECTS, CALLS)
def test_one_more_deny_never_loosens(
    written: list[dict[str, Any]], deny: dict[str, Any], subject: Subject, call: Facts
) -> None:
    before, after = judge(written, subject, call), judge([*written, {**deny, "name": "added"}], subject, call)
    assert strictness(after) >= strictness(before)


@settings(max_examples=300, deadline=None)
@given(SETS, one_of("confirm", "review"), SUBJECTS, CALLS)
def test_one_more_question_never_lets_run_what_did_not(
    written: list[dict[str, Any]], question: dict[str, Any], subject: Subject, call: Facts
) -> None:
    """Before anybody has answered it. Above a deny it asks instead of refusing, as the higher one decides."""
    asked = Facts(
        arguments=call.arguments,
        at=call.at,
        address=call.address,
        before=call.before,
        found=call.found,
        gained=call.gained,
    )
    before, after = judge(written, subject, asked), judge([*written, {**question, "name": "added"}], subject, asked)
    assert before.runs or not after.runs
    if question["priority"] == 0:
        assert strictness(after) >= strictness(before)


@settings(max_examples=200, deadline=None)
@given(SETS, SUBJECTS, CALLS)
def test_who_agrees_to_more_never_gets_less(written: list[dict[str, Any]], subject: Subject, call: Facts) -> None:
    def with_agreed(agreed: Agreed) -> Decision:
        given = {name: getattr(call, name) for name in ("arguments", "at", "address", "before", "found", "gained")}
        return judge(written, subject, Facts(**given, agreed=agreed))

    nobody, own, second = (
        strictness(with_agreed(agreed)) for agreed in (Agreed(), Agreed(confirmed=True), Agreed(approved=True))
    )
    assert nobody >= own >= second
