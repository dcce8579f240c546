"""What the figures were measured on. Figures of two machines do not compare; ratios roughly do."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import psycopg

from benchmarks.load import percentile

_COMMITS = 400
_PACKAGES = ("mcp", "uvicorn", "uvloop", "httptools", "starlette", "pydantic", "django", "psycopg", "orjson")


def machine() -> dict[str, str]:
    """Processor, Python and the versions of what is measured."""
    return {
        "processor": f"{os.cpu_count()} cores, {_model()}",
        "load": " ".join(f"{average:.2f}" for average in os.getloadavg()),
        "python": f"{platform.python_version()} on {platform.system()} {platform.release()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }


def postgres(superuser_url: str) -> dict[str, str]:
    """The server's durability settings, and what one durable one-row commit costs from one connection."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        names = ("server_version", "fsync", "synchronous_commit", "wal_sync_method")
        settings = {name: str(_one(connection, f"SHOW {name}")) for name in names}
        connection.execute("CREATE TABLE bench_commit (id bigserial PRIMARY KEY, body text)")
        commits = sorted(_timed(connection) for _ in range(_COMMITS))
        connection.execute("DROP TABLE bench_commit")
    p50, p95 = percentile(commits, 50), percentile(commits, 95)
    return {
        "postgres": ", ".join(f"{name} {value}" for name, value in settings.items()),
        "one-row commit": f"p50 {p50:.2f} ms, p95 {p95:.2f} ms over {_COMMITS}",
    }


def _one(connection: "psycopg.Connection[tuple[object, ...]]", query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def _timed(connection: "psycopg.Connection[tuple[object, ...]]") -> float:
    began = time.perf_counter()
    connection.execute("INSERT INTO bench_commit (body) VALUES (repeat('x', 400))")
    return 1000 * (time.perf_counter() - began)


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
