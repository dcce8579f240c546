"""Real server processes for tests: uvicorn on a free loopback port, as in production."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from mcphub.stack.processes import choose_port

_START_SECONDS = 60.0


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
    port = choose_port(None)
    url = f"http://127.0.0.1:{port}"
    command = ["-m", "uvicorn", "mcphub.asgi:app", "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop"]
    command += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, "BASE_URL": url, "PORT": str(port), **environment}
    )
    try:
        yield process, url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Asks until it answers; the deadline is for a server that never will."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server at {url} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except urllib.error.HTTPError as problem:
            raise RuntimeError(f"the server at {url} is not ready: {problem.read().decode()}") from None
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server at {url} did not start")
