"""What a running tool says to whoever follows its job: progress at once by the bus, and for those who look later by
the row, which the watchdog writes. It also asks, keeps what an upstream calls the work, and is called back."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

import orjson
from django.conf import settings

from jobs import asking
from jobs.worker.called import Calls
from jobs.worker.runtime import Claim
from lib import db, events, redact
from tools.values import Question, Reply

PUBLISHED_EVERY = 0.25
"""Seconds between two tellings of progress; the first and the last are always told."""
_MESSAGE = 200

_KEEP: LiteralString = "SELECT jobs_beat(%s, %s, %s, NULL, NULL, NULL, %s)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What was said last."""

    progress: float
    total: float | None
    message: str | None


class JobReport:
    """A `tools.values.Report` that also `Asks`, is `Resumable` and `CalledBack`. On the tools' event loop.

    on_news: called when there is something for the row, which the watchdog takes with `take`. lasting: seconds that all
    its attempts may take.
    """

    def __init__(
        self,
        claim: Claim,
        upstream: Mapping[str, Any] | None,
        on_news: Callable[[], None],
        *,
        lasting: float = 0.0,
    ):
        self.handed_back = False
        self._calls = Calls(claim, upstream, lasting)
        self._claim = claim
        self._upstream = upstream
        self._on_news = on_news
        self._said: Said | None = None
        self._written: Said | None = None
        self._untold: Said | None = None
        self._teller: asyncio.Task[None] | None = None
        self._told = 0.0
        self._highest = -math.inf

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Keep the newest; what does not grow is dropped, as hosts may rely on it."""
        if not math.isfinite(progress) or progress <= self._highest:
            return
        self._highest = progress
        said = Said(
            progress=float(progress),
            total=float(total) if total is not None and math.isfinite(total) else None,
            message=None if message is None else _storable(message),
        )
        before, self._said, self._untold = self._said, said, said
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._tell())
        if before is self._written:
            self._on_news()

    async def log(self, level: str, data: Any) -> None:
        text = data if isinstance(data, str) else orjson.dumps(data, default=str).decode()
        await events.publish(self._event("log", message=_storable(text, events.LOG_MESSAGE), level=level))

    @property
    def unwritten(self) -> bool:
        return self._said is not self._written

    def take(self) -> Said | None:
        """What the row does not know yet, until it is `written`; both for the watchdog's thread."""
        return self._said if self.unwritten else None

    def written(self, said: Said) -> None:
        """The row knows this now, and not what was said since."""
        self._written = said

    async def flush(self) -> None:
        """Return when everything that was said is told."""
        while self._teller is not None and not self._teller.done():
            self._told = 0.0
            await asyncio.wait([self._teller])

    @property
    def upstream(self) -> Mapping[str, Any] | None:
        return self._upstream

    async def keep(self, upstream: Mapping[str, Any]) -> None:
        """Insists until Postgres has it: without it nobody could go on with the work."""
        kept = {**upstream, **self._calls.named}
        parameters = [self._claim.job, self._claim.fence, settings.JOBS_LEASE, orjson.dumps(kept).decode()]
        while True:
            try:
                await db.lane("jobs keep").fetch(_KEEP, parameters)
                break
            except db.UNREACHABLE:
                await asyncio.sleep(0.2)
        self._upstream = kept

    def callback_url(self) -> str:
        return self._calls.url()

    async def called_back(self, seconds: float) -> bytes | None:
        return await self._calls.next(seconds)

    def called(self, *, surely: bool) -> None:
        """The upstream has called back, or may have: then it is at the work, and another attempt can go on with it."""
        if surely and self._upstream is None:
            self._upstream = self._calls.named or None
        self._calls.look()

    async def ask(self, questions: Mapping[str, Question]) -> Mapping[str, Reply]:
        claim = self._claim
        return await asking.ask(claim.tenant_id, claim.job, claim.fence, questions)

    async def _tell(self) -> None:
        """Tell what is newest, again after a pause while there is something newer."""
        while (said := self._untold) is not None:
            pause = self._told + PUBLISHED_EVERY - time.monotonic()
            if pause > 0:
                await asyncio.sleep(min(pause, 0.01))
                continue
            self._untold, self._told = None, time.monotonic()
            await events.publish(
                self._event("progress", progress=said.progress, total=said.total, message=said.message or "")
            )

    def _event(self, kind: events.Kind, **said: Any) -> events.Event:
        return events.Event(tenant_id=self._claim.tenant_id, job_id=self._claim.job, kind=kind, **said)


def _storable(text: str, most: int = _MESSAGE) -> str:
    """What Postgres can hold and others may read, as it lies in the row and goes through the bus in clear: no NUL, no
    lone halves of surrogate pairs, nothing that looks like a secret, and so many characters."""
    return redact.secrets(text[: 2 * most].replace("\x00", " "))[:most]
