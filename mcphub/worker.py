"""`python -m mcphub.worker`: processes that run jobs, each of them one at a time; with `--beat`, what calls them to
their regular chores.

Celery's own pool of processes is not used: on the default broker they share one queue whose lock a killed process takes
with it, and then nobody runs anything while the worker looks alive. Here each process is a Celery worker of its own.
"""

import argparse
import contextlib
import functools
import logging
import mmap
import os
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import django

from jobs.worker.stopping import KILLED_AFTER
from mcphub.stack.processes import dies_with_parent

log = logging.getLogger("mcphub.worker")

_LOOK_SECONDS = 0.1
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_SETTLED_SECONDS = 5.0
"""Who lived this long was not failing to start: it comes back soon."""

_TICK = struct.Struct("d")
_LEAST_SILENCE = 10.0


def _longest_silence() -> float:
    """Seconds without a tick after which a process is killed: its job was taken from it long before."""
    from django.conf import settings

    return max(_LEAST_SILENCE, 4.0 * settings.JOBS_LEASE, 2.0 * settings.JOBS_GRACE)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 after a stop that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m mcphub.worker", description="Run jobs.")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="how many jobs run at a time here")
    parser.add_argument("--ready", type=Path, metavar="FILE", help="write our pid there once all of them take jobs")
    parser.add_argument("--beat", action="store_true", help="run the clock of the regular chores; one is enough")
    given = parser.parse_args(argv)
    _set_up()
    if given.beat:
        return _beat()
    return _Parent(max(1, given.processes), given.ready).run()


def _set_up() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    os.environ.setdefault("CELERY_SKIP_CHECKS", "1")  # Django's system checks, at each start of each process
    django.setup()
    from celery import signals
    from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

    warnings.simplefilter("ignore", SecurityWarning)  # of being root; nothing but JSON is accepted
    warnings.simplefilter("ignore", CPendingDeprecationWarning)  # of what is set to be as we want it
    signals.setup_logging.connect(_keep_logging, weak=False)


def _keep_logging(**_: Any) -> None:
    """Celery sets nothing up where this signal has a receiver: the settings' logging stays, but for some noise."""
    for noisy in ("celery", "kombu"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # of each attempt while Postgres is away
    logging.getLogger("celery.worker.request").disabled = True  # of a bell that could not be taken back: it rings again


def _beat() -> int:
    from mcphub.celery import app

    app.Beat(quiet=True).run()
    return 0


class _Ticks:
    """When each process was last alive enough to say so, in memory that the parent shares with all of them."""

    def __init__(self, processes: int):
        self._memory = mmap.mmap(-1, processes * _TICK.size)

    def tick(self, number: int) -> None:
        _TICK.pack_into(self._memory, number * _TICK.size, time.monotonic())

    def silent(self, number: int) -> float:
        """Seconds since then."""
        (last,) = _TICK.unpack_from(self._memory, number * _TICK.size)
        return time.monotonic() - float(last)


@dataclass(kw_only=True)
class _Child:
    number: int
    pid: int = 0
    since: float = 0.0
    failures: int = 0
    due: float = 0.0


class _Parent:
    """Forks the processes, which so share the memory of what was imported, and starts those again that end."""

    def __init__(self, processes: int, ready: Path | None):
        self._children = [_Child(number=number) for number in range(processes)]
        self._ready = ready
        self._ticks = _Ticks(processes)
        self._stopping = False
        self._heard, self._said = os.pipe()
        self._started = 0

    def run(self) -> int:
        self._import()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, self._stop)
        os.set_blocking(self._heard, False)
        self._withdraw()
        try:
            while not self._stopping:
                self._look_after()
                time.sleep(_LOOK_SECONDS)
        finally:
            self._withdraw()
            self._end()
        return 0

    def _import(self) -> None:
        """Before the fork, and before anything connects: what a worker needs."""
        import gc

        import mcphub.lifespan
        from jobs import tasks  # noqa: F401
        from jobs.worker import runtime
        from tools import functions

        functions.load()
        runtime.configure(functools.partial(mcphub.lifespan.lifespan, "worker"))
        gc.collect()
        gc.freeze()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _look_after(self) -> None:
        self._reap()
        self._kill_stuck()
        now = time.monotonic()
        for child in self._children:
            if not child.pid and now >= child.due and not self._stopping:
                child.pid, child.since = self._fork(child.number), now
        self._say_ready()

    def _reap(self) -> None:
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                child.pid = 0
                if not self._stopping:
                    self._schedule(child, os.waitstatus_to_exitcode(status))

    def _kill_stuck(self) -> None:
        """A tool that holds all of Python up starves the watchdog beside it too; then only the parent can end it."""
        for child in self._children:
            if child.pid and self._ticks.silent(child.number) > _longest_silence():
                log.error("worker process %d gives no sign of life; it is killed", child.number + 1)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
                self._ticks.tick(child.number)

    def _schedule(self, child: _Child, code: int) -> None:
        lived = time.monotonic() - child.since
        child.failures = 0 if lived > _SETTLED_SECONDS else child.failures
        delay = min(_FIRST_DELAY * 2**child.failures, _LONGEST_DELAY)
        child.failures += 1
        child.due = time.monotonic() + delay
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        log.warning("worker process %d %s; starting it again in %g s", child.number + 1, how, delay)

    def _fork(self, number: int) -> int:
        # The kernel tells the process when its parent is gone; it then finishes what it is at, as when asked to stop.
        arrange = dies_with_parent(signal.SIGTERM)
        self._ticks.tick(number)
        pid = os.fork()
        if pid:
            return pid
        _run_child(number, arrange, self._said, functools.partial(self._ticks.tick, number))

    def _say_ready(self) -> None:
        """Each process says so once; those that start again later count no more."""
        if self._ready is None or self._started >= len(self._children):
            return
        with contextlib.suppress(BlockingIOError):
            self._started += len(os.read(self._heard, 1024))
        if self._started >= len(self._children):
            self._ready.write_text(f"{os.getpid()}\n")

    def _withdraw(self) -> None:
        if self._ready is not None:
            self._ready.unlink(missing_ok=True)

    def _end(self) -> None:
        """Ask each process once, as a second time would have it drop its job; kill who is not done in time."""
        from django.conf import settings

        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + settings.JOBS_DRAIN + KILLED_AFTER
        while any(child.pid for child in self._children):
            self._reap()
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
            time.sleep(_LOOK_SECONDS)

    def _signal(self, signum: signal.Signals) -> None:
        for child in self._children:
            if child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signum)


def _run_child(number: int, arrange: Callable[[], None], said: int, tick: Callable[[], None]) -> NoReturn:
    """A Celery worker in a process group of its own: who stops the group of the parent must not stop it twice."""
    code = 1
    try:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        os.setpgid(0, 0)
        arrange()
        sys.__stdout__ = None  # type: ignore[misc] # where Celery says that it was asked to stop
        code = _work(number, said, tick)
    except BaseException:
        log.exception("a worker process failed")
    finally:
        logging.shutdown()
        os._exit(code)  # a thread that a tool left behind keeps nothing alive


def _work(number: int, said: int, tick: Callable[[], None]) -> int:
    from celery import signals

    from jobs.worker import runtime
    from mcphub.celery import CHORES, JOBS, app

    def start(**_: Any) -> None:
        try:
            runtime.start(tick)
        except Exception as problem:  # Postgres is away, or the settings are wrong: the parent tries again
            log.error("a worker process cannot start: %s", problem)  # noqa: TRY400
            logging.shutdown()
            os._exit(os.EX_UNAVAILABLE)

    def stop(**_: Any) -> None:
        if (worker := runtime.find()) is not None:
            worker.stop()

    def end(**_: Any) -> None:
        if (worker := runtime.find()) is not None:
            worker.end()

    signals.worker_process_init.connect(start, weak=False)
    signals.worker_ready.connect(lambda **_: os.write(said, b"."), weak=False)
    signals.worker_shutting_down.connect(stop, weak=False)
    signals.worker_shutdown.connect(end, weak=False)
    worker = app.Worker(
        hostname=f"worker-{number + 1}-{os.getpid()}@%h",
        pool_cls="solo",
        concurrency=1,
        queues=[JOBS, CHORES],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
