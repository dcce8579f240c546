"""Running a call: the one business function. Hosts, the admin's “try it”, the command line and tests all enter here."""

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from audit import entries
from audit.models import Event, Outcome
from audit.writer import LedgerUnavailable, writer
from lib import redact
from lib.ids import uuid7
from policy.decide import Refusal, decide, visible
from policy.models import Per
from policy.take import LimitRule, take
from tenants.caller import Caller
from tools import outcome
from tools.catalog import Catalog, LiveTool
from tools.errors import ToolError
from tools.kinds import KINDS
from tools.values import Call, Origin, Report, Result, Silent

log = logging.getLogger(__name__)

_SILENT = Silent()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What was asked for, known before it is clear whether it will run."""

    id: uuid.UUID
    caller: Caller
    name: str
    number: int | None
    arguments: dict[str, Any]
    hidden: frozenset[str]
    origin: Origin


async def run(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    report: Report = _SILENT,
) -> Result | Refusal:
    """Use the tool `name` of the caller's tenant: validate, decide, charge (once, refused or not), record, run, record.

    Returns the Result (also when the tool failed: `is_error`), or the Refusal when it was decided not to run.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    tool = catalog.tools.get(name)
    if tool is None or not visible(caller, tool.subject):
        asked = _asked(caller, name, arguments, None, origin)
        unknown = Refusal(reason="unknown_tool", message=f"There is no tool named {name[:128]!r} here.")
        # Limits of single tools are left alone: they would tell which names exist, and open a bucket for every guess.
        shared = [rule for rule in catalog.limits if not rule.tool and rule.per != Per.TOOL]
        return await _refuse(asked, await take(caller, "", shared) or unknown)
    return await run_tool(caller, tool, arguments, limits=catalog.limits, origin=origin, report=report)


async def run_tool(
    caller: Caller,
    tool: LiveTool,
    arguments: dict[str, Any],
    *,
    limits: Sequence[LimitRule],
    origin: Origin,
    report: Report = _SILENT,
) -> Result | Refusal:
    """The same for a tool already in hand, which may be a draft."""
    asked = _asked(caller, tool.name, arguments, tool, origin)
    refusal = outcome.check_arguments(tool, arguments) or decide(caller, tool.subject)
    # What was decided against is charged too, or it would be free to repeat: each time costs a check and an entry.
    refusal = await take(caller, tool.name, limits) or refusal
    if refusal is not None:
        return await _refuse(asked, refusal)
    call = Call(id=asked.id, caller=caller, tool=tool, arguments=arguments, origin=origin, report=report)
    return await _run(asked, call, await writer().begin(_row(asked, Event.STARTED)))


async def _run(asked: _Asked, call: Call, durable: asyncio.Future[None]) -> Result:
    """Run once the started entry is durable, and record the end, whatever the end is."""
    begun = None
    try:
        await durable
        begun = time.perf_counter()
        result = await _attempt(call)
    except LedgerUnavailable:
        # Its commit may have gone through unanswered; then this says that the call ended there.
        await writer().disown(_row(asked, Event.REFUSED, outcome=Outcome.REFUSED, reason="ledger_unavailable"))
        raise
    except BaseException:
        # Cancelled, or the process is being stopped: the entry still has to land before this unwinds.
        with anyio.CancelScope(shield=True):
            await writer().conclude(_row(asked, Event.FINISHED, outcome=Outcome.CANCELLED, begun=begun))
        raise
    ended = outcome.of(result)
    await writer().conclude(_row(asked, Event.FINISHED, outcome=ended, reason=result.reason, begun=begun))
    return result


async def _attempt(call: Call) -> Result:
    """The kind's own work under the tool's deadline; every failure becomes something the model can read."""
    deadline = asyncio.timeout(call.tool.timeout)
    try:
        async with deadline:
            result = await KINDS[call.tool.kind].run(call)
        return outcome.settle(call.tool, result)
    except ToolError as problem:
        return outcome.settle(call.tool, Result.of_error(str(problem), problem.reason))
    except Exception as problem:
        if deadline.expired():  # rather than a TimeoutError of the tool's own
            return _late(call.tool)
        log.error("tool %s failed, call %s\n%s", call.tool.name, call.id, _places(problem))  # noqa: TRY400
        return Result.of_error(
            f"{call.tool.name} failed inside the hub. It is logged as call {call.id}; an admin can look it up.",
            "internal_error",
        )


def _places(problem: BaseException) -> str:
    """A traceback without what the exceptions say, which may be arguments or secrets."""
    frames = "".join(traceback.format_tb(problem.__traceback__))
    earlier = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    before = f"{_places(earlier)}\nand then\n" if earlier is not None else ""
    return f"{before}{frames}{type(problem).__module__}.{type(problem).__qualname__}"


def _late(tool: LiveTool) -> Result:
    return Result.of_error(
        f"{tool.name} did not answer within {tool.timeout:g} s and was stopped. "
        f"It may have taken effect; check before calling again, or ask for less.",
        "timeout",
    )


async def _refuse(asked: _Asked, refusal: Refusal) -> Refusal:
    await writer().write(_row(asked, Event.REFUSED, outcome=Outcome.REFUSED, reason=refusal.reason))
    return refusal


def _asked(caller: Caller, name: str, arguments: dict[str, Any], tool: LiveTool | None, origin: Origin) -> _Asked:
    return _Asked(
        id=uuid7(),
        caller=caller,
        name=tool.name if tool else redact.text(name)[:128],
        number=tool.number if tool else None,
        arguments=arguments,
        hidden=tool.hidden if tool else frozenset(),
        origin=origin,
    )


def _row(
    asked: _Asked,
    event: Event,
    *,
    outcome: Outcome | None = None,
    reason: str = "",
    begun: float | None = None,
) -> dict[str, Any]:
    """A ledger row. What was asked is kept once, on the first row of the call."""
    caller, origin = asked.caller, asked.origin
    row: dict[str, Any] = {
        "tenant_id": caller.tenant_id,
        "event": event.value,
        "call_id": str(asked.id),
        "instance_id": str(entries.INSTANCE),
        "actor": caller.username,
        "credential": caller.credential,
        "client": (origin.client or caller.client)[:200],
        "via": origin.via,
        "tool": asked.name,
        "version": asked.number,
        "trace": origin.traceparent,
    }
    if event is not Event.FINISHED:
        row |= {"address": origin.address, "digest": entries.digest(asked.arguments)}
        # Who is over a limit may go on asking; each time is an entry, but not one of 4 KiB.
        row["preview"] = entries.preview(asked.arguments, hidden=asked.hidden) if reason != "rate_limited" else None
    if outcome is not None:
        row |= {"outcome": outcome.value, "reason": reason}
    if begun is not None:
        row["duration_ms"] = round((time.perf_counter() - begun) * 1000, 3)
    return row
