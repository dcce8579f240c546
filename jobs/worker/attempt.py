"""One attempt at a job. The tool runs in the event loop's thread; the main thread watches over it on its own line to
Postgres, so that a tool which holds the loop up cannot stop its own sign of life, nor its end."""

import asyncio
import logging
import math
import os
import random
import time
import traceback
from dataclasses import dataclass
from typing import Any, LiteralString

import orjson
from django.conf import settings

from access.standing import asked
from audit.models import Event
from audit.writer import LedgerUnavailable, writer
from jobs import results
from jobs.models import State
from jobs.worker.report import JobReport
from jobs.worker.runtime import Claim, Worker
from jobs.worker.stopping import ASKED_AFTER
from jobs.worker.taken import End, Taken, broken, take
from lib import db, events
from policy.values import Refusal
from tools import calls, threads
from tools.errors import passing
from tools.values import Result

log = logging.getLogger(__name__)

ENDED_BY_FORCE = 70
"""The exit code of a process that ended itself, as its tool would not."""

_MOST_BEAT = 3.0
_WRITTEN_EVERY = 1.0
"""Seconds between two writings of progress into the row."""
_LOOK = 0.05
_BEAT_SECONDS = 2.0
_WAIT_FOR_LEDGER = 2.0

_BEGIN: LiteralString = "SELECT jobs_begin(%s, %s)"
_BEAT: LiteralString = "SELECT jobs_beat(%s, %s, %s, %s, %s, %s, NULL), true"
_BEAT_AND_STAND: LiteralString = (
    "SELECT jobs_beat(%s, %s, %s, %s, %s, %s, NULL), EXISTS (SELECT FROM access_standing(%s, %s, %s, %s))"
)
_FINISH: LiteralString = "SELECT jobs_finish(%s, %s, %s, %s, %s, %s, %s, %s)"
_RELEASE: LiteralString = "SELECT jobs_release(%s, %s, %s, %s, %s)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Back:
    """To be run again in so many seconds. counted: whether this was one of its attempts."""

    seconds: float
    counted: bool
    reason: str


class _Unsaid:
    """It was not begun, and only the row knows why."""


Verdict = End | Back | _Unsaid


class Attempt:
    """`run` returns when the job's end, or its return to the queue, is written; or ends the process."""

    def __init__(self, worker: Worker, claim: Claim):
        self._worker = worker
        self._claim = claim
        self._task: asyncio.Task[Verdict]
        self._taken: Taken | None = None
        self._report: JobReport | None = None
        self._entered = False
        self._over = False
        self._verdict: Verdict | None = None
        self._why = ""
        """Why the tool is to stop: `cancelled`, `standing_lost`, `hub_stopped`, `lost`."""
        self._end_at = math.inf
        """When the process ends, if the tool has not."""
        self._look = False
        self._beaten = self._tried = time.monotonic()

    def run(self) -> None:
        self._worker.loop.call_soon_threadsafe(self._start)
        self._watch()
        obeyed = not self._running()
        if self._report is not None and self._report.unwritten:
            self._beat()
        self._write(self._judge(obeyed))
        if not obeyed:
            log.error("the tool of job %s did not stop; its process ends", self._claim.job)
            logging.shutdown()
            os._exit(ENDED_BY_FORCE)

    # In the event loop's thread.

    def _start(self) -> None:
        self._task = self._worker.loop.create_task(self._work(), name=f"job {self._claim.job}")
        self._task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Verdict]") -> None:
        if not task.cancelled():
            problem = task.exception()
            if problem is not None:
                # Without what the exception says, which may be arguments or secrets.
                places = "".join(traceback.format_tb(problem.__traceback__))
                log.error("job %s failed in the hub: %s\n%s", self._claim.job, type(problem).__name__, places)
                self._verdict = broken("The hub failed while it ran this job. Tell an admin of this tenant.")
            else:
                self._verdict = task.result()
        self._over = True
        self._worker.nudge()

    async def _work(self) -> Verdict:
        async with events.watch(self._claim.tenant_id, self._claim.job, runs=True) as news:
            listening = asyncio.create_task(self._listen(news))
            try:
                return await self._attempt()
            finally:
                listening.cancel()

    async def _listen(self, news: events.Events) -> None:
        """A cancellation is heard of at once; the watchdog's beat finds it too. So is what the upstream calls back."""
        while True:
            event = await news.get(60.0)
            if event is not None and event.kind in {"cancel", "resync"}:
                self._look = True
                self._worker.nudge()
            if event is not None and event.kind in {"called", "resync"} and self._report is not None:
                self._report.called(surely=event.kind == "called")

    async def _attempt(self) -> Verdict:
        try:
            taken = await take(self._claim)
        except db.UNREACHABLE:
            return Back(seconds=_WAIT_FOR_LEDGER, counted=False, reason="")
        if isinstance(taken, End):
            return taken
        self._report = report = JobReport(
            self._claim, taken.upstream, self._worker.nudge, lasting=taken.ready.tool.timeout * taken.most_attempts
        )
        self._taken = taken
        try:
            result = await calls.execute(taken.ready, report=report, before=self._begin, job=self._claim.job)
        except LedgerUnavailable:
            return Back(seconds=_WAIT_FOR_LEDGER, counted=False, reason="ledger_unavailable")
        await report.flush()
        if isinstance(result, Refusal):
            return _refused(result)
        if _again(taken, result):
            return Back(seconds=backoff(taken.attempt), counted=True, reason=result.reason)
        kept = await results.keep(self._claim.job, taken.ready.tool, result)
        state = State.FAILED if result.is_error else State.SUCCEEDED
        return End(state=state, reason=result.reason, result=kept.inline, key=kept.key, size=kept.size)

    async def _begin(self) -> bool:
        """The line between what may always be run again and what may be run once. Asked until it is answered."""
        while True:
            try:
                ((begun,),) = await db.lane("jobs begin").fetch(_BEGIN, [self._claim.job, self._claim.fence])
            except db.UNREACHABLE:
                await asyncio.sleep(0.1)
            else:
                self._entered = bool(begun)
                return self._entered

    # In the main thread.

    def _running(self) -> bool:
        """Whether something of the tool still runs; a sync function may outlive the call that gave up on it."""
        return not self._over or threads.lent(self._worker.loop) > 0

    def _watch(self) -> None:
        """Until nothing of the tool runs, or until it is to end by force."""
        while self._running():
            now = time.monotonic()
            self._mind_stopping(now)
            if self._over and self._end_at == math.inf:
                self._end_at = now + settings.JOBS_GRACE
            if now >= self._end_at:
                return
            if self._look or now >= self._next_beat():
                self._beat()
                self._worker.sign()
            self._worker.rest(self._pause())

    def _next_beat(self) -> float:
        unwritten = self._report is not None and self._report.unwritten
        regular = self._beaten + min(_MOST_BEAT, settings.JOBS_LEASE / 5)
        return min(regular, self._tried + _WRITTEN_EVERY) if unwritten else regular

    def _pause(self) -> float:
        due = min(self._next_beat(), self._end_at, self._stop_at())
        return min(due - time.monotonic(), _LOOK) if self._over else due - time.monotonic()

    def _beat(self) -> None:
        """Give a sign of life with what progress there is, and hear whether to go on."""
        self._look = False
        self._beaten = time.monotonic()
        said = self._report.take() if self._report is not None else None
        if said is not None:
            self._tried = self._beaten
        told = (said.progress, said.total, said.message) if said is not None else (None, None, None)
        query, parameters = _BEAT, [self._claim.job, self._claim.fence, settings.JOBS_LEASE, *told]
        if self._taken is not None:
            caller = self._taken.ready.caller
            query = _BEAT_AND_STAND
            parameters += asked(caller.tenant_id, caller.member_id, caller.credential)
        try:
            verdict, stands = self._worker.line.ask(query, parameters, seconds=_BEAT_SECONDS) or ("lost", True)
        except db.UNREACHABLE:
            return  # the tool goes on; whether the lease is lost will be seen, and what was said is written then
        if said is not None and self._report is not None:
            self._report.written(said)
        if verdict == "lost":
            self._stop("lost")
        elif verdict == "cancel":
            self._stop("cancelled")
        elif verdict == "stop" or not stands:
            self._stop("standing_lost")

    def _stop_at(self) -> float:
        """When a stopping worker's job has to stop too."""
        if self._why:
            return math.inf
        return self._worker.drained_at + (0.0 if self._may_go_back() else ASKED_AFTER)

    def _mind_stopping(self, now: float) -> None:
        self._end_at = min(self._end_at, self._worker.killed_at)
        if now >= self._stop_at():
            self._stop("hub_stopped")

    def _stop(self, why: str) -> None:
        """Ask the tool to stop; what is asked first counts, but for a lost lease, after which nothing is written."""
        if why == "lost" or not self._why:
            first, self._why = not self._why, why
            if self._report is not None:
                self._report.handed_back = why in {"hub_stopped", "lost"}
            if first:
                self._end_at = min(self._end_at, time.monotonic() + settings.JOBS_GRACE)
                self._worker.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._task.cancel()

    def _may_go_back(self) -> bool:
        if not self._entered or self._taken is None:
            return True
        return self._taken.repeatable or (self._report is not None and self._report.upstream is not None)

    def _judge(self, obeyed: bool) -> End | Back | None:
        """What to write; None when the lease was lost and another writes."""
        verdict = self._verdict
        if isinstance(verdict, _Unsaid):
            self._beat()
            verdict = None
        if self._why == "lost":
            return None
        if isinstance(verdict, End):
            return verdict
        if self._why in {"cancelled", "standing_lost"}:
            forced = self._why == "cancelled" and not obeyed
            return End(state=State.CANCELLED, reason="ended_by_force" if forced else self._why)
        if isinstance(verdict, Back):
            return verdict
        if self._may_go_back() and (self._why or not self._entered):
            return Back(seconds=0.0, counted=False, reason=self._why)
        if self._why:
            return End(state=State.INTERRUPTED, reason="hub_stopped")
        return broken("The tool stopped itself without a result. Tell an admin of this tenant.")

    def _write(self, verdict: End | Back | None) -> None:
        if verdict is None:
            self._discard()
            return
        named: list[Any] = [self._claim.job, self._claim.fence]
        if isinstance(verdict, Back):
            query, parameters = _RELEASE, [*named, verdict.seconds, verdict.counted, verdict.reason]
        else:
            error = orjson.dumps(verdict.error).decode() if verdict.error is not None else None
            query = _FINISH
            parameters = [*named, verdict.state.value, verdict.reason[:64], verdict.result, verdict.key, verdict.size]
            parameters.append(error)
        try:
            written = self._worker.line.insist(query, parameters, going_on=self._may_wait)
        except db.UNREACHABLE:
            log.error("how job %s ended could not be written: Postgres is away", self._claim.job)  # noqa: TRY400
            return
        if written == ("lost",):
            self._discard()
        elif isinstance(verdict, Back):
            self._worker.ring_in(verdict.seconds)

    def _may_wait(self) -> bool:
        return time.monotonic() < self._worker.killed_at

    def _discard(self) -> None:
        """The lease was lost, so nothing of this attempt counts; the ledger says so where it had begun."""
        log.warning("job %s was taken from this worker; what it did is discarded", self._claim.job)
        taken = self._taken
        if self._entered and taken is not None:
            row = calls.row(taken.ready, Event.JOB_DISCARDED, job=self._claim.job)
            self._worker.spawn(f"discard {self._claim.job}", lambda: writer().conclude(row))


def _refused(refusal: Refusal) -> Verdict:
    """What becomes of a job that may not run now: it is put off where only a limit is full, and else it ends."""
    if refusal.reason == "cancelled":
        return _Unsaid()
    if refusal.reason in calls.WAITS:
        return Back(seconds=refusal.retry_after or 1.0, counted=False, reason=refusal.reason)
    granted = refusal.reason in {"unknown_tool", "insufficient_scope"}
    return End(state=State.CANCELLED, reason="standing_lost" if granted else refusal.reason)


def _again(taken: Taken, result: Result) -> bool:
    """Whether the tool failed in a way that may pass, and may be run again."""
    return result.is_error and taken.repeatable and taken.attempt < taken.most_attempts and passing(result.reason)


def backoff(attempt: int) -> float:
    """Seconds until the next attempt: growing, with jitter, so that what failed together does not return together."""
    return min(60.0, 0.5 * 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.5)  # noqa: S311 - it spreads load, it guards nothing
