"""The lifespan as a server sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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
