"""The guarded way out: real servers on loopback, names resolved from a table, nothing outside touched."""

import asyncio
import gzip
import ipaddress
import json
import socket
import ssl
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from lib import fetch as fetching
from lib.fetch import Blocked, FetchError, Inbound, Outbound, TimedOut, TooLarge, Unreachable, allowance_of, fetch
from lib.fetch.addresses import check_address, check_url, objection

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[..., Awaitable[int]]

LOOPBACK = frozenset({"127.0.0.1"})
NOWHERE: frozenset[str] = frozenset()


def outbound(url: str, **changes: Any) -> Outbound:
    values: dict[str, Any] = {
        "method": "GET",
        "url": url,
        "headers": {},
        "body": None,
        "timeout": 5.0,
        "max_bytes": 1_000_000,
        "allow_hosts": LOOPBACK,
    }
    return Outbound(**{**values, **changes})


@pytest.fixture(autouse=True)
async def _closed_pools() -> AsyncIterator[None]:
    yield
    await fetching.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start an HTTP server for one handler on a free loopback port and return the port."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, tls: ssl.SSLContext | None = None) -> int:
            listening = socket.create_server(("127.0.0.1", 0))
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listening, ssl_context=tls).start()
            return int(listening.getsockname()[1])

        yield start


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server that speaks bytes, for answers no HTTP library would send."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Names:
    """Stands in for the DNS: each lookup of a name takes the next of its answers, the last one for good."""

    def __init__(self) -> None:
        self.table: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def answer(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        answers = self.table.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    table = Names()
    monkeypatch.setattr(socket, "getaddrinfo", table.answer)
    return table


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def echo(request: web.Request) -> web.Response:
    body = await request.text()
    return web.json_response({"method": request.method, "headers": dict(request.headers), "body": body})


def redirects(status: int, location: str) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return answer


# --- a plain exchange -------------------------------------------------------------------------------------------------


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


async def test_connections_are_reused(serve: Serve) -> None:
    peers = set()

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="x" * 1000)

    port = await serve(note)
    for _ in range(5):
        await fetch(outbound(f"http://127.0.0.1:{port}/"))
    assert len(peers) == 1


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


# --- where the hub does not go ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "//example.com/"])
async def test_only_http_and_https_are_fetched(url: str) -> None:
    with pytest.raises(Blocked, match="only http and https"):
        await fetch(outbound(url))


@pytest.mark.parametrize(
    "url", ["http://u:hunter2@127.0.0.1/", "http://hunter2@127.0.0.1/", "http://:hunter2@127.0.0.1/"]
)
async def test_a_url_with_credentials_is_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(Blocked) as refused:
        await fetch(outbound(url))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "0",
        "0.0.0.0",  # noqa: S104
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[fec0::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "%31%32%37.0.0.1",
        "a b",
        "..",
    ],
)
async def test_a_private_address_is_refused_in_every_spelling(host: str, names: Names) -> None:
    # Where a parser of the system would understand the spelling, it would understand it as loopback.
    names.table[host] = [["127.0.0.1"]]
    with pytest.raises(Blocked) as refused:
        await fetch(outbound(f"http://{host}:1/", allow_hosts=NOWHERE))
    assert not refused.value.sent


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd12::1", "::ffff:10.0.0.1"])
async def test_a_name_that_resolves_to_a_private_address_is_refused(address: str, names: Names) -> None:
    names.table["innocent.example"] = [[address]]
    with pytest.raises(Blocked, match=r"innocent\.example resolves to .*allowed hosts"):
        await fetch(outbound("http://innocent.example:1/", allow_hosts=NOWHERE))


async def test_one_private_address_among_public_ones_refuses_the_name(names: Names) -> None:
    names.table["mixed.example"] = [["93.184.216.34", "10.0.0.1"]]
    with pytest.raises(Blocked, match=r"10\.0\.0\.1"):
        await fetch(outbound("http://mixed.example:1/", allow_hosts=NOWHERE))


async def test_the_address_that_was_checked_is_the_one_connected_to(serve: Serve, names: Names) -> None:
    port = await serve(hello)
    names.table["rebinding.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    answer = await fetch(outbound(f"http://rebinding.example:{port}/", allow_hosts=frozenset({"127.0.0.1"})))
    assert answer.body == b"hello"
    assert names.asked == ["rebinding.example"]


@pytest.mark.parametrize(
    "entry", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8", "Internal.Test", "internal.test:{port}", "internal.test."]
)
async def test_an_allowed_host_may_be_private(entry: str, serve: Serve, names: Names) -> None:
    port = await serve(hello)
    names.table["internal.test"] = [["127.0.0.1"]]
    allowed = frozenset({entry.format(port=port)})
    assert (await fetch(outbound(f"http://internal.test:{port}/", allow_hosts=allowed))).status == 200


@pytest.mark.parametrize(
    "entry", ["127.0.0.1:1", "127.0.0.2", "10.0.0.0/8", "test", "other.internal.test", "internal.test:1"]
)
async def test_an_allowance_opens_nothing_beside_what_it_names(entry: str, serve: Serve, names: Names) -> None:
    port = await serve(hello)
    names.table["internal.test"] = [["127.0.0.1"]]
    with pytest.raises(Blocked):
        await fetch(outbound(f"http://internal.test:{port}/", allow_hosts=frozenset({entry})))


@pytest.mark.parametrize("metadata", ["169.254.169.254", "fd00:ec2::254", "168.63.129.16"])
async def test_a_metadata_address_opens_only_to_its_own_literal(metadata: str) -> None:
    address = ipaddress.ip_address(metadata)
    network = str(ipaddress.ip_network((int(address), address.max_prefixlen)))
    for allowed in ({"metadata.example"}, {network}, {"169.254.0.0/16", "fd00::/8", "168.0.0.0/8"}):
        with pytest.raises(Blocked, match=r"metadata.*the address .* itself"):
            check_address("metadata.example", 80, address, allowance_of(frozenset(allowed)))
    check_address(metadata, 80, address, allowance_of(frozenset({metadata})))


@pytest.mark.parametrize(
    "entry", ["*.example.com", "http://example.com", "10.0.0.5/8", "host:99999", "a b", "", "2130706433"]
)
async def test_an_allowance_that_means_nothing_is_refused_with_its_name(entry: str) -> None:
    with pytest.raises(Blocked, match="allowed host"):
        await fetch(outbound("http://127.0.0.1:1/", allow_hosts=frozenset({entry})))


async def test_a_connection_opened_under_an_allowance_is_not_lent_to_a_request_without_it(
    serve: Serve, names: Names
) -> None:
    hits = []

    async def count(request: web.Request) -> web.Response:
        hits.append(request.path)
        return web.Response()

    port = await serve(count)
    names.table["internal.test"] = [["127.0.0.1"]]
    await fetch(outbound(f"http://internal.test:{port}/with", allow_hosts=frozenset({"internal.test"})))
    for allowed in (NOWHERE, frozenset({"other.test"})):
        with pytest.raises(Blocked):
            await fetch(outbound(f"http://internal.test:{port}/without", allow_hosts=allowed))
    assert hits == ["/with"]


async def test_the_least_recently_used_pool_is_closed_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.fetch.pools.MAX_POOLS", 2)
    closed: asyncio.Queue[bytes] = asyncio.Queue()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        closed.put_nowait(path)

    async with raw_server(talk) as port:
        for name in ("first", "second", "third"):
            await fetch(outbound(f"http://127.0.0.1:{port}/{name}", allow_hosts=LOOPBACK | {name}))
        assert await asyncio.wait_for(closed.get(), 5) == b"/first"
        await fetching.close()
        assert {await asyncio.wait_for(closed.get(), 5) for _ in range(2)} == {b"/second", b"/third"}


async def test_a_pool_that_makes_room_lives_until_its_exchange_is_done(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.fetch.pools.MAX_POOLS", 1)
    arrived, released = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/slow":
            arrived.set()
            await released.wait()
        return web.Response(text="done")

    port = await serve(answer)
    slow = asyncio.create_task(fetch(outbound(f"http://127.0.0.1:{port}/slow")))
    await arrived.wait()
    await fetch(outbound(f"http://127.0.0.1:{port}/", allow_hosts=LOOPBACK | {"another"}))
    released.set()
    assert (await slow).body == b"done"


@pytest.mark.parametrize("transition", ["::ffff:{}", "64:ff9b::{}", "2001:4860:4860::200:5efe:{}", "{sixtofour}"])
@given(
    st.sampled_from(["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "192.168.0.0/16", "224.0.0.0/4"])
    .flatmap(lambda network: st.ip_addresses(network=network))
    .map(str)
)
def test_a_private_address_is_refused_inside_every_transition_address(transition: str, address: str) -> None:
    number = int(ipaddress.IPv4Address(address))
    wrapped = transition.format(address, sixtofour=f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1")
    assert objection(ipaddress.ip_address(wrapped)) is not None


@given(st.ip_addresses())
@example(ipaddress.ip_address("::"))
def test_what_is_let_through_is_globally_reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if objection(address) is None:
        inner = getattr(address, "ipv4_mapped", None) or address
        nat64 = inner in ipaddress.ip_network("64:ff9b::/96")
        assert nat64 or inner.is_global
        assert not inner.is_multicast


@pytest.mark.parametrize("address", ["2002:808:808::1", "192.0.0.8", "64:ff9b:1::1", "2001:db8::1"])
def test_addresses_that_pythons_releases_judge_differently_are_refused_on_all(address: str) -> None:
    assert objection(ipaddress.ip_address(address)) is not None


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_let_through(address: str) -> None:
    assert objection(ipaddress.ip_address(address)) is None


@given(st.one_of(st.text(), st.text().map("http://{}".format), st.integers(0, 2**33).map("http://{}/".format)))
def test_no_url_makes_the_check_fail_in_any_other_way_than_refusing(text: str) -> None:
    try:
        url = URL(text)
    except ValueError:
        return
    try:
        check_url(url, allowance_of(NOWHERE))
    except Blocked:
        return
    assert url.scheme in ("http", "https")
    assert (
        not (url.raw_host or "").replace(".", "").isdigit()
        or objection(ipaddress.ip_address(url.raw_host or "")) is None
    )


# --- redirects --------------------------------------------------------------------------------------------------------


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


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_body_of_exactly_the_bound_passes_and_one_byte_more_does_not(serve: Serve) -> None:
    async def thousand(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1000)

    url = f"http://127.0.0.1:{await serve(thousand)}/"
    assert len((await fetch(outbound(url, max_bytes=1000))).body) == 1000
    with pytest.raises(TooLarge, match="999 bytes"):
        await fetch(outbound(url, max_bytes=999))


async def test_an_endless_body_is_cut_off_and_its_connection_closed() -> None:
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 5000)
        await reader.read()
        gone.set()

    async with raw_server(drip) as port:
        with pytest.raises(TooLarge):
            await fetch(outbound(f"http://127.0.0.1:{port}/", max_bytes=1000))
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_decompression_bomb_is_refused_without_being_inflated(serve: Serve) -> None:
    bomb = gzip.compress(bytes(100_000_000))

    async def boom(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    port = await serve(boom)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            await fetch(outbound(f"http://127.0.0.1:{port}/", max_bytes=1_000_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("stall", ["before the headers", "in the body"])
async def test_a_stalled_upstream_times_out_and_its_connection_is_closed(stall: str) -> None:
    gone = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if stall == "in the body":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()
        gone.set()

    async with raw_server(hang) as port:
        with pytest.raises(TimedOut, match=r"within 0\.05 seconds"):
            await fetch(outbound(f"http://127.0.0.1:{port}/", timeout=0.05))
        await asyncio.wait_for(gone.wait(), 5)


async def test_the_timeout_covers_all_hops_together(serve: Serve) -> None:
    never = asyncio.Event()

    async def slower(request: web.Request) -> web.Response:
        if request.path == "/end":
            await never.wait()
        return web.Response(status=302, headers={"Location": "/end"})

    with pytest.raises(TimedOut):
        await fetch(outbound(f"http://127.0.0.1:{await serve(slower)}/", timeout=0.05))


async def test_cancelling_closes_the_socket() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()

    async with raw_server(hang) as port:
        exchange = asyncio.create_task(fetch(outbound(f"http://127.0.0.1:{port}/")))
        await asked.wait()
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        await asyncio.wait_for(gone.wait(), 5)


# --- upstreams that do not answer -------------------------------------------------------------------------------------


async def test_a_name_that_does_not_resolve_is_unreachable_and_nothing_was_sent(names: Names) -> None:
    with pytest.raises(Unreachable, match=r"nowhere\.test could not be resolved") as failed:
        await fetch(outbound("http://nowhere.test/"))
    assert not failed.value.sent


async def test_a_closed_port_is_unreachable_and_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match="cannot be connected to") as failed:
        await fetch(outbound(f"http://127.0.0.1:{port}/"))
    assert not failed.value.sent


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_not_http_is_unreachable_and_quotes_nothing(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(talk) as port:
        with pytest.raises(Unreachable) as failed:
            await fetch(
                outbound(f"http://127.0.0.1:{port}/p?token=hunter2", headers={"Authorization": "Bearer hunter3"})
            )
    assert failed.value.sent
    assert "hunter" not in str(failed.value)
    assert "token" not in str(failed.value)
    assert "hunter" not in "".join(traceback.format_exception(failed.value))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_that_may_have_had_an_effect_is_sent_once(method: str) -> None:
    hits = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append(await reader.readuntil(b"\r\n\r\n"))

    async with raw_server(hang_up) as port:
        with pytest.raises(Unreachable, match="before it answered"):
            await fetch(outbound(f"http://127.0.0.1:{port}/", method=method))
    assert len(hits) == 1


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server context with a fresh certificate for 127.0.0.1, and a client context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "both.pem"
    pem.write_bytes(
        cert.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


async def test_a_certificate_nobody_vouches_for_is_unreachable(serve: Serve, tmp_path: Path) -> None:
    server, _ = certificate(tmp_path)
    with pytest.raises(Unreachable, match="certificate") as failed:
        await fetch(outbound(f"https://127.0.0.1:{await serve(hello, server)}/"))
    assert not failed.value.sent


async def test_a_server_without_tls_is_unreachable_over_https(serve: Serve) -> None:
    with pytest.raises(Unreachable) as failed:
        await fetch(outbound(f"https://127.0.0.1:{await serve(hello)}/"))
    assert not failed.value.sent


async def test_https_works_and_a_redirect_down_to_http_is_refused(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = certificate(tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", client)
    plain = await serve(hello)
    assert (await fetch(outbound(f"https://127.0.0.1:{await serve(hello, server)}/"))).body == b"hello"
    secure = await serve(redirects(302, f"http://127.0.0.1:{plain}/"), server)
    with pytest.raises(Blocked, match="https to http"):
        await fetch(outbound(f"https://127.0.0.1:{secure}/"))


def test_the_errors_have_one_root_and_the_values_hide_what_they_hold() -> None:
    assert all(issubclass(error, FetchError) for error in (Blocked, TimedOut, TooLarge, Unreachable))
    request = outbound("http://127.0.0.1/?key=hunter2", headers={"Authorization": "hunter2"}, body=b"hunter2")
    answer = Inbound(status=200, headers={"Set-Cookie": "hunter2"}, body=b"hunter2", url=request.url)
    assert "hunter2" not in repr(request) + repr(answer)


def test_pools_of_another_event_loop_are_left_alone() -> None:
    """Each `asyncio.run` has its own pools; using one loop's socket on another would hang or fail."""

    async def once() -> int:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await reader.read()

        async with raw_server(talk) as port:
            status = (await fetch(outbound(f"http://127.0.0.1:{port}/"))).status
            await fetching.close()
            return status

    assert [asyncio.run(once()) for _ in range(2)] == [200, 200]
