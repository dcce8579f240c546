"""What a running tool says of itself, before it goes where many may read it."""

import uuid
from collections.abc import Sequence
from typing import Any, cast

import psycopg
import pytest

from jobs.worker import report
from jobs.worker.attempt import Attempt
from jobs.worker.runtime import Claim, Worker
from lib import events

KEY = "sk-" + "a1" * 20


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[events.Event]:
    told: list[events.Event] = []

    async def publish(event: events.Event) -> None:
        told.append(event)

    monkeypatch.setattr(events, "publish", publish)
    return told


@pytest.mark.parametrize("said", [f"using {KEY}", "x" * 190 + f" {KEY}", f"a\x00b {KEY}", f"\ud800 {KEY}"])
async def test_a_secret_in_what_a_tool_says_is_told_to_nobody(told: list[events.Event], said: str) -> None:
    speaking = report.JobReport(Claim(job=uuid.uuid4(), tenant_id=1, fence=1), None, lambda: None)
    await speaking.progress(1, message=said)
    await speaking.flush()
    await speaking.log("info", {"said": said.replace("\ud800", "")})
    written = speaking.take()
    assert written is not None
    heard = [f"{written.message}", *(event.message for event in told)]
    assert len(heard) == 3
    assert not [one for one in heard if "a1a1" in one or "\x00" in one]
    assert len(heard[0]) <= 200


class Line:
    """A worker's line to a Postgres that may be away, and what it was asked to write."""

    def __init__(self) -> None:
        self.away = True
        self.told: list[Sequence[Any]] = []

    def ask(self, query: str, parameters: Sequence[Any], *, seconds: float) -> tuple[str, bool]:
        if self.away:
            raise psycopg.OperationalError
        self.told.append(parameters[3:6])
        return "held", True


class Watched:
    """As much of a worker as writes progress."""

    def __init__(self) -> None:
        self.line = Line()


async def test_progress_that_could_not_be_written_is_written_when_postgres_is_back(told: list[events.Event]) -> None:
    worker, claim = Watched(), Claim(job=uuid.uuid4(), tenant_id=1, fence=1)
    attempt = Attempt(cast(Worker, worker), claim)
    attempt._report = speaking = report.JobReport(claim, None, lambda: None)
    await speaking.progress(1, 2, "half")
    attempt._beat()
    assert speaking.unwritten
    worker.line.away = False
    for _ in range(2):
        attempt._beat()
    assert worker.line.told == [[1.0, 2.0, "half"], [None, None, None]]
    await speaking.flush()


async def test_what_is_said_while_the_row_is_written_is_not_taken_for_written(told: list[events.Event]) -> None:
    nudges: list[None] = []
    speaking = report.JobReport(Claim(job=uuid.uuid4(), tenant_id=1, fence=1), None, lambda: nudges.append(None))
    await speaking.progress(1)
    first = speaking.take()
    assert first is not None
    await speaking.progress(2)
    speaking.written(first)
    second = speaking.take()
    assert second is not None
    speaking.written(second)
    assert (second.progress, speaking.unwritten, len(nudges)) == (2.0, False, 1)
    await speaking.progress(3)
    assert len(nudges) == 2
    await speaking.flush()
