"""Reading the environment: three helpers that fail loudly, and the list of what they were asked for.

`DECLARED` is compared with `docs/reference/settings.md` by a test, so a setting without a heading cannot land.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

DECLARED: set[str] = set()

TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = {"0", "false", "no", "off", ""}


def text(name: str, default: str) -> str:
    """The value of `name`, or `default` when it is not set."""
    DECLARED.add(name)
    return os.environ.get(name, default).strip()


def of_others(*names: str) -> list[str]:
    """What libraries read from the environment by themselves, where it is set; no settings of ours."""
    return [value for name in names if (value := os.environ.get(name, "").strip())]


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
    if raw in TRUE:
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


def dotted(name: str, default: str, *words: str) -> str:
    """The dotted path of something in a module that is there, one of the words, or ""."""
    value = text(name, default)
    try:
        known = not value or value in words or find_spec(value.rpartition(".")[0]) is not None
    except (ImportError, ValueError):
        known = False
    if not known:
        allowed = " or ".join([*words, "a path like package.module.Name"])
        raise ImproperlyConfigured(f"{name} is {value!r}; it takes {allowed}.")
    return value


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


def storage(name: str, files: Path) -> dict[str, Any]:
    """A storage of Django's: files below a folder, or the bucket in `s3://bucket/prefix`.

    The bucket's endpoint, region and credentials are what boto3 finds (AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION, ...).
    No key is written twice (`lib.storage.new_key`), so nobody asks first whether it is there.
    """
    url = text(name, "")
    if not url:
        modes = {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700}
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": files, "base_url": None, **modes},
        }
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
        raise ImproperlyConfigured(f"{name} is {url!r}; it takes s3://bucket/prefix.")
    if find_spec("storages") is None:
        raise ImproperlyConfigured(f"{name} needs django-storages[s3]: pip install -r requirements-s3.txt.")
    options = {"bucket_name": parts.netloc, "location": parts.path.strip("/"), "default_acl": None}
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {**options, "file_overwrite": True}}


def broker(name: str) -> str:
    """The URL of a broker that was tried, or "". No complaint repeats it: it may hold a password."""
    url = text(name, "")
    scheme = url.partition("://")[0]
    if url and scheme not in {"redis", "rediss", "amqp", "amqps"}:
        raise ImproperlyConfigured(f"{name} takes redis://, rediss://, amqp:// or amqps://.")
    if scheme.startswith("redis") and find_spec("redis") is None:
        raise ImproperlyConfigured(f"{name} needs a client: pip install -r requirements-redis.txt.")
    return url


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail server and who mail comes from."""

    sender: str
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = field(default="", repr=False)
    starts_tls: bool = False
    tls_from_the_start: bool = False


def mail(name: str, url: str, *, sender: str) -> Mail:
    """The server in `smtp://user:password@host:587?tls=1&from=hub@example.com`; `smtps` is TLS from the first byte.

    sender: the address mail comes from when the URL names none. No complaint repeats the URL: it holds the password.
    """
    if not url:
        return Mail(sender=sender)
    try:
        parts = urlsplit(url)
        port = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise _no_mail_url(name) from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/") or parts.fragment:
        raise _no_mail_url(name)
    tls, sender = options.pop("tls", "").lower(), options.pop("from", sender)
    if options or tls not in TRUE | _FALSE or "@" not in sender:
        raise ImproperlyConfigured(f"{name} takes the options tls (yes or no) and from (an address), and no others.")
    starts_tls = parts.scheme == "smtp" and tls in TRUE
    return Mail(
        sender=sender,
        host=parts.hostname,
        port=port or (465 if parts.scheme == "smtps" else 587 if starts_tls else 25),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starts_tls=starts_tls,
        tls_from_the_start=parts.scheme == "smtps",
    )


def _no_mail_url(name: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is not a mail URL like smtp://user:password@mail.example.com:587?tls=1.")
