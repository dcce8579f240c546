"""The lifespan as a server sees it."""

import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from mcphub import asgi


async def told(monkeypatch: pytest.MonkeyPatch, *, fails: str) -> list[str]:
    """The messages a server gets of a hub that fails at that moment."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if fails == "startup":
            raise RuntimeError("no database")
        yield
        if fails == "shutdown":
            raise RuntimeError("no database any more")

    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    monkeypatch.setattr(asgi, "lifespan", lifespan)
    monkeypatch.setattr(asgi, "_settle_memory", lambda: None)
    await asgi.app({"type": "lifespan"}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("fails", "messages"),
    [
        ("startup", ["lifespan.startup.failed"]),
        ("shutdown", ["lifespan.startup.complete", "lifespan.shutdown.failed"]),
        ("never", ["lifespan.startup.complete", "lifespan.shutdown.complete"]),
    ],
)
async def test_a_failure_is_told_of_the_phase_it_is_in(
    monkeypatch: pytest.MonkeyPatch, fails: str, messages: list[str]
) -> None:
    assert await told(monkeypatch, fails=fails) == messages


@pytest.mark.parametrize("path", ["/token", "/accounts/login/", "/nothing"])
def test_a_page_takes_no_endless_body(hub: list[str], path: str) -> None:
    """A stranger's body would otherwise lie on the disk, all of it, before any view looks at the request."""
    with socket.create_connection(("127.0.0.1", urlsplit(hub[0]).port), timeout=20) as line:
        line.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        with contextlib.suppress(ConnectionError):  # it hangs up in the middle
            for _ in range(80):
                line.sendall(chunk)
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")
