"""The scan over whole tools: what it catches by class, and how often it cries wolf. No class may get worse."""

import sys
from collections import Counter
from typing import Any

import pytest

from mcphub.demo import TOOLS
from tests.tools.scanned import cases, scanned
from tools.scan import Level, scan, stopping

_HARMLESS, _POISONED = cases("harmless_manifests.yaml"), cases("poisoned_manifests.yaml")
MISSED: dict[str, int] = {}
"""How many of a class may go unnoticed; none where it is not named."""
FALSE_ALARMS = {"danger": 0, "warning": 0}
"""How many of the harmless tools may be found at that level."""


def _found(case: dict[str, Any]) -> bool:
    return bool(stopping(scan(scanned(case)), case.get("level", "danger")))


def test_there_are_enough_cases_of_either_sort() -> None:
    assert min(len(_HARMLESS), len(_POISONED)) >= 60


def test_no_class_of_poison_is_caught_less_often(capsys: pytest.CaptureFixture[str]) -> None:
    missed = [case for case in _POISONED if not _found(case)]
    whole, gone = (Counter(case["class"] for case in some) for some in (_POISONED, missed))
    with capsys.disabled():
        said = ", ".join(f"{kind} {whole[kind] - gone[kind]}/{whole[kind]}" for kind in sorted(whole))
        sys.stdout.write(f"\nscan, caught: {said}\n")
    assert {kind: number for kind, number in gone.items() if number > MISSED.get(kind, 0)} == {}, missed


def test_the_harmless_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    alarms = [
        (case["name"], finding.level.value, finding.rule, finding.quote)
        for case in _HARMLESS
        for finding in scan(scanned(case))
        if finding.level != Level.NOTICE
    ]
    found = Counter(level for level, _ in {(level, name) for name, level, _, _ in alarms})
    with capsys.disabled():
        said = f"{found['danger']} danger, {found['warning']} warning"
        sys.stdout.write(f"\nscan, false alarms among {len(_HARMLESS)}: {said}\n")
    assert {level: found[level] for level, most in FALSE_ALARMS.items() if found[level] > most} == {}, alarms


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_demo_has_nothing_to_find(tool: Any) -> None:
    found = scan(
        scanned(
            {
                "name": tool.name,
                "title": tool.title,
                "description": tool.description,
                "schema": tool.input_schema or {},
                "read_only": tool.read_only,
                "method": tool.config.get("method", "GET") if tool.kind == "http" else "",
                "sisters": [other.name for other in TOOLS if other.name != tool.name],
            }
        )
    )
    assert found == []
