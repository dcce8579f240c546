"""Size and time are bounded, and what is given up on is hung up on."""

import asyncio
import gzip
import tracemalloc

import pytest
from aiohttp import web

from lib.fetch import TimedOut, TooLarge, fetch
from tests.lib.fetch.servers import Serve, outbound, raw_server


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
        await asyncio.wait_for(gone.wait(), 30)


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
        with pytest.raises(TimedOut, match=r"within 0\.5 seconds"):
            await fetch(outbound(f"http://127.0.0.1:{port}/", timeout=0.5))
        await asyncio.wait_for(gone.wait(), 30)


async def test_the_timeout_covers_all_hops_together(serve: Serve) -> None:
    never = asyncio.Event()

    async def slower(request: web.Request) -> web.Response:
        if request.path == "/end":
            await never.wait()
        return web.Response(status=302, headers={"Location": "/end"})

    with pytest.raises(TimedOut):
        await fetch(outbound(f"http://127.0.0.1:{await serve(slower)}/", timeout=0.5))


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
        await asyncio.wait_for(gone.wait(), 30)
