"""Counting what strangers may ask for, on buckets that all server processes share."""

from ipaddress import IPv6Address, ip_address, ip_network

from django.db import connection

from lib import db


def take(bucket: str, *, cost: float, span: float) -> float:
    """Take `cost` seconds out of a bucket that holds `span`: 0 when taken, else the seconds to wait.

    cost = span / n lets n through at once and n per span after that; cost = span is a single use. Ask it outside a
    transaction, because the bucket stays locked until the end of one.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_throttle(%s, %s, %s)", [bucket, cost, span])
        return float(cursor.fetchone()[0])


def source(address: str) -> str:
    """Whom an address counts for: an IPv6 network of 64 bits is one customer, who can use any address in it."""
    try:
        parsed = ip_address(address.split("%", 1)[0])
    except ValueError:
        return address[:64]
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((int(parsed), 64), strict=False))


async def forget() -> None:
    """Delete what nothing asks for any more: idle buckets, old codes and tokens, clients that were never used, and what
    was used once."""
    async with db.pooled() as conn:
        await conn.execute("SELECT access_forget(), access_forget_spent()")
