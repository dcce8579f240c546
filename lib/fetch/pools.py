"""Connections kept open between exchanges, one pool for each set of allowed hosts.

A kept connection has been checked under the allowance it was opened with. Sharing it with a request that has a
narrower one would be a way around the check, so a pool is never shared between two sets of `allow_hosts`.
"""

import asyncio
import socket
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from lib.fetch.addresses import Allowance, allowance_of, check_address
from lib.fetch.errors import Unreachable
from lib.fetch.lookup import lookup

MAX_POOLS = 256
MAX_CONNECTIONS_PER_HOST = 100
KEEP_ALIVE_SECONDS = 30
# An upstream that does not answer a TLS farewell would hold its socket for another 30 s, beyond the end of the pool.
# aiohttp cuts such sockets off after 2 s and with the pool, and refuses to be told so from Python 3.12.8 on.
_CUTS_OFF_FAREWELLS = sys.version_info < (3, 12, 8)
# A request that may have reached the upstream is not repeated, except where repeating means nothing (RFC 9110, 9.2.1).
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class CheckedResolver(AbstractResolver):
    """Resolves a name once, checks every address, and hands aiohttp exactly the addresses that were checked.

    One forbidden address refuses the whole name: a name that is half public and half private is either an attack or a
    mistake, and which half answers would be chance.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await lookup(host, port, family)
        except UnicodeError:
            # The IDNA codec's answer to labels that are empty or longer than 63 characters.
            found = []
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        for result in found:
            check_address(host, port, ip_address(result["host"]), self._allowance)
        return found

    async def close(self) -> None:
        """Nothing is held open."""


@dataclass(eq=False)
class _Pool:
    session: aiohttp.ClientSession
    users: int = 0
    retired: bool = False


_pools: dict[asyncio.AbstractEventLoop, OrderedDict[frozenset[str], _Pool]] = {}


@asynccontextmanager
async def session_for(allow_hosts: frozenset[str]) -> AsyncIterator[aiohttp.ClientSession]:
    """Lend the running loop's session for this exact set of allowed hosts.

    The least recently used pool makes room for a new one, but its sockets stay open until its last user is done.
    """
    pools = _pools_of(asyncio.get_running_loop())
    pool = pools.get(allow_hosts)
    if pool is None:
        pool = pools[allow_hosts] = _Pool(_open_session(allowance_of(allow_hosts)))
    pools.move_to_end(allow_hosts)
    pool.users += 1
    try:
        await _make_room(pools)
        yield pool.session
    finally:
        pool.users -= 1
        if pool.retired and not pool.users:
            await pool.session.close()


async def close() -> None:
    """Close the running loop's pools and the exchanges still using them. Call at the end of the lifespan."""
    pools = _pools.pop(asyncio.get_running_loop(), None)
    for pool in list((pools or {}).values()):
        await pool.session.close()


def _pools_of(loop: asyncio.AbstractEventLoop) -> OrderedDict[frozenset[str], _Pool]:
    pools = _pools.get(loop)
    if pools is None:
        for ended in [other for other in _pools if other.is_closed()]:
            del _pools[ended]
        pools = _pools[loop] = OrderedDict()
    return pools


async def _make_room(pools: OrderedDict[frozenset[str], _Pool]) -> None:
    while len(pools) > MAX_POOLS:
        _, oldest = pools.popitem(last=False)
        oldest.retired = True
        if not oldest.users:
            await oldest.session.close()


def _open_session(allowance: Allowance) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(allowance),
        limit=0,  # one slow upstream must not use up a total that others share
        limit_per_host=MAX_CONNECTIONS_PER_HOST,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        enable_cleanup_closed=_CUTS_OFF_FAREWELLS,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        skip_auto_headers=("Content-Type",),
        middlewares=(_no_blind_repeat,),
    )


async def _no_blind_repeat(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating PUT and DELETE by itself when a connection breaks.

    It does so for every idempotent method; for a safe one, whose kept connection the upstream had just closed, that is
    right (RFC 9112, 9.3.1) and stays. Whether to repeat anything else is the caller's decision.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        if request.method in _SAFE_METHODS:
            raise
        raise Unreachable(f"{request.url.host} closed the connection before it answered.") from None
