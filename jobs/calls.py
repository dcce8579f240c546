"""Running a call that may become a job: the one door of hosts. What runs while its host waits goes straight through."""

import asyncio
import math
from typing import Any

import anyio

from jobs import own_tools, rows, wake, words
from jobs.values import NOT_FOLLOWED, Accepted, Answer, Follow, Handle, View
from lib import db
from policy.decide import Refusal
from tenants.caller import Caller
from tools import calls
from tools.catalog import Catalog, LiveTool
from tools.values import Origin, Report, Silent

LONGEST_WAIT = 20.0
"""Seconds that a host is kept waiting at the most before it gets a handle: many give up after 30."""

_SILENT = Silent()


async def run(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    report: Report = _SILENT,
    follow: Follow = NOT_FOLLOWED,
) -> Answer:
    """Use the tool `name`: a Result, or the Handle of a job that goes on, or the Refusal.

    A Handle is given once its row is durable and not before. follow: what the host can do with one.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    own = own_tools.find(catalog, name)
    if own is not None:
        return await own_tools.run(caller, own, arguments, catalog=catalog, origin=origin, report=report)
    tool = catalog.tools.get(name)
    if tool is None or tool.lasting is None:
        return await calls.run(caller, name, arguments, catalog=catalog, origin=origin, report=report)
    check = None if follow.declared else _must_be_followed
    ready = await calls.prepare(caller, name, arguments, catalog=catalog, origin=origin, check=check)
    if isinstance(ready, Refusal):
        return ready
    accepted = await rows.accept(ready, keep=follow.keep)
    if isinstance(accepted, Refusal):
        return accepted
    if accepted.bell:
        await wake.ring()
    return await _answered(caller, accepted, 0.0 if follow.declared else tool.lasting.wait, report, follow)


def _must_be_followed(tool: LiveTool) -> Refusal | None:
    if tool.lasting is None or not tool.lasting.required:
        return None
    return Refusal(
        reason="capability_missing",
        message=f"{tool.name} only runs as a task, and this host did not say that it can follow one. "
        "Use it from a host that supports the tasks extension of MCP.",
    )


async def _answered(caller: Caller, accepted: Accepted, wait: float, report: Report, follow: Follow) -> Answer:
    """The result if it is there within the wait, or else the handle. Who declared that it follows gets the handle."""
    if follow.declared:
        return Handle(view=accepted.view, joined=accepted.joined)
    try:
        view = await _waited(caller, accepted, min(wait, LONGEST_WAIT), report)
    except asyncio.CancelledError:
        if _was_given_up():
            # Its host never heard of the job; unless the same call came twice, nobody follows it.
            with anyio.CancelScope(shield=True):
                await rows.cancel_unless_shared(caller, accepted.view.id)
        raise
    except db.UNREACHABLE:
        view = accepted.view  # it is durable, whether or not Postgres can say now how it stands
    return words.result_of(view) if view.ended else Handle(view=view, joined=accepted.joined)


def _was_given_up() -> bool:
    """Whether a cancel scope was cancelled, as the gateway does when the host goes away or says so. A server that is
    stopped cancels the bare task; then the job goes on, and the same call at another server joins it."""
    return anyio.current_effective_deadline() == -math.inf


async def _waited(caller: Caller, accepted: Accepted, seconds: float, report: Report) -> View:
    if not seconds and not accepted.view.ended:
        return accepted.view
    return await rows.wait(caller, str(accepted.view.id), seconds, report=report, content=True) or accepted.view
