"""One shape of every refusal, wherever it travels; and tools that a rule makes a secret of."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from policy.models import Limit
from tests.cast import Cast
from tests.gateway.confirming import FORMS, govern
from tests.gateway.following import CORE, change, end, get, lasting, listening, start, waiting
from tests.host import MODERN, REVISIONS, Answer, Host
from tests.ledger import calls
from tests.waiting import until

Make = Callable[..., Host]

EVERY = pytest.mark.parametrize("revision", REVISIONS)
HIDE = {"effect": "deny", "secret": True}


def hidden_from(role: str, *names: str) -> dict[str, Any]:
    return {"name": f"hide from {role}", **HIDE, "who": {"roles": [role]}, "what": {"tools": list(names)}}


def shape_of(answer: Answer) -> dict[str, Any]:
    return dict(answer.result["_meta"]["mcphub/refusal"])


@EVERY
def test_a_result_that_refuses_carries_it(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme)
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per="member", most=1, seconds=60)
    cast.tool(cast.acme, "shout")
    own = host(revision=revision)
    assert shape_of(own.call("echo")) == {"reason": "invalid_arguments", "retryable": False}
    over = shape_of(own.call("echo", {"text": "hello"}))
    assert (over["reason"], over["retryable"]) == ("rate_limited", True)
    assert 0 < over["retryAfter"] <= 60


@EVERY
def test_an_error_that_refuses_carries_it_as_its_data(cast: Cast, host: Make, revision: str) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    cast.tool(cast.acme, scopes=["tickets.read"])
    own = host(scopes=[], revision=revision)
    assert own.call("nothing").error["data"] == {"reason": "unknown_tool", "retryable": False}
    refused = own.call("echo", {"text": "hello"})
    assert refused.status == 403
    assert refused.error["data"].pop("askAt").endswith(f"/t/{cast.acme.slug}/ask?tool=echo")
    assert refused.error["data"] == {
        "reason": "insufficient_scope",
        "retryable": False,
        "scopes": ["tickets.read"],
    }


@EVERY
def test_a_denial_says_where_a_person_can_ask(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme)
    govern(cast, {"name": "stop", "effect": "deny", "what": {"tools": ["echo"]}})
    answer = host(revision=revision).call("echo", {"text": "hello"})
    said = shape_of(answer)
    assert (said["reason"], said["retryable"]) == ("denied", False)
    assert said["askAt"].endswith(f"/t/{cast.acme.slug}/ask?tool=echo")
    assert said["askAt"] in answer.text


def test_a_job_that_a_rule_kept_from_running_says_where_to_ask_wherever_it_is_followed(
    cast: Cast, host: Make, client: httpx2.Client
) -> None:
    tool, modern, core = lasting(cast), host(), host(revision=CORE)
    task, other = start(modern), start(core)
    job_id = task["taskId"]
    with listening(modern, {"taskIds": [job_id]}) as frames:
        frames.told(), frames.told()
        for one in (task, other):
            end(one, "cancelled", None, reason="denied")
        heard = frames.told()[1]["_meta"]
    door = f"/t/{cast.acme.slug}/ask?tool={tool.name}"
    said = get(modern, task)["_meta"]["mcphub/refusal"]
    assert (said["reason"], said["retryable"], said["askAt"].endswith(door)) == ("denied", False, True)
    assert heard["mcphub/refusal"] == said
    assert "io.modelcontextprotocol/subscriptionId" in heard
    asked = core.request("tasks/result", {"taskId": other["taskId"]})
    assert asked.error["data"] == said
    assert said["askAt"] in asked.error["message"]
    for name in ("get_job_result", "get_job_status"):
        assert said["askAt"] in str(modern.call(name, {"job_id": job_id}).result["content"])
    url = f"{modern.base}/api/v1/t/{modern.slug}/jobs/{job_id}/"
    for where in (url, f"{url}result/"):
        assert client.get(where, headers={"authorization": f"Bearer {modern.key}"}).json()["ask_at"] == said["askAt"]


@pytest.mark.parametrize("reason", ["denied", "rules_changed", "tool_changed", "destination_changed"])
def test_a_job_that_was_kept_from_running_again_does_not_pass_for_one_that_never_ran(
    cast: Cast, host: Make, client: httpx2.Client, reason: str
) -> None:
    lasting(cast)
    own, core = host(), host(revision=CORE)
    once, again, other = start(own, text="once"), start(own, text="again"), start(core, text="other")
    for tried in (again, other):
        change(tried, "attempts = 1")
    for one in (once, again, other):
        end(one, "cancelled", None, reason=reason)
    assert "was not run: " in get(own, once)["statusMessage"]
    said = get(own, again)
    assert "was not run again: " in said["statusMessage"]
    assert "An earlier attempt may have taken effect" in said["statusMessage"]
    assert "mcphub/refusal" not in said["_meta"]
    asked = core.request("tasks/result", {"taskId": other["taskId"]}).error
    assert ("was not run again: " in asked["message"], asked["data"].get("reason")) == (True, reason)
    url = f"{own.base}/api/v1/t/{own.slug}/jobs/{again['taskId']}/"
    assert client.get(url, headers={"authorization": f"Bearer {own.key}"}).json()["ask_at"] is None


def test_who_waits_for_such_a_job_gets_the_refusal_itself(cast: Cast, host: Make) -> None:
    lasting(cast, runs="automatic", wait=20)
    own = host(revision="2025-06-18")
    with waiting(own, "tools/call", {"name": "echo", "arguments": {"text": "hello"}}) as got:
        (entry,) = until(lambda: calls(cast, cast.acme, "echo", "job.accepted"))
        end({"taskId": str(entry.call_id)}, "cancelled", None, reason="denied")
    said = shape_of(got[0])
    assert (said["reason"], said["askAt"] in got[0].text) == ("denied", True)


@EVERY
def test_a_secret_tool_is_listed_only_to_whom_it_is_no_secret(cast: Cast, host: Make, revision: str) -> None:
    for name in ("echo", "shout"):
        cast.tool(cast.acme, name)
    govern(cast, hidden_from("user", "shout"))
    assert host(revision=revision).tools() == ["echo"]
    assert host(cast.adam, revision=revision).tools() == ["echo", "shout"]
    assert host(revision=revision).tools() == ["echo"]


MIRRORED = {
    "type": "object",
    "properties": {"text": {"type": "string", "x-mcp-header": "Text"}},
    "required": ["text"],
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"runs": "background"},
        {"runs": "background", "task_required": True},
        {"read_only": False, "destructive": True},
        {"input_schema": MIRRORED},
        {"scopes": ["tickets.read"]},
    ],
)
@EVERY
def test_a_secret_tool_is_answered_like_none(cast: Cast, host: Make, revision: str, fields: dict[str, Any]) -> None:
    """Byte for byte, but for the name and the number that the host gave."""
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    cast.tool(cast.acme, "echo", **fields)
    govern(cast, hidden_from("user", "echo"))
    own = host(revision=revision, scopes=[])
    meta = {"_meta": FORMS} if revision == MODERN else {}
    given: list[dict[str, Any]] = [{}, {"arguments": {"text": "hello"}}, {"arguments": {"text": 5}}]
    for more in [*given, {"task": {}}] if revision == "2025-11-25" else given:
        secret, none = (own.request("tools/call", {"name": name, **more, **meta}) for name in ("echo", "ohce"))
        assert (secret.status, secret.headers.get("www-authenticate")) == (none.status, None)
        assert _without_id(secret).replace("echo", "ohce") == _without_id(none)


def _without_id(answer: Answer) -> str:
    return str({name: value for name, value in answer.final.items() if name != "id"})


def test_the_tools_for_jobs_do_not_give_a_secret_one_away(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    lasting(cast, "shout")
    govern(cast, hidden_from("user", "shout"))
    assert host().tools() == ["echo"]


def test_listeners_are_told_when_rules_change_what_they_see(cast: Cast, host: Make) -> None:
    for name in ("echo", "shout"):
        cast.tool(cast.acme, name)
    told = "notifications/tools/list_changed"
    with (
        listening(host(), {"toolsListChanged": True}) as frames,
        listening(host(cast.adam), {"toolsListChanged": True}) as other,
    ):
        frames.told(), other.told()
        govern(cast, hidden_from("user", "shout"))
        assert frames.told()[0] == told
        govern(cast)
        assert frames.told()[0] == told
        cast.tool(cast.acme, "count_slowly")
        assert other.told()[0] == told
        assert not other.waiting(), "what changed for others was none of theirs"
