"""Jobs for hosts that know nothing of tasks: a result that tells the model what to do, and progress while it waits."""

from collections.abc import Callable

import pytest

from tests.cast import Cast
from tests.gateway.following import CORE, end, lasting, start
from tests.host import REVISIONS, Host
from tools.values import Result

Make = Callable[..., Host]

OWN = ["cancel_job", "get_job_result", "get_job_status"]


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_long_call_is_answered_with_its_job_and_what_to_do(cast: Cast, host: Make, revision: str) -> None:
    lasting(cast, "shout")
    answer = host(revision=revision).call("shout", {"text": "hello"})
    told = answer.result["structuredContent"]
    assert told["status"] == "queued"
    assert told["check_after_seconds"] >= 1
    assert told["job_id"] in answer.text
    assert "get_job_status" in answer.text
    assert answer.result["isError"] is False
    assert answer.result["_meta"]["mcphub/job"] == told
    assert not answer.result.keys() & {"task", "taskId"}


def test_where_structured_content_was_promised_the_job_is_in_the_text_alone(cast: Cast, host: Make) -> None:
    lasting(cast, "echo")
    answer = host().call("echo", {"text": "hello"})
    assert "structuredContent" not in answer.result
    assert answer.result["_meta"]["mcphub/job"]["job_id"] in answer.text


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_job_tools_are_listed_with_tools_that_run_as_jobs(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme, "fail")
    asking = host(revision=revision)
    assert asking.tools() == ["fail"]
    lasting(cast, "echo")
    assert asking.tools() == sorted(["echo", "fail", *OWN])
    bob = Host(asking.base, cast.beta.slug, cast.key(cast.bob, cast.beta)[1], revision)
    assert bob.tools() == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_job_is_followed_and_stopped_with_the_job_tools(cast: Cast, host: Make, revision: str) -> None:
    lasting(cast, "shout")
    asking = host(revision=revision)
    job_id = asking.call("shout", {"text": "hello"}).result["_meta"]["mcphub/job"]["job_id"]
    assert "waiting for a worker" in asking.call("get_job_status", {"job_id": job_id, "wait_seconds": 0}).text
    end({"taskId": job_id}, result=Result.of_text("HELLO"))
    assert asking.call("get_job_status", {"job_id": job_id}).result["content"][1]["text"] == "HELLO"
    assert asking.call("get_job_result", {"job_id": job_id}).text == "HELLO"
    assert "had ended already" in asking.call("cancel_job", {"job_id": job_id}).text


def test_a_tool_that_must_be_followed_says_so_to_older_hosts(cast: Cast, host: Make) -> None:
    lasting(cast, task_required=True)
    answer = host(revision="2025-06-18").call("echo", {"text": "hello"})
    assert answer.result["isError"] is True
    assert answer.result["_meta"]["mcphub/refusal"]["reason"] == "capability_missing"


@pytest.mark.parametrize("server", [0, 1])
@pytest.mark.parametrize("revision", REVISIONS)
def test_progress_comes_from_the_worker_to_whichever_server_holds_the_stream(
    cast: Cast, host: Make, worker: int, revision: str, server: int
) -> None:
    lasting(cast, "count_slowly", run=True, runs="automatic", wait=15)
    params = {"name": "count_slowly", "arguments": {"steps": 3, "seconds": 1.5}, "_meta": {"progressToken": "mine"}}
    answer = host(revision=revision, worker=server).request("tools/call", params)
    assert answer.text == "counted to 3"
    told = [message["params"] for message in answer.messages[:-1]]
    assert [(one["progressToken"], one["progress"], one["total"]) for one in told] == [
        ("mine", 1, 3),
        ("mine", 2, 3),
        ("mine", 3, 3),
    ]


def test_logs_of_a_job_come_to_who_waits_and_asked_for_them(cast: Cast, host: Make, worker: int) -> None:
    name = "test_tool_with_logging"
    lasting(cast, name, run=True, runs="automatic", wait=15)
    asked = {"io.modelcontextprotocol/logLevel": "info"}
    for meta, expected in ((asked, 3), ({}, 0)):
        params = {"name": name, "arguments": {}, "_meta": meta}
        answer = host().request("tools/call", params)
        assert [message["params"]["level"] for message in answer.messages[:-1]] == ["info"] * expected


def test_the_worker_runs_what_a_host_follows_as_a_task(cast: Cast, host: Make, worker: int) -> None:
    lasting(cast, "shout", run=True)
    asking = host(revision=CORE)
    task = start(asking, "shout", text="hello")
    answer = asking.request("tasks/result", {"taskId": task["taskId"]})
    assert answer.text == "HELLO"
