"""Name resolution in threads of its own.

`getaddrinfo` blocks, for as long as the system's resolver is configured to wait. In the event loop's shared executor a
few names whose servers never answer would hold up everything else that runs there, so it has its own threads, and one
name takes one of them however many ask for it. As many different names that never answer as there are threads would
still hold up the others until the system gives up on them (by default after 10 s for two name servers); what waits is
ended by the deadline of its exchange.
"""

import asyncio
import functools
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp.abc import ResolveResult

THREADS = 16

Asked = tuple[str, int, int]
Answer = asyncio.Future[list[ResolveResult]]

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lookup")
_under_way: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Asked, Answer]] = WeakKeyDictionary()


async def lookup(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Every address of a name, as aiohttp wants them. Raises what `socket.getaddrinfo` raises."""
    loop = asyncio.get_running_loop()
    waiting = _under_way.setdefault(loop, {})
    asked = (host, port, int(family))
    answer = waiting.get(asked)
    if answer is None:
        answer = waiting[asked] = loop.run_in_executor(_threads, _lookup, *asked)
        answer.add_done_callback(functools.partial(_done, waiting, asked))
    return list(await asyncio.shield(answer))


def _done(waiting: dict[Asked, Answer], asked: Asked, answer: Answer) -> None:
    del waiting[asked]
    if not answer.cancelled():
        answer.exception()  # seen, even if whoever asked is gone


def _lookup(host: str, port: int, family: int) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=_numeric(address),
            port=int(address[1]),
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]


def _numeric(address: tuple[Any, ...]) -> str:
    """The address as text; a link-local one with its zone (RFC 4007, 11), without which it leads nowhere."""
    zone = address[3] if len(address) == 4 else 0
    return f"{address[0]}%{zone}" if zone else str(address[0])
