"""Restarts come a little later each time, never too late, and one stubborn service does not stop the others."""

import time
from dataclasses import dataclass, field

import pytest

from mcphub.stack.errors import StackError
from mcphub.stack.supervisor import LONGEST_DELAY_SECONDS, Supervisor


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Sickly:
    """A service that starts `good_starts` times and refuses afterwards."""

    name: str = "worker"
    good_starts: int = 1
    starts: int = 0
    living: bool = False
    stops: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.starts += 1
        self.living = self.starts <= self.good_starts
        if not self.living:
            raise StackError("worker could not be started.")

    def alive(self) -> bool:
        return self.living

    def ending(self) -> str:
        return "ended with exit code 3"

    def stop(self) -> None:
        self.stops.append(self.name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


def test_delays_double_up_to_a_bound(clock: Clock) -> None:
    said: list[str] = []
    supervisor, service = Supervisor(said.append), Sickly()
    supervisor.start(service)
    service.living = False
    for _ in range(2000):
        supervisor.look_after()
        clock.now += 0.1
    delays = [float(line.rsplit(" ", 2)[1]) for line in said]
    assert said[0] == "worker ended with exit code 3; starting it again in 0.5 s."
    assert said[1] == "worker could not be started; starting it again in 1 s."
    assert delays[:8] == [0.5, 1, 2, 4, 8, 16, LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS]


def test_a_service_that_lived_long_is_restarted_quickly_again(clock: Clock) -> None:
    said: list[str] = []
    supervisor, service = Supervisor(said.append), Sickly(good_starts=9)
    supervisor.start(service)
    for _ in range(3):
        clock.now += 61
        service.living = False
        supervisor.look_after()
        clock.now += 0.5
        supervisor.look_after()
    assert said[::2] == ["worker ended with exit code 3; starting it again in 0.5 s."] * 3
    assert said[1::2] == ["worker is running again."] * 3


def test_services_stop_in_the_opposite_order_also_when_one_refuses() -> None:
    order: list[str] = []

    class Stubborn(Sickly):
        def stop(self) -> None:
            raise StackError("it does not listen")

    said: list[str] = []
    supervisor = Supervisor(said.append)
    for service in (Sickly("database", stops=order), Stubborn("worker"), Sickly("web", stops=order)):
        supervisor.start(service)
    supervisor.stop()
    assert order == ["web", "database"]
    assert said == ["worker could not be stopped: it does not listen"]
