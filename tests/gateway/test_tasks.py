"""Jobs as tasks of 2026-07-28: the extension, for hosts that declare it with the very request."""

import base64
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.cast import Cast
from tests.gateway.following import (
    DECLARED,
    EXTENSION,
    UNDECLARED,
    asks,
    change,
    claim,
    end,
    follow,
    get,
    lasting,
    start,
)
from tests.host import Host
from tests.ledger import calls
from tools.values import Result

Make = Callable[..., Host]

METHODS = ("tasks/get", "tasks/update", "tasks/cancel")


def test_a_long_call_is_a_task_that_every_server_knows_at_once(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    assert task["resultType"] == "task"
    assert get(host(worker=1), task)["status"] == "working"


def test_a_new_task_says_how_it_stands_and_nothing_else(cast: Cast, host: Make) -> None:
    lasting(cast, keep_hours=2)
    task = start(host())
    assert {name for name in task if name != "statusMessage"} == {
        "resultType",
        "taskId",
        "status",
        "createdAt",
        "lastUpdatedAt",
        "ttlMs",
        "pollIntervalMs",
        "_meta",
    }
    assert uuid.UUID(task["taskId"]).version == 7
    assert task["createdAt"].endswith("Z")
    assert (type(task["ttlMs"]), type(task["pollIntervalMs"])) == (int, int)
    assert task["ttlMs"] == 2 * 3600 * 1000


@pytest.mark.parametrize("how", ["background", "automatic"])
def test_who_declares_the_extension_is_kept_waiting_by_no_tool(cast: Cast, host: Make, how: str) -> None:
    lasting(cast, runs=how)
    assert start(host())["status"] == "working"


def test_a_tool_that_answers_at_once_is_no_task(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    answer = follow(host(), "tools/call", {"name": "echo", "arguments": {"text": "hello"}, "task": 5})
    assert answer.result["resultType"] == "complete"
    assert answer.text == '{"text":"hello"}'


def test_what_the_tool_gave_comes_with_the_task(cast: Cast, host: Make) -> None:
    lasting(cast)
    asking = host()
    task = start(asking)
    end(task, result=Result.of_data({"text": "hello"}))
    found = get(asking, task)
    assert (found["resultType"], found["status"]) == ("complete", "completed")
    assert found["result"]["structuredContent"] == {"text": "hello"}
    assert found["result"]["resultType"] == "complete"
    assert not found.keys() & {"error", "inputRequests"}


def test_what_the_tool_calls_an_error_is_a_result(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    end(task, "failed", Result.of_error("The printer is out of paper.", "tool_error"))
    found = get(host(), task)
    assert found["status"] == "completed"
    assert found["result"]["isError"] is True
    assert found["result"]["content"][0]["text"] == "The printer is out of paper."


@pytest.mark.parametrize(
    ("state", "result", "how", "says"),
    [
        ("failed", Result.of_error("It failed inside the hub.", "internal_error"), {}, "failed inside the hub"),
        ("failed", None, {"error": {"code": "x", "message": "The store is full."}}, "The store is full."),
        ("interrupted", None, {"reason": "process_gone"}, "may have taken effect"),
        ("expired", None, {"reason": "patience_over"}, "was not run"),
    ],
    ids=["inside the hub", "a fault", "interrupted", "expired"],
)
def test_what_the_hub_could_not_do_is_a_failure(
    cast: Cast, host: Make, state: str, result: Result | None, how: dict[str, Any], says: str
) -> None:
    lasting(cast)
    task = start(host())
    end(task, state, result, **how)
    found = get(host(), task)
    assert found["status"] == "failed"
    assert found["error"]["code"] == -32603
    assert says in found["error"]["message"]
    assert "result" not in found


def test_how_far_it_is_is_said_in_words(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    claim(task)
    change(task, "progress = 3, total = 10, message = 'reading'")
    said = get(host(), task)["statusMessage"]
    assert "3 of 10" in said
    assert "reading" in said


def test_cancelling_is_acknowledged_and_takes_effect(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    answer = follow(host(), "tasks/cancel", {"taskId": task["taskId"]})
    assert {name for name in answer.result if name != "_meta"} == {"resultType"}
    assert get(host(), task)["status"] == "cancelled"
    assert follow(host(), "tasks/cancel", {"taskId": task["taskId"]}).result["resultType"] == "complete"


def test_a_running_task_that_is_to_stop_is_working_until_it_has(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    fence = claim(task)
    follow(host(), "tasks/cancel", {"taskId": task["taskId"]})
    assert get(host(), task)["status"] == "working"
    end(task, "cancelled", None, reason="cancelled", fence=fence)
    assert get(host(), task)["status"] == "cancelled"


def test_questions_are_shown_and_answered_one_by_one(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    asks(task, first="Your name?", second="And yours?")
    found = get(host(), task)
    assert found["status"] == "input_required"
    assert found["inputRequests"]["first"]["method"] == "elicitation/create"
    assert found["inputRequests"]["first"]["params"]["message"] == "Your name?"
    answer = {"action": "accept", "content": {"name": "Alice"}}
    wrong = {"action": "accept", "content": {"name": 5}}
    given = {"first": answer, "second": wrong, "nobody asked": answer}
    ack = follow(host(), "tasks/update", {"taskId": task["taskId"], "inputResponses": given})
    assert {name for name in ack.result if name != "_meta"} == {"resultType"}
    assert list(get(host(), task)["inputRequests"]) == ["second"]
    follow(host(), "tasks/update", {"taskId": task["taskId"], "inputResponses": {"second": {"action": "decline"}}})
    assert get(host(), task)["status"] == "working"


@pytest.mark.parametrize("method", METHODS)
def test_the_extension_has_to_be_declared_by_every_request(cast: Cast, host: Make, method: str) -> None:
    lasting(cast)
    task = start(host())
    for task_id in (task["taskId"], str(uuid.uuid4())):
        answer = follow(host(), method, {"taskId": task_id, "inputResponses": {}}, UNDECLARED)
        assert (answer.status, answer.error["code"]) == (400, -32021)
        assert answer.error["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    assert get(host(), task)["status"] == "working"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("named", ["another", "", "=?base64?!?="])
def test_the_header_has_to_name_the_task(cast: Cast, host: Make, method: str, named: str) -> None:
    lasting(cast)
    task = start(host())
    answer = follow(host(), method, {"taskId": task["taskId"], "inputResponses": {}}, UNDECLARED, mcp_name=named)
    assert (answer.status, answer.error["code"]) == (400, -32020), "the header comes before everything else"
    assert get(host(), task)["status"] == "working"


def test_the_header_may_be_in_base64(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    named = f"=?base64?{base64.b64encode(task['taskId'].encode()).decode()}?="
    assert follow(host(), "tasks/get", {"taskId": task["taskId"]}, mcp_name=named).result["status"] == "working"


@pytest.mark.parametrize("method", METHODS)
def test_an_id_that_is_not_yours_answers_like_one_that_is_not_there(cast: Cast, host: Make, method: str) -> None:
    lasting(cast)
    lasting(cast, tenant=cast.beta)
    asking = host()
    foreign = start(Host(asking.base, cast.beta.slug, cast.key(cast.bob, cast.beta)[1]))["taskId"]
    others = start(host(cast.olga))["taskId"]
    forgotten = start(asking)
    end(forgotten)
    change(forgotten, "expires_at = NULL, result = NULL")
    shouted = start(asking, text="loud")["taskId"].upper()
    answers = [
        follow(asking, method, {"taskId": task_id, "inputResponses": {}})
        for task_id in (str(uuid.uuid4()), foreign, others, shouted, "x" * 5000, "nonsense", "")
    ]
    if method == "tasks/get":
        answers.append(follow(asking, method, {"taskId": forgotten["taskId"]}))
    assert {(answer.status, answer.error["code"], answer.error["message"]) for answer in answers} == {
        (400, -32602, "There is no such task.")
    }


def test_who_manages_the_tenant_may_follow_and_stop_and_an_auditor_only_look(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    assert get(host(cast.audrey), task)["status"] == "working"
    assert follow(host(cast.audrey), "tasks/cancel", {"taskId": task["taskId"]}).error["code"] == -32602
    assert follow(host(cast.olga), "tasks/cancel", {"taskId": task["taskId"]}).result
    assert get(host(), task)["status"] == "cancelled"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tasks/get", {}),
        ("tasks/get", {"taskId": 5}),
        ("tasks/cancel", {"taskId": None}),
        ("tasks/update", {"taskId": ""}),
        ("tasks/update", {"taskId": "x", "inputResponses": []}),
    ],
)
def test_params_of_the_wrong_type_are_refused(cast: Cast, host: Make, method: str, params: dict[str, Any]) -> None:
    answer = follow(host(), method, params)
    assert (answer.status, answer.error["code"]) == (400, -32602)


def test_a_tool_that_needs_the_extension_is_refused_without_it_and_that_is_recorded(cast: Cast, host: Make) -> None:
    lasting(cast, task_required=True)
    params = {"name": "echo", "arguments": {"text": "hello"}}
    answer = follow(host(), "tools/call", params, UNDECLARED)
    assert (answer.status, answer.error["code"]) == (400, -32021)
    assert answer.error["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    (refused,) = calls(cast, cast.acme, "echo", "call.refused")
    assert refused.reason == "capability_missing"
    assert follow(host(), "tools/call", params, DECLARED).result["resultType"] == "task"


def test_discovery_offers_the_extension_and_no_tasks_of_the_core(cast: Cast, host: Make) -> None:
    offered = host().request("server/discover").result["capabilities"]
    assert offered["extensions"] == {EXTENSION: {}}
    assert "tasks" not in offered
