"""How this room asks the outside: small guarded reads, none of them twice at once, waited for by views in threads."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Generic, TypeVar

from asgiref.sync import async_to_sync
from django.db import connection

from lib import db, fetch

T = TypeVar("T")


class Busy(Exception):
    """This process is reading as much from outside as it may; asking again in a moment helps."""


class SingleFlight(Generic[T]):
    """Whoever asks for what is under way already waits for that. most: how many different ones may be under way."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._flights: dict[Hashable, asyncio.Task[T]] = {}

    async def run(
        self, key: Hashable, make: Callable[[], Awaitable[T]], *, turn: AbstractContextManager[None] | None = None
    ) -> T:
        """The result of `make`, or of the flight with this key that has begun. Raises Busy, and what `make` raises.

        turn: held while a flight that begins here is under way, however long anybody waits for it; may raise Busy.
        """
        place = (asyncio.get_running_loop(), key)
        flight = self._flights.get(place)
        if flight is None:
            if len(self._flights) >= self._most:
                raise Busy
            with ExitStack() as held:
                held.enter_context(turn or nullcontext())
                flight = self._flights[place] = asyncio.ensure_future(make())
                landed = held.pop_all()
            flight.add_done_callback(lambda _: self._land(place, landed))
        return await asyncio.shield(flight)  # one that stops waiting does not end it for the others

    def _land(self, place: Hashable, held: ExitStack) -> None:
        held.close()
        flight = self._flights.pop(place)
        if not flight.cancelled():
            flight.exception()  # seen, also when nobody waits any more


class Turns:
    """How many different things one source may have under way, in this process; views are in threads."""

    def __init__(self, *, each: int) -> None:
        self._each = each
        self._taken: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, source: str, thing: str) -> Iterator[None]:
        """Count this thing as under way meanwhile. Raises Busy when the source has as many others under way."""
        with self._lock:
            if sum(whose == source and which != thing for whose, which in self._taken) >= self._each:
                raise Busy
            self._taken[source, thing] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[source, thing] -= 1
                if not self._taken[source, thing]:
                    del self._taken[source, thing]


async def read(
    url: str, *, accept: str, seconds: float, most_bytes: int, allow_hosts: frozenset[str], redirects: int = 0
) -> fetch.Inbound:
    """One guarded GET. seconds: for all of it. redirects: hops to follow; with 0 a redirect is answered as it came.

    Raises fetch.FetchError.
    """
    return await fetch.fetch(
        fetch.Outbound(
            method="GET",
            url=url,
            headers={"Accept": accept},
            body=None,
            timeout=seconds,
            max_bytes=most_bytes,
            allow_hosts=allow_hosts,
            follow_redirects=redirects,
        )
    )


def wait(work: Callable[[], Awaitable[T]]) -> T:
    """Run it on the server's event loop and wait, holding no database connection; for views, which are in threads."""
    if not connection.in_atomic_block:
        connection.close()
    return async_to_sync(_here)(work)  # type: ignore[no-any-return]


async def _here(work: Callable[[], Awaitable[Any]]) -> Any:
    try:
        db.pool()
    except RuntimeError:  # not the server's loop but one made for this call, which takes its connections with it
        try:
            return await work()
        finally:
            await fetch.close()
    return await work()
