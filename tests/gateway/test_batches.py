"""JSON-RPC batches, which revision 2025-03-26 has and no other."""

from typing import Any

import httpx2
import pytest

from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.host import REVISIONS, Answer, Host

BATCHED = REVISIONS[0]


def call(request_id: Any, name: str = "echo", **arguments: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments or {"text": "x"}}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def note(method: str = "notifications/initialized", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


@pytest.fixture
def asking(cast: Cast, host: Make) -> Host:
    cast.tool(cast.acme, "echo")
    return host(revision=BATCHED)


def answers(answer: Answer) -> dict[Any, Any]:
    """The elements of a batch's answer by their id; errors of no id are under None."""
    assert answer.status == 200
    assert isinstance(answer.final, list)
    return {one["id"]: one for one in answer.final}


def test_each_request_of_a_batch_gets_its_own_answer(asking: Host) -> None:
    ping = {"jsonrpc": "2.0", "id": "two", "method": "ping"}
    response = {"jsonrpc": "2.0", "id": 99, "result": {}}
    got = answers(asking.post([call(1, text="a"), note(), ping, response, call(3, text="b")]))
    assert list(got) == [1, "two", 3]
    assert got[1]["result"]["content"][0]["text"] == '{"text":"a"}'
    assert got["two"]["result"] == {}
    assert got[3]["result"]["content"][0]["text"] == '{"text":"b"}'


def test_a_missing_version_header_means_the_revision_with_batches(asking: Host) -> None:
    own = {name: value for name, value in asking.headers().items() if name != "mcp-protocol-version"}
    with httpx2.Client() as client:
        assert set(answers(Answer(client.post(asking.url, json=[call(1), call(2)], headers=own)))) == {1, 2}


def test_a_batch_that_asks_for_nothing_is_accepted(asking: Host) -> None:
    answer = asking.post([note(), {"jsonrpc": "2.0", "id": 1, "result": {}}, note("notifications/cancelled")])
    assert (answer.status, answer.response.content) == (202, b"")


def test_faults_inside_a_batch_are_their_own_answers(asking: Host) -> None:
    bad: list[Any] = [call(1), {"jsonrpc": "2.0", "id": 2}, 5, call(4, "no_such"), {**call(5), "method": "no/such"}]
    answer = asking.post([*bad, {**call(6), "params": []}, call(7, txt=1)])
    got = answers(answer)
    assert {key: one.get("error", {}).get("code") for key, one in got.items()} == {
        1: None,
        2: -32600,
        None: -32600,
        4: -32602,
        5: -32601,
        6: -32600,
        7: None,
    }
    assert got[7]["result"]["isError"] is True


def test_initialize_must_not_be_inside(asking: Host) -> None:
    params = {"protocolVersion": BATCHED, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    got = answers(asking.post([initialize, call(2)]))
    assert got[1]["error"]["code"] == -32600
    assert "initialize" in got[1]["error"]["message"]
    assert "result" in got[2]


@pytest.mark.parametrize("size", [0, 51, 1000])
def test_a_batch_of_none_or_too_many_is_refused_whole(cast: Cast, asking: Host, size: int) -> None:
    answer = asking.post([call(number) for number in range(size)])
    assert (answer.status, answer.error["code"], answer.final["id"]) == (400, -32600, None)
    assert "1 to 50" in answer.error["message"]


def test_a_batch_of_fifty_is_served(asking: Host) -> None:
    assert set(answers(asking.post([call(number, text=str(number)) for number in range(50)]))) == set(range(50))


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_later_revisions_have_no_batches(cast: Cast, host: Make, revision: str) -> None:
    answer = host(revision=revision).post([call(1)])
    assert (answer.status, answer.error["code"], answer.final["id"]) == (400, -32600, None)


def test_a_missing_scope_inside_a_batch_is_an_error_among_answers(cast: Cast, host: Make) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read", "tickets.write": "Write"})
    cast.tool(cast.acme, "echo", scopes=["tickets.read"])
    cast.tool(cast.acme, "shout", scopes=["tickets.write"])
    answer = host(scopes=["tickets.read"], revision=BATCHED).post([call(1), call(2, "shout")])
    got = answers(answer)
    assert got[1]["result"]["isError"] is False
    assert got[2]["error"]["code"] == -32001
    assert "tickets.write" in got[2]["error"]["message"]
    assert "www-authenticate" not in answer.headers


def test_progress_inside_a_batch_comes_before_all_answers(cast: Cast, asking: Host) -> None:
    cast.tool(cast.acme, "count_slowly")
    slow = call(1, "count_slowly", steps=2)
    slow["params"]["_meta"] = {"progressToken": "mine"}
    answer = asking.post([slow, call(2)])
    *progress, final = answer.messages
    assert [one["params"]["progress"] for one in progress] == [1, 2]
    assert {one["id"] for one in final} == {1, 2}
