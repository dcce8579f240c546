"""What a running tool says of itself, before it goes where many may read it."""

import uuid

import pytest

from jobs.worker import report
from jobs.worker.runtime import Claim
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
