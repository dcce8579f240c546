"""Deciding a recorded call again: what the ledger did not keep is never guessed."""

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.entries import preview
from oversight.earlier import Earlier
from oversight.rejudging import EVERY, Judge, Recorded, Verdict, looked_at, lost_in
from policy.rules import Rules, read
from policy.values import Effect
from tests.callers import UMA
from tests.policy.judging import LOOK, REFUND, facts, rule

PINS = {REFUND.name: "v1", LOOK.name: "v1"}
LONG = "x" * 300


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("args.amount > 5", {"amount"}),
        ('args["amount"] > 5 && args.to.city == "Bonn"', {"amount", "to"}),
        ("args . amount > 5", {"amount"}),
        ("args['a b'] == 1", {"a b"}),
        ("has(args.note)", {"note"}),
        ("user == 'uma'", set()),
        ("size(args) > 3", EVERY),
        ("args.size() > 3", EVERY),
        ("args.exists(k, k == 'x')", EVERY),
        ('args["am" + "ount"] > 5', EVERY),
        ("args[user] > 5", EVERY),
        ("'args' == tool", EVERY),
        ("args == {}", EVERY),
    ],
)
def test_what_a_condition_looks_at(condition: str, names: Any) -> None:
    assert looked_at(condition) == names


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"text": "short", "n": 3, "list": [1, {"a": None}]}, set()),
        ({"text": LONG, "n": 3}, {"text"}),
        ({"password": "x", "n": 3}, {"password"}),
        ({"deep": {"er": {"api_key": "x"}}, "n": 3}, {"deep"}),
        ({"list": list(range(30)), "n": 3}, {"list"}),
        ({"deep": {str(n): n for n in range(30)}}, {"deep"}),
        ({"n": 2**70}, {"n"}),
        ({"a": [[[[[[["too deep"]]]]]]]}, {"a"}),
        ({str(n): n for n in range(30)}, EVERY),
        ({str(n): "y" * 199 for n in range(20)} | {"0": ["z" * 199] * 20}, EVERY),
    ],
)
def test_which_arguments_a_preview_does_not_have_whole(arguments: dict[str, Any], names: Any) -> None:
    assert lost_in(preview(arguments)) == names


def test_no_preview_is_nothing_known() -> None:
    assert lost_in(None) == EVERY


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2000, 2000) | st.sampled_from(["a", LONG, LONG + "y", "…", 2**70]),
    lambda inner: st.lists(inner, max_size=25) | st.dictionaries(st.sampled_from(["a", "b", "token"]), inner),
    max_leaves=10,
)
_ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.sampled_from([0, 501, 2**70]) | _VALUES,
        "note": st.sampled_from(["a", LONG, LONG + "y"]) | _VALUES,
        "token": st.sampled_from(["a", "b"]),
        "to": st.fixed_dictionaries({"a": st.sampled_from(["a", LONG])}) | _VALUES,
        "…": _VALUES,
    },
)
_CONDITIONS = st.sampled_from(
    [
        "args.amount > 500",
        "args.note == 'a'",
        "args.note.endsWith('y')",
        "args.token == 'a'",
        "size(args) > 2",
        "has(args.to)",
        "args.to.a == 'a' || args.amount < 0",
        "args.note.size() > 250",
        "args.exists(k, args[k] == 'a')",
    ]
)
_CHANGES = st.sampled_from(
    [
        [{"set": "note", "to": "a"}],
        [{"mask": "to"}],
        [{"remove": "amount"}],
        [{"clamp": "amount", "most": 500}],
        [{"set": "to.a", "to": "a"}],
    ]
)


@st.composite
def _written(draw: st.DrawFn) -> list[dict[str, Any]]:
    rules = []
    for number in range(draw(st.integers(1, 5))):
        effect = draw(st.sampled_from([effect.value for effect in Effect]))
        parts: dict[str, Any] = {"priority": draw(st.integers(0, 3))}
        if effect == "transform":
            parts["transform"] = draw(_CHANGES)
        if draw(st.integers(0, 3)):
            parts["if_"] = draw(_CONDITIONS)
        rules.append(rule(f"r{number}", effect, **parts))
    return rules


@settings(max_examples=1500, deadline=None)
@given(written=_written(), arguments=_ARGUMENTS)
def test_what_is_told_of_a_preview_is_what_was_decided_of_the_call(
    written: list[dict[str, Any]], arguments: dict[str, Any]
) -> None:
    """Whatever was hidden or cut: the effect is told only where it is the one of the whole call."""
    specs = [read(one) for one in written]
    decided = Rules(specs, number=1, pins=PINS).judge(UMA, LOOK, facts(arguments))
    shown = preview(arguments)
    call = Recorded(caller=UMA, subject=LOOK, facts=facts(shown), lost=lost_in(shown))
    verdict = Judge(specs, PINS, number=1).judge(call, {})
    if verdict.effect is not None:
        assert verdict.effect is decided.effect
        assert decided.rule in verdict.rule
    if not lost_in(shown):
        assert (verdict.effect, verdict.rule, verdict.changed) == (decided.effect, decided.rule, decided.changed)


def test_what_looks_elsewhere_is_told_though_another_argument_was_cut() -> None:
    specs = [read(rule("Big", "deny", if_="args.amount > 500")), read(rule("Note", "review", if_="args.note == 'x'"))]
    judge = Judge(specs, PINS, number=1)
    shown = preview({"amount": 501, "note": LONG})
    call = Recorded(caller=UMA, subject=LOOK, facts=facts(shown), lost=lost_in(shown))
    assert judge.judge(call, {}).effect is Effect.DENY
    shown = preview({"amount": 5, "note": LONG})
    call = Recorded(caller=UMA, subject=LOOK, facts=facts(shown), lost=lost_in(shown))
    assert judge.judge(call, {}).effect is None


def test_a_rule_that_would_decide_the_same_does_not_make_it_unknown() -> None:
    specs = [read(rule("Note", "deny", priority=9, if_="args.note == 'x'")), read(rule("All", "deny", priority=1))]
    shown = preview({"note": LONG})
    call = Recorded(caller=UMA, subject=LOOK, facts=facts(shown), lost=lost_in(shown))
    verdict = Judge(specs, PINS, number=1).judge(call, {})
    assert (verdict.effect, verdict.rule) == (Effect.DENY, "All or Note")


def test_a_number_that_is_not_known_is_not_said_to_be_within_bounds() -> None:
    judge = Judge([read(rule("Cap", "transform", transform=[{"clamp": "amount", "most": 500}]))], PINS, number=1)
    shown = preview({"amount": 2**70})
    call = Recorded(caller=UMA, subject=LOOK, facts=facts(shown), lost=lost_in(shown))
    assert judge.judge(call, {}) == Verdict(effect=None, rule="Cap")


def test_calls_are_counted_within_their_window_only() -> None:
    earlier, start = Earlier(), datetime.datetime(2026, 11, 18, tzinfo=datetime.UTC)
    seconds = [0, 1, 2, 59, 60, 90, 200]
    found = [earlier.note("60/one", 60, start + datetime.timedelta(seconds=at)) for at in seconds]
    assert found == [0, 1, 2, 3, 4, 2, 0]
    assert earlier.note("60/two", 60, start) == 0
