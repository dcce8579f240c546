"""The rules of the scan are data: each finds its hits, and leaves its misses alone."""

import time
from typing import Any

import pytest

from tests.tools.scanned import scanned
from tools.scan import Level, scan
from tools.scan.checks import CHECKS
from tools.scan.rules import rules, written

_WRITTEN = written()
_TO_BE_SLOW = [
    *[
        "a ",
        "before using ",
        "\u200b",
        "aGVsbG8gd29ybGQg",
        "do not tell ",
        "<",
        "![",
        "{tool} ",
        " ",
        "\n",
        "(\n ",
        "a.",
    ],
    *[
        "it deletes ",
        "and updates the ",
        "then ",
        "ask the user for a ",
        "x.co/ ",
        "//a.",
        "a@b.co ",
        "send everything ",
    ],
]


def _each(which: str) -> list[Any]:
    return [
        pytest.param(one["id"], given, id=f"{one['id']}-{number}")
        for one in _WRITTEN
        for number, given in enumerate(one[which], start=1)
    ]


@pytest.mark.parametrize(("rule", "given"), _each("hits"))
def test_a_rule_finds_what_it_is_for(rule: str, given: Any) -> None:
    found = [finding for finding in scan(scanned(given)) if finding.rule == rule]
    assert found
    assert all(finding.message and finding.remedy and finding.where for finding in found)


@pytest.mark.parametrize(("rule", "given"), _each("misses"))
def test_a_rule_leaves_the_harmless_alone(rule: str, given: Any) -> None:
    found = [finding for finding in scan(scanned(given)) if finding.rule == rule]
    assert found == []


def test_every_rule_says_all_that_people_need_and_has_cases() -> None:
    ids = [rule.id for rule in rules()]
    assert len(set(ids)) == len(ids)
    assert {rule.check for rule in rules() if rule.check} == CHECKS.keys()
    for one in _WRITTEN:
        assert {"id", "kind", "level", "where", "why", "remedy", "hits", "misses"} <= one.keys(), one["id"]
        assert one["misses"], one["id"]
        assert one["hits"] or one["id"] == "too-much", one["id"]


def test_what_is_hidden_is_spelled_out_in_the_quote() -> None:
    (finding,) = [one for one in scan(scanned("Adds\u202e two.\u2028And three.")) if one.rule == "hidden-characters"]
    assert finding.quote == "Adds[U+202E] two.[U+2028]And three."
    assert (finding.level, finding.where) == (Level.DANGER, "the description")


def test_a_manifest_with_more_than_is_searched_is_not_harmless() -> None:
    values = [f"value number {number} of a very long list" for number in range(3000)]
    found = scan(scanned({"properties": {"a": {"enum": values}}}))
    assert "too-much" in {finding.rule for finding in found}


@pytest.mark.parametrize("unit", _TO_BE_SLOW)
def test_a_manifest_made_to_be_slow_is_scanned_all_the_same(unit: str) -> None:
    text = unit * (24000 // len(unit))
    given = {"description": text, "properties": {"a": {"type": "string", "default": text}}, "read_only": True}
    started = time.process_time()
    scan(scanned(given | {"destructive": True, "sisters": ["delete_user"]}))
    assert time.process_time() - started < 3
