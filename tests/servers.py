"""Real server processes for tests: uvicorn on a free loopback port, as in production."""

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from mcphub.stack.processes import choose_port

_START_SECONDS = 180.0
_given: set[int] = set()


@contextlib.contextmanager
def serve(*, count: int, **environment: str) -> Iterator[list[str]]:
    """`count` processes that share one database; yields their base URLs and ends them afterwards."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_process(environment)) for _ in range(count)]
        for process, url in processes:
            _wait_until_ready(process, url)
        yield [url for _, url in processes]


@contextlib.contextmanager
def _process(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["-m", "uvicorn", "mcphub.asgi:app", "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop"]
    command += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
    environment = {**os.environ, "BASE_URL": url, "PORT": str(port), **environment}
    with _ended(subprocess.Popen([sys.executable, *command], env=environment)) as process:
        yield process, url


@contextlib.contextmanager
def workers(count: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A parent and its `count` processes that run jobs, as in production; yields the parent once all take jobs."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        command = [sys.executable, "-m", "mcphub.worker", "--processes", str(count), "--ready", str(ready)]
        with _ended(subprocess.Popen(command, env={**os.environ, **environment}), within=40) as process:
            _wait_until_there(process, ready)
            yield process


@contextlib.contextmanager
def helpdesk(data: Path, *options: str) -> Iterator[tuple[str, str]]:
    """The example service as a process of its own; yields its URL and token."""
    port, token = free_port(), secrets.token_urlsafe(16)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "examples.helpdesk", "--port", str(port), "--data", str(data), *options]
    with _ended(subprocess.Popen(command, env={**os.environ, "HELPDESK_TOKEN": token})) as process:
        _wait_until_ready(process, url, "health")
        yield url, token


def free_port() -> int:
    """A port that no server was given before, as one that was may not have bound it yet: from this process's own range,
    as other test processes choose at the same time."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20000 + number % 8 * 1500
    while (port := choose_port(first + secrets.randbelow(1500))) in _given:
        pass
    _given.add(port)
    return port


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes], within: float = 10) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, page: str = "readyz") -> None:
    """Asks until it answers; the deadline is for a server that never will."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server at {url} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/{page}", timeout=5):  # noqa: S310 - http on loopback
                return
        except urllib.error.HTTPError as problem:
            raise RuntimeError(f"the server at {url} is not ready: {problem.read().decode()}") from None
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server at {url} did not start")


def _wait_until_there(process: subprocess.Popen[bytes], file: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not file.exists():
        if process.poll() is not None:
            raise RuntimeError(f"the workers ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError("the workers did not start")
        time.sleep(0.05)
