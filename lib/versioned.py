"""Snapshots by version: kept while the version stands, loaded once however many ask, bounded in number."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar

Snapshot = TypeVar("Snapshot")


class Versioned(Generic[Snapshot]):
    """`await versioned.get(key, version)`: the snapshot of `key` at `version` or later.

    load: takes a key, and reads the version and what belongs to it in one database snapshot. Whoever asks got `version`
    from the database in the same request, so a change is seen by the next request without any broadcast.
    """

    def __init__(self, load: Callable[[Any], Awaitable[tuple[int, Snapshot]]], *, most: int):
        self._load = load
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[int, Snapshot]] = OrderedDict()
        self._loading: dict[tuple[Hashable, int, asyncio.AbstractEventLoop], asyncio.Task[Snapshot]] = {}

    async def get(self, key: Hashable, version: int) -> Snapshot:
        kept = self._kept.get(key)
        if kept is not None and kept[0] >= version:
            with suppress(KeyError):  # another thread's loop may drop it meanwhile
                self._kept.move_to_end(key)  # so that what was used longest ago goes first
            return kept[1]
        asked = (key, version, asyncio.get_running_loop())
        task = self._loading.get(asked)
        if task is None:
            task = self._loading[asked] = asyncio.create_task(self._refresh(key))
            task.add_done_callback(lambda _: self._loading.pop(asked, None))
        return await asyncio.shield(task)

    async def _refresh(self, key: Hashable) -> Snapshot:
        version, snapshot = await self._load(key)
        kept = self._kept.get(key)
        if kept is None or kept[0] < version:
            self._kept[key] = (version, snapshot)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return snapshot
