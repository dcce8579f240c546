"""What an upstream calls back with, as the attempt that waits for it reads it."""

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, LiteralString

from jobs import callbacks
from jobs.callbacks import Ticket
from jobs.worker.runtime import Claim
from lib import db, seal

_MARGIN = 3600.0
"""Seconds that a URL outlasts its job's attempts, which may have to wait for a worker. It ends with the job anyway."""
_LOOK = 30.0
"""Seconds after which it is looked for without any news, as Postgres may have been away."""

# One that was given is dropped when the next is asked for, by nobody but the holder. No other work's.
_NEXT: LiteralString = (
    "WITH held AS (SELECT j.id FROM jobs_job j WHERE j.id = %(job)s AND j.fence = %(fence)s),"
    " heard AS (DELETE FROM jobs_callback c USING held h WHERE c.job_id = h.id AND c.id <= %(last)s)"
    " SELECT c.id, c.body FROM jobs_callback c JOIN held h ON c.job_id = h.id"
    " WHERE c.start = %(start)s AND c.id > %(last)s ORDER BY c.id LIMIT 1"
)


class Calls:
    """The call-backs of one job, for the attempt that runs it. On the tools' event loop.

    upstream: what an earlier attempt kept; the URL is then the one that the upstream was given.
    """

    def __init__(self, claim: Claim, upstream: Mapping[str, Any] | None, lasting: float):
        begun = callbacks.start_in(upstream) or (claim.fence, math.ceil(time.time() + lasting + _MARGIN))
        self._claim = claim
        self._ticket = Ticket(tenant_id=claim.tenant_id, job_id=claim.job, start=begun[0], until=begun[1])
        self._given = False
        self._last = 0
        self._news = asyncio.Event()

    def url(self) -> str:
        self._given = True
        return callbacks.url_of(self._ticket)

    @property
    def named(self) -> dict[str, Any]:
        """What the job's row has to keep for another attempt to go on; nothing before the URL was asked for."""
        return callbacks.named(self._ticket) if self._given else {}

    def look(self) -> None:
        """There is something, or may be."""
        self._news.set()

    async def next(self, seconds: float) -> bytes | None:
        """See `tools.values.CalledBack`."""
        end = time.monotonic() + seconds
        while True:
            self._news.clear()
            body = await self._read()
            left = end - time.monotonic()
            if body is not None or left <= 0:
                return body
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK)):
                    await self._news.wait()

    async def _read(self) -> bytes | None:
        """The oldest that was not given yet. None also while Postgres is away; the listener says when it is back."""
        asked = {
            "job": self._claim.job,
            "fence": self._claim.fence,
            "start": self._ticket.start,
            "last": self._last,
        }
        try:
            async with db.tenant_write(self._claim.tenant_id) as conn:
                row = await (await conn.execute(_NEXT, asked)).fetchone()
        except db.UNREACHABLE:
            return None
        if row is None:
            return None
        self._last = row[0]
        return seal.unseal(row[1]).encode()
