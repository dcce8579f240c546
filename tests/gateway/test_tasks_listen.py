"""subscriptions/listen: a host is told what changed, and of nothing that is not its own to see."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from access.actions import revoke_key
from tests.cast import Cast
from tests.gateway.following import DECLARED, UNDECLARED, asks, claim, end, follow, lasting, listening, start
from tests.host import Host
from tests.postgres import as_app
from tools import actions
from tools.values import Result

Make = Callable[..., Host]

ID = "io.modelcontextprotocol/subscriptionId"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
TASKS = "notifications/tasks"
TOOLS = "notifications/tools/list_changed"
LISTEN = "subscriptions/listen"


def test_a_task_is_told_of_until_it_has_ended(cast: Cast, host: Make) -> None:
    lasting(cast)
    asking = host()
    task = start(asking)
    with listening(host(worker=1), {"taskIds": [task["taskId"]]}) as frames:
        assert frames.told() == (
            ACKNOWLEDGED,
            {"notifications": {"taskIds": [task["taskId"]]}, "_meta": {ID: "stream"}},
        )
        method, told = frames.told()
        assert (method, told["taskId"], told["status"]) == (TASKS, task["taskId"], "working")
        follow(asking, "tasks/cancel", {"taskId": task["taskId"]})
        method, told = frames.told()
        assert (method, told["status"], told["_meta"]) == (TASKS, "cancelled", {ID: "stream"})
        final = frames.next()
        assert (final["id"], final["result"]["resultType"]) == ("stream", "complete")
        assert final["result"]["_meta"][ID] == "stream"
        assert frames.ended()


def test_what_is_told_of_a_task_is_the_whole_of_it(cast: Cast, host: Make) -> None:
    lasting(cast)
    asking = host()
    one, other = start(asking), start(asking, text="other")
    with listening(asking, {"taskIds": [one["taskId"], other["taskId"]]}) as frames:
        assert [frames.told()[0] for _ in range(3)] == [ACKNOWLEDGED, TASKS, TASKS]
        asks(one, name="Your name?")
        follow(asking, "tasks/update", {"taskId": one["taskId"], "inputResponses": {"name": {"action": "cancel"}}})
        assert frames.told()[1]["status"] == "working"
        end(other, result=Result.of_data({"text": "other"}))
        told = frames.told()[1]
        assert (told["taskId"], told["status"]) == (other["taskId"], "completed")
        assert told["result"]["structuredContent"] == {"text": "other"}
        assert "resultType" not in told, "that is what answers have"


def test_an_end_that_was_before_is_told_and_ends_the_stream(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    end(task)
    with listening(host(), {"taskIds": [task["taskId"]]}) as frames:
        assert frames.told()[0] == ACKNOWLEDGED
        assert frames.told()[1]["status"] == "completed"
        assert "result" in frames.next()


def test_only_ones_own_tasks_are_acknowledged(cast: Cast, host: Make) -> None:
    lasting(cast)
    lasting(cast, tenant=cast.beta)
    own = start(host())
    foreign = start(Host(host().base, cast.beta.slug, cast.key(cast.bob, cast.beta)[1]))
    others = start(host(cast.olga))
    asked = [foreign["taskId"], others["taskId"], str(uuid.uuid4()), "nonsense", own["taskId"], own["taskId"]]
    with listening(host(), {"taskIds": asked}) as frames:
        assert frames.told()[1]["notifications"] == {"taskIds": [own["taskId"]]}
        assert frames.told()[1]["taskId"] == own["taskId"]
        end(others)
        end(foreign)
        end(own)
        assert frames.told()[1]["taskId"] == own["taskId"]
        assert "result" in frames.next()


def test_the_list_of_tools_is_told_of_when_it_has_changed_for_its_reader(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    with listening(host(worker=1), {"toolsListChanged": True, "promptsListChanged": True}, UNDECLARED) as frames:
        assert frames.told() == (ACKNOWLEDGED, {"notifications": {"toolsListChanged": True}, "_meta": {ID: "stream"}})
        shout = cast.tool(cast.acme, "shout")
        assert frames.told() == (TOOLS, {"_meta": {ID: "stream"}})
        with cast.see(cast.acme):
            actions.set_enabled(shout, False, actor=cast.staff)
        assert frames.told()[0] == TOOLS


def test_what_changes_nothing_in_the_list_is_not_told(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    with listening(host(), {"toolsListChanged": True, "taskIds": [task["taskId"]]}) as frames:
        assert [frames.told()[0] for _ in range(2)] == [ACKNOWLEDGED, TASKS]
        cast.scopes(cast.acme, {"unrelated": "Nothing that is listed"})
        cast.tool(cast.beta, "shout")
        follow(host(), "tasks/cancel", {"taskId": task["taskId"]})
        assert frames.told()[0] == TASKS, "everything before it has been heard"


def test_what_cannot_be_told_is_not_acknowledged_and_ends_at_once(host: Make) -> None:
    with listening(host(), {"promptsListChanged": True, "toolsListChanged": False}) as frames:
        assert frames.told()[1]["notifications"] == {}
        assert "result" in frames.next()


def test_a_stream_ends_with_its_credential(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    key, secret = cast.key(cast.uma)
    with listening(Host(host().base, cast.acme.slug, secret), {"taskIds": [task["taskId"]]}) as frames:
        assert [frames.told()[0] for _ in range(2)] == [ACKNOWLEDGED, TASKS]
        with cast.see(cast.acme):
            revoke_key(key, actor="system")
        end(task)
        assert "error" in frames.next()
        assert frames.ended()


def test_a_stream_outlives_a_listener_that_lost_its_session(cast: Cast, host: Make) -> None:
    lasting(cast)
    task = start(host())
    with listening(host(), {"taskIds": [task["taskId"]]}) as frames:
        assert [frames.told()[0] for _ in range(2)] == [ACKNOWLEDGED, TASKS]
        fence = claim(task)
        with as_app() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'mcphub events' AND datname = current_database()"
            )
        end(task, fence=fence)
        while (told := frames.told()[1])["status"] != "completed":
            assert told["status"] == "working"


@pytest.mark.parametrize(
    ("params", "meta", "headers", "status", "code"),
    [
        ({"notifications": {"taskIds": ["x"]}}, UNDECLARED, {}, 400, -32021),
        ({"notifications": {"taskIds": "x"}}, DECLARED, {}, 400, -32602),
        ({"notifications": {"taskIds": [5]}}, DECLARED, {}, 400, -32602),
        ({"notifications": []}, DECLARED, {}, 400, -32602),
        ({}, DECLARED, {}, 400, -32602),
        ({"notifications": {}}, DECLARED, {"accept": "application/json"}, 406, -32600),
    ],
    ids=["undeclared", "no list", "no strings", "no filter", "nothing", "no stream"],
)
def test_what_cannot_be_listened_to_is_refused(
    host: Make, params: dict[str, Any], meta: dict[str, Any], headers: dict[str, str], status: int, code: int
) -> None:
    answer = follow(host(), LISTEN, params, meta, **headers)
    assert (answer.status, answer.error["code"]) == (status, code)


def test_earlier_revisions_have_nothing_to_listen_to(host: Make) -> None:
    answer = host(revision="2025-11-25").request(LISTEN, {"notifications": {"toolsListChanged": True}})
    assert answer.error["code"] == -32601


def test_discovery_says_that_changes_are_told(host: Make) -> None:
    assert host().request("server/discover").result["capabilities"]["tools"] == {"listChanged": True}
