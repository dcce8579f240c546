"""Small files of the data folder: written whole or not at all, readable by their owner only, and locked."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def make_folder(folder: Path) -> None:
    """Create `folder` with its parents. Others may pass through it but not list it: Postgres may run as another
    account below it, while the secrets beside it are files of mode 0600."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        folder.chmod(0o711)


def write_secret(path: Path, text: str) -> None:
    """Replace `path` by `text` with mode 0600; a crash leaves the old file or the new one, never half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON object the way `write_secret` writes text."""
    write_secret(path, json.dumps(record, indent=2) + "\n")


def read_record(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None when there is no such file."""
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return record if isinstance(record, dict) else None


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold `path` alone; the kernel lets go when the process dies.

    When another process holds it: wait for it, or raise BlockingIOError at once.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


class Lease:
    """A share in something that the last holder puts away; held in the kernel, so a killed holder lets go too."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> bool:
        """Let go. True when nobody else held it; ask only while holding the lock that guards taking leases."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(self._descriptor)


def held(path: Path) -> bool:
    """Whether any process holds a lease on, or the lock of, `path`."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
