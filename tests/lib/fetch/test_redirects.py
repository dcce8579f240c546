"""A redirect is followed as the RFC says, and nowhere a request could not have gone by itself."""

import pytest
from aiohttp import web

from lib.fetch import Blocked, Unreachable, fetch
from tests.lib.fetch.servers import Names, Serve, echo, outbound, redirects


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (301, "POST", "GET", ""),
        (302, "POST", "GET", ""),
        (303, "POST", "GET", ""),
        (303, "PUT", "GET", ""),
        (302, "PUT", "PUT", "data"),
        (307, "POST", "POST", "data"),
        (308, "POST", "POST", "data"),
    ],
)
async def test_a_redirect_keeps_or_changes_the_method_as_the_rfc_says(
    status: int, method: str, then: str, body: str, serve: Serve
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/start":
            return web.Response(status=status, headers={"Location": "../end?x=1#part"})
        return await echo(request)

    port = await serve(answer)
    arrived = await fetch(
        outbound(f"http://127.0.0.1:{port}/start", method=method, body=b"data", headers={"Content-Type": "text/plain"})
    )
    assert arrived.url == f"http://127.0.0.1:{port}/end?x=1"
    assert f'"method": "{then}"'.encode() in arrived.body
    assert f'"body": "{body}"'.encode() in arrived.body
    assert (b"text/plain" in arrived.body) == bool(body)


@pytest.mark.parametrize(
    "target", ["http://10.0.0.1/", "http://169.254.169.254/latest/", "http://[::1]/", "http://2130706433/"]
)
async def test_a_redirect_to_a_private_address_is_refused(target: str, serve: Serve) -> None:
    port = await serve(redirects(302, target))
    with pytest.raises(Blocked):
        await fetch(outbound(f"http://127.0.0.1:{port}/"))


async def test_what_a_redirect_leads_to_does_not_unsend_the_request_that_was_redirected(serve: Serve) -> None:
    port = await serve(redirects(303, "http://10.0.0.1/"))
    with pytest.raises(Blocked) as refused:
        await fetch(outbound(f"http://127.0.0.1:{port}/", method="POST", body=b"paid"))
    assert refused.value.sent


async def test_a_redirect_to_a_name_with_a_private_address_is_refused(serve: Serve, names: Names) -> None:
    port = await serve(redirects(307, "http://innocent.example/"))
    names.table["innocent.example"] = [["10.0.0.1"]]
    with pytest.raises(Blocked, match=r"innocent\.example"):
        await fetch(outbound(f"http://127.0.0.1:{port}/"))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://user:hunter2@127.0.0.1/", "http://[bad/"])
async def test_a_redirect_to_something_that_is_not_plain_http_is_refused(target: str, serve: Serve) -> None:
    port = await serve(redirects(302, target))
    with pytest.raises(Blocked) as refused:
        await fetch(outbound(f"http://127.0.0.1:{port}/"))
    assert "hunter2" not in str(refused.value)


async def test_credentials_stay_behind_when_a_redirect_leaves_the_origin_and_do_not_return(serve: Serve) -> None:
    seen: list[tuple[str, set[str]]] = []
    ports: dict[str, int] = {}

    async def away(request: web.Request) -> web.Response:
        seen.append(("home", {name.lower() for name in request.headers}))
        if request.path == "/back":
            return web.Response()
        target = "/again" if request.path == "/" else f"http://127.0.0.1:{ports['other']}/"
        return web.Response(status=307, headers={"Location": target})

    async def back(request: web.Request) -> web.Response:
        seen.append(("other", {name.lower() for name in request.headers}))
        return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{ports['home']}/back"})

    ports["home"], ports["other"] = await serve(away), await serve(back)
    secrets = {"authorization", "cookie", "x-api-key", "x-shop-token"}
    await fetch(
        outbound(
            f"http://127.0.0.1:{ports['home']}/",
            headers={name.title(): "secret" for name in secrets} | {"X-Plain": "1"},
            sensitive=frozenset({"X-SHOP-token"}),
        )
    )
    assert [(where, headers & secrets) for where, headers in seen] == [
        ("home", secrets),
        ("home", secrets),
        ("other", set()),
        ("home", set()),
    ]
    assert all("x-plain" in headers for _, headers in seen)


async def test_a_redirect_is_returned_when_none_are_to_be_followed(serve: Serve) -> None:
    answer = await fetch(outbound(f"http://127.0.0.1:{await serve(redirects(302, '/x'))}/", follow_redirects=0))
    assert (answer.status, answer.headers["location"]) == (302, "/x")


async def test_redirects_that_do_not_end_are_given_up_on(serve: Serve) -> None:
    hits = []

    async def around(request: web.Request) -> web.Response:
        hits.append(1)
        return web.Response(status=302, headers={"Location": "/"})

    with pytest.raises(Unreachable, match="more than 3 times"):
        await fetch(outbound(f"http://127.0.0.1:{await serve(around)}/"))
    assert len(hits) == 4
