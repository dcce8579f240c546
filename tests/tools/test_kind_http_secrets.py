"""Kind `http` proves itself with the secret of its connection, which nobody else gets to see."""

import base64
import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web
from cryptography.fernet import Fernet

from audit.models import Event
from lib.detect.known import STAND_IN
from tests.cast import Cast
from tests.host import Host
from tests.jobs.upstream import Upstream as Desk
from tests.jobs.upstream import upstream as standing
from tests.ledger import calls
from tests.tools.upstream import SECRET, Upstream, answering, connect, run, said
from tools.actions import set_secret
from tools.catalog import open_connection
from tools.errors import Misconfigured, UpstreamError
from tools.models import Connection

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
    assert STAND_IN in shown
    assert not _spellings(SECRET) & set(_found(shown + caplog.text))


def _spellings(secret: str) -> set[str]:
    return {secret, "s3cr3t%20%2F%2B%26value%3D%3D", base64.b64encode(f"hub:{secret}".encode()).decode()}


def _found(text: str) -> list[str]:
    return [spelling for spelling in _spellings(SECRET) if spelling in text]


async def test_a_secret_hidden_behind_json_escapes_or_a_number_is_found(upstream: Upstream) -> None:
    body = rb'{"a": "s3cr3t \/+\u0026value==", "b": [{"c": 987654}]}'
    upstream.answers = [answering(body, headers={"Content-Type": "application/json"})]
    bearer = connect(upstream, auth="bearer", secret=SECRET)
    assert (await run(upstream, {"path": "/t"}, connection=bearer)).structured["a"] == STAND_IN
    numeric = connect(upstream, auth="bearer", secret="987654")
    result = await run(upstream, {"path": "/t", "response": "b[].c"}, connection=numeric)
    assert result.structured == [STAND_IN]


@pytest.mark.parametrize("encode", [quote, partial(quote, safe=""), quote_plus])
async def test_a_percent_encoded_secret_is_found(upstream: Upstream, encode: Callable[[str], str]) -> None:
    upstream.answers = [answering(f"GET /t?key={encode(SECRET)}", headers={"Content-Type": "text/plain"})]
    connection = connect(upstream, auth="bearer", secret=SECRET)
    assert said(await run(upstream, {"path": "/t"}, connection=connection)) == f"GET /t?key={STAND_IN}"


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


@pytest.fixture
def desk(cast: Cast, hub: list[str]) -> Iterator[Desk]:
    """The upstream of acme's tool `ask_desk`, whose connection proves itself by a password."""
    with standing(hub[0]) as desk:
        fields = {"base_url": desk.url, "allow_hosts": ["127.0.0.1"], "auth": "basic", "username": "hub"}
        with cast.see(cast.acme):
            connection = Connection.objects.create(tenant=cast.acme, name="Desk", **fields)
            set_secret(connection, SECRET, actor=cast.staff)
        config = {"method": "POST", "path": "/t", "response": "text"}
        schema = {"type": "object", "properties": {}}
        cast.tool(
            cast.acme,
            "ask_desk",
            kind="http",
            connection=connection,
            config=config,
            input_schema=schema,
            output_schema=None,
            cleaning={"secrets": False},
        )
        yield desk


BASIC = base64.b64encode(f"hub:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    ("status", "said", "left", "count"),
    [
        (200, f"pw is {SECRET}", "pw is [secret removed]", 1),
        (200, f"pw is {quote(SECRET, safe='')}", "pw is [secret removed]", 1),
        (200, f"you sent: Basic {BASIC}", "you sent: Basic [secret removed]", 1),
        (200, f"{SECRET} and {SECRET.encode().hex()}", "[secret removed] and [secret removed]", 2),
        (200, "you sent [redacted]", "you sent [redacted]", 0),
        (400, json.dumps({"error": f"no {SECRET} here"}), "It said: no [secret removed] here", 1),
        (400, json.dumps({"a": {"password": "Tulip"}}), '{"a":{"password":"[secret removed]"}}', 1),
        (400, f"Basic {BASIC}", "It said: Basic [secret removed]", 1),
        (400, "no such thing", "It said: no such thing", 0),
    ],
)
def test_every_secret_that_is_taken_out_is_said_and_counted_once(
    cast: Cast, hub: list[str], desk: Desk, status: int, said: str, left: str, count: int
) -> None:
    desk.answer = lambda asked: (status, said.encode())
    answer = Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1]).call("ask_desk").result
    shown = [block["text"] for block in answer["content"]]
    assert left in shown[0]
    note = {
        0: [],
        1: ["[The hub removed 1 secret in this result.]"],
        2: ["[The hub removed 2 secrets in this result.]"],
    }
    assert shown[1:] == note[count]
    (entry,) = calls(cast, cast.acme, "ask_desk", Event.FINISHED)
    assert entry.detail == ({"removed": {"secrets": count}} if count else None)
