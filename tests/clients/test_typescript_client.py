"""The official TypeScript clients, v1 and v2, connect with an API key and use the demo tools in every revision."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance import node
from tests.conformance.suite import Endpoint

CLIENT: Final = Path(__file__).with_name("client.mjs")
TIMEOUT: Final = 40.0
INVALID_PARAMS: Final = -32602

CLIENTS: Final = [
    pytest.param("sdk", "2025-11-25", id="v1 at 2025-11-25"),
    pytest.param("client", "2025-03-26", id="v2 at 2025-03-26"),
    pytest.param("client", "2025-06-18", id="v2 at 2025-06-18"),
    pytest.param("client", "2025-11-25", id="v2 at 2025-11-25"),
    pytest.param("client", "2026-07-28", id="v2 at 2026-07-28"),
]


def use(package: str, revision: str, hub: Endpoint) -> dict[str, Any]:
    """Run `client.mjs` and return what it printed."""
    node.install()
    environment = node.environment(MCPHUB_URL=hub.url, MCPHUB_API_KEY=hub.api_key)
    line = node.command(CLIENT, package, revision)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.node
@pytest.mark.parametrize(("package", "revision"), CLIENTS)
def test_the_typescript_client_lists_and_calls_the_demo_tools(package: str, revision: str, live_hub: Endpoint) -> None:
    seen = use(package, revision, live_hub)

    assert seen["revision"] == revision
    assert seen["server"]["name"]
    listed = {tool["name"]: tool for tool in seen["tools"]}
    assert {"search_tickets", "get_ticket", "count_slowly"} <= set(listed)
    assert listed["search_tickets"]["inputSchema"]["required"] == ["query"]

    assert not seen["found"].get("isError")
    assert "invoice" in json.dumps(seen["found"]["content"]).lower()
    assert not seen["counted"].get("isError")
    assert [event["progress"] for event in seen["progress"]] == [1, 2, 3]
    assert {event["total"] for event in seen["progress"]} == {3}

    assert seen["mistaken"]["isError"] is True
    assert "query" in seen["mistaken"]["content"][0]["text"]
    assert seen["unknown"]["code"] == INVALID_PARAMS
