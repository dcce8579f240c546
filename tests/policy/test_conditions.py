"""Conditions: what an expression may be, what it answers, and that nothing it looks at can make it raise or last."""

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.conditions import Condition, ConditionError, Known

OTHERS = {
    "user": "uma",
    "role": "user",
    "client": "Desk",
    "way": "app",
    "tool": "refund",
    "tags": ["money"],
    "found": ["sql"],
}
ARGUMENTS = {
    "amount": 12.5,
    "count": 3,
    "to": "ann@acme.example",
    "lines": [{"price": 5}, {"price": 7}],
    "note": None,
    "urgent": True,
    "at": "2026-11-18T12:00:00Z",
}


def answer(source: str, arguments: Any = ARGUMENTS) -> bool | None:
    return Condition(source).holds(Known(arguments, OTHERS))


ANSWERS = [
    ("args.amount > 10", True),
    ("args.amount > 10.5 && args.count == 3", True),
    ("args.to.endsWith('@acme.example')", True),
    ("!args.to.startsWith('bob')", True),
    ("args.to.contains('ann') ? args.urgent : false", True),
    ("args.to.matches('^[a-z]+@acme[.]example$')", True),
    ('args.to.matches(r"^\\w+@other")', False),
    ("size(args.lines) == 2 && args.lines.size() == 2", True),
    ("args.lines.exists(line, line.price > 6)", True),
    ("args.lines.all(line, line.price > 6)", False),
    ("args.lines.exists_one(line, line.price > 6)", True),
    ("has(args.note) && args.note == null", True),
    ("has(args.missing)", False),
    ("args['count'] % 2 == 1", True),
    ("int(args.amount) + 1 == 13", True),
    ("string(args.count) == '3'", True),
    ("timestamp(args.at).getHours() >= 12", True),
    ("timestamp(args.at) < timestamp('2027-01-01T00:00:00Z')", True),
    ("user == 'uma' && role == 'user' && client == 'Desk' && way == 'app' && tool == 'refund'", True),
    ("'money' in tags && 'sql' in found", True),
    ("args.note == 'it\\'s // no comment'", False),
    # What cannot be told:
    ("args.missing > 3", None),
    ("args.to > 3", None),
    ("args.lines[9].price > 3", None),
    ("args.count", None),
    ("args.count / 0 == 1", None),
    ("9223372036854775807 + args.count > 0", None),
    ("int(args.to) == 1", None),
    ("args.lines.all(line, line.name == 'x')", None),
    # As CEL has it, what decides alone decides beside what cannot be told.
    ("args.missing > 3 || args.count == 3", True),
    ("args.missing > 3 && args.count == 4", False),
]


@pytest.mark.parametrize(("source", "expected"), ANSWERS)
def test_a_condition_answers_yes_no_or_nothing(source: str, expected: bool | None) -> None:
    assert answer(source) is expected


REFUSED = [
    ("", "cannot be read"),
    ("args.amount >", "cannot be read at character"),
    ("a" * 1001, "1001 characters"),
    ("(" * 900, "cannot be read"),
    ("amount > 5", "no 'amount' to look at"),
    ("args.x.foo()", "no function 'foo'"),
    ("now() > args.x", "no function 'now'"),
    ("args.a.all(x, args.b.all(y, x == y))", "inside another"),
    ("args.a.all(x, x.exists(y, y > 1))", "inside another"),
    ("args.a.map(x, x).size() > 1", "no map"),
    ("args.a.filter(x, x > 1).size() > 1", "no filter"),
    (" + ".join(["args.a"] * 12) + " == 1", "adds more than"),
    ("args.a.all( x , [args.b . exists (y, true)][0])", "inside another"),
    (" && ".join(["args.a.all(x, x > 1)"] * 5), "5 times"),
    ("args.a.matches(args.b)", "written out"),
    ("matches(args.a, 'b')", "written out"),
    ("args.a.matches('a' + args.b)", "written out"),
    ("args.a.matches('(')", "cannot be used"),
    ("args.a.matches('[a-z]{1000}{1000}')", "cannot be used"),
    ("args.a == 1 // always", "comment"),
    ("args.a == '''x'''", "quotes"),
    ("1 + 2", "true or false"),
    ("user", "true or false"),
    ("args", "true or false"),
    ("size(tags)", "true or false"),
    ("args.a.exists(x, y)", "no 'y'"),
]


@pytest.mark.parametrize(("source", "said"), REFUSED)
def test_what_a_condition_cannot_be_is_said_in_a_sentence(source: str, said: str) -> None:
    with pytest.raises(ConditionError, match=r"[.]$") as problem:
        Condition(source)
    assert said in str(problem.value)


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"a": value}


HOSTILE: list[tuple[str, Any]] = [
    ("args.a == args.a", {"a": "\ud800"}),
    ("args.a > 1", {"a": 10**400}),
    ("args.a > 1", {"a": float("nan")}),
    ("args.a > 1", {"a": 1, "\ud800": 2}),
    ("args.a > 1", {"a": 1, "b": object()}),
    ("args.a == args.a", nested(70)),
    ("args.a == args.a", nested(100_000)),
    ("args.a == args.a", {"a": [0] * 10_001}),
    ("args.a.all(x, x == 0)", {"a": [0] * 501}),
    ("args.a.all(x, x.contains('b'))", {"a": ["a" * 60_000] * 2}),
]


@pytest.mark.parametrize(("source", "arguments"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_arguments_leave_a_condition_without_an_answer(source: str, arguments: Any) -> None:
    assert answer(source, arguments) is None


def test_the_bounds_are_inclusive() -> None:
    assert answer("size(args.a) == 9999", {"a": [0] * 9_999}) is True
    assert answer("args.a.all(x, x == 0)", {"a": [0] * 499}) is True
    assert answer("args.a == args.a", nested(60)) is True


COSTLY = [
    ("args.a.all(x, args.a.size() > 0) && args.a.exists(x, x > 497)", {"a": list(range(499))}),
    ("args.a.all(x, args.a.contains(x) || x in args.a)", {"a": list(range(499))}),
    ("args.a.exists(x, args.a == [x])", {"a": list(range(499))}),
    ("args.a.matches('^(a|b|ab|.*)*c$')", {"a": "ab" * 500_000}),
    ("args.a.matches('([ab]{0,50}){0,50}c')", {"a": "ab" * 500_000}),
]


@pytest.mark.parametrize(("source", "arguments"), COSTLY)
def test_no_argument_makes_a_condition_slow(source: str, arguments: Any) -> None:
    condition, known = Condition(source), Known(arguments, OTHERS)
    began = time.process_time()
    condition.holds(known)
    assert time.process_time() - began < 0.5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
SOURCES = [source for source, _ in ANSWERS]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SOURCES), st.dictionaries(st.sampled_from([*ARGUMENTS, "missing"]), JSON))
def test_no_argument_makes_a_condition_raise(source: str, arguments: dict[str, Any]) -> None:
    assert answer(source, arguments) in (True, False, None)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="args.tolinex'\"\\()[]{}!=<>&|?:+-*/%,0123 \n", max_size=60))
def test_whatever_is_written_is_refused_or_answers(source: str) -> None:
    with suppress(ConditionError):
        assert answer(source) in (True, False, None)
