"""Every process hears of a kill switch, and stops what it runs of what was switched off.

A notification only says that there is something to look at: what is judged is how things are now, so one that was lost,
or came twice, changes nothing. Who could not listen for a while looks as well, once it can.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import LiteralString

from lib import db, events
from tools import running
from tools.running import Run

log = logging.getLogger(__name__)

_KILLED: LiteralString = (
    "SELECT place FROM oversight_killed(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])"
)
_RUN_ON = "calls that a kill switch stops run on in this process until Postgres tells which they are"
_SILENCE = 3600.0
_PAUSES = (0.2, 0.2, 0.4, 1.0)
"""Seconds between attempts, where Postgres did not tell what is switched off; the last one goes on."""


@asynccontextmanager
async def open_watch() -> AsyncIterator[None]:
    """Obey switches on the running event loop, inside `events.open_bus`."""
    running.configure(_killed)
    async with events.watch(events.EVERY_TENANT, events.NO_JOB) as news:
        obeying = asyncio.create_task(_obey(news), name="kill switches")
        try:
            yield
        finally:
            obeying.cancel()
            await asyncio.gather(obeying, return_exceptions=True)


async def _obey(news: events.Events) -> None:
    """What could not be looked at is owed, and looked at again until it was, as nobody tells of a switch twice."""
    owed: set[int] = set()
    failures = 0
    while True:
        event = await news.get(_PAUSES[min(failures, len(_PAUSES)) - 1] if owed else _SILENCE)
        if event is not None:
            owed.add(event.tenant_id)
        owed = {tenant_id for tenant_id in owed if not await _stop(tenant_id, known=failures > 0)}
        failures = failures + 1 if owed else 0


async def _stop(tenant_id: int, *, known: bool) -> bool:
    """Whether what runs was looked at. known: the log says already that it cannot be."""
    try:
        await running.kill(None if tenant_id == events.EVERY_TENANT else tenant_id)
    except db.UNREACHABLE:
        if not known:
            log.warning(_RUN_ON)
        return False
    except Exception:  # or no switch would be heard of from here on
        if not known:
            log.exception(_RUN_ON)
        return False
    return True


async def _killed(runs: Sequence[Run]) -> Sequence[Run]:
    rows = await db.lane("killed").fetch(
        _KILLED,
        [
            [run.caller.tenant_id for run in runs],
            [run.caller.member_id for run in runs],
            [run.caller.client_id for run in runs],
            [run.tool.version_id for run in runs],
            [run.tool.connection.id if run.tool.connection else 0 for run in runs],
        ],
    )
    return [runs[place - 1] for (place,) in rows]
