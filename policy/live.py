"""What a tenant's policy is now, for who has no catalog at hand: workers, which run one job of many tenants each."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from lib import db
from lib.versioned import Versioned
from policy.limits import Limits
from policy.rules import NO_RULES, Rules, compiled
from policy.take import limit_rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """A tenant's live rules and its limits, at one version of its catalog."""

    rules: Rules
    limits: Limits


async def policy(tenant_id: int, version: int) -> Policy:
    """The tenant's policy, no older than `version`."""
    return await _policies.get(tenant_id, version)


async def read(conn: AsyncConnection[Any], tenant_id: int) -> tuple[Mapping[str, Any] | None, Limits]:
    """The columns of the tenant's live Ruleset, which the caller compiles, and its limits."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT * FROM policy_ruleset WHERE tenant_id = %s ORDER BY number DESC LIMIT 1", [tenant_id]
        )
        rules = await cursor.fetchone()
        await cursor.execute("SELECT * FROM policy_limit WHERE tenant_id = %s ORDER BY id", [tenant_id])
        return rules, Limits(limit_rule(row) for row in await cursor.fetchall())


async def _load(tenant_id: int) -> tuple[int, Policy]:
    async with db.tenant_transaction(tenant_id) as conn:
        cursor = await conn.execute("SELECT catalog_version FROM tenants_tenant WHERE id = %s", [tenant_id])
        found = await cursor.fetchone()
        written, limits = await read(conn, tenant_id)
    rules = await asyncio.to_thread(compiled, written) if written else NO_RULES
    return (found[0] if found else 0), Policy(rules=rules, limits=limits)


_policies: Versioned[Policy] = Versioned(_load, most=500)
