"""The Caller: who acts. Made once at the edge from a credential, then passed instead of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenants.pins import Pin


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Somebody acting in one tenant. Never changes, never crosses tenants.

    scopes: granted and still allowed, with everything they imply.
    reach: what the member's role may hold at the most; `tools/list` shows what this opens.
    credential: how they authenticated, like `key:12` or `admin`; what limits and cancellation count by.
    client_id: the OAuth client that acts for them; empty for keys.
    pins: by the names of tools, what the consent that a program acts by was given for; None where nobody gave one.
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
    client_id: str = ""
    pins: Mapping[str, Pin] | None = field(default=None, compare=False, repr=False)
