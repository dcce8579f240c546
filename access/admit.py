"""From a presented secret to a Caller: one read, gathered over concurrent requests, fresh on every request.

What is looked up never outlives the request; only the meaning of scopes is kept, by the catalog version that the same
read returns.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from access.models import digest_of
from lib import db
from lib.batch import Batch
from tenants.caller import Caller
from tenants.rulebook import rulebook


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """What a request at a tenant's URL found: the tenant, and the Caller when the secret opened it."""

    tenant_id: int
    slug: str
    catalog_version: int
    caller: Caller | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    tenant_id: int
    catalog_version: int
    key_id: int | None
    key_name: str
    key_scopes: tuple[str, ...]
    member_id: int
    role: str
    user_id: int
    username: str


_batches: WeakKeyDictionary[asyncio.AbstractEventLoop, Batch[tuple[str, str], _Found | None]] = WeakKeyDictionary()
_used: set[int] = set()


async def admit(slug: str, secret: str | None) -> Door | None:
    """Who is at `/t/<slug>/`: None for a tenant that is unknown or disabled; a Door without a Caller for a secret that
    is missing, unknown, revoked, expired, another tenant's, or whose member or user is gone or inactive."""
    if not slug.isprintable():
        return None  # Postgres takes no NUL, and this read is shared with other callers
    found = await _batch()((slug, digest_of(secret) if secret else ""))
    if found is None:
        return None
    return Door(
        tenant_id=found.tenant_id,
        slug=slug,
        catalog_version=found.catalog_version,
        caller=await _caller(slug, found) if found.key_id is not None else None,
    )


async def _caller(slug: str, found: _Found) -> Caller:
    book = await rulebook(found.tenant_id, found.catalog_version)
    if found.key_id is not None:
        _used.add(found.key_id)
    return Caller(
        tenant_id=found.tenant_id,
        tenant_slug=slug,
        member_id=found.member_id,
        user_id=found.user_id,
        username=found.username,
        role=found.role,
        credential=f"key:{found.key_id}",
        client=found.key_name,
        scopes=book.granted(found.key_scopes, found.role),
        reach=book.reach(found.role),
    )


def _batch() -> Batch[tuple[str, str], _Found | None]:
    loop = asyncio.get_running_loop()
    if loop not in _batches:
        _batches[loop] = Batch(_look_up, most=100, room=5000)
    return _batches[loop]


async def _look_up(asked: Sequence[tuple[str, str]]) -> list[_Found | None]:
    rows = await db.lane("admit").fetch(
        "SELECT * FROM access_admit(%s::text[], %s::text[])",
        [[slug for slug, _ in asked], [digest for _, digest in asked]],
    )
    found: list[_Found | None] = [None] * len(asked)
    for place, tenant, version, key, name, scopes, member, role, user, username in rows:
        found[place - 1] = _Found(
            tenant_id=tenant,
            catalog_version=version,
            key_id=key,
            key_name=name or "",
            key_scopes=tuple(scopes or ()),
            member_id=member or 0,
            role=role or "",
            user_id=user or 0,
            username=username or "",
        )
    return found


async def record_use() -> None:
    """Write down when keys were last used; called now and then, so it costs a request nothing."""
    used = sorted(_used)
    if used:
        async with db.pooled() as conn:
            await conn.execute("SELECT access_touch(%s::bigint[])", [used])
        _used.difference_update(used)
