"""The Python SDK's own client connects with an API key and uses the demo tools, in both eras of the protocol."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent

from tests.conformance.suite import Endpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Era:
    """How the client is told to negotiate, and the revision that must come of it."""

    mode: str
    revision: str


ERAS: Final = [
    pytest.param(Era(mode="legacy", revision="2025-11-25"), id="handshake"),
    pytest.param(Era(mode="auto", revision="2026-07-28"), id="discovery"),
    pytest.param(Era(mode="2026-07-28", revision="2026-07-28"), id="pinned"),
]
SLOW: Final = {"steps": 100, "seconds": 10.0}
"""A call that reports progress ten times a second, and outlasts any patience of this test."""


@asynccontextmanager
async def connected(hub: Endpoint, era: Era) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {hub.api_key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(hub.url, http_client=http), mode=era.mode) as client,
    ):
        yield client


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


@pytest.mark.parametrize("era", ERAS)
async def test_the_client_agrees_on_the_revision_and_lists_the_demo_tools(era: Era, live_hub: Endpoint) -> None:
    async with connected(live_hub, era) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert client.protocol_version == era.revision
    assert {"search_tickets", "get_ticket", "count_slowly"} <= set(listed)
    assert listed["get_ticket"].input_schema["required"] == ["ticket_id"]


@pytest.mark.parametrize("era", ERAS)
async def test_the_client_calls_a_demo_tool(era: Era, live_hub: Endpoint) -> None:
    async with connected(live_hub, era) as client:
        result = await client.call_tool("search_tickets", {"query": "invoice"})
    assert not result.is_error
    assert "invoice" in text_of(result).lower()


@pytest.mark.parametrize("era", ERAS)
async def test_progress_reaches_the_client_while_the_tool_runs(era: Era, live_hub: Endpoint) -> None:
    reported: list[tuple[float, float | None]] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reported.append((progress, total))

    async with connected(live_hub, era) as client:
        result = await client.call_tool("count_slowly", {"steps": 3, "seconds": 0.15}, progress_callback=report)
    assert not result.is_error
    assert reported == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("era", ERAS)
async def test_bad_arguments_come_back_as_a_result_the_model_can_mend(era: Era, live_hub: Endpoint) -> None:
    async with connected(live_hub, era) as client:
        result = await client.call_tool("search_tickets", {"query": 7})
    assert result.is_error
    assert "query" in text_of(result)


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_a_protocol_error(era: Era, live_hub: Endpoint) -> None:
    async with connected(live_hub, era) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("no_such_tool", {})
    assert refused.value.code == INVALID_PARAMS


@pytest.mark.parametrize("era", ERAS)
async def test_a_cancelled_call_lets_go_at_once_and_the_connection_serves_on(era: Era, live_hub: Endpoint) -> None:
    started = anyio.Event()

    async def report(progress: float, total: float | None, message: str | None) -> None:
        started.set()

    async with connected(live_hub, era) as client:
        begun = time.monotonic()
        async with anyio.create_task_group() as running:

            async def call() -> None:
                await client.call_tool("count_slowly", dict(SLOW), progress_callback=report)
                pytest.fail("The call ran to its end")

            running.start_soon(call)
            with anyio.fail_after(SLOW["seconds"]):
                await started.wait()
            running.cancel_scope.cancel()
        result = await client.call_tool("search_tickets", {"query": "invoice"})
        assert time.monotonic() - begun < SLOW["seconds"]
    assert not result.is_error
