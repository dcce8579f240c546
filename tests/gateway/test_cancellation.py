"""Who goes away takes the call along on 2026-07-28, and only misses the answer before; then a notification cancels."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from audit.models import Entry
from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.host import MODERN, REVISIONS, Answer, Host
from tests.ledger import calls
from tests.waiting import until

LEGACY = "2025-11-25"


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """Where a lingering function says that it has begun, and how it ended."""
    return tmp_path / "note"


@contextmanager
def left_hanging(host: Host, name: str, arguments: dict[str, Any], token: str | None = None) -> Iterator[None]:
    """A call whose host goes away, at the end of the block, without having read an answer."""
    meta = {"progressToken": token} if token else {}
    params = host._params({"name": name, "arguments": arguments, "_meta": meta})
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = host.headers() | (host._routing("tools/call", params))
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    address, port = host.base.removeprefix("http://").split(":")
    head = [f"POST /t/{host.slug}/mcp HTTP/1.1", f"Host: {address}:{port}", f"Content-Length: {len(body)}", *lines]
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        yield


@contextmanager
def under_way(host: Host, request_id: Any, name: str, arguments: dict[str, Any]) -> Iterator[list[Answer]]:
    """A call in the background; its answer is in the list after the block."""
    message = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call"}
    got: list[Answer] = []
    params = {"name": name, "arguments": arguments}
    thread = threading.Thread(target=lambda: got.append(host.post({**message, "params": params})))
    thread.start()
    yield got
    thread.join(30)
    assert not thread.is_alive()


def cancel(host: Host, request_id: Any) -> None:
    params = {"requestId": request_id, "reason": "changed my mind"}
    assert host.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).status == 202


def finished(cast: Cast, tool: str, number: int = 1) -> list[Entry]:
    """The `call.finished` entries, once there are so many."""

    def ended() -> list[Entry]:
        found = calls(cast, cast.acme, tool, "call.finished")
        return found if len(found) >= number else []

    return until(ended)


@pytest.mark.parametrize("name", ["linger", "linger_in_a_thread"])
def test_a_host_that_goes_away_cancels_its_call(cast: Cast, host: Make, note: Path, name: str) -> None:
    cast.tool(cast.acme, name)
    with left_hanging(host(), name, {"path": str(note)}):
        until(note.exists)
    assert finished(cast, name)[0].outcome == "cancelled"
    assert until(note.read_text) == "cancelled"


def test_a_host_that_goes_away_from_its_stream_cancels_its_call(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "count_slowly")
    with left_hanging(host(), "count_slowly", {"steps": 200, "seconds": 60}, token="mine"):
        until(lambda: calls(cast, cast.acme, "count_slowly", "call.started"))
    assert finished(cast, "count_slowly")[0].outcome == "cancelled"


@pytest.mark.parametrize("revision", REVISIONS[:3])
def test_before_2026_a_host_that_goes_away_only_misses_the_answer(
    cast: Cast, host: Make, tmp_path: Path, note: Path, revision: str
) -> None:
    cast.tool(cast.acme, "wait_for_file")
    cast.tool(cast.acme, "linger")
    with left_hanging(host(revision=revision), "wait_for_file", {"path": str(tmp_path / "go")}):
        until(lambda: calls(cast, cast.acme, "wait_for_file", "call.started"))
    # A later call of 2026-07-28 tells when the worker has looked: it sees closed connections in the order of calls.
    with left_hanging(host(), "linger", {"path": str(note)}):
        until(note.exists)
    assert finished(cast, "linger")[0].outcome == "cancelled"
    assert not calls(cast, cast.acme, "wait_for_file", "call.finished")
    (tmp_path / "go").touch()
    assert finished(cast, "wait_for_file")[0].outcome == "ok"


@pytest.mark.parametrize("name", ["linger", "linger_in_a_thread"])
@pytest.mark.parametrize("revision", REVISIONS[:3])
def test_a_notification_cancels_the_request_it_names(
    cast: Cast, host: Make, note: Path, name: str, revision: str
) -> None:
    cast.tool(cast.acme, name)
    asking = host(revision=revision)
    with under_way(asking, "call-1", name, {"path": str(note)}) as answer:
        until(note.exists)
        cancel(asking, "call-1")
    assert finished(cast, name)[0].outcome == "cancelled"
    assert until(note.read_text) == "cancelled"
    assert (answer[0].status, answer[0].messages) == (200, [])
    assert "event-stream" in answer[0].headers["content-type"]


def test_a_notification_with_another_id_cancels_nothing(cast: Cast, host: Make, tmp_path: Path) -> None:
    cast.tool(cast.acme, "wait_for_file")
    asking = host(revision=LEGACY)
    with under_way(asking, 1, "wait_for_file", {"path": str(tmp_path / "go")}) as answer:
        until(lambda: calls(cast, cast.acme, "wait_for_file", "call.started"))
        others: list[Any] = [2, "1", 1.0, True, None, [], {}]
        for other in others:
            cancel(asking, other)
        (tmp_path / "go").touch()
    assert answer[0].text == "found"


def test_an_id_that_two_requests_carry_cancels_neither(cast: Cast, host: Make, tmp_path: Path) -> None:
    cast.tool(cast.acme, "wait_for_file")
    asking = host(revision=LEGACY)
    path = {"path": str(tmp_path / "go")}
    with under_way(asking, 1, "wait_for_file", path) as first, under_way(asking, 1, "wait_for_file", path) as second:
        until(lambda: len(calls(cast, cast.acme, "wait_for_file", "call.started")) == 2)
        cancel(asking, 1)
        (tmp_path / "go").touch()
    assert [answer.text for answer in (*first, *second)] == ["found", "found"]


def test_nobody_cancels_with_another_credential(cast: Cast, host: Make, tmp_path: Path) -> None:
    cast.tool(cast.acme, "wait_for_file")
    asking = host(revision=LEGACY)
    with under_way(asking, 1, "wait_for_file", {"path": str(tmp_path / "go")}) as answer:
        until(lambda: calls(cast, cast.acme, "wait_for_file", "call.started"))
        cancel(host(revision=LEGACY), 1)
        cancel(host(cast.olga, revision=LEGACY), 1)
        (tmp_path / "go").touch()
    assert answer[0].text == "found"


def test_nobody_cancels_from_another_address_or_program(cast: Cast, host: Make, tmp_path: Path) -> None:
    cast.tool(cast.acme, "wait_for_file")
    asking = host(revision=LEGACY)
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    with under_way(asking, 1, "wait_for_file", {"path": str(tmp_path / "go")}) as answer:
        until(lambda: calls(cast, cast.acme, "wait_for_file", "call.started"))
        assert asking.post(message, user_agent="another program").status == 202
        with httpx2.Client(transport=httpx2.HTTPTransport(local_address="127.0.0.2")) as elsewhere:
            assert elsewhere.post(asking.url, json=message, headers=asking.headers()).status_code == 202
        (tmp_path / "go").touch()
    assert answer[0].text == "found"


def test_on_2026_a_notification_cancels_nothing(cast: Cast, host: Make, tmp_path: Path) -> None:
    cast.tool(cast.acme, "wait_for_file")
    asking = host(revision=LEGACY)
    with under_way(asking, 1, "wait_for_file", {"path": str(tmp_path / "go")}) as answer:
        until(lambda: calls(cast, cast.acme, "wait_for_file", "call.started"))
        cancel(Host(asking.base, asking.slug, asking.key, MODERN), 1)
        (tmp_path / "go").touch()
    assert answer[0].text == "found"


def test_cancelling_one_request_of_a_batch_leaves_the_others(cast: Cast, host: Make, note: Path) -> None:
    cast.tool(cast.acme, "linger")
    cast.tool(cast.acme, "wait_for_file")
    asking = host(revision=REVISIONS[0])
    path = note.with_name("go")
    batch = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "linger", "arguments": {"path": str(note)}},
        },
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "wait_for_file", "arguments": {"path": str(path)}},
        },
    ]
    got: list[Answer] = []
    thread = threading.Thread(target=lambda: got.append(asking.post(batch)))
    thread.start()
    until(note.exists)
    cancel(asking, 1)
    assert finished(cast, "linger")[0].outcome == "cancelled"
    path.touch()
    thread.join(30)
    assert [one["id"] for one in got[0].final] == [2]


def test_a_client_without_streams_is_told_that_nothing_comes(cast: Cast, host: Make, note: Path) -> None:
    cast.tool(cast.acme, "linger")
    asking = host(revision=LEGACY)
    call = {"name": "linger", "arguments": {"path": str(note)}}
    got: list[Answer] = []
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    thread = threading.Thread(target=lambda: got.append(asking.post(message, accept="application/json")))
    thread.start()
    until(note.exists)
    cancel(asking, 1)
    thread.join(30)
    assert (got[0].status, got[0].response.content) == (202, b"")
