"""Celery tasks (functions that Celery calls; a job is a row). A message carries nothing but its task's name."""

import time

from celery import shared_task

from jobs import chores, wake
from jobs.hooks import deliver_due
from jobs.worker import runtime
from jobs.worker.attempt import Attempt
from lib import db

SPELL = 30.0
"""Seconds after which a busy worker rings again and takes another message, so that chores get their turn too."""


@shared_task(name="jobs.work")  # type: ignore[untyped-decorator]
def work() -> None:
    """Claim and run, until there is nothing to claim."""
    worker = runtime.worker()
    until = time.monotonic() + SPELL
    try:
        while worker.stopping_since is None and time.monotonic() < until:
            claim = worker.claim()
            if claim is None:
                return
            Attempt(worker, claim).run()
    except db.UNREACHABLE:
        return  # the sweep rings when Postgres is back
    wake.ring_now()


@shared_task(name="jobs.sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    runtime.worker().spawn("sweep", chores.sweep)


@shared_task(name="jobs.forget")  # type: ignore[untyped-decorator]
def forget() -> None:
    runtime.worker().spawn("forget", chores.forget)


@shared_task(name="jobs.deliver")  # type: ignore[untyped-decorator]
def deliver() -> None:
    runtime.worker().spawn("deliver", deliver_due)
