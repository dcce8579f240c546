"""What a tenant's scopes mean, as a snapshot by catalog version."""

from collections.abc import Iterable, Mapping

from lib import db
from lib.versioned import Versioned
from tenants.scopes import ScopeRule, expand, reachable


class Rulebook:
    """A tenant's scope rules with the answers that every request asks, worked out once."""

    def __init__(self, rules: Mapping[str, ScopeRule]):
        self.rules = rules
        self._reach: dict[str, frozenset[str]] = {}
        self._granted: dict[tuple[tuple[str, ...], str], frozenset[str]] = {}

    def reach(self, role: str) -> frozenset[str]:
        """What a member of this role may hold at the most."""
        if role not in self._reach:
            self._reach[role] = reachable(role, self.rules)
        return self._reach[role]

    def granted(self, scopes: Iterable[str], role: str) -> frozenset[str]:
        """What these granted scopes are worth now: expanded, and cut to what the role may still hold."""
        asked = (tuple(scopes), role)
        if asked not in self._granted:
            self._granted[asked] = expand(asked[0], self.rules) & self.reach(role)
        return self._granted[asked]


async def _load(tenant_id: int) -> tuple[int, Rulebook]:
    async with db.tenant_transaction(tenant_id) as conn:
        cursor = await conn.execute(
            "SELECT t.catalog_version, s.name, s.implies, s.roles FROM tenants_tenant t"
            " LEFT JOIN tenants_scope s ON s.tenant_id = t.id WHERE t.id = %s",
            [tenant_id],
        )
        rows = await cursor.fetchall()
    rules = {
        name: ScopeRule(implies=frozenset(implies), roles=frozenset(roles)) for _, name, implies, roles in rows if name
    }
    return (rows[0][0] if rows else 0), Rulebook(rules)


_rulebooks: Versioned[Rulebook] = Versioned(_load, most=2000)


async def rulebook(tenant_id: int, version: int) -> Rulebook:
    """The rulebook of a tenant, no older than `version`."""
    return await _rulebooks.get(tenant_id, version)
