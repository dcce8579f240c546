"""What a consent was given for, kept by the version of it that whoever needs it has just read."""

from collections.abc import Mapping
from typing import Final

from lib import db
from lib.versioned import Versioned
from tenants.pins import Pin, read

_NONE: Final[Mapping[str, Pin]] = {}


async def pins_of(tenant_id: int, consent_id: int, version: int) -> Mapping[str, Pin]:
    """The pins of a tenant's consent by the names of tools, no older than `version`."""
    return await _pins.get((tenant_id, consent_id), version)


async def _load(key: tuple[int, int]) -> tuple[int, Mapping[str, Pin]]:
    tenant_id, consent_id = key
    async with db.tenant_transaction(tenant_id) as conn:
        asked = await conn.execute("SELECT pins_version, pins FROM access_consent WHERE id = %s", [consent_id])
        found = await asked.fetchone()
    return (found[0], read(found[1])) if found else (0, _NONE)  # it may have gone with its member


_pins: Versioned[Mapping[str, Pin]] = Versioned(_load, most=5000)
