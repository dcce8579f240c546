"""What lives as long as a worker process: the event loop in which tools run, and the main thread's line to Postgres."""

import asyncio
import logging
import os
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, LiteralString

import uvloop
from django.conf import settings

from jobs import wake
from jobs.worker.line import Line
from jobs.worker.stopping import SAID_AFTER
from lib import db

log = logging.getLogger(__name__)

Lifespan = Callable[[], AbstractAsyncContextManager[None]]
Tick = Callable[[], None]

SIGN_SECONDS = 5.0
"""Between signs of life; who has given none for 15 s counts no more as one that could take jobs."""
_START_SECONDS = 60.0
_END_SECONDS = 10.0
_CLAIM_SECONDS = 5.0

_CLAIM: LiteralString = "SELECT job, tenant, fence FROM jobs_claim(%s, %s, %s, %s)"
_HERE: LiteralString = "SELECT jobs_worker_here(%s, %s, %s, 1)"
_GONE: LiteralString = "SELECT jobs_worker_gone(%s)"

_lifespan: Lifespan | None = None
_worker: "Worker | None" = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A job that this process may run. fence: what every write about it has to name."""

    job: uuid.UUID
    tenant_id: int
    fence: int


class Worker:
    """One for each process. Everything is for the main thread, but for `nudge` and what is said to be otherwise."""

    def __init__(self, lifespan: Lifespan, tick: Tick):
        self.id = uuid.uuid4()
        self.line = Line("watchdog")
        self.loop: asyncio.AbstractEventLoop
        self.stopping_since: float | None = None
        self._lifespan = lifespan
        self._tick = tick
        # Not an Event: a signal handler puts into it while the main thread takes from it.
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._signed = 0.0
        self._ending: asyncio.Event
        self._thread: threading.Thread
        self._spawned: dict[str, Future[Any]] = {}

    def start(self) -> None:
        """Enter the lifespan in a thread of its own; raises what that raises."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, args=[ready], name="tools", daemon=True)
        self._thread.start()
        ready.result(_START_SECONDS)
        self.sign()

    def end(self) -> None:
        """Leave the lifespan; bounded, as Postgres may be away."""
        with suppress(*db.UNREACHABLE):
            self.line.ask(_GONE, [self.id], seconds=1.0)
        self.loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(_END_SECONDS)
        self.line.close()

    def claim(self) -> Claim | None:
        """The fairest job that can be claimed now; raises one of db.UNREACHABLE."""
        asked = [self.id, settings.JOBS_LEASE, settings.JOBS_KEPT_SLOTS, settings.JOBS_RUNNING]
        found = self.line.ask(_CLAIM, asked, seconds=_CLAIM_SECONDS)
        return Claim(job=found[0], tenant_id=found[1], fence=found[2]) if found else None

    def stop(self) -> None:
        """Claim nothing more; called by a signal handler."""
        if self.stopping_since is None:
            self.stopping_since = time.monotonic()
            self.nudge()

    @property
    def drained_at(self) -> float:
        """When the job of a stopping worker has had its time."""
        return float("inf") if self.stopping_since is None else self.stopping_since + settings.JOBS_DRAIN

    @property
    def killed_at(self) -> float:
        """When this process should have said its last word."""
        return self.drained_at + SAID_AFTER

    def nudge(self) -> None:
        """End the main thread's rest; from any thread, and from signal handlers."""
        self._news.put(None)

    def rest(self, seconds: float) -> None:
        """Wait for news, at the most for so long."""
        with suppress(queue.Empty):
            self._news.get(timeout=max(seconds, 0.001))
            while True:
                self._news.get_nowait()

    def sign(self) -> None:
        """Say that this process is there, unless it was said just now. Also while a tool holds the loop up."""
        self._tick()
        if time.monotonic() - self._signed >= SIGN_SECONDS:
            self._signed = time.monotonic()
            with suppress(*db.UNREACHABLE):
                self.line.ask(_HERE, self._named(), seconds=1.0)

    def spawn(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Have the loop do something; not again while it is still at it."""
        running = self._spawned.get(name)
        if running is None or running.done():
            self._spawned[name] = asyncio.run_coroutine_threadsafe(_logged(name, work), self.loop)

    def ring_in(self, seconds: float) -> None:
        """Call for a worker when a job that was handed back is due."""
        self.loop.call_soon_threadsafe(self.loop.call_later, seconds, self._ring)

    def _ring(self) -> None:
        self.spawn("ring", wake.ring)

    def _named(self) -> list[Any]:
        return [self.id, socket.gethostname(), os.getpid()]

    def _serve(self, ready: "Future[None]") -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(self._live(ready))
            except BaseException as problem:
                if not ready.done():
                    ready.set_exception(problem)
                    return
                log.exception("the tools' thread failed; its process ends")
                logging.shutdown()
                os._exit(os.EX_SOFTWARE)  # or it would claim jobs that it cannot run

    async def _live(self, ready: "Future[None]") -> None:
        self.loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        async with self._lifespan():
            signs = [asyncio.create_task(self._signs()), asyncio.create_task(self._ticks())]
            ready.set_result(None)
            await self._ending.wait()
            for task in signs:
                task.cancel()

    async def _signs(self) -> None:
        """For as long as the main thread waits for a bell; while a job runs, it gives the signs itself."""
        while True:
            await asyncio.sleep(SIGN_SECONDS)
            if time.monotonic() - self._signed >= SIGN_SECONDS:
                self._signed = time.monotonic()
                with suppress(*db.UNREACHABLE):
                    await db.lane("worker").fetch(_HERE, self._named())

    async def _ticks(self) -> None:
        """Beside the main thread's, which may be waiting for Postgres; neither comes when a tool holds all of Python
        up, as a regular expression can."""
        while True:
            self._tick()
            await asyncio.sleep(1.0)


async def _logged(name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        await work()
    except db.UNREACHABLE:
        log.warning("%s waits: Postgres cannot be reached", name)
    except Exception:
        log.exception("%s failed", name)


def configure(lifespan: Lifespan) -> None:
    """Say what a worker process enters, once and before the first starts; what that is, is known on a higher floor."""
    global _lifespan
    _lifespan = lifespan


def start(tick: Tick) -> Worker:
    """Make this process a worker. tick: called at least every few seconds while anything of it can run."""
    global _worker
    if _lifespan is None:
        raise RuntimeError("this process was not configured as a worker; use `python -m mcphub.worker`")
    starting = Worker(_lifespan, tick)
    starting.start()
    _worker = starting
    return starting


def worker() -> Worker:
    """The worker that this process is."""
    if _worker is None:
        raise RuntimeError("this process is no worker; use `python -m mcphub.worker`")
    return _worker


def find() -> Worker | None:
    """The same, or None where it has not started; for signal handlers."""
    return _worker
