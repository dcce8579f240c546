"""The one ASGI application: MCP endpoints go to the gateway, events of jobs to their stream, everything else to Django.

Owns the lifespan.

Start it with: uvicorn mcphub.asgi:app --loop uvloop --http httptools
"""

import asyncio
import gc
import logging
import os
import re
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
django.setup()

from gateway.door import door  # noqa: E402 - needs the apps to be loaded
from jobs.stream import stream  # noqa: E402
from lib import events  # noqa: E402
from mcphub.lifespan import lifespan  # noqa: E402

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]

# What cannot be a slug matches too, as an empty one: strangers learn nothing from how a guess is spelled.
_ENDPOINT = re.compile(r"/t/(?:([a-z0-9-]{1,48})|[^/]+)/mcp", re.DOTALL)
_EVENTS = re.compile(r"/api/v1/t/(?:([a-z0-9-]{1,48})|[^/]+)/jobs/([^/]+)/events", re.DOTALL)
_pages = get_asgi_application()


_MOST_HEAD = 64 * 1024
"""Bytes of a request's line and headers together; httptools has no bound of its own."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Route by path. A browser that opens an endpoint gets its page; everything else there speaks MCP."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    if scope["type"] == "http" and _head_size(scope) > _MOST_HEAD:
        await _refuse(send, 431, b"The headers of this request are larger than 64 KiB together.")  # RFC 6585, 5
        return
    endpoint = _ENDPOINT.fullmatch(scope["path"]) if scope["type"] == "http" else None
    if endpoint is not None and not _browser(scope):
        await door(scope, receive, send, endpoint[1] or "")
        return
    events = _EVENTS.fullmatch(scope["path"]) if scope["type"] == "http" else None
    if events is not None:
        await stream(scope, receive, send, events[1] or "", events[2])
        return
    await _page(scope, receive, send)


class _TooLarge(Exception):
    """A body beyond what any form of the hub's has."""


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand a request to Django, which keeps the whole body, on disk if need be, before any view is asked."""
    taken = 0

    async def bounded() -> Scope:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise _TooLarge
        return message

    try:
        await _pages(scope, bounded, send)  # type: ignore[arg-type]
    except _TooLarge:
        await _refuse(send, 413, b"The body of this request is too large.")


def _head_size(scope: Scope) -> int:
    path: bytes = scope.get("raw_path") or scope["path"].encode(errors="replace")
    return len(path) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in scope["headers"])


async def _refuse(send: Send, status: int, body: bytes) -> None:
    """The connection ends with it, so that what was sent is not kept for a next request."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _browser(scope: Scope) -> bool:
    """A page visit: GET that takes HTML and presents no credential (MCP clients ask for an event stream), not even in
    the address, where the door refuses it."""
    headers = dict(scope["headers"])
    accept = headers.get(b"accept", b"")
    return (
        scope["method"] == "GET"
        and b"text/html" in accept
        and b"text/event-stream" not in accept
        and b"authorization" not in headers
        and b"access_token" not in scope["query_string"]
    )


async def _live(receive: Receive, send: Send) -> None:
    """The ASGI lifespan protocol around everything the process holds open."""
    await receive()
    phase, failure = "startup", "the hub could not start"
    try:
        async with lifespan():
            _settle_memory()
            with _streams_end():
                await send({"type": "lifespan.startup.complete"})
                phase, failure = "shutdown", "the hub could not shut down cleanly"
                await receive()
    except Exception as problem:
        log.exception(failure)
        await send({"type": f"lifespan.{phase}.failed", "message": str(problem)})
        return
    await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def _streams_end() -> Iterator[None]:
    """Have open streams end when the process is asked to: a server waits for all that is open before it says so here.

    Heard beside the server's own handlers, which a server that was started in the main thread has set by now.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def heard(signum: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(events.end)
        theirs[signum](signum, frame)

    found = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    theirs: dict[int, Callable[[int, FrameType | None], Any]] = {
        signum: handler for signum, handler in found.items() if callable(handler)
    }
    for signum in theirs:
        signal.signal(signum, heard)
    try:
        yield
    finally:
        for signum, handler in theirs.items():
            signal.signal(signum, handler)


def _settle_memory() -> None:
    """What start-up allocated stays for good: keep the collector from walking it on every cycle (cuts p99 by three)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
