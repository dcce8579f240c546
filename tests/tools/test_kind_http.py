"""Kind `http` from its front door, `run`: against a real server on loopback that records what reaches it."""

import asyncio
import base64
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.fernet import Fernet
from pydantic import ValidationError

from lib import fetch as fetching
from lib.version import VERSION
from tenants.caller import Caller
from tools.catalog import LiveConnection, LiveTool, make_live, open_connection
from tools.errors import Misconfigured, ToolError, UpstreamError, UpstreamTimeout
from tools.kinds import http
from tools.values import ABSENT, Audio, Call, Image, Origin, Result, Text

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
SECRET = "s3cr3t /+&value=="
CALLER = Caller(
    tenant_id=1,
    tenant_slug="support",
    member_id=1,
    user_id=1,
    username="dana",
    role="user",
    credential="key:1",
    client="",
    scopes=frozenset(),
    reach=frozenset(),
)


class Upstream:
    """A server whose next answers a test queues; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [answering({})]
        self.seen: list[SimpleNamespace] = []
        self.base_url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            SimpleNamespace(
                method=request.method,
                path=request.rel_url.raw_path,
                raw=request.raw_path,
                query=request.query,
                headers=request.headers.copy(),
                body=await request.read(),
            )
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    @property
    def last(self) -> SimpleNamespace:
        return self.seen[-1]


def answering(body: Any = None, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer: bytes and text as they are, anything else as JSON."""
    plain = isinstance(body, bytes | str)
    content = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {**({} if plain else {"Content-Type": "application/json"}), **(headers or {})}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=content, headers=given)

    return answer


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

    monkeypatch.setattr(http, "sleep", note)
    return waited


def connect(upstream: Upstream, **changes: Any) -> LiveConnection:
    values: dict[str, Any] = {
        "id": 1,
        "name": "Help desk",
        "base_url": upstream.base_url,
        "auth": "none",
        "auth_name": "",
        "username": "",
        "secret": "",
        "allow_hosts": frozenset({"127.0.0.1"}),
    }
    return LiveConnection(**{**values, **changes})


def make_tool(connection: LiveConnection | None, config: dict[str, Any], **changes: Any) -> LiveTool:
    row: dict[str, Any] = {
        "name": "get_ticket",
        "number": 1,
        "manifest": {},
        "input_schema": {"type": "object"},
        "output_schema": None,
        "scopes": [],
        "kind": "http",
        "config": config,
        "timeout": 5,
        "max_result": 65536,
        "idempotent": False,
        "read_only": False,
    }
    return make_live({**row, **changes}, connection)


async def run(
    upstream: Upstream,
    config: dict[str, Any],
    arguments: dict[str, Any] | None = None,
    *,
    connection: LiveConnection | None = None,
    origin: Origin | None = None,
    **tool: Any,
) -> Result:
    live = make_tool(connection or connect(upstream), config, **tool)
    origin = origin or Origin(via="mcp")
    return await http.run(Call(id=uuid.uuid4(), caller=CALLER, tool=live, arguments=arguments or {}, origin=origin))


def said(result: Result) -> str:
    return "".join(block.text for block in result.content if isinstance(block, Text))


# Where arguments go


async def test_arguments_named_in_the_path_go_there_and_the_rest_to_the_query(upstream: Upstream) -> None:
    await run(upstream, {"path": "/tickets/{ticket_id}"}, {"ticket_id": 7, "fields": "subject"})
    assert (upstream.last.method, upstream.last.raw) == ("GET", "/api/tickets/7?fields=subject")
    assert upstream.last.body == b""


async def test_the_rest_goes_to_the_json_body_of_a_write(upstream: Upstream) -> None:
    await run(
        upstream,
        {"method": "POST", "path": "/tickets/{ticket_id}/comments", "body": {"internal": True}},
        {"ticket_id": 7, "body": "Hëllo", "author": None},
    )
    assert upstream.last.path == "/api/tickets/7/comments"
    assert json.loads(upstream.last.body) == {"internal": True, "body": "Hëllo", "author": None}
    assert upstream.last.headers["Content-Type"] == "application/json"


async def test_listed_parameters_go_where_they_are_told_under_their_other_name(upstream: Upstream) -> None:
    config = {
        "method": "PUT",
        "path": "/tickets/{id}",
        "parameters": {
            "ticket": {"in": "path", "name": "id"},
            "language": {"in": "header", "name": "Accept-Language"},
            "dry_run": {"in": "query"},
            "text": {"in": "body", "name": "content"},
        },
        "headers": {"X-Team": "support"},
        "query": {"v": 2},
    }
    await run(upstream, config, {"ticket": 7, "language": " de ", "dry_run": True, "text": "x"})
    assert upstream.last.raw == "/api/tickets/7?v=2&dry_run=true"
    assert (upstream.last.headers["Accept-Language"], upstream.last.headers["X-Team"]) == ("de", "support")
    assert json.loads(upstream.last.body) == {"content": "x"}


async def test_values_in_a_query_are_written_as_most_apis_read_them(upstream: Upstream) -> None:
    arguments = {
        "tag": ["a", "b c", None],
        "open": False,
        "none": None,
        "near": {"lat": 1.5},
        "n": 5.0,
        "q": "a&b=c+\r\n",
    }
    await run(upstream, {"path": "/tickets"}, arguments)
    assert upstream.last.query.getall("tag") == ["a", "b c"]
    assert {name: upstream.last.query.get(name) for name in ("open", "none", "near", "n", "q")} == {
        "open": "false",
        "none": None,
        "near": '{"lat":1.5}',
        "n": "5",
        "q": "a&b=c+\r\n",
    }


async def test_a_form_body_follows_the_rules_of_a_query(upstream: Upstream) -> None:
    config = {"method": "POST", "path": "/t", "body_format": "form", "body": {"source": "hub"}}
    await run(upstream, config, {"tag": ["a", "b"], "x": None, "s": "a b&c"})
    assert upstream.last.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert upstream.last.body == b"source=hub&tag=a&tag=b&s=a%20b%26c"


async def test_a_write_without_anything_to_say_has_no_body(upstream: Upstream) -> None:
    await run(upstream, {"method": "POST", "path": "/tickets/{id}/close"}, {"id": 3})
    assert upstream.last.body == b""
    assert "Content-Type" not in upstream.last.headers


@pytest.mark.parametrize("place", ["query", "body"])
async def test_an_argument_cannot_replace_a_fixed_value(upstream: Upstream, place: str) -> None:
    method = "GET" if place == "query" else "POST"
    with pytest.raises(Misconfigured, match="would replace 'internal'"):
        await run(upstream, {"method": method, "path": "/t", place: {"internal": True}}, {"internal": False})
    assert upstream.seen == []


@pytest.mark.parametrize("value", ["de\r\nX-Evil: 1", "a\nb", "nul\x00", "ключ"])
async def test_a_header_cannot_be_injected_through_an_argument(upstream: Upstream, value: str) -> None:
    config = {"path": "/t", "parameters": {"language": {"in": "header", "name": "Accept-Language"}}}
    with pytest.raises(ToolError, match="language has to be printable ASCII"):
        await run(upstream, config, {"language": value})
    assert upstream.seen == []


async def test_what_cannot_be_encoded_is_explained(upstream: Upstream) -> None:
    for config in ({"path": "/t"}, {"path": "/t/{x}"}, {"method": "POST", "path": "/t"}):
        with pytest.raises(ToolError, match="surrogate"):
            await run(upstream, config, {"x": "\ud800"})


# What comes back


async def test_json_becomes_data_and_text_becomes_text(upstream: Upstream) -> None:
    upstream.answers = [answering({"id": 7, "nested": [1, None]})]
    assert (await run(upstream, {"path": "/t"})).structured == {"id": 7, "nested": [1, None]}
    upstream.answers = [answering("grün".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"})]
    result = await run(upstream, {"path": "/t"})
    assert (said(result), result.structured) == ("grün", ABSENT)


async def test_a_jmespath_expression_picks_what_the_model_gets(upstream: Upstream) -> None:
    upstream.answers = [answering({"tickets": [{"id": 1, "noise": "…"}, {"id": 2}]})]
    result = await run(upstream, {"path": "/t", "response": "{ids: tickets[].id, n: length(tickets)}"})
    assert result.structured == {"ids": [1, 2], "n": 2}


async def test_a_jmespath_expression_that_does_not_fit_is_the_admins_and_quotes_no_data(upstream: Upstream) -> None:
    upstream.answers = [answering({"tickets": 42424242})]
    with pytest.raises(Misconfigured) as problem:
        await run(upstream, {"path": "/t", "response": "length(tickets)"})
    assert "42424242" not in str(problem.value)


async def test_images_and_audio_become_blocks_and_other_files_are_explained(upstream: Upstream) -> None:
    for kind, block in (("image/png", Image), ("audio/mpeg", Audio)):
        upstream.answers = [answering(b"\x89\x00\xff", headers={"Content-Type": kind})]
        result = await run(upstream, {"path": "/t"})
        assert result.content == (block(data=base64.b64encode(b"\x89\x00\xff").decode(), mime_type=kind),)
    upstream.answers = [answering(b"%PDF\x00", headers={"Content-Type": "application/pdf"})]
    with pytest.raises(ToolError, match=r"application/pdf \(5 bytes\)"):
        await run(upstream, {"path": "/t"})


@pytest.mark.parametrize("response", ["auto", "json", "@.id"])
async def test_an_answer_that_only_claims_to_be_json_is_an_error(upstream: Upstream, response: str) -> None:
    upstream.answers = [answering(b"<oops>", headers={"Content-Type": "application/json"})]
    with pytest.raises(UpstreamError, match="not JSON"):
        await run(upstream, {"path": "/t", "response": response})


async def test_json_nested_beyond_reason_is_an_error(upstream: Upstream) -> None:
    upstream.answers = [answering(b"[" * 600 + b"]" * 600, headers={"Content-Type": "application/json"})]
    with pytest.raises(UpstreamError, match="nested too deeply"):
        await run(upstream, {"path": "/t"})


async def test_an_empty_answer_says_so(upstream: Upstream) -> None:
    upstream.answers = [answering("", status=204)]
    assert (
        said(await run(upstream, {"method": "DELETE", "path": "/t"})) == "The answer is empty (status 204 No Content)."
    )
    assert (await run(upstream, {"path": "/t"}, output_schema={"type": "null"})).structured is None


async def test_a_large_answer_is_read_and_too_large_a_one_teaches(upstream: Upstream) -> None:
    upstream.answers = [answering(["x" * 1000] * 900)]
    assert (await run(upstream, {"path": "/t", "response": "length(@)"})).structured == 900
    upstream.answers = [answering(["x" * 1000] * 1100)]
    with pytest.raises(UpstreamError, match="Ask for less") as problem:
        await run(upstream, {"path": "/t"})
    assert problem.value.reason == "result_too_large"


# Statuses


async def test_an_error_carries_status_message_and_advice(upstream: Upstream) -> None:
    upstream.answers = [answering({"error": "bad", "message": "limit is 900; it takes 1 to 100"}, status=422)]
    with pytest.raises(UpstreamError) as problem:
        await run(upstream, {"path": "/t"})
    assert str(problem.value) == (
        "The upstream answered 422 Unprocessable Entity. It said: limit is 900; it takes 1 to 100\n"
        "Mend the arguments by what it said and call again."
    )


async def test_what_an_upstream_says_about_its_error_is_bounded_and_redacted(upstream: Upstream) -> None:
    for body in ({"detail": "x" * 90_000}, {"errors": [{"msg": "y" * 150}] * 5000}, {"deep": {"e": "z" * 9000}}):
        upstream.answers = [answering({**body, "password": "hunter2"}, status=400)]
        with pytest.raises(UpstreamError) as problem:
            await run(upstream, {"path": "/t"})
        assert len(str(problem.value)) < 1300
        assert "hunter2" not in str(problem.value)
    upstream.answers = [answering("<html>stack trace</html>", status=400, headers={"Content-Type": "text/html"})]
    with pytest.raises(UpstreamError) as problem:
        await run(upstream, {"path": "/t"})
    assert "stack trace" not in str(problem.value)


async def test_statuses_mean_what_the_admin_says_exact_before_class(upstream: Upstream) -> None:
    config = {
        "path": "/t",
        "statuses": {"404": {"error": "No such ticket."}, "4xx": "empty", "409": "ok", "200": "empty"},
    }
    upstream.answers = [answering({"a": 1}, status=404)]
    with pytest.raises(UpstreamError, match=r"^No such ticket\.$"):
        await run(upstream, config)
    upstream.answers = [answering({"a": 1}, status=410)]
    assert "empty" in said(await run(upstream, config))
    upstream.answers = [answering({"a": 1}, status=409)]
    assert (await run(upstream, config)).structured == {"a": 1}
    upstream.answers = [answering({"a": 1})]
    assert (await run(upstream, config)).structured is ABSENT


async def test_a_redirected_write_is_not_sent_on(upstream: Upstream) -> None:
    upstream.answers = [answering("", status=307, headers={"Location": "/elsewhere"})]
    with pytest.raises(UpstreamError, match="307"):
        await run(upstream, {"method": "POST", "path": "/t"}, {"a": 1})
    assert len(upstream.seen) == 1


# Trying again


async def test_a_read_is_repeated_after_a_failure_that_may_pass(upstream: Upstream, waits: list[float]) -> None:
    upstream.answers = [answering(status=503), answering(status=502), answering({"id": 7})]
    assert (await run(upstream, {"path": "/t"})).structured == {"id": 7}
    assert len(upstream.seen) == 3
    assert 0 <= waits[0] <= 0.2
    assert 0 <= waits[1] <= 0.4


@pytest.mark.parametrize(
    ("config", "tool", "sent"),
    [
        ({"method": "GET"}, {}, 3),
        ({"method": "HEAD"}, {}, 3),
        ({"method": "POST"}, {}, 1),
        ({"method": "PUT"}, {}, 1),
        ({"method": "DELETE"}, {}, 1),
        ({"method": "POST"}, {"idempotent": True}, 3),
        ({"method": "POST"}, {"read_only": True}, 3),
        ({"method": "GET", "retries": 0}, {}, 1),
        ({"method": "GET", "retries": 3}, {}, 4),
    ],
)
async def test_only_what_does_no_harm_twice_is_repeated(
    upstream: Upstream, waits: list[float], config: dict[str, Any], tool: dict[str, Any], sent: int
) -> None:
    upstream.answers = [answering(status=503)]
    with pytest.raises(UpstreamError) as problem:
        await run(upstream, {"path": "/t", **config}, **tool)
    assert len(upstream.seen) == sent
    doubtful = config["method"] not in {"GET", "HEAD"} and not tool
    assert ("may have taken effect" in str(problem.value)) == doubtful


@pytest.mark.parametrize("status", [400, 404, 500, 501])
async def test_a_failure_that_stays_is_not_repeated(upstream: Upstream, waits: list[float], status: int) -> None:
    upstream.answers = [answering(status=status)]
    with pytest.raises(UpstreamError):
        await run(upstream, {"path": "/t"})
    assert (len(upstream.seen), waits) == (1, [])


async def test_a_status_that_is_fine_for_the_admin_is_not_repeated(upstream: Upstream, waits: list[float]) -> None:
    upstream.answers = [answering(status=503)]
    await run(upstream, {"path": "/t", "statuses": {"503": "empty"}})
    assert (len(upstream.seen), waits) == (1, [])


def _seconds() -> str:
    return "2"


def _http_date() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)


@pytest.mark.parametrize("given", [_seconds, _http_date])
async def test_retry_after_is_honoured_when_it_fits(
    upstream: Upstream, waits: list[float], given: Callable[[], str]
) -> None:
    upstream.answers = [answering(status=429, headers={"Retry-After": given()}), answering({"id": 7})]
    assert (await run(upstream, {"path": "/t"})).structured == {"id": 7}
    assert len(waits) == 1
    assert 1.9 <= waits[0] <= 3.3


async def test_a_retry_after_beyond_the_deadline_is_told_to_the_model(upstream: Upstream, waits: list[float]) -> None:
    upstream.answers = [answering(status=429, headers={"Retry-After": "120"})]
    with pytest.raises(UpstreamError, match=r"Try again in 120 s\."):
        await run(upstream, {"path": "/t"})
    assert (len(upstream.seen), waits) == (1, [])


async def test_a_write_learns_when_to_try_again(upstream: Upstream) -> None:
    upstream.answers = [answering(status=429, headers={"Retry-After": "1"})]
    with pytest.raises(UpstreamError, match=r"Try again in 1 s\."):
        await run(upstream, {"method": "POST", "path": "/t"})


async def test_a_malformed_retry_after_counts_as_none(upstream: Upstream, waits: list[float]) -> None:
    upstream.answers = [answering(status=503, headers={"Retry-After": "soon"}), answering({"id": 7})]
    assert (await run(upstream, {"path": "/t"})).structured == {"id": 7}
    assert waits[0] <= 0.2


async def test_an_upstream_that_is_down_is_tried_again_and_then_named(
    upstream: Upstream, waits: list[float], unused_tcp_port: int
) -> None:
    connection = connect(upstream, base_url=f"http://127.0.0.1:{unused_tcp_port}")
    for method in ("GET", "POST"):  # nothing was sent, so even a write may be repeated
        waits.clear()
        with pytest.raises(UpstreamError, match="cannot be connected") as problem:
            await run(upstream, {"method": method, "path": "/t"}, connection=connection)
        assert len(waits) == 2
        assert "taken effect" not in str(problem.value)


async def test_a_write_whose_connection_breaks_is_not_repeated(upstream: Upstream, waits: list[float]) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    upstream.answers = [hang_up]
    with pytest.raises(UpstreamError, match="may have taken effect"):
        await run(upstream, {"method": "POST", "path": "/t"}, {"a": 1})
    assert len(upstream.seen) == 1


# Time


async def test_every_attempt_gets_only_the_time_that_is_left(
    upstream: Upstream, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    async def spy(outbound: fetching.Outbound) -> fetching.Inbound:
        given.append(outbound.timeout)
        return await fetching.fetch(outbound)

    monkeypatch.setattr(http, "fetch", spy)
    upstream.answers = [answering(status=503)]
    with pytest.raises(UpstreamError):
        await run(upstream, {"path": "/t"})
    assert 5 >= given[0] > given[1] > given[2]


async def test_an_upstream_that_does_not_answer_in_time_is_an_upstream_timeout(upstream: Upstream) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    upstream.answers = [never]
    with pytest.raises(UpstreamTimeout, match="may have taken effect"):
        await run(upstream, {"method": "POST", "path": "/t"}, {"a": 1}, timeout=0.1)
    assert len(upstream.seen) == 1


async def test_cancelling_the_call_hangs_up_on_the_upstream(upstream: Upstream) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    upstream.answers = [slow]
    running = asyncio.create_task(run(upstream, {"path": "/t"}))
    await arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(3):
        await gone.wait()


# Credentials

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


# What the upstream learns about the call

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_the_trace_goes_on_and_the_hub_says_who_it_is(upstream: Upstream) -> None:
    await run(upstream, {"path": "/t"}, origin=Origin(via="mcp", traceparent=TRACE, tracestate="a=1,b=2"))
    sent = upstream.last.headers
    assert (sent["traceparent"], sent["tracestate"]) == (TRACE, "a=1,b=2")
    assert sent["User-Agent"] == f"mcphub/{VERSION}"
    assert sent["Accept"].startswith("application/json")


async def test_without_a_trace_none_is_sent(upstream: Upstream) -> None:
    await run(upstream, {"path": "/t"}, origin=Origin(via="mcp"))
    assert not {"traceparent", "tracestate"} & set(upstream.last.headers)


async def test_nothing_about_the_caller_goes_upstream(upstream: Upstream) -> None:
    await run(upstream, {"path": "/t"}, origin=Origin(via="mcp", address="198.51.100.7", client="host/1"))
    assert set(upstream.last.headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


# Config


@pytest.mark.parametrize(
    ("config", "taught"),
    [
        ({"path": "tickets"}, "starts with /"),
        ({"path": "https://evil.example/"}, "starts with /"),
        ({"path": "//evil.example/"}, "must not hold //"),
        ({"path": "/a/../b"}, "segments"),
        ({"path": "/a/%2e%2E/b"}, "segments"),
        ({"path": "/a/%252e%252e%252fb"}, "segments"),
        ({"path": "/a%0d%0ab"}, "control characters"),
        ({"path": "/a?b=c"}, "percent-encode it"),
        ({"path": "/a#b"}, "percent-encode it"),
        ({"path": "/a\\b"}, "percent-encode it"),
        ({"path": "/a b"}, "percent-encode it"),
        ({"path": "/{+a}"}, "RFC 6570 level 1"),
        ({"path": "/{?a}"}, "RFC 6570 level 1"),
        ({"path": "/{a*}"}, "RFC 6570 level 1"),
        ({"path": "/{a:3}"}, "RFC 6570 level 1"),
        ({"path": "/{a,b}"}, "RFC 6570 level 1"),
        ({"path": "/{}"}, "RFC 6570 level 1"),
        ({"path": "/{a"}, "percent-encode it"),
        ({"path": "/{a}/{a}"}, "twice"),
        ({"path": "/t", "surprise": 1}, "Extra inputs"),
        ({"path": "/t", "method": "TRACE"}, "Input should be"),
        ({"path": "/t", "retries": 4}, "less than or equal to 3"),
        ({"path": "/t", "body": {"a": 1}}, "GET has no body"),
        ({"path": "/t", "parameters": {"a": {"in": "body"}}}, "GET has none"),
        ({"path": "/t", "parameters": {"a": {"in": "cookie"}}}, "Input should be"),
        ({"path": "/t", "parameters": {"a": {"in": "path"}}}, "has no {a}"),
        ({"path": "/{a}", "parameters": {"a": {"in": "query"}}}, "nothing fills {a}"),
        ({"path": "/t", "query": {"a": "1"}, "parameters": {"a": {"in": "query"}}}, "already taken"),
        (
            {"path": "/t", "headers": {"X-A": "1"}, "parameters": {"a": {"in": "header", "name": "x-a"}}},
            "already taken",
        ),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "Authorization"}}}, "carries credentials"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "cookie"}}}, "carries credentials"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "Host"}}}, "the hub sets it"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "Transfer-Encoding"}}}, "the hub sets it"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "X-HTTP-Method-Override"}}}, "the hub sets it"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "X A"}}}, "not a header's name"),
        ({"path": "/t", "headers": {"Connection": "close"}}, "the hub sets it"),
        ({"path": "/t", "headers": {"Authorization": "Bearer x"}}, "carries credentials"),
        ({"path": "/t", "headers": {"X-A": "a\r\nb"}}, "printable ASCII"),
        ({"path": "/t", "statuses": {"4040": "ok"}}, "not a status"),
        ({"path": "/t", "statuses": {"404": "fine"}}, "statuses"),
        ({"path": "/t", "response": "tickets[?"}, "not a JMESPath expression"),
        ({"path": "/t", "response": "a[].nosuch(@)"}, "no function nosuch"),
        ({"path": "/t", "response": "a[].length(@, @)"}, "takes 1 arguments, not 2"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_the_reason(config: dict[str, Any], taught: str) -> None:
    with pytest.raises(ValidationError) as problem:
        http.Config.model_validate(config)
    assert taught in str(problem.value)


def test_every_field_of_the_form_explains_itself_in_a_sentence() -> None:
    schema = http.Config.model_json_schema()
    models = [schema, *(model for model in schema["$defs"].values() if "properties" in model)]
    descriptions = [field["description"] for model in models for field in model["properties"].values()]
    assert len(descriptions) == 10 + 3 + 1
    assert all(description.endswith(".") for description in descriptions)


def test_a_config_survives_being_stored() -> None:
    given = {
        "method": "POST",
        "path": "/t/{id}",
        "parameters": {"ticket": {"in": "path", "name": "id"}},
        "response": "tickets[].id",
        "statuses": {"404": {"error": "No such ticket."}, "4xx": "empty"},
    }
    config = http.Config.model_validate(given)
    assert http.Config.model_validate(config.model_dump(mode="json", by_alias=True)) == config


REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "kinds.md"


def test_the_reference_names_every_field_and_its_examples_are_valid() -> None:
    section = REFERENCE.read_text().partition("\n## http\n")[2].partition("\n## function\n")[0]
    fields = {*http.Config.model_fields, "in", "name", "slashes"}
    assert fields == set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    examples = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        http.Config.model_validate_json(example)
