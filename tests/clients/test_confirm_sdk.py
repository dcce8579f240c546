"""The official Python client asks its person about the demo's comment, or hands on the link where it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.client import ClientRequestContext
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.conftest import Endpoint

COMMENT = "add_internal_comment"
ARGUMENTS = {"ticket_id": 4, "body": "Second report from the north.\nTold engineering."}


class Person:
    """Somebody at the host, who answers everything alike."""

    def __init__(self, action: str) -> None:
        self.asked: list[types.ElicitRequestParams] = []
        self._action: Any = action

    async def __call__(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        self.asked.append(params)
        return types.ElicitResult(action=self._action, content={} if self._action == "accept" else None)


@asynccontextmanager
async def connected(hub: Endpoint, mode: str, person: Person | None) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {hub.api_key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(hub.url, http_client=http), mode=mode, elicitation_callback=person) as client,
    ):
        yield client


def refusal(result: types.CallToolResult) -> dict[str, Any]:
    assert result.is_error
    return dict((result.meta or {})["mcphub/refusal"])


async def test_the_comment_is_written_once_its_person_said_yes(live_hub: Endpoint) -> None:
    person = Person("accept")
    async with connected(live_hub, "auto", person) as client:
        assert client.protocol_version == "2026-07-28"
        result = await client.call_tool(COMMENT, ARGUMENTS)
    assert not result.is_error
    (asked,) = person.asked
    assert asked.message.startswith(f"Add an internal comment ({COMMENT}) is about to run.")
    assert '- body: "Second report from the north.\\nTold engineering."' in asked.message
    assert "- ticket_id: 4" in asked.message
    assert "It goes to 127.0.0.1:" in asked.message
    assert "Why you are asked: A note stays on the ticket under your name" in asked.message


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_the_comment_is_not_written_when_they_said_no(live_hub: Endpoint, action: str) -> None:
    async with connected(live_hub, "auto", Person(action)) as client:
        assert refusal(await client.call_tool(COMMENT, ARGUMENTS))["reason"] == "not_confirmed"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_asks_nobody_is_given_a_link(live_hub: Endpoint, mode: str) -> None:
    async with connected(live_hub, mode, None) as client:
        said = refusal(await client.call_tool(COMMENT, ARGUMENTS))
    assert said["reason"] == "confirmation_needed"
    assert "/confirm/" in said["askAt"]
