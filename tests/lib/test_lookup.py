"""Names are looked up in threads of their own, each name once however many ask."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from lib.fetch.lookup import THREADS, lookup


class Slow:
    """A resolver that answers one name at once and every other when it is let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked: list[str] = []

    def answer(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        assert host == "quick.example" or self.open.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Any:
    resolver = Slow()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.answer)
    yield resolver
    resolver.open.set()


async def ask(name: str, port: int = 443) -> str:
    return (await lookup(name, port, socket.AF_UNSPEC))[0]["host"]


async def test_a_name_that_never_answers_takes_one_thread_and_leaves_the_others(slow: Slow) -> None:
    waiting = [asyncio.create_task(ask("slow.example")) for _ in range(THREADS * 2)]
    assert await asyncio.wait_for(ask("quick.example"), 10) == "192.0.2.1"
    slow.open.set()
    assert set(await asyncio.gather(*waiting)) == {"192.0.2.1"}
    assert sorted(slow.asked) == ["quick.example", "slow.example"]


async def test_slow_names_leave_the_threads_of_everything_else_alone(slow: Slow) -> None:
    waiting = [asyncio.create_task(ask(f"slow-{n}.example")) for n in range(THREADS * 3)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 10) == "done"
    slow.open.set()
    await asyncio.gather(*waiting)


async def test_whoever_gives_up_does_not_take_the_answer_from_the_others(slow: Slow) -> None:
    first, second = (asyncio.create_task(ask("slow.example")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    slow.open.set()
    assert await second == "192.0.2.1"
    assert slow.asked == ["slow.example"]


async def test_an_answer_is_not_kept(slow: Slow) -> None:
    await ask("quick.example")
    await ask("quick.example")
    assert slow.asked == ["quick.example"] * 2
    both = await asyncio.gather(ask("quick.example", 80), ask("quick.example", 81))
    assert set(both) == {"192.0.2.1"}


async def test_a_link_local_address_keeps_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 443, 0, 2))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert await ask("near.example") == "fe80::1%2"
