"""The ledger rows of a call. What was asked is kept once, on its first row."""

import time
import uuid
from typing import Any

from audit import entries
from audit.models import Event, Outcome
from audit.writer import writer
from policy.take import OVER_LIMIT
from policy.values import Agreed, Effect, Refusal
from tools.calls.values import Ready, Stray


async def refuse(asked: Ready | Stray, refusal: Refusal, job: uuid.UUID | None = None) -> Refusal:
    """Record that it was decided not to run it."""
    await writer().write(row(asked, Event.REFUSED, outcome=Outcome.REFUSED, reason=refusal.reason, job=job))
    return refusal


def row(
    asked: Ready | Stray,
    event: Event,
    *,
    outcome: Outcome | None = None,
    reason: str = "",
    begun: float | None = None,
    job: uuid.UUID | None = None,
) -> dict[str, Any]:
    """A ledger row. What was asked is kept once, on the first row of the call."""
    caller, origin = asked.caller, asked.origin
    name, number, hidden = _of_tool(asked)
    made: dict[str, Any] = {
        "tenant_id": caller.tenant_id,
        "event": event.value,
        "call_id": str(asked.id),
        "instance_id": str(entries.instance()),
        "actor": caller.username,
        "credential": caller.credential,
        "client": (origin.client or caller.client)[:200],
        "via": origin.via,
        "tool": name,
        "version": number,
        "trace": origin.traceparent,
    }
    if event is not Event.FINISHED:
        made |= {"address": origin.address, "digest": entries.digest(asked.arguments)}
        # Who is over a limit may go on asking; each time is an entry, but not one of 4 KiB.
        made["preview"] = entries.preview(asked.arguments, hidden=hidden) if reason not in OVER_LIMIT else None
        if detail := _explained(asked):
            made["detail"] = detail
    if outcome is not None:
        made |= {"outcome": outcome.value, "reason": reason}
    if begun is not None:
        made["duration_ms"] = round((time.perf_counter() - begun) * 1000, 3)
    if job is not None:
        made["subject"] = f"job {job}"
    elif type(asked) is Ready and asked.beforehand:
        made["subject"] = "preflight"
    return made


def _explained(asked: Ready | Stray) -> dict[str, Any]:
    """Why it was decided so, where that was not simply allowed by default."""
    decision = asked.decision if isinstance(asked, Ready) else None
    if decision is None:
        return {}
    agreed = _said_yes(asked.agreed) if isinstance(asked, Ready) else ""
    if not (decision.rule or decision.changed or decision.found or agreed) and decision.effect is Effect.ALLOW:
        return {}
    told: dict[str, Any] = {"effect": decision.effect.value, "rule": decision.rule, "rules": decision.ruleset}
    if agreed:
        told["agreed"] = agreed
    if decision.changed:
        told["changed"] = list(decision.changed)
    if decision.found:
        told["found"] = sorted(decision.found)
    return told


def _said_yes(agreed: Agreed) -> str:
    if agreed.approved:
        return "approved"
    return "confirmed" if agreed.confirmed else ""


def _of_tool(asked: Ready | Stray) -> tuple[str, int | None, frozenset[str]]:
    """Its name, its version, and which arguments are secret by its schema."""
    if isinstance(asked, Stray):
        return asked.name, None, asked.hidden
    return asked.tool.name, asked.tool.number, asked.tool.hidden
