"""Anything at all, near enough to the real thing to get past the first checks: nothing makes the server fail."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.host import ENVELOPE, PREFIX, REVISIONS

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner)
    | st.dictionaries(st.text(), inner), max_leaves=8
)  # fmt: skip
_META = st.dictionaries(
    st.sampled_from([*ENVELOPE, f"{PREFIX}/clientInfo", f"{PREFIX}/logLevel", "progressToken", "traceparent"]), _JSON
)
_PARAMS = _JSON | st.fixed_dictionaries(
    {},
    optional={"name": st.just("echo") | _JSON, "arguments": _JSON, "_meta": _META | st.just(ENVELOPE), "cursor": _JSON},
)
_METHOD = (
    st.sampled_from(["tools/call", "tools/list", "initialize", "server/discover", "logging/setLevel", "ping"]) | _JSON
)
_BODY = _JSON | st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": _METHOD, "params": _PARAMS}, optional={"id": st.integers() | _JSON}
)
_VALUE = st.sampled_from([*REVISIONS, "tools/call", "tools/list", "echo"]) | st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")
)
_SENT = st.dictionaries(
    st.sampled_from(
        ["mcp-protocol-version", "mcp-method", "mcp-name", "accept", "traceparent", "user-agent", "mcp-session-id",
         "last-event-id", "content-type", "mcp-param-x", "authorization", "x-api-key"]
    ),
    _VALUE,
    max_size=4,
)  # fmt: skip


@pytest.fixture
def asked(cast: Cast, host: Make) -> Iterator[Callable[[bytes, dict[str, str]], int]]:
    """Post bytes with extra headers on one connection; the status that came back."""
    cast.tool(cast.acme, "echo")
    asking = host()
    own = {"content-type": "application/json", "authorization": f"Bearer {asking.key}"}
    with httpx2.Client(timeout=30) as client:

        def post(body: bytes, headers: dict[str, str]) -> int:
            sent = [(name.encode(), value.strip().encode("latin-1")) for name, value in (own | headers).items()]
            return client.post(asking.url, content=body, headers=sent).status_code

        yield post
        assert asking.call("echo", {"text": "still here"}).status == 200


_fixture = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_fixture
@given(body=_BODY, headers=_SENT)
def test_no_json_and_no_header_makes_the_server_fail(
    asked: Callable[[bytes, dict[str, str]], int], body: Any, headers: dict[str, str]
) -> None:
    assert asked(json.dumps(body).encode(), headers) < 500


@_fixture
@given(body=st.lists(_BODY, max_size=5))
def test_no_batch_makes_the_server_fail(asked: Callable[[bytes, dict[str, str]], int], body: Any) -> None:
    assert asked(json.dumps(body).encode(), {}) < 500


@_fixture
@given(body=st.binary())
def test_no_bytes_make_the_server_fail(asked: Callable[[bytes, dict[str, str]], int], body: bytes) -> None:
    assert asked(body, {}) < 500
