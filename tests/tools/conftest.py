"""What tests of kind `http` share."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lib import fetch as fetching
from tests.tools.upstream import Upstream
from tools.kinds import http_send


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    server = TestServer(app, host="127.0.0.1", access_log=None)
    await server.start_server(shutdown_timeout=0)
    upstream.base_url = str(server.make_url("/api"))
    yield upstream
    await fetching.close()
    await server.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the kind would have waited; no time passes."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(http_send, "sleep", note)
    return waited
