"""The calls that run in this process while their hosts wait, so that a kill switch finds them.

Jobs are not among them: their workers hear of it by their rows. What was switched off is judged on a higher floor.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from tenants.caller import Caller
from tools.catalog import LiveTool

LATE = 30.0
"""Seconds after a kill in which a call that begins is judged once more: its request may have been let in before."""


class Run:
    """One call that runs. killed: it was told to stop, so whatever it gives now counts for nothing."""

    __slots__ = ("_deadline", "_loop", "caller", "killed", "tool")

    def __init__(self, caller: Caller, tool: LiveTool):
        self.caller = caller
        self.tool = tool
        self.killed = False
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.Timeout | None = None

    def entered(self, deadline: asyncio.Timeout) -> None:
        """Its tool is about to be entered, under this deadline; raises TimeoutError's own way when it was killed."""
        self._deadline = deadline
        if self.killed:
            self._end()

    def kill(self) -> None:
        """Have its time be over; from any thread."""
        self.killed = True
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._deadline is not None:
            with suppress(RuntimeError):  # it is over already
                self._deadline.reschedule(self._loop.time())


Judge = Callable[[Sequence[Run]], Awaitable[Sequence[Run]]]
"""Gives those of these calls that belong to something that is switched off."""

_runs: dict[uuid.UUID, Run] = {}
_judge: Judge | None = None
_late: dict[int | None, float] = {}
"""Until when what begins is judged once more, by tenant; None for all of them."""


def configure(judge: Judge) -> None:
    """Say who judges, once and before the first call."""
    global _judge
    _judge = judge


def enter(call_id: uuid.UUID, caller: Caller, tool: LiveTool) -> Run:
    """From here on the call can be killed; `leave` has to follow."""
    run = _runs[call_id] = Run(caller, tool)
    return run


def leave(call_id: uuid.UUID) -> None:
    _runs.pop(call_id, None)


async def may_begin(run: Run) -> bool:
    """Whether it was not killed before its tool is entered. Asks nobody, unless a switch was thrown just now."""
    if _late and _judge is not None and _is_late(run.caller.tenant_id) and await _judge([run]):
        run.killed = True
    return not run.killed


async def kill(tenant_id: int | None) -> None:
    """Stop every call, of one tenant or of all, that belongs to something that is switched off; for when a switch may
    have been thrown."""
    now = time.monotonic()
    for over in [one for one, until in _late.items() if until < now]:
        del _late[over]
    _late[tenant_id] = now + LATE
    concerned = [run for run in _runs.values() if tenant_id in (None, run.caller.tenant_id)]
    if _judge is not None and concerned:
        for run in await _judge(concerned):
            run.kill()


def _is_late(tenant_id: int) -> bool:
    return time.monotonic() < max(_late.get(None, 0.0), _late.get(tenant_id, 0.0))
