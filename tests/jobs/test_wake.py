"""Ringing for workers costs its caller nothing, and what goes wrong with it does no harm."""

import asyncio
import threading
from typing import Any

import pytest

from jobs import wake
from tests.waiting import until


class Broker:
    """Takes bells, one at a time, and only when it is let."""

    def __init__(self) -> None:
        self.rung = 0
        self.ready = threading.Event()
        self.broken = False

    def send_task(self, name: str, **_: Any) -> None:
        assert name == "jobs.work"
        assert self.ready.wait(60)
        if self.broken:
            raise ConnectionError("postgresql://secret@away")
        self.rung += 1


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    stand_in = Broker()
    monkeypatch.setattr(wake, "current_app", stand_in)
    return stand_in


async def heard(broker: Broker, count: int) -> None:
    await asyncio.to_thread(until, lambda: broker.rung >= count)


async def test_who_rings_does_not_wait_for_the_broker(broker: Broker) -> None:
    async with asyncio.timeout(20):
        await wake.ring()
    broker.ready.set()
    await heard(broker, 1)


async def test_bells_while_the_broker_is_busy_are_gathered(broker: Broker) -> None:
    for _ in range(1000):
        await wake.ring()
    await asyncio.sleep(0)
    broker.ready.set()
    await heard(broker, 1)
    await wake.ring(0)
    assert broker.rung <= 64


async def test_a_broker_that_is_away_is_a_line_in_the_log_without_its_address(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.broken = True
    broker.ready.set()
    await wake.ring()
    await asyncio.to_thread(until, lambda: "no worker could be called: ConnectionError" in caplog.text)
    assert "secret" not in caplog.text
    broker.broken = False
    await wake.ring()
    await heard(broker, 1)
