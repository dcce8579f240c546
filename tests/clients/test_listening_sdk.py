"""Real clients of 2025-11-25 hear that their tools have changed, by the stream that they open unasked."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from anyio.from_thread import start_blocking_portal
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from access.actions import revoke_key
from access.models import APIKey
from tests.cast import Cast
from tests.conformance import node
from tests.gateway.confirming import govern
from tests.gateway.conftest import Make, host
from tests.gateway.test_refusals import hidden_from
from tests.host import Host
from tests.oversight.scene import Scene
from tests.waiting import until

__all__ = ["host"]

CORE: Final = "2025-11-25"
CHANGED: Final = "notifications/tools/list_changed"
LISTENER: Final = Path(__file__).with_name("listener.mjs")
SOON: Final = 30.0


@dataclass
class Program:
    """A program on the Python SDK, and what it was told."""

    told: queue.Queue[str] = field(default_factory=queue.Queue)
    listening: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    """The methods of HTTP that it used, and how they were answered."""

    async def hear(self, message: Any) -> None:
        self.told.put(getattr(message, "method", repr(message)))

    async def see(self, response: httpx2.Response) -> None:
        self.asked.append(f"{response.request.method} {response.status_code}")
        if self.asked[-1] == "GET 200":
            self.listening.set()


@contextmanager
def connected(host: Host) -> Iterator[Program]:
    """The program, once its stream is open."""
    program = Program()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_session(host, program)):
        assert program.listening.wait(SOON), program.asked
        yield program


@asynccontextmanager
async def _session(host: Host, program: Program) -> AsyncIterator[None]:
    headers = {"Authorization": f"Bearer {host.key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, event_hooks={"response": [program.see]}) as http,
        Client(
            streamable_http_client(host.url, http_client=http), mode="legacy", message_handler=program.hear
        ) as client,
    ):
        assert client.protocol_version == CORE
        await client.list_tools()
        yield


def test_the_python_sdk_hears_of_every_change_that_it_would_see(cast: Cast, host: Make, hub: list[str]) -> None:
    scene = Scene(cast=cast, hub=hub)
    with connected(host(worker=1)) as program:
        cast.tool(cast.acme, "shout")
        assert program.told.get(timeout=SOON) == CHANGED
        govern(cast, hidden_from("user", "shout"))
        assert program.told.get(timeout=SOON) == CHANGED
        with scene.thrown("tool"):
            assert program.told.get(timeout=SOON) == CHANGED
        assert program.told.get(timeout=SOON) == CHANGED
        with cast.see(cast.acme):
            cast.acme.tools.filter(name="shout").update(enabled=False)
        cast.tool(cast.acme, "count_slowly")
        assert program.told.get(timeout=SOON) == CHANGED
        assert program.told.empty(), "what it does not see is none of its business"
    assert program.asked.count("GET 200") == 1
    assert program.asked[-1] == "DELETE 405", "it ends its session, which the hub has none of"


def test_the_python_sdk_is_told_nothing_that_it_knows_and_nothing_once_its_key_is_revoked(
    cast: Cast, host: Make
) -> None:
    with connected(host(worker=1)) as program:
        cast.tool(cast.acme, "shout")
        assert program.told.get(timeout=SOON) == CHANGED
        with cast.see(cast.acme):
            for key in APIKey.objects.filter(tenant=cast.acme):
                revoke_key(key, actor="system")
        cast.tool(cast.acme, "echo")
        until(lambda: "GET 401" in program.asked)
        assert program.told.empty()


@pytest.mark.node
@pytest.mark.parametrize("package", ["sdk", "client"], ids=["v1", "v2"])
def test_the_typescript_clients_hear_it_and_have_nothing_to_complain_of(cast: Cast, host: Make, package: str) -> None:
    cast.tool(cast.acme, "echo")
    node.install()
    own = host(worker=1)
    environment = node.environment(MCPHUB_URL=own.url, MCPHUB_API_KEY=own.key or "")
    line = node.command(LISTENER, package, CORE)
    pipe = subprocess.PIPE
    with subprocess.Popen(line, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        stuck = threading.Timer(SOON, process.kill)
        stuck.start()
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            cast.tool(cast.acme, "shout")
            assert process.stdout.readline() == "changed echo shout\n"
            said, _ = process.communicate("")
        finally:
            stuck.cancel()
    assert said == "complaints 0\n"
