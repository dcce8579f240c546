"""The parts of a hub as processes that are killed with -9 and brought back."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Protocol

import psutil

from mcphub.stack.postgres import Postgres
from mcphub.stack.processes import dies_with_parent, port_is_free
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 180.0
_STOP_SECONDS = 40.0


class Part(Protocol):
    """Something that can be killed and brought back. downtime: seconds it stays away, from and to."""

    name: str
    downtime: tuple[float, float]

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def stop(self) -> None: ...


class Program:
    """A process of the hub. Its output goes to a file of its own."""

    downtime = (0.1, 0.6)

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._argv = argv
        self._environment = environment
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False

    def start(self) -> None:
        self._wanted = True
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )

    def kill(self) -> None:
        """The process alone: its children are to notice by themselves."""
        self._wanted = False
        process = self._running()
        process.kill()
        process.wait()

    def mend(self) -> None:
        """Started anew when it ended by itself, as a process manager does it: say, because Postgres was away."""
        if self._wanted and self._running().poll() is not None:
            self.start()

    def stop(self) -> None:
        """Asked to; what does not obey is killed."""
        self._wanted = False
        process = self._running()
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def end_a_child(self, random: Random) -> None:
        """Kill one of its children, when it has any just now."""
        with suppress(psutil.NoSuchProcess):
            if children := psutil.Process(self._running().pid).children():
                random.choice(children).kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was never started"
        return self._process


class OneOf:
    """One child of a program, which its parent is to replace."""

    downtime = (0.0, 0.0)

    def __init__(self, program: Program, random: Random) -> None:
        self.name = f"a child of {program.name}"
        self._program = program
        self._random = random

    def kill(self) -> None:
        self._program.end_a_child(self._random)

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Database:
    """A Postgres whose commits are on the disk when it says so."""

    name = "postgres"
    downtime = (0.5, 2.0)

    def __init__(self, folder: Path) -> None:
        self.postgres = Postgres(folder)
        self._port: int | None = None

    def start(self) -> None:
        """At the port where it was: the hub knows no other."""
        port = self._port
        if port is not None:
            until(lambda: port_is_free(port), within=_START_SECONDS)
        self.postgres.start(tied=True)
        self._port = self.postgres.state.port
        assert port in (None, self._port), f"Postgres came back at port {self._port} and not at {port}"

    def kill(self) -> None:
        pid = self.postgres.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self.postgres.stop()


class Redis(Program):
    """A Redis that keeps nothing on disk, so that a kill loses every message."""

    def __init__(self, program: Path, folder: Path, port: int) -> None:
        argv = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        super().__init__("redis", argv, os.environ, folder)
        self.url = f"redis://127.0.0.1:{port}/0"


class Flush:
    """Redis lives on and forgets everything."""

    name = "what redis remembers"
    downtime = (0.0, 0.0)

    def __init__(self, port: int) -> None:
        self._port = port

    def kill(self) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(64)

    def start(self) -> None: ...
    def stop(self) -> None: ...


def redis_server() -> Path | None:
    """The `redis-server` of this machine, or Valkey's."""
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(installed) if installed else None


def web(name: str, port: int, environment: Mapping[str, str], folder: Path) -> Program:
    """A web server as production runs it."""
    argv = [sys.executable, "-m", "uvicorn", "mcphub.asgi:app", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return Program(name, [*argv, "--timeout-graceful-shutdown", "5"], environment, folder)


def workers(count: int, environment: Mapping[str, str], folder: Path) -> Program:
    return Program("workers", [sys.executable, "-m", "mcphub.worker", "--processes", str(count)], environment, folder)


def beat(environment: Mapping[str, str], folder: Path) -> Program:
    return Program("beat", [sys.executable, "-m", "mcphub.worker", "--beat"], environment, folder)


def serves(url: str) -> bool:
    """Whether a web server answers that it is ready."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2):  # noqa: S310 - http on loopback
            return True
    except (OSError, urllib.error.HTTPError):
        return False


def manage(environment: Mapping[str, str], *command: str) -> str:
    """What a command of the project prints."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def left_of(run: str) -> list[str]:
    """Processes of a run that are still there: every part has its name in its environment."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ", "status"]):
        if process.pid != os.getpid() and (process.info["environ"] or {}).get("CHAOS_RUN") == run:
            found.append(f"{process.pid} {' '.join(process.info['cmdline'] or [])[:120]}")
    return found
