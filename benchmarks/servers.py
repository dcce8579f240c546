"""The servers that are compared, as processes on loopback, and what they cost."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.tenant import LONG
from mcphub.stack.postgres import Postgres
from mcphub.stack.processes import dies_with_parent
from mcphub.stack.secret_files import ensure_secrets

ROOT = Path(__file__).resolve().parent.parent
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "--workers", "1")
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05


class BenchError(Exception):
    """A server did not start or a command failed; the message holds the last lines it printed."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server: where it answers, what opens it, and whose CPU and memory it is."""

    name: str
    url: str
    api_key: str | None = None
    pid: int
    postgres: int | None = None

    def cpu(self) -> float:
        """CPU seconds used so far by the server and its children, without Postgres."""
        return _tree_cpu(self.pid)

    def postgres_cpu(self) -> float:
        return _tree_cpu(self.postgres) if self.postgres else 0.0

    def rss(self) -> int:
        """Resident bytes of the server and its children, without Postgres."""
        return sum(process.memory_info().rss for process in _tree(self.pid))


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _tree_cpu(pid: int) -> float:
    """Includes what ended children used, so that a backend that exits between two readings is not lost."""
    total = 0.0
    for process in _tree(pid):
        times = process.cpu_times()
        total += times.user + times.system
        if process.pid == pid:
            total += times.children_user + times.children_system
    return total


@contextmanager
def baseline(*, frozen_gc: bool) -> Iterator[Server]:
    """The bare SDK."""
    env = {"BENCH_BASELINE_GC": "frozen" if frozen_gc else ""}
    port = _free_port()
    with _uvicorn("benchmarks.baseline:app", port, env) as pid:
        yield Server(name="sdk", url=f"http://127.0.0.1:{port}/mcp", pid=pid)


HUB, HUB_TOKEN, HUB_GOVERNED = "hub", "hub token", "governed"
"""The hub as a key finds it, and the same process as an OAuth access token does, and with all that governs a call."""
CREDENTIALS = {
    "key": (HUB,),
    "token": (HUB_TOKEN,),
    "both": (HUB, HUB_TOKEN),
    "governed": (HUB, HUB_GOVERNED),
    "all": (HUB, HUB_TOKEN, HUB_GOVERNED),
}


@contextmanager
def hub(postgres: Postgres, credential: str) -> Iterator[list[Server]]:
    """The hub with its bench tenant, on a running Postgres: once for each of the CREDENTIALS it is asked with."""
    port = _free_port()
    env, tenant = _furnished(postgres, port, "benchmarks.functions")
    opened = {
        HUB: (tenant["url"], tenant["api_key"]),
        HUB_TOKEN: (tenant["url"], tenant["token"]),
        HUB_GOVERNED: (tenant["governed_url"], tenant["governed_key"]),
    }
    with _uvicorn("mcphub.asgi:app", port, env) as pid:
        yield [
            Server(
                name=name,
                url=f"http://127.0.0.1:{port}{urlsplit(opened[name][0]).path}",
                api_key=opened[name][1],
                pid=pid,
                postgres=postgres.pid(),
            )
            for name in CREDENTIALS[credential]
        ]


@contextmanager
def long_hub(postgres: Postgres, processes: int) -> Iterator[Server]:
    """The hub with tools that run as jobs, and so many worker processes, or none."""
    port = _free_port()
    env, tenant = _furnished(postgres, port, LONG)
    url = f"http://127.0.0.1:{port}{urlsplit(tenant['url']).path}"
    with ExitStack() as stack:
        pid = stack.enter_context(_uvicorn("mcphub.asgi:app", port, env))
        if processes:
            stack.enter_context(_workers(processes, env, postgres.data_dir / "workers.ready"))
        yield Server(name=HUB, url=url, api_key=tenant["api_key"], pid=pid, postgres=postgres.pid())


@contextmanager
def _workers(processes: int, env: dict[str, str], ready: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "mcphub.worker", "--processes", str(processes), "--ready", str(ready)]
    died = dies_with_parent(signal.SIGKILL)
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, preexec_fn=died)
    try:
        _until_there(process, ready)
        yield
    finally:
        _end(process)


def _until_there(process: "subprocess.Popen[bytes]", file: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError("the workers did not start")
        time.sleep(_POLL_SECONDS)


def _furnished(postgres: Postgres, port: int, functions: str) -> tuple[dict[str, str], dict[str, str]]:
    """A migrated database with the bench tenant: the environment of its hub, and the tenant's URL and secrets."""
    env = {
        "DATABASE_URL": postgres.app_url,
        "DATABASE_OWNER_URL": postgres.owner_url,
        "DATA_DIR": str(postgres.data_dir),
        "PORT": str(port),
        "BASE_URL": f"http://127.0.0.1:{port}",
        "TOOL_FUNCTIONS": functions,
        "JOBS_KEPT_SLOTS": "0",
        "JOBS_WAITS": "10000",
        "FOLLOWS_PER_MINUTE": "0",
        "LOG_LEVEL": "WARNING",
    }
    ensure_secrets(postgres.data_dir)
    _run(env, "manage.py", "migrate", "--verbosity", "0")
    return env, json.loads(_run(env, "-m", "benchmarks.tenant").strip().splitlines()[-1])


@contextmanager
def database() -> Iterator[Postgres]:
    """A new Postgres that syncs every commit to disk, in a folder of its own that is deleted afterwards."""
    parent = ROOT / ".data" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        postgres = Postgres(Path(folder))
        try:
            postgres.start(tied=True)
            yield postgres
        finally:
            postgres.remove()


@contextmanager
def _uvicorn(app: str, port: int, env: dict[str, str]) -> Iterator[int]:
    command = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port), *UVICORN]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )
        try:
            if not _answers(process, port):
                log.seek(0)
                raise BenchError(f"{app} did not start:\n{_tail(log.read())}")
            yield process.pid
        finally:
            _end(process)


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            time.sleep(_POLL_SECONDS)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _run(env: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, timeout=180, check=False)
    if done.returncode != 0:
        raise BenchError(f"`{' '.join(arguments)}` failed:\n{_tail(done.stderr + done.stdout)}")
    return done.stdout.decode()


def _tail(output: bytes) -> str:
    return "\n".join(output.decode(errors="replace").splitlines()[-20:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
