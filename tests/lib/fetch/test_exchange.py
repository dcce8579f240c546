"""A plain exchange: what goes out, what comes back, and what a caller cannot slip in."""

import gzip
import json

import pytest
from aiohttp import web

from lib.fetch import Blocked, FetchError, Inbound, TimedOut, TooLarge, Unreachable, fetch
from tests.lib.fetch.servers import Serve, echo, hello, outbound


async def test_status_headers_and_body_come_back(serve: Serve) -> None:
    async def teapot(request: web.Request) -> web.Response:
        return web.Response(status=418, body=b"short", headers={"X-Answer": "42"})

    url = f"http://127.0.0.1:{await serve(teapot)}/pot?q=1"
    answer = await fetch(outbound(url))
    assert (answer.status, answer.body, answer.headers["x-ANSWER"], answer.url) == (418, b"short", "42", url)


async def test_method_headers_and_body_go_out_with_no_content_type_invented(serve: Serve) -> None:
    port = await serve(echo)
    answer = await fetch(outbound(f"http://127.0.0.1:{port}/", method="post", headers={"X-One": "1"}, body=b"data"))
    seen = json.loads(answer.body)
    assert (seen["method"], seen["body"], seen["headers"]["X-One"]) == ("POST", "data", "1")
    assert "Content-Type" not in seen["headers"]


async def test_a_caller_cannot_ask_for_an_encoding_the_hub_does_not_decode(serve: Serve) -> None:
    port = await serve(echo)
    answer = await fetch(outbound(f"http://127.0.0.1:{port}/", headers={"accept-encoding": "br, zstd"}))
    assert b'"Accept-Encoding": "gzip, deflate"' in answer.body
    assert b"br, zstd" not in answer.body


async def test_a_compressed_answer_is_decoded_and_no_longer_says_it_is_compressed(serve: Serve) -> None:
    async def zipped(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"plain" * 100), headers={"Content-Encoding": "gzip"})

    answer = await fetch(outbound(f"http://127.0.0.1:{await serve(zipped)}/"))
    assert answer.body == b"plain" * 100
    assert "Content-Encoding" not in answer.headers
    assert "Content-Length" not in answer.headers


async def test_cookies_are_not_kept(serve: Serve) -> None:
    cookies = []

    async def note(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "session=other-tenant; Path=/"})

    port = await serve(note)
    for _ in range(2):
        await fetch(outbound(f"http://127.0.0.1:{port}/"))
    assert cookies == [None, None]


async def test_proxies_of_the_environment_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await fetch(outbound(f"http://127.0.0.1:{await serve(hello)}/"))).body == b"hello"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "other"},
        {"transfer-encoding": "chunked"},
        {"X-A": "1\r\nX-B: 2"},
        {"X A": "1"},
        {"Content-Length": "0"},
    ],
)
async def test_a_header_that_could_change_the_framing_is_refused(serve: Serve, headers: dict[str, str]) -> None:
    with pytest.raises(Blocked) as refused:
        await fetch(outbound(f"http://127.0.0.1:{await serve(hello)}/", headers=headers))
    assert not refused.value.sent
    assert "X-B" not in str(refused.value)


async def test_a_method_that_holds_a_line_break_is_refused(serve: Serve) -> None:
    with pytest.raises(Blocked):
        await fetch(outbound(f"http://127.0.0.1:{await serve(hello)}/", method="GET / HTTP/1.1\r\nX: y"))


def test_the_errors_have_one_root_and_the_values_hide_what_they_hold() -> None:
    assert all(issubclass(error, FetchError) for error in (Blocked, TimedOut, TooLarge, Unreachable))
    request = outbound("http://127.0.0.1/?key=hunter2", headers={"Authorization": "hunter2"}, body=b"hunter2")
    answer = Inbound(status=200, headers={"Set-Cookie": "hunter2"}, body=b"hunter2", url=request.url)
    assert "hunter2" not in repr(request) + repr(answer)
