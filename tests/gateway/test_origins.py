"""Which browsers' pages may talk to the endpoint, under which name, and with how much in the headers."""

import httpx2
import pytest

from access import head as heads
from access.head import Head
from gateway import request
from gateway.errors import Fault
from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.gateway.strangers import bearer, url
from tests.host import Host


def test_a_preflight_is_answered_to_our_own_origin(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    headers = {
        "origin": hub[0],
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, mcp-param-region, evil: x",
    }
    answer = client.options(url(hub, cast.acme), headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == hub[0]
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name"} <= set(allowed)
    assert "mcp-param-region" in allowed
    assert "evil" not in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example", "http://[", "http://x:99999",
     "http://localhost:99999", "ws://127.0.0.1", "127.0.0.1", ""],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_a_foreign_origin_is_refused(
    hub: list[str], cast: Cast, client: httpx2.Client, method: str, origin: str
) -> None:
    _, key = cast.key(cast.uma)
    answer = client.request(method, url(hub, cast.acme), headers={**bearer(key), "origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("name", ["host", "origin"])
def test_a_name_too_long_to_be_one_is_refused_and_not_remembered(name: str) -> None:
    remembered = {"host": heads._host_allowed, "origin": heads._origin_allowed}[name]
    before = remembered.cache_info()
    headers = {"host": "127.0.0.1", name: "x" * 301}
    with pytest.raises(Fault):
        request.check_peer(Head(method="POST", lines=[], headers=headers, address=""))
    assert remembered.cache_info() == before


@pytest.mark.parametrize("path", ["/t/nobody/mcp", "/admin/login/", "/livez"])
def test_headers_that_are_too_large_together_are_refused(hub: list[str], client: httpx2.Client, path: str) -> None:
    many = {f"x-{n}": "x" * 1000 for n in range(70)}
    assert client.get(hub[0] + path, headers=many).status_code == 431
    assert client.get(hub[0] + path, headers={"x-one": "x" * 66_000}).status_code == 431
    assert client.get(hub[0] + path + "?q=" + "x" * 40_000, headers={"x-one": "x" * 30_000}).status_code == 431
    assert client.get(hub[0] + path, headers={"x-one": "x" * 60_000}).status_code != 431


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_our_own_origin_may_read_every_answer(hub: list[str], cast: Cast, host: Make, name: str) -> None:
    cast.tool(cast.acme, "count_slowly")
    origin = hub[0].replace("127.0.0.1", name)
    asking = host()
    call = {"name": "count_slowly", "arguments": {}, "_meta": {"progressToken": 1}}
    answers = [
        asking.request("tools/list", origin=origin),
        asking.request("tools/call", call, origin=origin),
        asking.post(b"{", origin=origin),
        Host(asking.base, asking.slug).request("tools/list", origin=origin),
    ]
    assert [answer.status for answer in answers] == [200, 200, 400, 401]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == origin
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "a b", "[", ""])
def test_a_host_that_is_not_ours_is_refused(hub: list[str], cast: Cast, host: Make, name: str) -> None:
    answer = host().request("tools/list", host=name)
    assert answer.status in {400, 421}
    assert name not in {"evil.example", "127.0.0.1.evil.example"} or answer.status == 421
