"""Uma, for tests with no database behind them; `dataclasses.replace` makes others of her."""

from typing import Final

from tenants.caller import Caller

UMA: Final = Caller(
    tenant_id=1,
    tenant_slug="acme",
    member_id=1,
    user_id=1,
    username="uma",
    role="user",
    credential="key:1",
    client="host",
    scopes=frozenset(),
    reach=frozenset(),
)
