"""What a process holds open while it serves calls or runs jobs: database pool, ledger writer, news of jobs, outbound
HTTP, small chores."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from django.conf import settings
from django.db import OperationalError

from access import clients
from access.admit import record_use
from audit.writer import open_writer
from jobs import chores as job_chores
from jobs import hooks, mails
from lib import db, events, fetch, rls, seal
from mcphub import celery, mail
from oversight.watching import open_watch
from policy.take import flush, forget

log = logging.getLogger(__name__)

Chore = Callable[[], Awaitable[None]]

CHORES = 10.0
"""Seconds between rounds of bookkeeping that no call waits for."""
SLOW_CHORES = 60.0
"""The same for what looks through whole tables or asks others."""
CHORES_END = 5.0
"""Seconds that bookkeeping has to end what it is at when the process ends."""


class Unsafe(Exception):
    """The hub refuses to start, because a promise could not be kept."""


Role = Literal["web", "worker"]

WORKER_POOL = 4
"""Connections that a worker's pool may have: it runs one job at a time."""


@asynccontextmanager
async def lifespan(role: Role = "web") -> AsyncIterator[None]:
    """Everything `tools.calls.run` and `jobs` need, on the running event loop; used by servers, commands, workers."""
    _check_secrets()
    _check_hosts()
    celery.app.set_default()  # what `jobs.wake` rings by, from whichever thread
    async with db.open_pool(size=settings.DATABASE_POOL if role == "web" else WORKER_POOL):
        await _check_role()
        async with open_writer(), events.open_bus(), open_watch(), _chores(role):
            yield


@asynccontextmanager
async def _chores(role: Role) -> AsyncIterator[None]:
    """Bookkeeping beside the calls. That of jobs is every process's, so that it goes on when beat does not."""
    ending = asyncio.Event()
    rounds = [(job_chores.sweep_seconds(), [job_chores.sweep]), (SLOW_CHORES, [job_chores.forget])]
    rounds += [(CHORES, [hooks.deliver_due]), (CHORES, [mails.send_due])]
    if role == "web":
        rounds += [(CHORES, [record_use, forget])]
        rounds += [(SLOW_CHORES, [clients.forget, _forget_sessions, clients.refresh_due])]
    tasks = [asyncio.create_task(_again_and_again(ending, seconds, *chores)) for seconds, chores in rounds]
    try:
        yield
    finally:
        ending.set()
        # What is in the middle of a statement may end it; only what waits for others is cut off.
        await asyncio.wait(tasks, timeout=CHORES_END)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(*db.UNREACHABLE):
            await record_use()
        await flush()
        await fetch.close()
        await asyncio.to_thread(mail.drain)


def _check_secrets() -> None:
    """Without these nothing could be signed or sealed; found out now rather than by the first who needs them."""
    if not all(settings.SEAL_KEYS):
        raise Unsafe("SECRET_KEY and SEAL_KEYS must be set; `make run` makes them, see docs/how-to/production.md.")
    try:
        seal.seal("")
    except seal.SealError as problem:
        raise Unsafe(str(problem)) from None


def _check_hosts() -> None:
    listed = {
        "ALLOWED_PRIVATE_HOSTS": frozenset(settings.ALLOWED_PRIVATE_HOSTS) - {"*"},
        "CLIENT_DOCUMENT_HOSTS": frozenset(settings.CLIENT_DOCUMENT_HOSTS),
    }
    for name, hosts in listed.items():
        try:
            fetch.allowance_of(hosts)
        except ValueError as problem:
            raise Unsafe(f"{name}: {problem}") from None


async def _check_role() -> None:
    async with db.pooled() as conn:
        why = await rls.why_not_bound(conn)
    if why:
        raise Unsafe(
            f"{why} Give DATABASE_URL a role without these rights and put the owner in DATABASE_OWNER_URL; "
            "see docs/how-to/production.md."
        )


async def _forget_sessions() -> None:
    """Delete the sessions of people that have run out; Django itself never does. Bounded, as Postgres is waited for."""
    async with db.pooled() as conn:
        await conn.execute(
            "DELETE FROM django_session WHERE session_key IN ("
            "SELECT session_key FROM django_session WHERE expire_date < now() LIMIT 10000 FOR UPDATE SKIP LOCKED)"
        )


async def _again_and_again(ending: asyncio.Event, seconds: float, *chores: Chore) -> None:
    """Do the chores in their order after each pause, until the end."""
    while not ending.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), seconds)
        for chore in chores:
            if ending.is_set():
                return
            try:
                await chore()
            except (*db.UNREACHABLE, OperationalError):
                log.warning("bookkeeping waits: Postgres cannot be reached")
            except Exception:  # a chore that fails must not end all later ones
                log.exception("bookkeeping failed")
