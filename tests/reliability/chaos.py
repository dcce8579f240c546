"""One run: hosts that insist, kills with -9 from one seed, and what is left in the end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp

from tests.reliability.furnish import TOOLS
from tests.reliability.hosts import Hosts, Wish, connected
from tests.reliability.hub import ALIVE, Hub, Plan
from tests.reliability.parts import Part, left_of
from tests.reliability.verdict import Facts, complaints

Say = Callable[[str], None]

_ASKING_AT_ONCE = 12
_LOOK_SECONDS = 0.2
_DRAIN_SECONDS = 90.0
_BUSY_SECONDS = 2.0
_WAVES = 3
_BUSY = "SELECT count(*) FROM jobs_job WHERE state = 'running' AND begun_at IS NOT NULL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How a run went. again: attempts beyond the first. tries: requests, those that nobody answered included."""

    complaints: list[str]
    kills: Counter[str]
    states: Counter[str]
    tries: int
    again: int
    seconds: float

    def __str__(self) -> str:
        ended = ", ".join(f"{times} {state}" for state, times in self.states.most_common())
        killed = ", ".join(f"{name} {times}" for name, times in sorted(self.kills.items()))
        return (
            f"jobs: {ended}; {self.again} attempts beyond the first; {self.tries} requests\n"
            f"{self.kills.total()} kills: {killed}; {self.seconds:.0f} s in all"
        )


def run(plan: Plan, folder: Path, say: Say) -> Report:
    """Raises nothing that a kill can cause: what went wrong is in the report. folder: a new one; logs stay in it."""
    began = time.monotonic()
    hub = Hub(folder, plan)
    with hub.furnished():
        wishes = wishes_of(plan, hub.tenants)
        with hub.serving():
            say(f"Seed {plan.seed}. Two web servers, {plan.processes} workers, beat and Postgres are up.")
            hosts = Hosts(hub.servers, Random(plan.seed + 1))
            kills = asyncio.run(_storm(hub, hosts, wishes, say))
            deaf = asyncio.run(_encore(hub, hosts, wishes, say))
            others = [*hosts.surprises, *deaf, *asyncio.run(_settle(hub, hosts, wishes))]
        others += [f"still there: {process}" for process in left_of(hub.name)]
        facts = Facts(
            wishes=wishes,
            promised=hosts.promised,
            marks=hub.marks(),
            ledger=hub.ledger(),
            rows=(rows := hub.rows()),
            others=others,
        )
    return Report(
        complaints=complaints(facts),
        kills=kills,
        states=Counter(row.state for row in rows),
        tries=hosts.tries,
        again=sum(max(row.attempts - 1, 0) for row in rows),
        seconds=time.monotonic() - began,
    )


def wishes_of(plan: Plan, tenants: list[dict[str, str]]) -> list[Wish]:
    """The calls of a run; one in two is made by a host that follows tasks."""
    random = Random(plan.seed)
    return [
        Wish(
            number=number,
            tool=random.choice(sorted(TOOLS)),
            seconds=round(random.uniform(0.02, plan.longest), 3),
            declared=random.random() < 0.5,
            **random.choice(tenants),
        )
        for number in range(1, plan.jobs + 1)
    ]


async def _storm(hub: Hub, hosts: Hosts, wishes: list[Wish], say: Say) -> Counter[str]:
    """Calls and kills at once; over when every call was accepted, or the time to settle is over too."""
    plan, began = hub.plan, time.monotonic()
    coming = iter(enumerate(wishes))

    async def host(session: aiohttp.ClientSession) -> None:
        for number, wish in coming:
            await asyncio.sleep(began + number * plan.seconds / plan.jobs - time.monotonic())
            await hosts.insist(session, wish)

    kills: Counter[str] = Counter()
    async with connected() as session, asyncio.TaskGroup() as group:
        group.create_task(_kill(hub, kills, say))
        calling = [asyncio.create_task(host(session)) for _ in range(_ASKING_AT_ONCE)]
        _, late = await asyncio.wait(calling, timeout=plan.seconds + plan.settle)
        for task in late:
            task.cancel()
        for task in set(calling) - late:
            task.result()
    return kills


async def _kill(hub: Hub, kills: Counter[str], say: Say) -> None:
    random, loop, began = Random(hub.plan.seed + 2), asyncio.get_running_loop(), time.monotonic()
    deck = _deck(hub, random)
    while True:
        await asyncio.sleep(random.uniform(*hub.plan.pause))
        at = time.monotonic() - began
        if at > hub.plan.seconds and kills.total() >= len(hub.victims):
            return
        victim = next(deck)
        away = random.uniform(*victim.downtime)
        say(f"{at:6.1f} s  kill -9 {victim.name}" + (f", back in {away:.1f} s" if away else ""))
        await loop.run_in_executor(hub.hands, victim.kill)
        kills[victim.name] += 1
        await asyncio.sleep(away)
        await loop.run_in_executor(hub.hands, victim.start)
        await loop.run_in_executor(hub.hands, hub.mend)


def _deck(hub: Hub, random: Random) -> Iterator[Part]:
    """Shuffled like cards, so that nothing is spared for long."""
    while True:
        yield from random.sample(hub.victims, len(hub.victims))


async def _encore(hub: Hub, hosts: Hosts, wishes: list[Wish], say: Say) -> list[str]:
    """Postgres is killed once more while every worker is busy, and then every one of them must hear of jobs again.

    In the storm a worker that went deaf would be killed sooner or later, which heals it.
    """
    loop, alone = asyncio.get_running_loop(), hub.plan.processes
    if not await _until(hub, lambda: hub.open_jobs() == 0 and hub.count(ALIVE) == alone, hub.plan.settle):
        return [f"{hub.open_jobs()} jobs never ended, {hub.count(ALIVE)} of {alone} workers are there: no encore"]
    say("        kill -9 postgres under busy workers")
    waves = [await _wave(hub, hosts, wishes)]
    await _until(hub, lambda: hub.count(_BUSY) == alone, _BUSY_SECONDS)
    await loop.run_in_executor(hub.hands, hub.database.kill)
    await loop.run_in_executor(hub.hands, hub.database.start)
    while len(waves) <= _WAVES and await _until(hub, lambda: hub.open_jobs() == 0, hub.plan.settle):
        if len(waves) > 1 and hub.took_part(waves[-1]) == alone:
            return []
        waves.append(await _wave(hub, hosts, wishes))
    return [f"DEAF: only {hub.took_part(waves[-1])} of {alone} workers hear of jobs since Postgres came back"]


async def _wave(hub: Hub, hosts: Hosts, wishes: list[Wish]) -> list[int]:
    """As many jobs at once as there are workers, each of another tenant, as the last worker is kept for such a one."""
    first = len(wishes) + 1
    wave = [
        Wish(number=first + place, tool="once", seconds=_BUSY_SECONDS, declared=True, **hub.tenants[place])
        for place in range(hub.plan.processes)
    ]
    wishes += wave
    async with connected() as session:
        await asyncio.gather(*(hosts.insist(session, wish) for wish in wave))
    return [wish.number for wish in wave]


async def _settle(hub: Hub, hosts: Hosts, wishes: list[Wish]) -> list[str]:
    """Everything is up again. Wait for the last job, then ask for every result; what is wrong with them."""
    await _until(hub, lambda: hub.open_jobs() == 0, hub.plan.settle)
    found = []
    default = not (hub.plan.redis or hub.plan.broker)
    if hub.plan.drain and default and not await _until(hub, lambda: hub.bells() == 0, _DRAIN_SECONDS):
        found.append(f"{hub.bells()} messages are left in the queue")
    done = {row.number: row for row in hub.rows() if row.state == "succeeded"}
    async with connected() as session:
        for wish in wishes:
            if wish.number in done and wish.number in hosts.promised:
                said = await hosts.outcome(session, wish)
                if said != str(wish.number):
                    found.append(f"the result of call {wish.number} is {said!r}; {done[wish.number]}")
    return found


async def _until(hub: Hub, true: Callable[[], bool], within: float) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
        hub.mend()
    return True
