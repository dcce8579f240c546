"""Two functions the demo tenant offers beside the help desk's own endpoints: arithmetic a model should not guess."""

import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field

from tools.errors import ToolError
from tools.functions import function

_OPENS, _CLOSES = 9, 17
_MOST_DAYS = 3660
_TARGET_HOURS = {"urgent": 2, "high": 8, "normal": 16, "low": 40}


class WorkingTime(BaseModel):
    """Working time between two moments."""

    hours: float = Field(description="Working hours, rounded to two decimals.")
    days: int = Field(description="Calendar days the span touches.")


class Deadline(BaseModel):
    """When a first reply is due."""

    due_at: datetime.datetime
    working_hours: int = Field(description="The target for this priority, in working hours.")


@function()
def working_hours_between(start: AwareDatetime, end: AwareDatetime) -> WorkingTime:
    """Working hours (Monday to Friday, 9 to 17 UTC) between two moments."""
    start, end = start.astimezone(datetime.UTC), end.astimezone(datetime.UTC)
    if end < start:
        raise ToolError("end lies before start; swap them.")
    days = (end.date() - start.date()).days + 1
    if days > _MOST_DAYS:
        raise ToolError(f"The span has {days} days; ask for {_MOST_DAYS} at the most.")
    seconds = sum(
        max(0.0, (min(end, closes) - max(start, opens)).total_seconds())
        for opens, closes in (_office(start.date() + datetime.timedelta(days=day)) for day in range(days))
    )
    return WorkingTime(hours=round(seconds / 3600, 2), days=days)


@function()
def reply_deadline(
    opened_at: AwareDatetime, priority: Literal["urgent", "high", "normal", "low"] = "normal"
) -> Deadline:
    """When the first reply to a ticket is due, counted in working hours from its opening."""
    moment = opened_at.astimezone(datetime.UTC)
    left = datetime.timedelta(hours=_TARGET_HOURS[priority])
    while True:
        opens, closes = _office(moment.date())
        begin = max(moment, opens)
        if begin + left <= closes:
            return Deadline(due_at=begin + left, working_hours=_TARGET_HOURS[priority])
        left -= max(datetime.timedelta(0), closes - begin)
        moment = datetime.datetime.combine(
            moment.date() + datetime.timedelta(days=1), datetime.time(), tzinfo=datetime.UTC
        )


def _office(day: datetime.date) -> tuple[datetime.datetime, datetime.datetime]:
    """Opening and closing of a day; at the weekend both are the same moment."""
    opens = datetime.datetime.combine(day, datetime.time(_OPENS), tzinfo=datetime.UTC)
    return opens, opens if day.weekday() >= 5 else opens.replace(hour=_CLOSES)
