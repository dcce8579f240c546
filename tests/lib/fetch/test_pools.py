"""Connections are kept for the next request, and lent to nobody who might not have opened them."""

import asyncio

import pytest
from aiohttp import web

from lib import fetch as fetching
from lib.fetch import Blocked, fetch
from tests.lib.fetch.servers import LOOPBACK, NOWHERE, Names, Serve, outbound, raw_server


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
        assert await asyncio.wait_for(closed.get(), 30) == b"/first"
        await fetching.close()
        assert {await asyncio.wait_for(closed.get(), 30) for _ in range(2)} == {b"/second", b"/third"}


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
