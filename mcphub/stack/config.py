"""What `make run` reads from the environment, checked before anything starts."""

import os
from dataclasses import dataclass
from pathlib import Path

from mcphub.stack.errors import StackError


@dataclass(frozen=True, kw_only=True)
class Config:
    """root: the clone, where manage.py is. database_url: None means that the embedded Postgres is wanted."""

    root: Path
    data_dir: Path
    port: int = 8000
    workers: int = 1
    base_url: str
    database_url: str | None = None
    owner_url: str | None = None
    app: str = "mcphub.asgi:app"

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
        base_url=os.environ.get("BASE_URL", "").strip().rstrip("/") or f"http://localhost:{port}",
        database_url=os.environ.get("DATABASE_URL", "").strip() or None,
        owner_url=os.environ.get("DATABASE_OWNER_URL", "").strip() or None,
    )


def data_dir(root: Path) -> Path:
    """DATA_DIR, or `.data` in the clone."""
    return Path(os.environ.get("DATA_DIR", "").strip() or root / ".data").expanduser().resolve()


def _number(name: str, default: int, *, low: int, high: int) -> int:
    raw = os.environ.get(name, "").strip() or str(default)
    if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
        raise StackError(f"{name} is {raw!r}; it takes a whole number from {low} to {high}.")
    return int(raw)
