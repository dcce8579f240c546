"""Small regular work about jobs. Done by a worker when beat says so, and by every process now and then, so that a dead
beat costs nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from jobs import confirming, wake
from lib import db, storage

log = logging.getLogger(__name__)

_MOST_ROUNDS = 50
"""Batches that are forgotten in a row, of a thousand jobs each."""
_LONGEST_KEPT = timedelta(days=32)
"""No result is kept longer (`tools.Definition.keep_hours`): what still lies there belongs to no row."""


async def sweep() -> None:
    """End what waited too long for a yes, take dead workers' jobs from them, call for what nobody was called for."""
    await _each(
        ("held calls whose time is over wait on", _lapse),
        ("dead workers' jobs, and jobs that no worker heard of, wait on", _sweep),
    )


async def _lapse() -> None:
    await db.lane("jobs sweep").fetch("SELECT jobs_lapse()", [])


async def _sweep() -> None:
    rows = await db.lane("jobs sweep").fetch("SELECT jobs_sweep(%s)", [settings.JOBS_LEASE])
    await wake.ring(int(rows[0][0]))


def sweep_seconds() -> float:
    """How often to sweep: several times within a lease, or nobody could be judged (see `jobs_sweep`)."""
    return min(5.0, float(settings.JOBS_LEASE) / 3)


async def forget() -> None:
    """Drop what was kept of jobs whose time is over, questions that are, and what lies in storage and no row has named
    for too long."""
    await _each(
        ("jobs whose time is over are kept on", _forget),
        ("questions whose time is over are kept on", confirming.forget),
        ("results that no row names are kept on", _clear),
    )


async def _forget() -> None:
    for _ in range(_MOST_ROUNDS):
        ((keys, more),) = await db.lane("jobs forget").fetch("SELECT keys, more FROM jobs_forget()", [])
        deleted = [await asyncio.to_thread(_deleted, key) for key in keys]
        if not more or not all(deleted):
            break


async def _clear() -> None:
    await asyncio.to_thread(storage.clear, (timezone.now() - _LONGEST_KEPT).date())


async def _each(*steps: tuple[str, Callable[[], Awaitable[None]]]) -> None:
    """These steps, each after what is so when it fails. None keeps the ones behind it from being done, and the next
    round tries it again."""
    for otherwise, step in steps:
        try:
            await step()
        except db.UNREACHABLE:
            log.warning("%s: Postgres did not answer", otherwise)
        except Exception:  # each storage and each broker has errors of its own
            log.exception("%s", otherwise)


def _deleted(key: str) -> bool:
    """No row names it any more, so one that the storage keeps must not keep the others; it goes with its day."""
    try:
        storage.delete(key)
    except Exception as problem:  # each storage has errors of its own
        log.warning("a result that is over could not be deleted: %s", type(problem).__name__)
        return False
    return True
