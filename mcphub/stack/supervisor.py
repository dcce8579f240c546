"""Keeping services alive: each that ends is started again, a little later every time, until told to stop."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mcphub.stack import files
from mcphub.stack.errors import StackError
from mcphub.stack.postgres import Postgres
from mcphub.stack.processes import dies_with_parent, is_same, started_at, stop_group

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# One that lived this long was not failing to start: its next restart is a first one again.
_SETTLED_SECONDS = 60.0


class Service(Protocol):
    """Something that runs until it is stopped, and can be started again when it ended by itself."""

    @property
    def name(self) -> str: ...
    def start(self) -> None: ...
    def alive(self) -> bool: ...
    def ending(self) -> str: ...
    def stop(self) -> None: ...


class Roster:
    """The children of this run in a file, so that the next run can clear what a killed one left behind.

    A child is known by pid *and* start time: its pid alone may by then be another program's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._children: dict[str, tuple[int, float]] = {}

    def add(self, name: str, pid: int) -> None:
        self._children[name] = (pid, started_at(pid) or 0.0)
        files.write_record(self._path, self._children)

    def discard(self, name: str) -> None:
        if self._children.pop(name, None):
            files.write_record(self._path, self._children)

    def clear_leftovers(self) -> list[str]:
        """Stop the children of a run that was killed; their names."""
        record = files.read_record(self._path) or {}
        left = {name: pid for name, (pid, start) in record.items() if is_same(pid, start)}
        for pid in left.values():
            stop_group(pid, seconds=5)
        return list(left)


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """How to start one process of the stack: a web server, a worker, a beat."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    stop_seconds: float = 10.0


class Process:
    """A child in a process group of its own, so that what it starts can be ended with it."""

    def __init__(self, spec: ProcessSpec, roster: Roster) -> None:
        self.name = spec.name
        self._spec = spec
        self._roster = roster
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        try:
            self._child = subprocess.Popen(
                self._spec.argv,
                cwd=self._spec.cwd,
                env=dict(self._spec.env),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGTERM),
            )
        except OSError as problem:
            raise StackError(f"{self.name} could not be started: {problem}.") from None
        self._roster.add(self.name, self._child.pid)

    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def ending(self) -> str:
        code = self._child.poll() if self._child else None
        if code is None:
            return "is not running"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def stop(self) -> None:
        """Also ends what outlived the child itself, such as the workers of a killed web server."""
        if self._child is not None:
            stop_group(self._child.pid, seconds=self._spec.stop_seconds)
            self._child.poll()
            self._roster.discard(self.name)


class Database:
    """The embedded Postgres as a service of the stack."""

    name = "Postgres"

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._let_go: Callable[[], None] | None = None

    def start(self) -> None:
        """Held from the first start on, so that a management command that ends does not stop it under us."""
        if self._let_go is None:
            self._let_go = self._postgres.use(tied=True)
        else:
            self._postgres.start(tied=True)

    def alive(self) -> bool:
        return self._postgres.running()

    def ending(self) -> str:
        return f"ended (its log is {self._postgres.log})"

    def stop(self) -> None:
        """Also when other commands use it: they were told that the hub runs, and now it does not."""
        self._postgres.stop()
        if self._let_go is not None:
            self._let_go()
            self._let_go = None


@dataclass(kw_only=True)
class _Kept:
    service: Service
    since: float
    failures: int = 0
    due: float | None = None


class Supervisor:
    """Starts services in order, keeps them running, stops them in the opposite order."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._kept: list[_Kept] = []

    @property
    def keeps_any(self) -> bool:
        """Whether there is something to stop."""
        return bool(self._kept)

    def start(self, service: Service) -> None:
        """Start `service` and keep it from now on; raises StackError when it cannot be started."""
        # Kept first: an interrupt in the middle of starting it must still stop it.
        self._kept.append(_Kept(service=service, since=time.monotonic()))
        service.start()

    def look_after(self) -> None:
        """One round: notice who ended, start again whose time has come."""
        for kept in self._kept:
            if kept.due is not None:
                if time.monotonic() >= kept.due:
                    self._restart(kept)
            elif not kept.service.alive():
                self._schedule(kept, f"{kept.service.name} {kept.service.ending()}")

    def stop(self) -> None:
        """Stop everything, the last started first. One that resists does not keep the others running."""
        for kept in reversed(self._kept):
            try:
                kept.service.stop()
            except (StackError, OSError) as problem:
                self._say(f"{kept.service.name} could not be stopped: {problem}")
        self._kept.clear()

    def _restart(self, kept: _Kept) -> None:
        kept.due, kept.since = None, time.monotonic()
        try:
            kept.service.start()
        except (StackError, OSError) as problem:
            self._schedule(kept, str(problem).rstrip("."))
        else:
            self._say(f"{kept.service.name} is running again.")

    def _schedule(self, kept: _Kept, why: str) -> None:
        now = time.monotonic()
        kept.failures = 0 if now - kept.since > _SETTLED_SECONDS else kept.failures
        delay = min(FIRST_DELAY_SECONDS * 2**kept.failures, LONGEST_DELAY_SECONDS)
        kept.failures += 1
        kept.due = now + delay
        self._say(f"{why}; starting it again in {delay:g} s.")
        if isinstance(kept.service, Process):
            kept.service.stop()


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal: stop everything. Raised once, so that nothing cuts the stopping short."""


def raise_on_signals() -> None:
    """Turn the first stop signal into `Interrupted` in the main thread."""
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(signum: int, _frame: object) -> None:
        for one in stops:
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted(signal.Signals(signum).name)

    for signum in stops:
        signal.signal(signum, stop)


def inherited(**more: str) -> dict[str, str]:
    """This process's environment with `more` on top."""
    return {**os.environ, **more}
