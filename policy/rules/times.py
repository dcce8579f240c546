"""When a rule holds: days and times of day in a time zone, and moments since and until which."""

import datetime
from zoneinfo import ZoneInfo

from policy.rules.spec import DAYS, When

DAY = datetime.timedelta(days=1)
MINUTE = datetime.timedelta(minutes=1)
_NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)


class Hours:
    """A rule's `when`, ready to ask."""

    __slots__ = ("_days", "_end", "_minute", "_since", "_start", "_until", "_zone")

    def __init__(self, when: When) -> None:
        self._days = frozenset(DAYS.index(day) for day in when.days)
        self._start = None if when.start is None else datetime.time.fromisoformat(when.start)
        self._end = None if when.end is None else datetime.time.fromisoformat(when.end)
        self._zone = ZoneInfo(when.zone)
        self._since = when.since
        self._until = when.until
        self._minute = (_NEVER, _NEVER, False)

    def hold(self, at: datetime.datetime) -> bool:
        if (self._since is not None and at < self._since) or (self._until is not None and at >= self._until):
            return False
        if self._start is None and not self._days:
            return True
        since, until, held = self._minute
        if not since <= at < until:  # a time of day is told in minutes, so that the answer is good for one
            since = at.replace(second=0, microsecond=0)
            held = self._held(at.astimezone(self._zone))
            self._minute = (since, since + MINUTE, held)
        return held

    def end(self, at: datetime.datetime) -> datetime.datetime | None:
        """The first moment after `at` when it does not hold any more; None where that is more than a day away."""
        local = at.astimezone(self._zone)
        days = [local.date() + number * DAY for number in range(3)]
        midnight = datetime.time()
        bounds = [datetime.datetime.combine(day, self._end or midnight, self._zone) for day in days]
        bounds += [datetime.datetime.combine(day, midnight, self._zone) for day in days]
        if self._until is not None:
            bounds.append(self._until)
        found = sorted(bound.astimezone(datetime.UTC) for bound in bounds)
        return next((bound for bound in found if at < bound <= at + DAY and not self.hold(bound)), None)

    def _held(self, local: datetime.datetime) -> bool:
        day = self._day(local)
        return day is not None and (not self._days or day in self._days)

    def _day(self, local: datetime.datetime) -> int | None:
        """The day of the week that a time of day within the bounds belongs to."""
        if self._start is None or self._end is None:
            return local.weekday()
        now = local.time()
        if self._start < self._end:
            return local.weekday() if self._start <= now < self._end else None
        if now >= self._start:
            return local.weekday()
        return (local.weekday() - 1) % 7 if now < self._end else None
