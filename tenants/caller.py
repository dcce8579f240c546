"""The Caller: who acts. Made once at the edge from a credential, then passed instead of a request."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Somebody acting in one tenant. Never changes, never crosses tenants.

    scopes: granted and still allowed, with everything they imply.
    reach: what the member's role may hold at the most; `tools/list` shows what this opens.
    credential: how they authenticated, like `key:12` or `admin`; what limits and cancellation count by.
    """

    tenant_id: int
    tenant_slug: str
    member_id: int
    user_id: int
    username: str
    role: str
    credential: str
    client: str
    scopes: frozenset[str]
    reach: frozenset[str]
