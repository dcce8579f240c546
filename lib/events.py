"""News between processes: one LISTEN connection for each event loop, however many wait on it.

A notification carries ids, a state and a few numbers, never content, and it may be lost while Postgres is away. So who
follows a job watches first, then reads its row, then waits, and reads again on whatever comes: what is shown comes
from the row, in the tenant's own scope. Who was connected throughout misses nothing; everybody else gets a `resync`.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson
from psycopg import AsyncConnection

from lib import db
from lib.batch import Batch

log = logging.getLogger(__name__)

CHANNEL = "mcphub"

Kind = Literal["state", "progress", "cancel", "log", "lists", "called", "kill", "resync", "ending"]

NO_JOB = uuid.UUID(int=0)
"""What is watched, and named, by news of a whole tenant: `lists`, its list of tools has changed."""
EVERY_TENANT = 0
"""Whose news a `kill` is that concerns no single tenant. Who watches NO_JOB of it hears of every tenant's."""

MESSAGE = 200
"""Characters that the message of `progress` may have."""
LOG_MESSAGE = 1000
"""The same for a `log`; Postgres takes 8,000 bytes in all, and JSON may need six for a character."""
KEPT = 64
"""How much news waits for one watcher that is busy."""
_KINDS = frozenset(get_args(Kind)) - {"resync", "ending"}
_DROPPABLE = frozenset({"progress", "log"})
_AT_ONCE = 200
_ROOM = 2000
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds between attempts to connect again; the last one goes on."""
_SILENCE = 1.0
"""Seconds after a failure in which nothing is published: progress is not worth a wait for each of its steps."""
_START_SECONDS = 5.0
"""How long the start waits for the listener. Without it nothing is lost that is not looked for again."""
_NOTIFY = "SELECT pg_notify('mcphub', payload) FROM unnest(%s::text[]) AS payload"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something happened to a job of a tenant.

    state: for `state`, what it is now. progress, total, message: for `progress`. level, message: for `log`.
    `called`: its upstream called back, which only who runs it hears. `kill`: something was switched off, or on again;
    state names what sort of thing. Who watches a job of its tenant hears it as a `resync`, as what they may still see
    has to be looked at anew. `resync`: something may have been missed, of anything that is watched. `ending`: this
    process is to end, which a stream that has no end of its own must not keep it from.
    """

    tenant_id: int
    job_id: uuid.UUID
    kind: Kind
    state: str = ""
    progress: float | None = None
    total: float | None = None
    message: str = ""
    level: str = ""


class Events:
    """What one watcher was told and has not taken yet. Bounded: the oldest progress goes, a change of state never."""

    __slots__ = ("_news", "_runs", "_tenant_id", "_waiter")

    def __init__(self, tenant_id: int, *, runs: bool = False) -> None:
        self._tenant_id = tenant_id
        self._runs = runs
        self._news: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def get(self, seconds: float) -> Event | None:
        """The next event, or None when there was none for so many seconds. For one taker at a time."""
        if not self._news and seconds > 0:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._waiter
            except TimeoutError:
                pass
            finally:
                self._waiter = None
        return self._news.popleft() if self._news else None

    def _tell(self, event: Event) -> None:
        if event.kind == "called" and not self._runs:
            return
        if len(self._news) >= KEPT:
            self._make_room()
        self._news.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _make_room(self) -> None:
        stale = next((event for event in self._news if event.kind in _DROPPABLE), None)
        if stale is not None:
            self._news.remove(stale)
        else:  # so many changes of state say no more than one look at the row
            self._news.clear()
            self._resync()

    def _resync(self) -> None:
        self._tell(Event(tenant_id=self._tenant_id, job_id=NO_JOB, kind="resync"))

    def _end(self) -> None:
        self._tell(Event(tenant_id=self._tenant_id, job_id=NO_JOB, kind="ending"))


class _Bus:
    """The listener of one event loop, and who waits on it."""

    def __init__(self) -> None:
        self._watchers: dict[tuple[int, uuid.UUID], set[Events]] = {}
        self._outgoing: Batch[Event, None] = Batch(self._send, most=_AT_ONCE, room=_ROOM)
        self._silent_until = 0.0
        self._ending = False
        self.listening = asyncio.Event()

    def add(self, events: Events, key: tuple[int, uuid.UUID]) -> None:
        self._watchers.setdefault(key, set()).add(events)
        if self._ending:
            events._end()

    def end(self) -> None:
        """Tell every watcher, also those to come, that the process is to end."""
        self._ending = True
        for watcher in set().union(*self._watchers.values()):
            watcher._end()

    def remove(self, events: Events, key: tuple[int, uuid.UUID]) -> None:
        watching = self._watchers[key]
        watching.discard(events)
        if not watching:
            del self._watchers[key]

    async def listen(self) -> None:
        """Dispatch what comes, for ever; through outages of Postgres."""
        failures = 0
        while True:
            try:
                async with await AsyncConnection.connect(
                    db.conninfo(application_name="mcphub events"), autocommit=True, connect_timeout=10
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    failures = 0
                    self.listening.set()
                    self._resync()
                    await self._dispatch(connection)
            except db.UNREACHABLE as problem:
                if not failures:
                    log.warning("news of jobs wait: Postgres cannot be reached (%s)", str(problem).strip())
            except Exception:  # or nobody would hear anything from here on
                log.exception("the listener failed; it starts anew")
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def publish(self, event: Event) -> None:
        if time.monotonic() >= self._silent_until and len(self._outgoing) < _ROOM:
            await self._outgoing(event)

    async def drain(self) -> None:
        await self._outgoing.drain()

    async def _dispatch(self, connection: AsyncConnection[Any]) -> None:
        async with contextlib.aclosing(connection.notifies()) as notifications:
            async for notification in notifications:
                event = _read(notification.payload)
                if event is not None:
                    self._tell(event)

    def _tell(self, event: Event) -> None:
        key = event.tenant_id, event.job_id
        if event.kind == "kill":
            self._resync(event.tenant_id)
            if event.tenant_id == EVERY_TENANT:
                return
            key = EVERY_TENANT, NO_JOB
        for watcher in self._watchers.get(key, ()):
            watcher._tell(event)

    def _resync(self, tenant_id: int = EVERY_TENANT) -> None:
        """Have the watchers of a tenant, or all there are, look again."""
        concerned = [
            watching for (watched, _), watching in self._watchers.items() if tenant_id in (EVERY_TENANT, watched)
        ]
        for watcher in set().union(*concerned):
            watcher._resync()

    async def _send(self, events: Sequence[Event]) -> Sequence[None]:
        try:
            await db.lane("events").fetch(_NOTIFY, [[_written(event) for event in events]])
        except db.UNREACHABLE:
            self._silent_until = time.monotonic() + _SILENCE
        except Exception:  # what cannot be told must not stop what it tells of
            log.exception("news of %d jobs could not be sent", len(events))
        return [None] * len(events)


_buses: dict[asyncio.AbstractEventLoop, _Bus] = {}


@asynccontextmanager
async def open_bus() -> AsyncIterator[None]:
    """Listen on the running event loop, inside `db.open_pool`; whoever owns the loop's lifespan calls this once."""
    loop = asyncio.get_running_loop()
    if loop in _buses:
        raise RuntimeError("this event loop has an open bus already; one lifespan to a loop")
    bus = _buses[loop] = _Bus()
    listener = asyncio.create_task(bus.listen(), name="events")
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bus.listening.wait(), _START_SECONDS)
        yield
    finally:
        del _buses[loop]
        await bus.drain()
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


def end() -> None:
    """Tell whoever watches on the running event loop that the process is to end, if anybody does or can."""
    if (bus := _buses.get(asyncio.get_running_loop())) is not None:
        bus.end()


async def publish(event: Event) -> None:
    """Tell every process. Gathered with what others publish; lost without a word when Postgres is away; never raises.

    Returns when Postgres has it, so that what its caller tells afterwards, by whatever connection, arrives afterwards.
    """
    await _bus().publish(event)


@asynccontextmanager
async def watch(tenant_id: int, *job_ids: uuid.UUID, runs: bool = False) -> AsyncIterator[Events]:
    """What happens to these jobs of this tenant from now on; NO_JOB: to the tenant itself. runs: for who runs them."""
    bus, events = _bus(), Events(tenant_id, runs=runs)
    for job_id in job_ids:
        bus.add(events, (tenant_id, job_id))
    try:
        yield events
    finally:
        for job_id in job_ids:
            bus.remove(events, (tenant_id, job_id))


def _bus() -> _Bus:
    try:
        return _buses[asyncio.get_running_loop()]
    except KeyError:
        raise RuntimeError("no bus is open on this event loop; enter mcphub.lifespan first") from None


def _written(event: Event) -> str:
    """The payload: `t` tenant, `j` job, `e` kind, `s` state, `p` progress, `of` total, `m` message, `l` level."""
    told = {
        "t": event.tenant_id,
        "j": None if event.job_id == NO_JOB else str(event.job_id),
        "e": event.kind,
        "s": event.state or None,
        "p": event.progress,
        "of": event.total,
        "m": _plain(event.message[: LOG_MESSAGE if event.kind == "log" else MESSAGE]) or None,
        "l": event.level or None,
    }
    return orjson.dumps({name: value for name, value in told.items() if value is not None}).decode()


def _plain(text: str) -> str:
    """Without lone halves of surrogate pairs, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode()


def _read(payload: str) -> Event | None:
    """The event, or None for what is not one: anybody with a session may notify a channel."""
    try:
        told = orjson.loads(payload)
        if told["e"] not in _KINDS:
            return None
        return Event(
            tenant_id=int(told["t"]),
            job_id=uuid.UUID(told["j"]) if "j" in told else NO_JOB,
            kind=told["e"],
            state=str(told.get("s", "")),
            progress=_number(told.get("p")),
            total=_number(told.get("of")),
            message=str(told.get("m", "")),
            level=str(told.get("l", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
