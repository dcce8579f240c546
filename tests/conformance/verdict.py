"""Compares what the suite found with what `exceptions.py` admits. Pure, so that the rules themselves are tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.conformance.suite import Outcome

NEVER_EXCUSED = {"wire-schema-valid", "scenario-crashed", "scenario-timeout"}
"""Checks that a whole scenario's exception does not cover: a missing feature is refused properly, and in time."""


def complaints(found: Mapping[str, Outcome], admitted: Mapping[str, str]) -> list[str]:
    """One sentence per difference; empty when every scenario passes or is admitted, and every admission is true."""
    return [*unadmitted(found, admitted), *untrue(found, admitted)]


def unadmitted(found: Mapping[str, Outcome], admitted: Mapping[str, str]) -> Iterator[str]:
    for scenario, outcome in found.items():
        for check, message in outcome.lacking.items():
            if not excused(scenario, check, admitted):
                yield f"{scenario}:{check} fails: {message}"


def excused(scenario: str, check: str, admitted: Mapping[str, str]) -> bool:
    return f"{scenario}:{check}" in admitted or (scenario in admitted and check not in NEVER_EXCUSED)


def untrue(found: Mapping[str, Outcome], admitted: Mapping[str, str]) -> Iterator[str]:
    for entry in admitted:
        scenario, _, check = entry.partition(":")
        if scenario not in found:
            yield f"{entry} names a scenario this revision does not have"
        elif found[scenario].passed or (check and check not in found[scenario].lacking):
            yield f"{entry} passes now: remove it from exceptions.py"
