"""How much following one member may do in this process: waits that are open at once, and looks at jobs a minute.
What listens to the list of tools alone has places of its own, as hosts of older revisions open such streams unasked.

Calls are charged to the limits of their tenant; following what becomes of them is not, and must not be a way to keep
the hub busy. All of it is counted in memory, so that a refusal costs Postgres nothing. Of one event loop, as its news.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from django.conf import settings

from policy.values import Refusal
from tenants.caller import Caller

RETRY_WAITING = 5.0
"""Seconds after which to try again to wait. Nobody knows when a place becomes free."""
_MINUTE = 60.0

_Member = tuple[int, int]
Sort = Literal["jobs", "tools"]
"""What is waited for."""
_waits: Counter[tuple[_Member, Sort]] = Counter()
_ahead: OrderedDict[_Member, float] = OrderedDict()
"""The theoretical arrival time of each member's next look, as in `policy.take`; who looked last comes last."""


@contextmanager
def wait(caller: Caller, sort: Sort = "jobs") -> Iterator[Refusal | None]:
    """One more wait of this member's, until the end of the block; the Refusal when they have as many as they may."""
    place = _member(caller), sort
    if _waits[place] >= settings.JOBS_WAITS:
        yield _too_many_waits(sort)
        return
    _waits[place] += 1
    try:
        yield None
    finally:
        _waits[place] -= 1
        if not _waits[place]:
            del _waits[place]


def look(caller: Caller, jobs: int = 1) -> Refusal | None:
    """Count a look at so many jobs; the Refusal, for which nothing is counted, says when there is room again."""
    most = settings.FOLLOWS_PER_MINUTE
    if not most:
        return None
    now = time.monotonic()
    while _ahead and next(iter(_ahead.values())) <= now:
        _ahead.popitem(last=False)
    member = _member(caller)
    ahead = max(_ahead.get(member, now), now) + min(jobs, most) * _MINUTE / most
    if ahead > now + _MINUTE:
        return _too_often(ahead - now - _MINUTE)
    _ahead[member] = ahead
    _ahead.move_to_end(member)
    return None


def _member(caller: Caller) -> _Member:
    """With whatever credential: who may make as many as they like would have as many waits."""
    return caller.tenant_id, caller.member_id


def _too_many_waits(sort: Sort) -> Refusal:
    said = {
        "jobs": "requests of this member wait for jobs here, which is as many as may. "
        "Let one of them end, or ask how the job is without waiting.",
        "tools": "streams of this member listen to the list of tools here, which is as many as may. "
        "Let one of them end, or list the tools now and then.",
    }
    return Refusal(
        reason="too_many_waits",
        message=f"{settings.JOBS_WAITS} {said[sort]}",
        retryable=True,
        retry_after=RETRY_WAITING,
    )


def _too_often(exact: float) -> Refusal:
    seconds = math.ceil(max(exact, 0.1) * 10) / 10  # up, so that whoever waits that long is let in
    return Refusal(
        reason="rate_limited",
        message=f"Over the limit of {settings.FOLLOWS_PER_MINUTE} looks at jobs in a minute for one member. "
        f"Wait {seconds:.1f} s and ask again.",
        retryable=True,
        retry_after=seconds,
    )
