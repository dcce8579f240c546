"""What a consent was given for, kept by the version of it that whoever needs it has just read."""

from collections.abc import Mapping
from typing import Final

from lib import db
from lib.versioned import Versioned
from tenants.pins import Pin, read

_NONE: Final[Mapping[str, Pin]] = {}


async def pins_of(consent_id: int, version: int) -> Mapping[str, Pin]:
    """The pins of a consent by the names of tools, no older than `version`."""
    return await _pins.get(consent_id, version)


async def _load(consent_id: int) -> tuple[int, Mapping[str, Pin]]:
    async with db.pooled() as conn:
        found = await (await conn.execute("SELECT version, pins FROM access_pins(%s)", [consent_id])).fetchone()
    return (found[0], read(found[1])) if found else (0, _NONE)  # it may have gone with its member


_pins: Versioned[Mapping[str, Pin]] = Versioned(_load, most=5000)
