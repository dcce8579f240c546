"""No interleaving of workers ever exceeds a limit, and one that is killed gives back what it held."""

import asyncio
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.models import Counts
from policy.take import Charged, LimitRule, flush
from tests.policy.limiting import (
    ECHO,
    call,
    database,
    holds,
    in_loops,
    let_in,
    limit,
    pushed_back,
    refused,
)


@dataclass
class Books:
    """What the limits say, kept by hand: calls of one window, bytes, calls that run, units of a day."""

    calls: int
    bytes: int
    slots: int
    units: int
    counted: int = 0
    gone: int = 0
    spent: int = 0
    running: dict[uuid.UUID, int] = field(default_factory=dict)

    def take(self, call: uuid.UUID, most_bytes: int, units: int) -> bool:
        reserve = min(most_bytes, self.bytes)
        fits = (
            self.counted < self.calls
            and self.gone + sum(self.running.values()) + reserve <= self.bytes
            and len(self.running) < self.slots
            and self.spent + units <= self.units
        )
        if fits:
            self.counted, self.spent = self.counted + 1, self.spent + units
            self.running[call] = reserve
        return fits

    def end(self, call: uuid.UUID, size: int) -> None:
        self.gone += size
        del self.running[call]


def limits(books: Books) -> list[LimitRule]:
    """In windows so long that nothing flows off while the test runs."""
    return [
        limit(books.calls, 86400),
        limit(books.bytes, 86400, counts=Counts.BYTES),
        limit(books.slots, counts=Counts.CONCURRENT),
        limit(books.units, counts=Counts.UNITS),
    ]


BOOKS = st.builds(
    Books, calls=st.integers(1, 8), bytes=st.integers(10, 300), slots=st.integers(1, 4), units=st.integers(1, 12)
)
MOVES = st.lists(st.tuples(st.booleans(), st.integers(1, 120), st.integers(0, 3)), min_size=1, max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(books=BOOKS, moves=MOVES)
def test_all_limits_together_let_in_what_the_books_say(books: Books, moves: list[tuple[bool, int, int]]) -> None:
    """Each move makes a call, or ends the one that has run longest; all limits or none take part in it."""
    rules = limits(books)

    async def play() -> None:
        open_calls: list[tuple[uuid.UUID, Charged]] = []
        async with database():
            for starts, size, units in moves:
                if starts or not open_calls:
                    one, subject = uuid.uuid4(), replace(ECHO, most_bytes=size, units=units)
                    answer = await call(rules, subject=subject, id=one)
                    assert isinstance(answer, Charged) == books.take(one, size, units)
                    open_calls += [(one, answer)] if isinstance(answer, Charged) else []
                else:
                    one, charged = open_calls.pop(0)
                    came = min(size, books.running[one])
                    charged.settle(came)
                    await flush()
                    books.end(one, came)

    asyncio.run(play())


WORK = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 3), st.booleans()), min_size=4, max_size=10)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(books=BOOKS, works=st.lists(WORK, min_size=3, max_size=3))
def test_no_interleaving_of_workers_exceeds_a_limit(books: Books, works: list[list[tuple[int, int, bool]]]) -> None:
    """Three workers call at once; some of their calls end at once, some never. What each was given is counted
    together: it must be within every limit, at every moment, whatever the order was."""
    rules, waiting = limits(books), list(works)

    async def work() -> tuple[int, int, int, int]:
        """Calls, bytes that went out or may yet, units, and calls that still run."""
        calls = gone = spent = running = 0
        for size, units, ends in waiting.pop():
            answer = await call(rules, subject=replace(ECHO, most_bytes=size, units=units))
            if isinstance(answer, Charged):
                calls, spent = calls + 1, spent + units
                gone, running = gone + min(size, books.bytes), running + (not ends)
                if ends:
                    answer.settle(min(size, books.bytes))
        return calls, gone, spent, running

    calls, gone, spent, running = (sum(kind) for kind in zip(*in_loops(3, work), strict=True))
    assert calls <= books.calls
    assert gone <= books.bytes
    assert spent <= books.units
    assert running <= books.slots


def test_slots_that_are_given_back_all_the_time_are_never_more_than_the_limit() -> None:
    """Counted by who holds them: from being let in until just before it is given back."""
    rule, inside, seen = limit(3, counts=Counts.CONCURRENT), [0], []

    async def work() -> int:
        done = 0
        while done < 15:
            answer = await call([rule])
            if isinstance(answer, Charged):
                inside[0] += 1
                seen.append(inside[0])
                await asyncio.sleep(0)
                inside[0] -= 1
                answer.settle(0)
                done += 1
        return done

    assert in_loops(4, work) == [15] * 4
    assert max(seen) <= 3


HOLDER = """
import asyncio, sys, uuid
import django
django.setup()
from lib import db
from policy.take import LimitRule, Limits, take
from policy.values import Subject
from tests.callers import UMA

async def main() -> None:
    rules = [
        LimitRule(id=int(one), counts=counts, per="tenant", tool="", most=int(most), seconds=100000)
        for one, counts, most in (named.split(":") for named in sys.argv[1:])
    ]
    async with db.open_pool(size=1):
        subject = Subject(name="echo", scopes=frozenset(), most_bytes=100)
        for _ in range(2):
            print(await take(UMA, subject, Limits(rules), call=uuid.uuid4(), digest="", runs=60.0), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@contextmanager
def holding(rules: Sequence[LimitRule]) -> Iterator["subprocess.Popen[str]"]:
    """A process of its own that holds two calls' worth of these limits."""
    named = [f"{rule.id}:{rule.counts}:{rule.most}" for rule in rules]
    command = [sys.executable, "-c", HOLDER, *named]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for _ in range(2):
                assert "Charged" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_what_a_killed_process_held_is_free_when_it_has_expired() -> None:
    slots, data = limit(2, counts=Counts.CONCURRENT), limit(200, 100_000, counts=Counts.BYTES)
    with holding([slots, data]) as process:
        assert holds([slots, data]) == 4
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL

    async def play() -> int:
        async with database():
            assert (await refused([slots])).reason == "too_many_at_once"
            pushed_back([slots, data], 60)
            await refused([slots])
            pushed_back([slots, data], 40)
            free = await let_in([slots], times=5)
            await refused([data])  # what it may have sent counts
            return free

    assert asyncio.run(play()) == 2
