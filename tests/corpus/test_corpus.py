"""The attack corpus: what the hub notices of attacks, and how often it cries wolf. No class may get worse."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.corpus import printing
from tests.corpus.judged import JUDGES
from tests.corpus.written import figures, kinds, shown

Record = Callable[[str, object], None]
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "attacks.md"
_LEAST = 300
AT_THE_DOOR = frozenset({"front_door"})
"""Judged one by one, in test_front_door.py."""


@pytest.mark.parametrize("name", kinds())
def test_a_class_is_caught_as_often_as_it_was_and_alarms_no_more(name: str, record_property: Record) -> None:
    kind, judge, known = kinds()[name], JUDGES[name], figures()[name]
    missed = [shown(case) for case in kind.attacks if not judge(case, kind)]
    alarms = [shown(case) for case in kind.harmless if judge(case, kind)]
    now = {
        "attacks": len(kind.attacks),
        "caught": len(kind.attacks) - len(missed),
        "harmless": len(kind.harmless),
        "alarms": len(alarms),
    }
    record_property(printing.PROPERTY, {"class": name, **now})
    told = "\n".join([*(f"missed: {case}" for case in missed), *(f"alarm: {case}" for case in alarms)])
    assert not printing.got_worse(now, known), f"{name} got worse: {now}, it was {dict(known)}\n{told}"


def test_there_are_enough_cases_of_either_sort_and_none_twice() -> None:
    for sort in ("attacks", "harmless"):
        cases = [(kind.name, repr(case)) for kind in kinds().values() for case in getattr(kind, sort)]
        assert len(cases) >= _LEAST
        assert len(set(cases)) == len(cases), sorted(case for case in cases if cases.count(case) > 1)


def test_every_class_has_its_judge_and_its_figures() -> None:
    assert kinds().keys() == JUDGES.keys()
    assert figures().keys() == JUDGES.keys() | AT_THE_DOOR


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        ({}, False),
        ({"caught": 8}, True),
        ({"caught": 10}, False),
        ({"alarms": 2}, True),
        ({"alarms": 0}, False),
        ({"attacks": 11}, True),
        ({"attacks": 11, "caught": 10}, False),
        ({"attacks": 8, "caught": 8}, True),
        ({"caught": 10, "alarms": 2}, True),
    ],
)
def test_worse_is_to_catch_less_to_miss_more_or_to_alarm_more(change: dict[str, int], worse: bool) -> None:
    known = {"attacks": 10, "caught": 9, "harmless": 10, "alarms": 1}
    assert printing.got_worse(known | change, known) is worse


def test_the_table_adds_up_what_the_tests_reported_and_says_what_changed() -> None:
    def report(**given: Any) -> SimpleNamespace:
        value = dict.fromkeys(printing.COLUMNS, 0) | given
        return SimpleNamespace(when="call", user_properties=[(printing.PROPERTY, value)])

    reports = [
        report(**{"class": "b"}, attacks=1, caught=1),
        report(**{"class": "b"}, harmless=1),
        report(**{"class": "a"}, attacks=4, caught=3),
        SimpleNamespace(when="setup", user_properties=[(printing.PROPERTY, {"class": "b"})]),
        SimpleNamespace(),
    ]
    found = printing.gathered(reports)
    known = {"a": found["a"] | {"caught": 4}, "b": found["b"] | {"caught": 0}}
    told = list(printing.lines(found, known))
    assert [line.split()[:5] for line in told[1:]] == [
        ["a", "4", "3", "0", "0"],
        ["b", "1", "1", "1", "0"],
        ["all", "5", "4", "1", "0"],
    ]
    assert "WORSE" in told[1]
    assert "better" in told[2]
    (_, alone) = printing.lines({"b": found["b"]}, {"b": {**found["b"], "attacks": 9, "caught": 9}})
    assert alone.endswith("in part")


@pytest.mark.check
def test_the_document_has_these_figures() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(?:[^|\n]*\|)?? (\d+) \| (\d+) \| (\d+) \| (\d+) \|", DOCUMENT.read_text(), re.M)
    told = {name: tuple(map(int, numbers)) for name, *numbers in rows}
    assert told == {name: tuple(one[column] for column in printing.COLUMNS) for name, one in figures().items()}
