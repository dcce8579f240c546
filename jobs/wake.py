"""Calling workers. A bell names no job: who hears it claims whichever is due, so a lost or doubled one does no harm."""

import asyncio
import logging
from weakref import WeakKeyDictionary

from celery import current_app

from tools.threads import Crew

log = logging.getLogger(__name__)

QUEUE = "jobs"
_MOST = 32
"""Bells at once. Who hears one goes on claiming, and what nobody heard of is rung for again by the sweep."""

_crew = Crew("jobs.wake", 2)
_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, "_Bell"] = WeakKeyDictionary()


class _Bell:
    """What is to be rung on one event loop, by one task at a time; it is kept here, or it could be collected."""

    def __init__(self) -> None:
        self.due = 0
        self._ringer: asyncio.Task[None] | None = None

    def ring(self) -> None:
        if self._ringer is None or self._ringer.done():
            self._ringer = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        while self.due:
            count, self.due = self.due, 0
            await _crew.run(ring_now, count)


async def ring(count: int = 1) -> None:
    """Call for so many workers. Returns at once, and never raises: when the broker is away, the sweep rings later."""
    if count > 0:
        bell = _bells.setdefault(asyncio.get_running_loop(), _Bell())
        bell.due = min(bell.due + count, _MOST)
        bell.ring()


def ring_now(count: int = 1) -> None:
    """The same for threads; waits for the broker, some seconds at the most."""
    try:
        for _ in range(min(count, _MOST)):
            current_app.send_task("jobs.work", queue=QUEUE, retry=False)
    except Exception as problem:  # whatever the broker's client raises
        log.warning("no worker could be called: %s", type(problem).__name__)
