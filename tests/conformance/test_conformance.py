"""The protocol's own conformance suite, every scenario of every revision, against a tenant of the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import suite
from tests.conformance.exceptions import EXCEPTIONS
from tests.conformance.suite import Endpoint, Outcome
from tests.conformance.verdict import complaints
from tests.servers import workers

PASSED = Outcome(lacking={})
FAILED = Outcome(lacking={"greets": "It did not greet"})
MALFORMED = Outcome(lacking={"greets": "It did not greet", "wire-schema-valid": "It sent a null"})


@pytest.mark.node
@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_every_scenario_of_the_revision_passes_or_is_a_true_exception(
    revision: str, conformance_endpoint: Endpoint, tmp_path: Path
) -> None:
    found = suite.run(revision, conformance_endpoint, tmp_path)
    assert found
    assert not complaints(found, EXCEPTIONS[revision]), "\n".join(complaints(found, EXCEPTIONS[revision]))


TASKS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)
"""Every scenario of the tasks extension but `tasks-status-notifications`, which the suite skips as yet.

They are part of no revision, so the runs above leave them out."""


@pytest.fixture(scope="module")
def many_workers() -> Iterator[None]:
    """More at once than the scenarios leave running: a question that is never answered keeps its worker."""
    with workers(5, JOBS_KEPT_SLOTS="0"):
        yield


@pytest.mark.node
@pytest.mark.usefixtures("many_workers")
@pytest.mark.parametrize("scenario", TASKS)
def test_every_scenario_of_the_tasks_extension_passes(
    scenario: str, conformance_endpoint: Endpoint, tmp_path: Path
) -> None:
    assert suite.run_scenario(scenario, conformance_endpoint, tmp_path).lacking == {}


@pytest.mark.parametrize(
    ("outcome", "admitted", "complains"),
    [
        pytest.param(PASSED, [], False, id="a pass needs no exception"),
        pytest.param(FAILED, [], True, id="a failure without exception complains"),
        pytest.param(FAILED, ["hello"], False, id="an exception for the scenario excuses it"),
        pytest.param(FAILED, ["hello:greets"], False, id="an exception for the check excuses it"),
        pytest.param(FAILED, ["hello:waves"], True, id="an exception for another check does not"),
        pytest.param(PASSED, ["hello"], True, id="a stale exception for a scenario complains"),
        pytest.param(PASSED, ["hello:greets"], True, id="a stale exception for a check complains"),
        pytest.param(PASSED, ["goodbye"], True, id="an exception for an unknown scenario complains"),
        pytest.param(MALFORMED, ["hello"], True, id="no exception excuses a malformed message"),
    ],
)
def test_exceptions_are_exactly_the_scenarios_that_do_not_pass(
    outcome: Outcome, admitted: list[str], complains: bool
) -> None:
    assert bool(complaints({"hello": outcome}, dict.fromkeys(admitted, "because"))) is complains


@pytest.mark.parametrize(
    ("statuses", "lacking"),
    [
        pytest.param(["SUCCESS", "INFO", "SKIPPED"], set(), id="success beside what does not apply passes"),
        pytest.param(["SUCCESS", "FAILURE"], {"check-1"}, id="a failure counts"),
        pytest.param(["SUCCESS", "WARNING"], {"check-1"}, id="a warning counts"),
        pytest.param(["INFO", "SKIPPED"], {"nothing-exercised"}, id="a scenario that exercised nothing does not pass"),
        pytest.param([], {"nothing-exercised"}, id="nor does one without checks"),
    ],
)
def test_a_scenario_passes_when_its_checks_succeed(statuses: list[str], lacking: set[str], tmp_path: Path) -> None:
    checks = [{"id": f"check-{at}", "status": status, "description": ""} for at, status in enumerate(statuses)]
    written = tmp_path / "checks.json"
    written.write_text(json.dumps(checks))
    assert set(suite.outcome(written).lacking) == lacking


def test_a_scenario_that_crashed_does_not_pass(tmp_path: Path) -> None:
    assert set(suite.outcome(tmp_path / "checks.json").lacking) == {"scenario-crashed"}
