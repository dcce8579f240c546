"""Entries about credentials that opened nothing. Nobody waits for them: the answer does not depend on them."""

from access import refusals
from access.admit import Door
from audit.writer import writer


async def record_unknown(found: Door, address: str, *, via: str = "mcp") -> None:
    """A credential opened nothing here. One that another tenant issued is told to both, and neither hears of the
    other: here somebody tries doors, there a secret is in the wrong hands."""
    if found.stray in (None, found.tenant_id):
        await record(found.tenant_id, "unknown_credential", address, via=via)
        return
    await record(found.tenant_id, "foreign_token", address, via=via)
    await record(found.stray, "used_elsewhere", address, via=via)


async def record(tenant_id: int | None, reason: str, address: str, *, via: str = "mcp") -> None:
    """Add an entry to a tenant's ledger, unless this source has filled its minute."""
    entry = refusals.row(tenant_id=tenant_id, reason=reason, via=via, address=address)
    if entry is not None:
        await writer().disown(entry)
