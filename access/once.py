"""What may be used once, on whichever server it is presented; a crash of Postgres forgets none of it."""

import uuid
from typing import Final

from django.db import connection

from lib import db

_SPEND: Final = "SELECT access_spend(%s, %s)"


async def spend(one: uuid.UUID, *, span: float) -> bool:
    """Whether this is the first time. span: seconds in which whatever bears this id can be presented at all."""
    async with db.pooled() as conn:
        cursor = await conn.execute(_SPEND, [one, span])
        row = await cursor.fetchone()
    return row is not None and row[0] is True


def spend_here(one: uuid.UUID, *, span: float) -> bool:
    """The same from a view. Ask it outside a transaction: what is rolled back was not used."""
    with connection.cursor() as cursor:
        cursor.execute(_SPEND, [one, span])
        row = cursor.fetchone()
    return row is not None and row[0] is True


async def give_back(one: uuid.UUID) -> None:
    """For what came to nothing: it may be used once more."""
    async with db.pooled() as conn:
        await conn.execute("SELECT access_unspend(%s)", [one])
