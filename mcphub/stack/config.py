"""What `make run` reads from the environment, checked before anything starts."""

import os
from dataclasses import dataclass
from pathlib import Path

from mcphub.env import TRUE
from mcphub.stack.errors import StackError

DECLARED = frozenset(
    {
        "BASE_URL",
        "BEHIND_PROXY",
        "DATABASE_OWNER_URL",
        "DATABASE_URL",
        "DATA_DIR",
        "JOBS_DRAIN",
        "PORT",
        "POSTGRES_BIN",
        "WEB_WORKERS",
        "WORKERS",
    }
)
"""What is read here. A test holds docs/reference/settings.md equal to this and to `mcphub.env.DECLARED`."""


def read(name: str) -> str:
    """The value of a declared setting without blanks around it; empty when it is not set."""
    if name not in DECLARED:
        raise KeyError(name)
    return os.environ.get(name, "").strip()


@dataclass(frozen=True, kw_only=True)
class Config:
    """root: the clone, where manage.py is. database_url: None means that the embedded Postgres is wanted.

    behind_proxy: who forwards a call from this machine is believed about where it came from.
    workers: processes of the web server. job_workers: processes that run jobs; drain: seconds that a job is let go on
    when they stop. worker: the module that is both them and the beat.
    """

    root: Path
    data_dir: Path
    port: int = 8000
    workers: int = 1
    job_workers: int = 2
    drain: int = 20
    base_url: str
    behind_proxy: bool = False
    database_url: str | None = None
    owner_url: str | None = None
    app: str = "mcphub.asgi:app"
    worker: str = "mcphub.worker"

    @property
    def local_url(self) -> str:
        """Where the web server listens; BASE_URL may name a proxy in front of it."""
        return f"http://127.0.0.1:{self.port}"


def from_environment(root: Path) -> Config:
    """The settings of the stack; raises StackError naming the one that makes no sense."""
    port = _number("PORT", 8000, low=1, high=65535)
    return Config(
        root=root,
        data_dir=data_dir(root),
        port=port,
        workers=_number("WEB_WORKERS", 1, low=1, high=64),
        job_workers=_number("WORKERS", 3, low=1, high=64),
        drain=_number("JOBS_DRAIN", 20, low=0, high=3600),
        base_url=read("BASE_URL").rstrip("/") or f"http://localhost:{port}",
        behind_proxy=read("BEHIND_PROXY").lower() in TRUE,
        database_url=read("DATABASE_URL") or None,
        owner_url=read("DATABASE_OWNER_URL") or None,
    )


def data_dir(root: Path) -> Path:
    """DATA_DIR, or `.data` in the clone."""
    return Path(read("DATA_DIR") or root / ".data").expanduser().resolve()


def _number(name: str, default: int, *, low: int, high: int) -> int:
    raw = read(name) or str(default)
    if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
        raise StackError(f"{name} is {raw!r}; it takes a whole number from {low} to {high}.")
    return int(raw)
