"""Gathering: work of concurrent callers done in one statement.

While one batch is under way the next one collects, so an idle hub answers at once and a busy one does one round trip
(and, for the ledger, one commit) for many callers.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Batch(Generic[In, Out]):
    """`await batch(item)` gives the item's own result of `work(items)`, or raises what `work` raised.

    work: takes up to `most` items, gives one result for each, in order. It may give an exception as a result: that
    item's caller gets it raised.
    room: how many items may wait; further callers wait for room, so a burst slows callers and loses nothing.
    A caller that is cancelled leaves its item in: it is still done.
    """

    def __init__(
        self, work: Callable[[Sequence[In]], Awaitable[Sequence[Out | BaseException]]], *, most: int, room: int
    ):
        self._work = work
        self._most = most
        self._room = room
        self._waiting: deque[tuple[In, asyncio.Future[Out]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._space = asyncio.Condition()

    async def __call__(self, item: In) -> Out:
        return await (await self.put(item))

    async def put(self, item: In) -> asyncio.Future[Out]:
        """Hand the item in and get the future of its result. Cancelled before it returns, the item is not in."""
        while len(self._waiting) >= self._room:
            async with self._space:
                await self._space.wait_for(lambda: len(self._waiting) < self._room)
        future: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return future

    def __len__(self) -> int:
        """How many items wait for their turn."""
        return len(self._waiting)

    async def drain(self) -> None:
        """Wait until everything that was handed in is done."""
        while self._runner is not None:
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                if len(self._waiting) + len(taken) >= self._room:
                    async with self._space:
                        self._space.notify_all()
                self._settle(taken, await self._attempt([item for item, _ in taken]))
        finally:
            self._runner = None

    async def _attempt(self, items: list[In]) -> Sequence[Out | BaseException]:
        try:
            results = await self._work(items)
        except Exception as problem:
            return [problem] * len(items)
        except BaseException as problem:
            # The loop is being taken down: whoever waits must not wait for ever.
            self._settle(list(self._waiting), [problem] * len(self._waiting))
            self._waiting.clear()
            return [problem] * len(items)
        if len(results) != len(items):
            return [RuntimeError(f"{len(results)} results for {len(items)} items")] * len(items)
        return results

    @staticmethod
    def _settle(taken: list[tuple[In, asyncio.Future[Out]]], results: Sequence[Out | BaseException]) -> None:
        for (_, future), result in zip(taken, results, strict=True):
            if future.done():
                continue
            if isinstance(result, asyncio.CancelledError):
                future.cancel()
            elif isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
