"""The buckets that limits are counted in: an UNLOGGED table, one statement for all limits of all calls waiting.

What flows keeps one number, the theoretical arrival time of the generic cell rate algorithm: a call is let in while
that time is at most one window ahead, which allows a full burst and then an even flow, exactly, across every worker.
What is held while a call runs is kept in rows that expire by themselves, for processes that die.
"""

import asyncio
import logging
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString, NamedTuple
from weakref import WeakKeyDictionary

from lib import db
from lib.batch import Batch
from policy.charges import Charge
from policy.limits import Bill

log = logging.getLogger(__name__)

GRACE = 30.0
"""Seconds after a call's deadline in which it still holds what it took: for its entries, and for its answer."""
_LATER = 0.02
"""Seconds that an ended call may go on holding what it took, so that many endings go in one statement."""
_MOST_ENDED = 1000
"""Endings in one statement."""

_MISSING = -1
"""What `policy_take` answers for a call when a bucket is not there; then nothing was charged."""

_NONE = "{}"
"""An empty array."""
_FLOW: LiteralString = (
    "SELECT call, charge, wait, spare FROM policy_take(%s::text[], NULL, NULL, NULL, NULL,"
    " %s::int[], %s::int[], %s::float8[], %s::float8[], %s::int[], NULL, NULL, NULL)"
)
"""Most statements are only this: nothing that hardly exists yet, nothing held, nothing given back."""
_TAKE: LiteralString = (
    "SELECT call, charge, wait, spare FROM policy_take(%s::text[], %s::text[], %s::int[], %s::uuid[], %s::float8[],"
    " %s::int[], %s::int[], %s::float8[], %s::float8[], %s::int[], %s::uuid[], %s::float8[], %s::text[])"
)


class Ask(NamedTuple):
    """One call's charges, to be taken all or none. lasts: seconds after which what it holds is free again."""

    call: uuid.UUID
    bills: Sequence[Bill]
    lasts: float


class Full(NamedTuple):
    """The charge that did not fit, the seconds until it does, and what is left of a day's worth."""

    charge: Charge
    wait: float
    spare: float


class Ending(NamedTuple):
    """A call holds nothing of a bucket any more, and has used up so much of it."""

    bucket: str
    call: uuid.UUID
    used: float


class Desk:
    """An event loop's way to the buckets."""

    def __init__(self) -> None:
        self._batch: Batch[Ask | None, Full | None] = Batch(self._take, most=200, room=5000)
        self._endings: list[Ending] = []
        self._timer: asyncio.TimerHandle | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def take(self, ask: Ask) -> asyncio.Future[Full | None]:
        """Hand the charges in; the future says what did not fit, or None when all are taken."""
        return await self._batch.put(ask)

    def end(self, endings: Sequence[Ending]) -> None:
        """Tell the buckets soon: with the next calls that take, or alone when none comes."""
        self._endings += endings
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LATER, self._start)

    async def flush(self) -> None:
        """Wait until every ending is written, or cannot be."""
        if self._timer is not None:
            self._timer.cancel()
        self._start()
        await asyncio.gather(*self._telling)
        await self._batch.drain()

    def _start(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self._tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        try:
            while self._endings:
                await (await self._batch.put(None))
        except db.UNREACHABLE:
            log.warning("what calls held of limits is free only when it expires: Postgres cannot be reached")

    async def _take(self, asked: Sequence[Ask | None]) -> list[Full | None]:
        endings, self._endings = self._endings[:_MOST_ENDED], self._endings[_MOST_ENDED:]
        bills = [(index, bill) for index, ask in enumerate(asked) if ask is not None for bill in ask.bills]
        names = sorted(_touched(bills, endings), key=str.encode)
        places = {name: str(place) for place, name in enumerate(names, 1)}
        parameters = _parameters(asked, bills, endings, places)
        fresh = sorted({bucket for _, bill in bills for bucket in bill.fresh})
        lane = db.lane("limits")
        while True:
            answers = await lane.fetch(*_statement(names, fresh, parameters))
            full = [(call, charge, wait, spare) for call, charge, wait, spare in answers if call != _MISSING]
            if len(full) == len(answers):
                return _told(full, bills, len(asked))
            fresh = names


def _told(
    full: Sequence[tuple[int, int, float, float]], bills: Sequence[tuple[int, Bill]], count: int
) -> list[Full | None]:
    """Of each call what did not fit, by the number of the charge among those of all."""
    told: list[Full | None] = [None] * count
    if full:
        charges = [charge for _, bill in bills for charge in bill.charges]
        for call, charge, wait, spare in full:
            told[call] = Full(charge=charges[charge - 1], wait=wait, spare=spare)
    return told


def _statement(names: list[str], fresh: list[str], parameters: list[Any]) -> tuple[LiteralString, list[Any]]:
    ended, holding = parameters[0], parameters[-1]
    if fresh or ended != _NONE or holding:
        return _TAKE, [names, fresh, *parameters]
    return _FLOW, [names, *parameters[3:8]]


def _touched(bills: Iterable[tuple[int, Bill]], endings: Iterable[Ending]) -> set[str]:
    return {bucket for _, bill in bills for bucket in bill.buckets} | {ending.bucket for ending in endings}


def _parameters(
    asked: Sequence[Ask | None],
    bills: Sequence[tuple[int, Bill]],
    endings: Sequence[Ending],
    places: dict[str, str],
) -> list[Any]:
    """Of `policy_take`, from `ended` on."""
    holding = {charge.bucket for _, bill in bills for charge in bill.held}
    return [
        _array(places[ending.bucket] for ending in endings),
        _array(str(ending.call) for ending in endings),
        _array(str(ending.used) for ending in endings),
        _array(",".join([str(index)] * len(bill.charges)) for index, bill in bills),
        _array(places[bucket] for _, bill in bills for bucket in bill.buckets),
        _array(bill.costs for _, bill in bills),
        _array(bill.windows for _, bill in bills),
        _array(bill.modes for _, bill in bills),
        _array("NULL" if ask is None else str(ask.call) for ask in asked if holding),
        _array("NULL" if ask is None else str(ask.lasts) for ask in asked if holding),
        list(holding),
    ]


def _array(written: Iterable[str]) -> str:
    """An array of numbers or ids as Postgres writes it: a tenth of the work of adapting each one."""
    return f"{{{','.join(written)}}}"


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()


def desk() -> Desk:
    """The running event loop's."""
    loop = asyncio.get_running_loop()
    if loop not in _desks:
        _desks[loop] = Desk()
    return _desks[loop]
