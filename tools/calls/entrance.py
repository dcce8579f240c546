"""Where a call enters: judged and charged, asked about where it has to be, and run."""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from audit import entries
from lib import redact
from lib.ids import uuid7
from policy.decide import visible
from policy.rules import Rules
from policy.take import Limits, take_stray
from policy.values import Agreed, Effect, Refusal
from tenants.caller import Caller
from tools import outcome, preflight, saying
from tools.calls.entry import refuse
from tools.calls.execution import SILENT, execute
from tools.calls.judging import against, against_any, as_decided, charge, decided, to_run
from tools.calls.values import NOBODY, Asked, Pending, Ready, Stray
from tools.catalog import Catalog, LiveTool
from tools.values import Origin, Reply, Report, Result

Check = Callable[[LiveTool], Refusal | None]
"""What else speaks against running a tool now, asked when everything else agrees and nothing is charged yet."""


async def run(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    report: Report = SILENT,
    agreed: Agreed = NOBODY,
) -> Result | Refusal | Pending:
    """Use the tool `name` of the caller's tenant: validate, decide, charge (once, refused or not), record, run, record.

    Returns the Result (also when the tool failed: `is_error`), the Refusal when it was decided not to run, or what is
    Pending until a person has said yes.
    Raises LedgerUnavailable when nothing could be recorded and so nothing was run.
    """
    ready = await prepare(caller, name, arguments, catalog=catalog, origin=origin, agreed=agreed)
    return await execute(ready, report=report) if isinstance(ready, Ready) else ready


async def run_tool(
    caller: Caller,
    tool: LiveTool,
    arguments: dict[str, Any],
    *,
    limits: Limits,
    rules: Rules,
    origin: Origin,
    report: Report = SILENT,
    agreed: Agreed = NOBODY,
) -> Result | Refusal | Pending:
    """The same for a tool already in hand, which may be a draft."""
    ready = await prepare_tool(caller, tool, arguments, limits=limits, rules=rules, origin=origin, agreed=agreed)
    return await execute(ready, report=report) if isinstance(ready, Ready) else ready


async def prepare(
    caller: Caller,
    name: str,
    arguments: dict[str, Any],
    *,
    catalog: Catalog,
    origin: Origin,
    check: Check | None = None,
    partial: bool = False,
    agreed: Agreed = NOBODY,
) -> Ready | Pending | Refusal:
    """Validate, decide and charge, once, refused or not. A Refusal is recorded; what is Ready is not, until it runs,
    and what is Pending neither: who asks records that it does.

    check: a last reason to refuse. partial: required arguments may be missing, as a preflight may add them; rules are
    asked once they are whole. agreed: what people have said yes to whatever it is, as somebody who tries a tool by hand
    does.
    Raises LedgerUnavailable when a refusal could not be recorded.
    """
    tool = catalog.tools.get(name)
    if tool is not None and visible(caller, tool.subject, catalog.rules):
        return await prepare_tool(
            caller,
            tool,
            arguments,
            limits=catalog.limits,
            rules=catalog.rules,
            origin=origin,
            check=check,
            partial=partial,
            agreed=agreed,
        )
    stray = Stray(
        id=uuid7(),
        caller=caller,
        name=redact.text(name)[:128],
        arguments=arguments,
        origin=origin,
        hidden=tool.hidden if tool is not None else frozenset(),
    )
    unknown = Refusal(reason="unknown_tool", message=f"There is no tool named {name[:128]!r} here.")
    digest = entries.digest([name, arguments]) if catalog.limits.repeats else ""
    charged = await take_stray(caller, catalog.limits, call=stray.id, digest=digest)
    return await refuse(stray, charged if isinstance(charged, Refusal) else unknown)


async def prepare_tool(
    caller: Caller,
    tool: LiveTool,
    arguments: dict[str, Any],
    *,
    limits: Limits,
    rules: Rules,
    origin: Origin,
    check: Check | None = None,
    partial: bool = False,
    agreed: Agreed = NOBODY,
) -> Ready | Pending | Refusal:
    """The same for a tool already in hand, which may be a draft."""
    ready = Ready(
        id=uuid7(),
        caller=caller,
        tool=tool,
        arguments=arguments,
        origin=origin,
        limits=limits,
        rules=rules,
        agreed=agreed,
        accepted_at=datetime.datetime.now(datetime.UTC),
    )
    refusal = outcome.check_arguments(tool, arguments, partial=partial)
    if refusal is None:
        ready = ready if partial else await decided(ready)
        refusal = await against_any(ready) if partial else against(ready)
    if refusal is None and check is not None:
        refusal = check(tool)
    return await charge(ready, refusal)


async def agree(pending: Pending, agreed: Agreed) -> Ready | Refusal:
    """What was Pending, now that people have said yes to exactly it (`pending.ready.digest`); charged with what running
    takes. The Refusal, of limits on what runs, is recorded."""
    decision = replace(pending.decision, effect=Effect.ALLOW)
    spends = pending.decision.effect is Effect.CONFIRM
    return await to_run(replace(pending.ready, decision=decision, agreed=agreed), spends=spends)


async def complete(
    ready: Ready, check: preflight.Check, replies: Mapping[str, Reply]
) -> Ready | Pending | Asked | Result | Refusal:
    """Let a preflight ask, or complete the arguments of what was prepared as partial.

    It is tool code, so it is run and recorded as a call of its own: under the tool's deadline, its failure a Result
    that the model reads. What is Ready then is the same call with all its arguments, judged again; it was charged.
    """
    beforehand = preflight.Round(check, replies)
    timeout = min(ready.tool.timeout, preflight.LONGEST)
    tool = replace(ready.tool, run=beforehand.run, output=None, timeout=timeout)
    ended = await execute(replace(ready, tool=tool, beforehand=True))
    if isinstance(ended, Refusal) or ended.is_error:
        return ended
    if beforehand.questions:
        return Asked(questions=saying.questions(beforehand.questions, ready.tool))
    whole = replace(ready, id=uuid7(), arguments=beforehand.arguments)
    refusal = outcome.check_arguments(whole.tool, whole.arguments)
    if refusal is None:
        whole = await decided(whole)
        refusal = against(whole)
    if refusal is not None:
        return await refuse(whole, refusal)
    assert whole.decision is not None  # noqa: S101 - it was decided
    if whole.decision.effect is Effect.CONFIRM:
        return Pending(ready=whole)
    spent = await to_run(whole, spends=True, runs=whole.decision.runs)
    return spent if isinstance(spent, Refusal) else as_decided(spent)
