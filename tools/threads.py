"""Threads for work that would hold up the event loop, counted so that nobody's work takes them all.

anyio lends threads under one limit for all work on an event loop, and no longer counts a thread that was abandoned
while it still runs. Here the tenant pays for a thread until the thread is done, and work of the hub's own has limits of
its own.
"""

import asyncio
import contextlib
import functools
import math
import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

Given = TypeVarTuple("Given")
Gives = TypeVar("Gives")

PER_TENANT = 8
TOTAL = 64


class Busy(Exception):
    """No thread became free in time; nothing was started."""


class Crew:
    """So many threads at a time for one sort of the hub's own work, on each event loop."""

    def __init__(self, name: str, size: int):
        self._size = size
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar(name)
        self._turns: RunVar[WeakValueDictionary[int, asyncio.Lock]] = RunVar(f"{name}, by tenant")

    async def run(self, work: Callable[[*Given], Gives], *given: *Given) -> Gives:
        """The work's result. A thread cannot be stopped, so the work has to be bounded by itself."""
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(self._size)
            self._limiter.set(limiter)
        return await anyio.to_thread.run_sync(work, *given, limiter=limiter)

    async def run_for(self, tenant_id: int, work: Callable[[*Given], Gives], *given: *Given) -> Gives:
        """The same for a tenant, whose work is done one after the other: however much it has, it stands in the way of
        others with one piece."""
        turns = self._turns.get(None)
        if turns is None:
            turns = WeakValueDictionary()
            self._turns.set(turns)
        async with turns.setdefault(tenant_id, asyncio.Lock()):
            return await self.run(work, *given)


class _Loan:
    """A thread lent to one call: given back once, by the thread when it ends or by the loop when it never began."""

    def __init__(self, give_back: Callable[[], None]):
        self._give_back = give_back
        self._loop = asyncio.get_running_loop()
        self._turn = threading.Lock()
        self._began = self._dropped = False

    def work(self, work: Callable[[], Gives]) -> Gives:
        """Runs in the thread."""
        with self._turn:
            if self._dropped:
                raise Busy  # read by nobody: the caller is gone
            self._began = True
        try:
            return work()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the count with it
                self._loop.call_soon_threadsafe(self._give_back)

    def drop(self) -> None:
        """Runs in the loop when the caller goes away."""
        with self._turn:
            self._dropped = True
            if not self._began:
                self._give_back()


class _Threads:
    """The threads of one event loop. A tenant is known here only while it uses or waits for one."""

    def __init__(self) -> None:
        self._total = anyio.CapacityLimiter(TOTAL)
        self.tenants: dict[int, anyio.CapacityLimiter] = {}
        self._unlimited = anyio.CapacityLimiter(math.inf)

    @property
    def lent(self) -> int:
        return self._total.borrowed_tokens

    async def run(self, tenant_id: int, work: Callable[[], Gives], patience: float) -> Gives:
        own = self.tenants.setdefault(tenant_id, anyio.CapacityLimiter(PER_TENANT))
        borrower = object()
        try:
            with anyio.fail_after(patience):
                await self._borrow(own, borrower)
        except TimeoutError:
            raise Busy from None
        finally:
            self._forget(tenant_id, own)
        loan = _Loan(functools.partial(self._give_back, tenant_id, own, borrower))
        try:
            # A thread cannot be killed: when the caller is gone it is left behind, and still counted.
            return await anyio.to_thread.run_sync(
                functools.partial(loan.work, work), abandon_on_cancel=True, limiter=self._unlimited
            )
        except BaseException:
            loan.drop()
            raise

    async def _borrow(self, own: anyio.CapacityLimiter, borrower: object) -> None:
        """The tenant's own limit first, so that its queue stands in nobody else's way."""
        await own.acquire_on_behalf_of(borrower)
        try:
            await self._total.acquire_on_behalf_of(borrower)
        except BaseException:
            own.release_on_behalf_of(borrower)
            raise

    def _give_back(self, tenant_id: int, own: anyio.CapacityLimiter, borrower: object) -> None:
        self._total.release_on_behalf_of(borrower)
        own.release_on_behalf_of(borrower)
        self._forget(tenant_id, own)

    def _forget(self, tenant_id: int, own: anyio.CapacityLimiter) -> None:
        if not own.borrowed_tokens and not own.statistics().tasks_waiting:
            self.tenants.pop(tenant_id, None)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()


def of_loop() -> _Threads:
    """The threads of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        _of_loops[loop] = _Threads()
    return _of_loops[loop]


async def run_for(tenant_id: int, work: Callable[[], Gives], *, patience: float) -> Gives:
    """Run a tenant's work in a thread and return its result; cancelled, it leaves the thread behind.

    patience: seconds to wait for a thread to become free, after which it raises Busy.
    """
    return await of_loop().run(tenant_id, work, patience)


def lent(loop: asyncio.AbstractEventLoop) -> int:
    """How many threads of this event loop are lent, those that were left behind included; may be asked anywhere."""
    of = _of_loops.get(loop)
    return of.lent if of is not None else 0
