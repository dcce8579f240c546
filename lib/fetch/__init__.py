"""Guarded outbound HTTP: the one way out of the hub.

`fetch` connects only to public addresses, or to the private ones an admin allowed; it resolves a name once and uses
exactly what it checked, checks every redirect again, bounds time and size, and keeps connections open between calls
without ever lending one to a request with another allowance.
"""

from lib.fetch.addresses import allowance_of
from lib.fetch.errors import Blocked, FetchError, TimedOut, TooLarge, Unreachable
from lib.fetch.exchange import fetch
from lib.fetch.pools import close
from lib.fetch.values import Inbound, Outbound

__all__ = [
    "Blocked",
    "FetchError",
    "Inbound",
    "Outbound",
    "TimedOut",
    "TooLarge",
    "Unreachable",
    "allowance_of",
    "close",
    "fetch",
]
