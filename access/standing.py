"""A caller's standing anew: what the credential of a call that was accepted earlier is still worth.

A job outlives its request, so what admitted the request is asked again when a worker takes the job up, and for as long
as it runs.
"""

from typing import LiteralString

from access.pins import pins_of
from lib import db
from tenants.caller import Caller
from tenants.rulebook import rulebook

FACTS: LiteralString = "SELECT * FROM access_standing(%s, %s, %s, %s)"
"""Takes what `asked` gives."""


async def standing(tenant_id: int, member_id: int, credential: str) -> Caller | None:
    """The Caller that this credential of this member makes now, with every scope it still grants; None when it no
    longer may act: revoked, run out, blocked, or its member, user, tenant or everything switched off.

    credential: as `Caller.credential` spells it: `key:12`, `app:7`, `client:3`, `outside:5`, `admin`, `cli`.
    """
    rows = await db.lane("standing").fetch(FACTS, asked(tenant_id, member_id, credential))
    if not rows:
        return None
    version, slug, name, scopes, role, user_id, username, client_id, pins = rows[0]
    book = await rulebook(tenant_id, version)
    reach = book.reach(role)
    # As at the door: what a person granted was closed under what it implied then.
    granted = reach if scopes is None else book.granted(scopes, role)
    by_app = credential.startswith("app:")
    if by_app:
        granted = reach.intersection(scopes)
    return Caller(
        tenant_id=tenant_id,
        tenant_slug=slug,
        member_id=member_id,
        user_id=user_id,
        username=username,
        role=role,
        credential=credential,
        client=name,
        scopes=granted,
        reach=reach,
        client_id=client_id,
        pins=await pins_of(tenant_id, int(credential.removeprefix("app:")), pins) if by_app else None,
    )


def asked(tenant_id: int, member_id: int, credential: str) -> list[int | str]:
    """The parameters of FACTS."""
    sort, _, number = credential.partition(":")
    return [tenant_id, member_id, sort, int(number) if number.isascii() and number.isdigit() else 0]
