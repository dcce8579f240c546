"""From a presented secret to a Caller: one read, gathered over concurrent requests, fresh on every request.

What is looked up never outlives the request; only the meaning of scopes and what an outside issuer's tokens must be
like are kept, by the catalog version that the same read returns.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from access import outside
from access.models import digest_of
from access.pins import pins_of
from lib import db
from lib.batch import Batch
from tenants.caller import Caller
from tenants.pins import Pin
from tenants.rulebook import rulebook

_STOPPED = "stopped"
TOKEN_PREFIX = "mcphub_at_"  # noqa: S105 - how an access token of ours begins


class Stopped(Exception):
    """Platform staff has stopped everything: nobody is let in anywhere until it is switched on again."""

    message = "An admin has stopped this hub. Nothing is run until it is switched on again; tell the person."
    retry_after = 60
    """Seconds after which asking again may be worth it; nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """What a request at a tenant's URL found: the tenant, and the Caller when the secret opened it.

    stray: the tenant that the presented secret was issued for, when it opened nothing. It may be this one.
    """

    tenant_id: int
    slug: str
    catalog_version: int
    caller: Caller | None
    stray: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """One line of the read: where, and what was presented: the digest of a key, that of a token, or claims."""

    slug: str
    key: str | None = None
    token: str | None = None
    claims: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    tenant_id: int
    catalog_version: int
    sort: str
    credential_id: int
    name: str
    scopes: tuple[str, ...]
    member_id: int
    role: str
    user_id: int | None
    username: str
    stray: int | None
    client_id: str
    pins_version: int


Look = Callable[[Sequence[_Asked]], Awaitable[list[_Found | None]]]

_batches: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Look, Batch[_Asked, _Found | None]]] = WeakKeyDictionary()
_used: dict[tuple[str, int], str] = {}
"""What was presented since the last `record_use`, as (sort, id), and from where."""


async def admit(slug: str, secret: str | None, *, address: str = "") -> Door | None:
    """Who is at `/t/<slug>/`: None for a tenant that is unknown or disabled; a Door without a Caller for a secret that
    is missing, unknown, revoked, expired, another tenant's, or whose member or user is gone or inactive.

    secret: an API key, an access token of the hub, or one of the issuer that the tenant trusts instead.
    address: where the request came from; kept as what last used the secret.
    Raises Stopped while everything is.
    """
    if not slug.isprintable():
        return None  # Postgres takes no NUL, and this read is shared with other callers
    token = outside.read(secret) if secret else None
    found = await _batch(_look_up if token is None else _look_outside)(_asked(slug, secret, token))
    if found is None:
        return None
    if found.sort == _STOPPED:
        raise Stopped
    return Door(
        tenant_id=found.tenant_id,
        slug=slug,
        catalog_version=found.catalog_version,
        caller=await _caller(slug, found, token, address),
        stray=found.stray,
    )


def _asked(slug: str, secret: str | None, token: outside.Token | None) -> _Asked:
    if not secret:
        return _Asked(slug=slug)
    if token is not None:
        return _Asked(slug=slug, claims=token.names)
    if secret.startswith(TOKEN_PREFIX):
        return _Asked(slug=slug, token=digest_of(secret))
    return _Asked(slug=slug, key=digest_of(secret))


async def _caller(slug: str, found: _Found, token: outside.Token | None, address: str) -> Caller | None:
    """The Caller of what was found; for an outside token only when it proves to be what it says."""
    if found.user_id is None:
        return None
    name, scopes = found.name, found.scopes
    if token is not None:
        proven = await outside.verify(token, slug=slug, tenant_id=found.tenant_id, version=found.catalog_version)
        if proven is None:
            return None
        name, scopes = proven.client or found.name, proven.scopes
    book = await rulebook(found.tenant_id, found.catalog_version)
    reach = book.reach(found.role)
    # What a person granted was closed under what it implied then; what it has come to imply since, nobody was asked.
    held = reach.intersection(scopes) if found.sort == "app" else book.granted(scopes, found.role)
    _used[found.sort, found.credential_id] = address
    return Caller(
        tenant_id=found.tenant_id,
        tenant_slug=slug,
        member_id=found.member_id,
        user_id=found.user_id,
        username=found.username,
        role=found.role,
        credential=f"{found.sort}:{found.credential_id}",
        client=name,
        scopes=held,
        reach=reach,
        client_id=found.client_id,
        pins=await _pins(found),
    )


async def _pins(found: _Found) -> Mapping[str, Pin] | None:
    return await pins_of(found.tenant_id, found.credential_id, found.pins_version) if found.sort == "app" else None


def _batch(look: Look) -> Batch[_Asked, _Found | None]:
    batches = _batches.setdefault(asyncio.get_running_loop(), {})
    if look not in batches:
        batches[look] = Batch(look, most=100, room=5000)
    return batches[look]


async def _look_up(asked: Sequence[_Asked]) -> list[_Found | None]:
    rows = await db.lane("admit").fetch(
        "SELECT * FROM access_admit(%s::text[], %s::text[], %s::text[])",
        [[one.slug for one in asked], [one.key for one in asked], [one.token for one in asked]],
    )
    return _placed(rows, len(asked))


async def _look_outside(asked: Sequence[_Asked]) -> list[_Found | None]:
    rows = await db.lane("admit outside").fetch(
        "SELECT * FROM access_admit_outside(%s::text[], %s::text[])",
        [[one.slug for one in asked], [one.claims for one in asked]],
    )
    return _placed(rows, len(asked))


def _placed(rows: Sequence[Any], count: int) -> list[_Found | None]:
    """What was found, in the order in which it was asked for."""
    found: list[_Found | None] = [None] * count
    for place, tenant, version, sort, credential, name, scopes, member, role, user, username, stray, *of_app in rows:
        client, pins = of_app
        found[place - 1] = _Found(
            tenant_id=tenant,
            catalog_version=version,
            sort=sort or "",
            credential_id=credential or 0,
            name=name or "",
            scopes=tuple(scopes or ()),
            member_id=member or 0,
            role=role or "",
            user_id=user,
            username=username or "",
            stray=stray,
            client_id=client or "",
            pins_version=pins or 0,
        )
    return found


async def record_use() -> None:
    """Write down when keys and consents were last used, and these from where; called now and then, so it costs a
    request nothing."""
    used = dict(_used)
    keys = _of("key", used)
    consents = _of("app", used)
    if keys or consents:
        addresses = [used["app", consent] for consent in consents]
        async with db.pooled() as conn:
            await conn.execute(
                "SELECT access_touch(%s::bigint[], %s::bigint[], %s::text[])", [keys, consents, addresses]
            )
    for one, address in used.items():
        if _used.get(one) == address:
            del _used[one]


def _of(sort: str, used: Iterable[tuple[str, int]]) -> list[int]:
    return [found for kind, found in used if kind == sort]
