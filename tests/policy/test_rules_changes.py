"""Transforms: what they do with arguments, in which order, and that doing it again changes nothing."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.rules import read
from tests.policy.judging import facts, judged, rule, rules
from tests.policy.test_conditions import JSON

GIVEN: dict[str, Any] = {
    "amount": 900,
    "note": "call me",
    "customer": {"name": "Ann", "email": "ann@acme.example", "tags": ["vip", "old"]},
    "lines": [{"price": 5, "sku": "a"}, {"price": 50, "sku": "b"}],
}

CHANGES: list[tuple[dict[str, Any], str, Any]] = [
    # change, the argument looked at, what it is then (absent: "(gone)")
    ({"set": "amount", "to": 1}, "amount", 1),
    ({"set": "amount", "to": int("900")}, "amount", 900),
    ({"set": "dry_run", "to": True}, "dry_run", True),
    ({"set": "options.safe.mode", "to": None}, "options", {"safe": {"mode": None}}),
    ({"set": "customer.name", "to": {"a": [1]}}, "customer", {**GIVEN["customer"], "name": {"a": [1]}}),
    ({"set": "lines[1].price", "to": 0}, "lines", [GIVEN["lines"][0], {"price": 0, "sku": "b"}]),
    ({"set": "lines.*.sku", "to": "x"}, "lines", [{"price": 5, "sku": "x"}, {"price": 50, "sku": "x"}]),
    ({"set": "lines[7].price", "to": 0}, "lines", GIVEN["lines"]),
    ({"set": "note.deeper", "to": 0}, "note", "call me"),
    ({"remove": "note"}, "note", "(gone)"),
    ({"remove": "customer.email"}, "customer", {"name": "Ann", "tags": ["vip", "old"]}),
    ({"remove": "lines.*.sku"}, "lines", [{"price": 5}, {"price": 50}]),
    ({"remove": "customer.tags.*"}, "customer", {**GIVEN["customer"], "tags": []}),
    ({"remove": "missing.deeper"}, "missing", "(gone)"),
    ({"mask": "note"}, "note", "***"),
    ({"mask": "customer"}, "customer", {"name": "***", "email": "***", "tags": ["***", "***"]}),
    ({"mask": "lines.*.price"}, "lines", [{"price": 0, "sku": "a"}, {"price": 0, "sku": "b"}]),
    ({"mask": "missing"}, "missing", "(gone)"),
    ({"clamp": "amount", "most": 500}, "amount", 500),
    ({"clamp": "amount", "least": 1000}, "amount", 1000),
    ({"clamp": "amount", "least": 1, "most": 1000}, "amount", 900),
    ({"clamp": "lines.*.price", "most": 9.5}, "lines", [{"price": 5, "sku": "a"}, {"price": 9.5, "sku": "b"}]),
    ({"clamp": "note", "most": 1}, "note", "call me"),
    ({"clamp": "missing", "most": 1}, "missing", "(gone)"),
]


@pytest.mark.parametrize(("change", "name", "expected"), CHANGES)
def test_a_transform_changes_the_place_it_names_and_nothing_else(
    change: dict[str, Any], name: str, expected: Any
) -> None:
    before = copy.deepcopy(GIVEN)
    decision = judged(rules(rule("change", "transform", transform=[change])), given=facts(GIVEN))
    after = dict(decision.arguments)
    assert after.get(name, "(gone)") == expected
    assert {key: value for key, value in after.items() if key != name} == {
        key: value for key, value in before.items() if key != name
    }
    assert before == GIVEN
    assert decision.changed == (("change",) if after != before else ())
    assert decision.runs


def test_rules_below_see_what_was_changed_and_equal_ones_what_came() -> None:
    smaller = rule("smaller", "transform", priority=500, transform=[{"set": "amount", "to": 5}])
    large = "args.amount > 500"
    below = rules(smaller, rule("large", "deny", priority=400, if_=large))
    beside = rules(smaller, rule("large", "deny", priority=500, if_=large))
    assert judged(below, amount=900).runs
    assert not judged(beside, amount=900).runs


def test_a_transform_below_what_decides_changes_nothing() -> None:
    live = rules(rule("all", "allow", priority=9), rule("t", "transform", priority=5, transform=[{"remove": "amount"}]))
    decision = judged(live, amount=9)
    assert (dict(decision.arguments), decision.changed) == ({"amount": 9}, ())


def test_equal_transforms_see_the_same_arguments_and_the_last_name_wins() -> None:
    written = [
        rule("a", "transform", transform=[{"set": "amount", "to": 1}], if_="args.amount == 9"),
        rule("b", "transform", transform=[{"set": "amount", "to": 2}], if_="args.amount == 9"),
        rule("c", "transform", transform=[{"set": "seen", "to": 1}], if_="args.amount == 2"),
    ]
    for given_in in (written, written[::-1]):
        decision = judged(rules(*given_in), amount=9)
        assert dict(decision.arguments) == {"amount": 2}
        assert decision.changed == ("a", "b")


PATHS = st.sampled_from(["a", "b", "a.b", "a.*", "*", "a[0]", "a[0].b", "*.a", "a.b.c", "b.*.a"])
CHANGED = st.one_of(
    st.builds(lambda path, to: {"set": path, "to": to}, PATHS, JSON),
    st.builds(lambda path: {"remove": path}, PATHS.filter(lambda path: not path.endswith("]"))),
    st.builds(lambda path: {"mask": path}, PATHS),
    st.builds(lambda path, most: {"clamp": path, "least": -1, "most": most}, PATHS, st.integers(0, 9)),
)
ARGUMENTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON)


@settings(max_examples=300, deadline=None)
@given(CHANGED, ARGUMENTS)
def test_a_change_made_twice_is_made_once(change: dict[str, Any], arguments: dict[str, Any]) -> None:
    live = rules(rule("t", "transform", transform=[change]))
    once = judged(live, given=facts(arguments))
    twice = judged(live, given=facts(once.arguments))
    assert repr(twice.arguments) == repr(once.arguments)


@settings(max_examples=300, deadline=None)
@given(st.lists(CHANGED, min_size=2, max_size=5), ARGUMENTS, st.randoms(use_true_random=False))
def test_the_order_in_which_transforms_were_written_never_matters(
    several: list[dict[str, Any]], arguments: dict[str, Any], chance: Any
) -> None:
    written = [rule(f"rule {number}", "transform", transform=[change]) for number, change in enumerate(several)]
    shuffled = chance.sample(written, len(written))
    before = repr(arguments)
    assert repr(judged(rules(*shuffled), given=facts(arguments))) == repr(
        judged(rules(*written), given=facts(arguments))
    )
    assert repr(arguments) == before


def test_what_is_masked_is_bounded_in_depth() -> None:
    deep: Any = "secret"
    for _ in range(5_000):
        deep = [deep]
    masked = judged(rules(rule("t", "transform", transform=[{"mask": "a"}])), a=deep).arguments["a"]
    for _ in range(64):
        masked = masked[0]
    assert masked == "***"


def test_a_change_reads_as_it_was_written() -> None:
    written = rule("t", "transform", transform=[{"set": "a", "to": None}, {"clamp": "b", "least": 0}])
    assert read(read(written).written()) == read(written)
    assert read(written).written()["transform"] == written["transform"]
