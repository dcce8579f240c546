"""“Try it”: a draft run once as a chosen member, through the same door as every call of a host."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection as django_connection
from pydantic import ValidationError

from access.callers import caller_of
from audit.writer import LedgerUnavailable, open_writer
from lib import db, fetch
from lib.schema import SchemaError
from policy.models import Limit, Ruleset
from policy.rules import NO_RULES, Rules, compiled
from policy.take import LimitRule, flush, limit_rule
from policy.values import Agreed, Refusal
from tenants.caller import Caller
from tenants.models import Member, Stop
from tools import calls
from tools.actions import DEFINED
from tools.catalog import LiveConnection, LiveTool, make_live, open_connection
from tools.cleaning import Surroundings, surroundings
from tools.manifest import manifest
from tools.models import Connection, Tool
from tools.values import Origin, Result

_REVIEWED = Refusal(
    reason="review_needed",
    message="A rule says that a second person has to approve this call, so it cannot be tried here. "
    "Call it from a host, or change the arguments.",
)


class Broken(Exception):
    """The draft cannot even be tried; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything a trial needs, read from the database, so that none is held while it runs."""

    caller: Caller
    tool: LiveTool
    limits: tuple[LimitRule, ...]
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
    live = Ruleset.objects.filter(tenant_id=draft.tenant_id).order_by("-number").values().first()
    return Prepared(
        caller=caller_of(member, credential="admin", client=f"admin: {username}"),
        tool=_ready(draft),
        limits=tuple(limit_rule(row) for row in limits.values()),
        rules=compiled(live) if live else NO_RULES,
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
    return surroundings(draft.tenant.link_hosts, (open_connection(one).secret for one in connections))


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
        ended = await calls.run_tool(
            prepared.caller,
            prepared.tool,
            arguments,
            limits=prepared.limits,
            rules=prepared.rules,
            origin=origin,
            agreed=Agreed(confirmed=True),  # by whoever pressed the button
        )
        return await calls.refuse(ended.ready, _REVIEWED) if isinstance(ended, calls.Pending) else ended


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
