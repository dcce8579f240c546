"""Reading the environment: three helpers that fail loudly, and the list of what they were asked for.

`DECLARED` is compared with `docs/reference/settings.md` by a test, so a setting without a heading cannot land.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

DECLARED: set[str] = set()

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def text(name: str, default: str) -> str:
    """The value of `name`, or `default` when it is not set."""
    DECLARED.add(name)
    return os.environ.get(name, default).strip()


def number(name: str, default: int, *, low: int, high: int) -> int:
    """An integer between `low` and `high`, both included."""
    raw = text(name, "") or str(default)
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {raw!r}; it takes a whole number from {low} to {high}.") from None
    if not low <= value <= high:
        raise ImproperlyConfigured(f"{name} is {value}; it takes a whole number from {low} to {high}.")
    return value


def flag(name: str, *, default: bool) -> bool:
    """A yes or no."""
    raw = text(name, "yes" if default else "no").lower()
    if raw in _TRUE:
        return True
    if raw in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name} is {raw!r}; it takes yes or no.")


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    """One of the allowed words, whatever its case."""
    value = text(name, default).upper()
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; it takes one of {', '.join(allowed)}.")
    return value


def origin(name: str, default: str) -> SplitResult:
    """The origin of a URL: scheme, host and perhaps port, and nothing after them."""
    value = text(name, default).rstrip("/")
    wrong = ImproperlyConfigured(f"{name} is {value!r}; it takes an origin like https://mcp.example.com.")
    try:
        parts = urlsplit(value)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        raise wrong from None
    whole = (
        parts.scheme in {"http", "https"} and parts.hostname and parts.geturl() == f"{parts.scheme}://{parts.netloc}"
    )
    if not whole or not port_is_one or "@" in parts.netloc:
        raise wrong
    return parts


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list, blanks dropped."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def folder(name: str, default: str) -> Path:
    """An absolute path; nothing is created."""
    return Path(text(name, default)).expanduser().resolve()


def secret(name: str, data_dir: Path) -> str:
    """A secret: from the environment, or the one `make run` generated in the data folder, or none."""
    kept = data_dir / name.lower().replace("_", "-")
    return text(name, "") or (kept.read_text().strip() if kept.is_file() else "")


def database(name: str, url: str) -> dict[str, Any]:
    """Django's database settings from a libpq URL (https://www.postgresql.org/docs/current/libpq-connect.html)."""
    try:
        parts = conninfo_to_dict(url)
    except Exception:  # its message would repeat the URL, with the password
        raise ImproperlyConfigured(f"{name} is not a Postgres URL like postgresql://user:password@host/db.") from None
    known = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    settings: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
    }
    settings |= {key: str(parts.pop(libpq, "") or "") for libpq, key in known.items()}
    settings["OPTIONS"] = parts
    return settings
