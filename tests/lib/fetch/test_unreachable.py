"""Upstreams that do not answer, or not in HTTP: told as unreachable, with whether anything was sent."""

import asyncio
import socket
import traceback

import pytest

from lib.fetch import Unreachable, fetch
from tests.lib.fetch.servers import Names, outbound, raw_server


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
