"""The judge of a run sees what it is there for. Each fault is put into the facts of a run without any."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.reliability.hosts import Wish, job_of
from tests.reliability.verdict import Entry, Facts, Row, complaints

AGAIN, ONCE, CUT_OFF = 1, 2, 3


def wish(number: int, tool: str) -> Wish:
    return Wish(number=number, tool=tool, seconds=0.1, slug="acme", key="k", declared=True)


def story(job: str, *attempts: str, end: str) -> list[Entry]:
    """A job's ledger: how each of its attempts was closed, and its own end."""
    told = [Entry(job=job, event="job.accepted", call=job)]
    for number, closed in enumerate(attempts):
        call, outcome = f"{job}.{number}", "ok" if closed == "call.finished" else "interrupted"
        told += [
            Entry(job=job, event="call.started", call=call),
            Entry(job=job, event=closed, call=call, outcome=outcome),
        ]
    return [*told, Entry(job=job, event="job.ended", call=job, outcome=end)]


FLAWLESS = Facts(
    wishes=[wish(AGAIN, "again"), wish(ONCE, "once"), wish(CUT_OFF, "once_in_a_thread")],
    promised={AGAIN: "a", ONCE: "b", CUT_OFF: "c"},
    rows=[
        Row(id="a", number=AGAIN, state="succeeded", attempts=2),
        Row(id="b", number=ONCE, state="succeeded"),
        Row(id="c", number=CUT_OFF, state="interrupted", reason="process_gone"),
    ],
    marks=[AGAIN, ONCE, AGAIN, CUT_OFF],
    ledger=[
        *story("a", "call.interrupted", "call.finished", end="ok"),
        *story("b", "call.finished", end="ok"),
        *story("c", "call.interrupted", end="interrupted"),
    ],
)


def test_a_run_that_kept_every_promise_has_no_complaints() -> None:
    assert complaints(FLAWLESS) == []


def with_row(number: int, **changed: object) -> Facts:
    rows = [replace(row, **changed) if row.number == number else row for row in FLAWLESS.rows]  # type: ignore[arg-type]
    return replace(FLAWLESS, rows=rows)


def without(hides: Callable[[Entry], bool]) -> Facts:
    return replace(FLAWLESS, ledger=[entry for entry in FLAWLESS.ledger if not hides(entry)])


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (replace(FLAWLESS, promised={AGAIN: "a", ONCE: "gone", CUT_OFF: "c"}), "LOST: job gone"),
        (replace(FLAWLESS, promised={AGAIN: "a", CUT_OFF: "c"}), "call 2 was never accepted"),
        (replace(FLAWLESS, marks=[*FLAWLESS.marks, ONCE]), "TWICE: call 2"),
        (replace(FLAWLESS, marks=[*FLAWLESS.marks, CUT_OFF]), "TWICE: call 3"),
        (replace(FLAWLESS, rows=[*FLAWLESS.rows, Row(id="d", number=ONCE, state="succeeded")]), "TWICE: call 2"),
        (replace(FLAWLESS, marks=[AGAIN, AGAIN, CUT_OFF]), "LOST: call 2 succeeded without"),
        (replace(FLAWLESS, marks=[*FLAWLESS.marks, 99]), "side effect 99, which nobody called for"),
        (replace(FLAWLESS, marks=[*FLAWLESS.marks, AGAIN]), "UNRECORDED: call 1"),
        (with_row(ONCE, state="queued"), "STUCK: job b is queued"),
        (with_row(ONCE, state="running"), "STUCK: job b is running"),
        (with_row(ONCE, state="running", dead=True), "its lease is over and the sweep did not take it back"),
        (with_row(ONCE, free=False), "job b is succeeded and still held"),
        (with_row(AGAIN, state="interrupted", reason="process_gone"), "job a of again ended interrupted"),
        (with_row(ONCE, state="failed"), "job b of once ended failed"),
        (with_row(ONCE, state="expired", reason="patience_over"), "job b of once ended expired"),
        (with_row(CUT_OFF, reason=""), "job c of once_in_a_thread ended interrupted"),
        (without(lambda entry: entry.event == "job.accepted" and entry.job == "b"), "accepted 0 times"),
        (without(lambda entry: entry.event == "call.interrupted" and entry.job == "c"), "attempt c.0 of job c"),
        (without(lambda entry: entry.event == "call.finished" and entry.job == "b"), "job b succeeded, and no attempt"),
        (
            without(lambda entry: entry.event == "job.ended" and entry.job == "c"),
            "job c is interrupted, and the ledger",
        ),
        (replace(FLAWLESS, ledger=[*FLAWLESS.ledger, *story("b", end="ok")]), "job b was accepted 2 times"),
        (replace(FLAWLESS, others=["still there: 7 python"]), "still there: 7"),
    ],
)
def test_every_broken_promise_is_seen(facts: Facts, said: str) -> None:
    assert any(complaint.startswith(said) or said in complaint for complaint in complaints(facts)), complaints(facts)


def test_what_waits_behind_dead_leases_is_told_so() -> None:
    facts = with_row(ONCE, state="queued")
    facts = replace(facts, rows=[replace(row, dead=row.number == AGAIN) for row in facts.rows])
    assert any("1 places are held by leases that are over" in complaint for complaint in complaints(facts))


def test_an_idempotent_job_that_ran_out_of_attempts_may_stay_interrupted() -> None:
    facts = with_row(AGAIN, state="interrupted", reason="process_gone", attempts=10)
    assert not any("ended interrupted" in complaint for complaint in complaints(facts))


@pytest.mark.parametrize(
    ("result", "job"),
    [
        ({"resultType": "task", "taskId": "0197-x", "status": "working"}, "0197-x"),
        (
            {"content": [{"type": "text", "text": "It runs as job 01980000-0000-7000-8000-000000000001 (waiting)."}]},
            "01980000-0000-7000-8000-000000000001",
        ),
        ({"structuredContent": {"job_id": "01980000-0000-7000-8000-000000000002"}, "content": []},
         "01980000-0000-7000-8000-000000000002"),
        ({"isError": True, "content": [{"type": "text", "text": "01980000-0000-7000-8000-000000000001"}]}, None),
        ({"content": [{"type": "text", "text": "no job at all"}]}, None),
    ],
)  # fmt: skip
def test_a_promise_is_understood_in_the_words_of_either_kind_of_host(
    result: dict[str, object], job: str | None
) -> None:
    assert job_of({"result": result}) == job
