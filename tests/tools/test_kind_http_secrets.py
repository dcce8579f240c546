"""Kind `http` proves itself with the secret of its connection, which nobody else gets to see."""

import base64
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web
from cryptography.fernet import Fernet

from tests.tools.upstream import SECRET, Upstream, answering, connect, run, said
from tools.catalog import open_connection
from tools.errors import Misconfigured, UpstreamError

AUTHS = [
    pytest.param({"auth": "bearer"}, "Authorization", f"Bearer {SECRET}", id="bearer"),
    pytest.param(
        {"auth": "basic", "username": "hub"},
        "Authorization",
        "Basic " + base64.b64encode(f"hub:{SECRET}".encode()).decode(),
        id="basic",
    ),
    pytest.param({"auth": "header", "auth_name": "X-Key"}, "X-Key", SECRET, id="header"),
]


@pytest.mark.parametrize(("auth", "header", "value"), AUTHS)
async def test_the_connection_proves_itself_by_a_header(
    upstream: Upstream, auth: dict[str, str], header: str, value: str
) -> None:
    await run(upstream, {"path": "/t"}, connection=connect(upstream, secret=SECRET, **auth))
    assert upstream.last.headers[header] == value


async def test_the_connection_proves_itself_by_a_query_parameter(upstream: Upstream) -> None:
    connection = connect(upstream, auth="query", auth_name="key", secret=SECRET)
    await run(upstream, {"path": "/t"}, {"q": "x"}, connection=connection)
    assert dict(upstream.last.query) == {"q": "x", "key": SECRET}
    with pytest.raises(Misconfigured, match="same query parameter"):
        await run(upstream, {"path": "/t"}, {"key": "mine"}, connection=connection)


@pytest.mark.parametrize(
    "broken",
    [
        {"auth": "bearer"},
        {"auth": "bearer", "secret": "line\nbreak"},
        {"auth": "header", "secret": SECRET},
        {"auth": "header", "secret": SECRET, "auth_name": "X-Team"},
        {"auth": "query", "secret": SECRET},
        {"auth": "kerberos", "secret": SECRET},
        {"base_url": "ftp://127.0.0.1/"},
        {"base_url": "http://user:pass@127.0.0.1/"},
        {"base_url": "http://127.0.0.1/?a=1"},
        {"base_url": "http://127.0.0.1/a/../b"},
        {"base_url": "http://[broken"},
    ],
)
async def test_a_connection_that_cannot_be_used_is_the_admins(upstream: Upstream, broken: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured) as problem:
        await run(upstream, {"path": "/t", "headers": {"x-team": "a"}}, connection=connect(upstream, **broken))
    assert SECRET not in str(problem.value)
    assert upstream.seen == []


async def test_a_connection_whose_secret_no_key_opens_sends_nothing(upstream: Upstream) -> None:
    shut = open_connection(
        {
            "id": 1,
            "name": "Desk",
            "tenant_id": 1,
            "base_url": upstream.base_url,
            "auth": "basic",
            "auth_name": "",
            "username": "hub",
            "secret": Fernet(Fernet.generate_key()).encrypt(b"s3cret"),
            "allow_hosts": ["127.0.0.1"],
        }
    )
    with pytest.raises(Misconfigured, match="no key of the hub opens"):
        await run(upstream, {"path": "/t"}, connection=shut)
    assert upstream.seen == []


@pytest.mark.parametrize("auth", ["bearer", "basic", "header", "query"])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("kind", ["json", "text"])
async def test_a_secret_that_the_upstream_echoes_never_reaches_the_model_or_the_log(
    upstream: Upstream, caplog: pytest.LogCaptureFixture, auth: str, status: int, kind: str
) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        heard = [*request.headers.values(), request.raw_path, *request.query.values()]
        if kind == "text":
            return web.Response(status=status, text="\n".join(heard))
        return web.json_response({"detail": heard, SECRET: json.dumps(heard)}, status=status)

    upstream.answers = [echo]
    caplog.set_level(logging.DEBUG)
    connection = connect(upstream, auth=auth, auth_name="X-Key", username="hub", secret=SECRET)
    try:
        shown = repr(await run(upstream, {"path": "/t", "response": kind}, connection=connection))
    except UpstreamError as problem:
        shown = str(problem)
    assert "[redacted]" in shown
    assert not _spellings(SECRET) & set(_found(shown + caplog.text))


def _spellings(secret: str) -> set[str]:
    return {secret, "s3cr3t%20%2F%2B%26value%3D%3D", base64.b64encode(f"hub:{secret}".encode()).decode()}


def _found(text: str) -> list[str]:
    return [spelling for spelling in _spellings(SECRET) if spelling in text]


async def test_a_secret_hidden_behind_json_escapes_or_a_number_is_found(upstream: Upstream) -> None:
    body = rb'{"a": "s3cr3t \/+\u0026value==", "b": [{"c": 987654}]}'
    upstream.answers = [answering(body, headers={"Content-Type": "application/json"})]
    bearer = connect(upstream, auth="bearer", secret=SECRET)
    assert (await run(upstream, {"path": "/t"}, connection=bearer)).structured["a"] == "[redacted]"
    numeric = connect(upstream, auth="bearer", secret="987654")
    result = await run(upstream, {"path": "/t", "response": "b[].c"}, connection=numeric)
    assert result.structured == ["[redacted]"]


@pytest.mark.parametrize("encode", [quote, partial(quote, safe=""), quote_plus])
async def test_a_percent_encoded_secret_is_found(upstream: Upstream, encode: Callable[[str], str]) -> None:
    upstream.answers = [answering(f"GET /t?key={encode(SECRET)}", headers={"Content-Type": "text/plain"})]
    connection = connect(upstream, auth="bearer", secret=SECRET)
    assert said(await run(upstream, {"path": "/t"}, connection=connection)) == "GET /t?key=[redacted]"


async def test_a_redirect_to_another_origin_takes_no_credentials_along(upstream: Upstream) -> None:
    other = upstream.base_url.replace("127.0.0.1", "localhost")
    upstream.answers = [answering("", status=302, headers={"Location": other}), answering({})]
    connection = connect(
        upstream,
        auth="header",
        auth_name="X-Key",
        secret=SECRET,
        allow_hosts=frozenset({"127.0.0.1", "localhost"}),
    )
    await run(upstream, {"path": "/t", "headers": {"X-Team": "support"}}, connection=connection)
    first, second = upstream.seen
    assert first.headers["X-Key"] == SECRET
    assert not {"X-Key", "X-Team"} & set(second.headers)


async def test_a_private_host_is_refused_unless_the_connection_allows_it(upstream: Upstream) -> None:
    with pytest.raises(Misconfigured, match="loopback"):
        await run(upstream, {"path": "/t"}, connection=connect(upstream, allow_hosts=frozenset()))
    assert upstream.seen == []
