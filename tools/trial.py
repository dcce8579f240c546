"""“Try it”: a draft run once as a chosen member, through the same door as every call of a host.

What rules say of the tool as it is live holds for its draft too, whatever name, tags or traits the draft has by now.
"""

import datetime
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection as django_connection
from pydantic import ValidationError

from access.callers import caller_of
from audit.writer import LedgerUnavailable, open_writer
from lib import db, fetch
from lib.detect import attacks
from lib.schema import SchemaError
from policy import history
from policy.models import Limit
from policy.queries import rules_of
from policy.rules import Rules
from policy.take import Limits, flush, limit_rule
from policy.values import Agreed, Decision, Effect, Facts, Refusal, Subject
from tenants.caller import Caller
from tenants.models import Member, Stop
from tools import calls, inspection, known
from tools.actions import DEFINED
from tools.catalog import LiveConnection, LiveTool, make_live, open_connection, subject_of
from tools.cleaning import Surroundings, surroundings
from tools.manifest import manifest
from tools.models import Connection, Tool
from tools.values import Origin, Result

_REVIEWED = Refusal(
    reason="review_needed",
    message="A rule says that a second person has to approve this call, so it cannot be tried here. "
    "Call it from a host, or change the arguments.",
)


_AGREED = Agreed(confirmed=True)
"""By whoever pressed the button."""


class Broken(Exception):
    """The draft cannot even be tried; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything a trial needs, read from the database, so that none is held while it runs. live: the tool as rules see
    it when hosts call it; None where they see the draft alike, or no tool yet."""

    caller: Caller
    tool: LiveTool
    live: Subject | None
    limits: Limits
    rules: Rules


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """How it went: a result, or a refusal. milliseconds: from the start of the checks to the end of the last entry."""

    result: Result | None
    refusal: Refusal | None
    milliseconds: float


def prepare(draft: Tool, member: Member, *, username: str) -> Prepared:
    """Make the draft ready to run. Runs inside a tenant scope; raises Broken."""
    if Stop.objects.exists():
        raise Broken("Everything on this hub is stopped by a kill switch; nothing is run until that is lifted.")
    limits = Limit.objects.filter(tenant_id=draft.tenant_id).order_by("id")
    tool, live = _ready(draft), draft.live
    subject = subject_of(vars(live)) if live is not None else None
    if live is not None:
        tool = replace(tool, inspect=tool.inspect | attacks.known(live.inspect))
    return Prepared(
        caller=caller_of(member, credential="admin", client=f"admin: {username}"),
        tool=tool,
        live=subject if subject is not None and replace(subject, pin="") != tool.subject else None,
        limits=Limits(limit_rule(row) for row in limits.values()),
        rules=rules_of(draft.tenant_id),
    )


def _ready(draft: Tool) -> LiveTool:
    listed = manifest(draft)
    row = {name: getattr(draft, name) for name in DEFINED}
    row |= {"number": 0, "manifest": listed}
    try:
        return make_live(row, _connection(draft), _around(draft))
    except SchemaError as problem:
        raise Broken(f"The draft cannot run: {problem}.") from None
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise Broken(f"The draft cannot run: {path}: {first['msg'].removeprefix('Value error, ')}.") from None
    except KeyError:
        raise Broken(f"The draft cannot run: there is no kind {draft.kind!r}.") from None


def _connection(draft: Tool) -> LiveConnection | None:
    found: Mapping[str, Any] | None = (
        Connection.objects.filter(id=draft.connection_id or 0, tenant_id=draft.tenant_id).values().first()
    )
    return open_connection(found) if found else None


def _around(draft: Tool) -> Surroundings:
    connections = Connection.objects.filter(tenant_id=draft.tenant_id).values()
    kept = known.of_tenant_now(draft.tenant_id)
    return surroundings(draft.tenant.link_hosts, [*(open_connection(one).secret for one in connections), *kept])


def run(prepared: Prepared, arguments: dict[str, Any], *, address: str) -> Trial:
    """Run it, holding no database connection of Django's meanwhile. Raises Broken when nothing can be recorded."""
    if not django_connection.in_atomic_block:
        django_connection.close()
    begun = time.perf_counter()
    try:
        outcome = async_to_sync(_run)(prepared, arguments, address)
    except LedgerUnavailable as problem:
        raise Broken(f"It was not run: {problem}.") from None
    took = (time.perf_counter() - begun) * 1000
    if isinstance(outcome, Refusal):
        return Trial(result=None, refusal=outcome, milliseconds=took)
    return Trial(result=outcome, refusal=None, milliseconds=took)


async def _run(prepared: Prepared, arguments: dict[str, Any], address: str) -> Result | Refusal:
    origin = Origin(via="admin", address=address)
    async with _services():
        decision = await _of_live(prepared, arguments, origin)
        ready = await calls.prepare_tool(
            prepared.caller,
            prepared.tool,
            dict(decision.arguments) if decision is not None else arguments,
            limits=prepared.limits,
            rules=prepared.rules,
            origin=origin,
            check=lambda _: _against(decision),
            agreed=_AGREED,
        )
        if isinstance(ready, calls.Pending):
            return await calls.refuse(ready.ready, _REVIEWED)
        return await calls.execute(ready) if isinstance(ready, calls.Ready) else ready


async def _of_live(prepared: Prepared, arguments: dict[str, Any], origin: Origin) -> Decision | None:
    """What rules say of this call of the tool that is live; None where that is what they say of the draft."""
    caller, rules, live = prepared.caller, prepared.rules, prepared.live
    if live is None:
        return None
    facts = Facts(
        arguments=arguments,
        at=datetime.datetime.now(datetime.UTC),
        address=origin.address,
        before=await history.count(rules.windows(caller, live)),
        found=await inspection.inspected(prepared.tool, arguments, tenant_id=caller.tenant_id),
        agreed=_AGREED,
    )
    return rules.judge(caller, live, facts)


def _against(decision: Decision | None) -> Refusal | None:
    if decision is None:
        return None
    return _REVIEWED if decision.effect is Effect.REVIEW else decision.refusal


@asynccontextmanager
async def _services() -> AsyncIterator[None]:
    """What a call needs of its event loop: the web server holds it open; `runserver` and tests get it for this call."""
    try:
        db.pool()
    except RuntimeError:
        async with db.open_pool(size=2), open_writer():
            try:
                yield
            finally:
                await flush()
                await fetch.close()
    else:
        yield
