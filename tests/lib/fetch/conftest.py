"""What tests of the guarded way out share: pools closed after each, real servers, names from a table."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from lib import fetch as fetching
from tests.lib.fetch.servers import Handler, Names, Serve


@pytest.fixture(autouse=True)
async def _closed_pools() -> AsyncIterator[None]:
    yield
    await fetching.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start an HTTP server for one handler on a free loopback port and return the port."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, tls: ssl.SSLContext | None = None) -> int:
            listening = socket.create_server(("127.0.0.1", 0))
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listening, ssl_context=tls).start()
            return int(listening.getsockname()[1])

        yield start


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    table = Names()
    monkeypatch.setattr(socket, "getaddrinfo", table.answer)
    return table
