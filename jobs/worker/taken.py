"""From a claimed row to a call that can be executed: its content, its caller's standing now, its pinned version."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from psycopg.rows import dict_row
from pydantic import ValidationError

from access.standing import standing
from jobs.models import State
from jobs.sealed import unseal_arguments
from jobs.worker.runtime import Claim
from lib import db
from lib.schema import SchemaError
from lib.seal import SealError
from policy.live import policy
from policy.values import Agreed, Reviewers
from tenants.caller import Caller
from tools.calls import Ready
from tools.catalog import LiveConnection, LiveTool, around, cleaner_of, make_live, open_connection
from tools.cleaning import Surroundings
from tools.manifest import leads_elsewhere
from tools.values import Origin

log = logging.getLogger(__name__)

INTERNAL_ERROR = -32603
"""JSON-RPC's, for what the hub itself did wrong."""
_MOST_TOOLS = 500

_JOB: LiteralString = (
    "SELECT j.*, o.enabled AND o.live_id IS NOT NULL AND coalesce(c.enabled, true) AS offered, c.id AS has_connection,"
    " v.destination, c.base_url, t.catalog_version,"
    " o.live_id = j.version_id AS unchanged, a.destination <> coalesce(c.base_url, '') AS moved,"
    " a.roles AS reviewing_roles, a.groups AS reviewing_groups, a.broken <> '' AS glass_broken"
    " FROM jobs_job j JOIN tenants_tenant t ON t.id = j.tenant_id"
    " JOIN tools_version v ON v.id = j.version_id JOIN tools_tool o ON o.id = v.tool_id"
    " LEFT JOIN tools_connection c ON c.id = v.connection_id"
    " LEFT JOIN jobs_approval a ON a.job_id = j.id WHERE j.id = %s AND j.fence = %s"
)
_VERSION: LiteralString = "SELECT * FROM tools_version WHERE id = %s"
_CONNECTION: LiteralString = "SELECT * FROM tools_connection WHERE id = %s"

_tools: dict[int, LiveTool] = {}
"""By version, as a version never changes; with the connection of when it was made, which is not used again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How a job ends. result: sealed. error: a fault of the hub, as {"code", "message"}."""

    state: State
    reason: str = ""
    result: bytes | None = None
    key: str = ""
    size: int = 0
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A job that may run now. attempt: the how manieth time. repeatable: also after it has begun."""

    ready: Ready
    attempt: int
    most_attempts: int
    repeatable: bool
    upstream: Mapping[str, Any] | None


async def take(claim: Claim) -> Taken | End:
    """What is to be run, or how the job ends without it. Raises one of db.UNREACHABLE."""
    async with db.tenant_transaction(claim.tenant_id) as conn, conn.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(_JOB, [claim.job, claim.fence])).fetchone()
        if row is None:
            return End(state=State.CANCELLED, reason="lost")  # which the fence refuses to write
        version = None
        if row["version_id"] not in _tools:
            version = await (await cursor.execute(_VERSION, [row["version_id"]])).fetchone()
        connection = None
        if row["has_connection"] is not None:
            connection = await (await cursor.execute(_CONNECTION, [row["has_connection"]])).fetchone()
    caller = await standing(claim.tenant_id, row["member_id"], row["credential"])
    if caller is None or not row["offered"]:
        return End(state=State.CANCELLED, reason="standing_lost")
    begins = row["upstream"] is None
    if leads_elsewhere(row["destination"], row["base_url"]) or (row["moved"] and begins):
        return End(state=State.CANCELLED, reason="destination_changed")
    if row["agreed"] == "approved" and not row["unchanged"] and begins:
        return End(state=State.CANCELLED, reason="tool_changed")  # what was approved is not what is offered any more
    governed = await policy(claim.tenant_id, row["catalog_version"])
    surroundings = await around(claim.tenant_id, row["catalog_version"])
    try:
        opened = open_connection(connection) if connection else None
        tool = _tool(row["version_id"], version, opened, surroundings)
        arguments = unseal_arguments(row["arguments"] or b"")
    except (SealError, SchemaError, ValidationError, KeyError) as problem:
        log.error("job %s cannot be run: %s", claim.job, type(problem).__name__)  # noqa: TRY400 - it may quote secrets
        return broken("The hub cannot run this job any more. Tell an admin of this tenant.")
    return Taken(
        ready=replace(_ready(claim, row, caller, tool, arguments), limits=governed.limits, rules=governed.rules),
        attempt=row["attempts"],
        most_attempts=row["most_attempts"],
        repeatable=row["idempotent"],
        upstream=row["upstream"],
    )


def broken(message: str) -> End:
    """The end of a job that the hub itself is to blame for."""
    return End(state=State.FAILED, reason="internal_error", error={"code": INTERNAL_ERROR, "message": message})


def _ready(claim: Claim, row: Mapping[str, Any], caller: Caller, tool: LiveTool, arguments: dict[str, Any]) -> Ready:
    """With what was granted when it was accepted and is granted still: never more than either."""
    return Ready(
        id=claim.job,
        caller=replace(caller, scopes=caller.scopes.intersection(row["scopes"])),
        tool=tool,
        arguments=arguments,
        origin=Origin(
            via=row["via"],
            address=row["address"],
            client=row["client"],
            traceparent=row["trace"],
            tracestate=row["tracestate"],
        ),
        agreed=_agreed(row),
        accepted_at=row["created_at"],
        attempt=row["attempts"],
    )


def _agreed(row: Mapping[str, Any]) -> Agreed:
    """An approval is of those who were asked for it; an owner who broke the glass did so for everybody."""
    if row["agreed"] != "approved":
        return Agreed(confirmed=row["agreed"] == "confirmed")
    if row["glass_broken"]:
        return Agreed(approved=True)
    reviewers = Reviewers(roles=frozenset(row["reviewing_roles"]), groups=frozenset(row["reviewing_groups"]))
    return Agreed(approved=True, reviewers=reviewers)


def _tool(
    version_id: int, version: Mapping[str, Any] | None, connection: LiveConnection | None, around: Surroundings
) -> LiveTool:
    """The pinned version with its connection and its tenant's secrets as they are now, so that changes count."""
    if version is not None:
        if len(_tools) >= _MOST_TOOLS:
            _tools.clear()
        _tools[version_id] = make_live(version, connection, around)
    tool = _tools[version_id]
    return replace(tool, connection=connection, cleaner=cleaner_of(tool, connection, around))
