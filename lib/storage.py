"""What is too large for a row: files below DATA_DIR, or whatever Django's storages API has a backend for.

What is put here is sealed by whoever puts it. A link to it is signed and expires; it opens one thing, for anybody who
holds it.
"""

import asyncio
import datetime
import os
import secrets
import uuid
from contextlib import suppress
from pathlib import Path

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.core.signing import BadSignature, Signer

PATH = "/r/"
"""Where links lead, below BASE_URL."""


class Missing(Exception):
    """There is nothing under that key."""


class Away(Exception):
    """The storage failed, each kind with an error of its own."""


def new_key(job_id: uuid.UUID, now: datetime.datetime) -> str:
    """A key that no other attempt at the same job writes to. By days, so that what nobody names can be cleared."""
    return f"{now:%Y-%m-%d}/{job_id}-{secrets.token_hex(8)}"


async def put(key: str, data: bytes) -> None:
    """Keep `data`; when this returns it is on disk, or with the storage service."""
    await asyncio.to_thread(_write, key, data)


async def get(key: str) -> bytes:
    """What was put; raises Missing, or Away."""
    return await asyncio.to_thread(read, key)


def read(key: str) -> bytes:
    """The same for threads."""
    try:
        with _storage().open(key) as file:
            found: bytes = file.read()
            return found
    except FileNotFoundError:
        raise Missing(key) from None
    except Exception as problem:
        raise Away(f"the storage of results failed: {type(problem).__name__}") from problem


def delete(key: str) -> None:
    """For threads. What is gone already is no error."""
    _storage().delete(key)


def clear(before: datetime.date) -> None:
    """Delete whole days, for threads: what was put and never named in a row, as its process died in between."""
    storage = _storage()
    with suppress(FileNotFoundError):
        for day in storage.listdir("")[0]:
            if _is_before(day, before):
                for name in storage.listdir(day)[1]:
                    storage.delete(f"{day}/{name}")
                storage.delete(day)


def signed(tenant_id: int, job_id: uuid.UUID, expires_at: datetime.datetime) -> str:
    """The path of a link to a job's result, good until then; the same path each time."""
    return PATH + _signer().sign_object([tenant_id, job_id.hex, int(expires_at.timestamp())])


def opened(token: str, now: datetime.datetime) -> tuple[int, uuid.UUID] | None:
    """The tenant and the job that a link's token names; None for what is expired, or was not signed here."""
    try:
        tenant_id, job, expires_at = _signer().unsign_object(token)
    except (BadSignature, ValueError):
        return None
    return (tenant_id, uuid.UUID(job)) if now.timestamp() < expires_at else None


def _signer() -> Signer:
    return Signer(salt="lib.storage", sep=".")


def _storage() -> Storage:
    return storages["results"]


def _write(key: str, data: bytes) -> None:
    storage = _storage()
    name = storage.save(key, ContentFile(data))
    with suppress(NotImplementedError):  # storages that are no folder have no paths
        _sync(Path(storage.path(name)), Path(storage.path("")))


def _sync(file: Path, root: Path) -> None:
    """Through the file, its folder and the one that names its folder, as the first of a day made it, to the disk: the
    row that names the file will be there after a power cut."""
    for path in (file, file.parent, file.parent.parent):
        if not path.is_relative_to(root):
            break
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_before(day: str, before: datetime.date) -> bool:
    try:
        return datetime.date.fromisoformat(day) < before
    except ValueError:
        return False
