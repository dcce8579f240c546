"""Small regular work about jobs. Done by a worker when beat says so, and by every process now and then, so that a dead
beat costs nothing."""

import asyncio
import logging
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
    """Take dead workers' jobs from them, let run out what waited too long, and call for what nobody was called for."""
    lane = db.lane("jobs sweep")
    await lane.fetch("SELECT jobs_lapse()", [])
    rows = await lane.fetch("SELECT jobs_sweep(%s)", [settings.JOBS_LEASE])
    await wake.ring(int(rows[0][0]))


def sweep_seconds() -> float:
    """How often to sweep: several times within a lease, or nobody could be judged (see `jobs_sweep`)."""
    return min(5.0, float(settings.JOBS_LEASE) / 3)


async def forget() -> None:
    """Drop what was kept of jobs whose time is over, questions that are, and what lies in storage and no row has named
    for too long."""
    for _ in range(_MOST_ROUNDS):
        ((keys, more),) = await db.lane("jobs forget").fetch("SELECT keys, more FROM jobs_forget()", [])
        deleted = [await asyncio.to_thread(_deleted, key) for key in keys]
        if not more or not all(deleted):
            break
    await confirming.forget()
    await asyncio.to_thread(storage.clear, (timezone.now() - _LONGEST_KEPT).date())


def _deleted(key: str) -> bool:
    """No row names it any more, so one that the storage keeps must not keep the others; it goes with its day."""
    try:
        storage.delete(key)
    except Exception as problem:  # each storage has errors of its own
        log.warning("a result that is over could not be deleted: %s", type(problem).__name__)
        return False
    return True
