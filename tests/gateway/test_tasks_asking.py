"""A tool that needs to know something first asks for it, and the host calls again with the answer (2026-07-28)."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway import rounds
from lib import seal
from policy.models import Limit
from tenants.models import Scope
from tests.cast import Cast
from tests.gateway.following import DECLARED, UNDECLARED, follow
from tests.host import Answer, Host
from tests.ledger import calls

Make = Callable[..., Host]

NAME = "test_tool_with_task"
ALICE = {"user_name": {"action": "accept", "content": {"name": "Alice"}}}


@pytest.fixture
def greeting(cast: Cast) -> None:
    """A tool that asks for a name unless it is given one."""
    cast.tool(cast.acme, NAME)


def call(host: Host, meta: dict[str, Any] = DECLARED, arguments: dict[str, Any] | None = None, **more: Any) -> Answer:
    return follow(host, "tools/call", {"name": NAME, "arguments": arguments or {}, **more}, meta)


def test_it_asks_and_runs_with_the_answer(hub: list[str], host: Make, greeting: None) -> None:
    own = host()
    asked = call(own).result
    assert asked["resultType"] == "input_required"
    (key,) = asked["inputRequests"]
    assert asked["inputRequests"][key]["method"] == "elicitation/create"
    assert asked["inputRequests"][key]["params"]["message"] == "Whom is it for?"
    assert not asked.keys() & {"content", "taskId"}
    answered = call(replace(own, base=hub[1]), inputResponses=ALICE, requestState=asked["requestState"])
    assert answered.text == "A task for Alice."
    assert not answered.result.keys() & {"requestState", "inputRequests"}


def test_a_long_tool_asks_before_it_becomes_a_task(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, NAME, runs="background", task_required=True)
    own = host()
    asked = call(own).result
    assert not calls(cast, cast.acme, NAME, "job.accepted")
    task = call(own, inputResponses=ALICE, requestState=asked["requestState"]).result
    assert task["resultType"] == "task"
    assert "requestState" not in task
    (accepted,) = calls(cast, cast.acme, NAME, "job.accepted")
    assert accepted.preview == {"user_name": "Alice"}


def test_asking_is_recorded_and_runs_nothing(cast: Cast, host: Make, greeting: None) -> None:
    call(host())
    (started,) = calls(cast, cast.acme, NAME, "call.started")
    (asked,) = calls(cast, cast.acme, NAME, "call.finished")
    assert started.call_id == asked.call_id
    assert (started.subject, asked.subject) == ("preflight", "preflight")
    assert (asked.outcome, asked.reason) == ("ok", "input_required")


def test_what_is_known_is_not_asked(host: Make, greeting: None) -> None:
    assert call(host(), arguments={"user_name": "Bob"}).text == "A task for Bob."


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {"url": {}}}, {"elicitation": 5}])
def test_a_host_that_shows_no_forms_is_not_asked(host: Make, greeting: None, capabilities: dict[str, Any]) -> None:
    meta = {next(iter(UNDECLARED)): capabilities}
    assert call(host(), meta).text == "A task for nobody."


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_earlier_revisions_are_not_asked(host: Make, greeting: None, revision: str) -> None:
    assert host(revision=revision).call(NAME).text == "A task for nobody."


def test_declining_is_an_answer(host: Make, greeting: None) -> None:
    own = host()
    asked = call(own).result
    declined = {"user_name": {"action": "decline"}}
    assert call(own, inputResponses=declined, requestState=asked["requestState"]).text == "A task for ."


@pytest.mark.parametrize(
    "responses",
    [
        {},
        None,
        {"another": ALICE["user_name"]},
        {"user_name": {"action": "accept", "content": {"name": 5}}},
        {"user_name": {"action": "accept", "content": []}},
        {"user_name": {"action": "perhaps"}},
        {"user_name": {"action": ["accept"]}},
        {"user_name": "Alice"},
    ],
)
def test_what_is_no_answer_is_asked_for_again(host: Make, greeting: None, responses: Any) -> None:
    own = host()
    asked = call(own).result
    again = call(own, inputResponses=responses, requestState=asked["requestState"]).result
    assert (again["resultType"], list(again["inputRequests"])) == ("input_required", ["user_name"])
    assert call(own, inputResponses=ALICE, requestState=again["requestState"]).text == "A task for Alice."


def test_answers_without_a_question_are_passed_over(host: Make, greeting: None) -> None:
    assert call(host(), inputResponses=ALICE).result["resultType"] == "input_required"


def test_a_state_is_taken_once(cast: Cast, host: Make, greeting: None) -> None:
    own = host()
    state = call(own).result["requestState"]
    assert call(own, inputResponses=ALICE, requestState=state).text == "A task for Alice."
    assert call(own, inputResponses=ALICE, requestState=state).error["code"] == -32602
    assert [one.subject for one in calls(cast, cast.acme, NAME, "call.started")] == ["preflight", "preflight", ""]
    assert [one.reason for one in calls(cast, cast.acme, NAME, "call.refused")] == ["invalid_answer"]


def test_a_state_is_good_for_the_very_call_it_was_given_for(cast: Cast, host: Make, greeting: None) -> None:
    own = host()
    cast.tool(cast.beta, NAME)
    state = call(own).result["requestState"]
    bob = Host(own.base, cast.beta.slug, cast.key(cast.bob, cast.beta)[1])
    strangers = [
        call(host(cast.olga), inputResponses=ALICE, requestState=state),
        call(host(), inputResponses=ALICE, requestState=state),
        call(bob, inputResponses=ALICE, requestState=state),
        call(own, arguments={"user_name": ""}, inputResponses=ALICE, requestState=state),
    ]
    assert {answer.error["code"] for answer in strangers} == {-32602}
    assert call(own, inputResponses=ALICE, requestState=state).text == "A task for Alice.", "it was not used up"


@pytest.mark.parametrize("change", [lambda state: state[:-4] + "AAAA", lambda state: "", lambda state: "x" * 70_000])
def test_a_state_that_is_not_ours_is_refused(host: Make, greeting: None, change: Callable[[str], str]) -> None:
    own = host()
    state = call(own).result["requestState"]
    answer = call(own, inputResponses=ALICE, requestState=change(state))
    assert (answer.status, answer.error["code"]) == (400, -32602)


@pytest.mark.parametrize(("left", "taken"), [(60, True), (-1, False)], ids=["in time", "too late"])
def test_a_state_runs_out(cast: Cast, host: Make, greeting: None, left: float, taken: bool) -> None:
    own = host()
    known = json.loads(seal.unseal(call(own).result["requestState"].encode()))
    assert known["until"] - time.time() <= rounds.PATIENCE
    state = seal.seal(json.dumps({**known, "until": time.time() + left})).decode()
    answer = call(own, inputResponses=ALICE, requestState=state)
    assert ("result" in answer.final) is taken


def test_who_may_not_use_the_tool_is_refused_rather_than_asked(cast: Cast, host: Make) -> None:
    cast.scopes(cast.acme, {"greet": "Greet people"})
    cast.tool(cast.acme, NAME, scopes=["greet"])
    answer = call(host(scopes=[]))
    assert (answer.status, answer.error["code"]) == (403, -32001)
    with cast.see(cast.acme):
        Scope.objects.filter(name="greet").update(roles=["owner"])
    assert call(host()).error["code"] == -32602, "whoever cannot see it is not asked either"


def test_asking_is_charged(cast: Cast, host: Make, greeting: None) -> None:
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per="member", most=1, seconds=3600)
    own = host()
    assert call(own).result["resultType"] == "input_required"
    again = call(own)
    assert again.result["isError"] is True
    assert again.result["_meta"]["mcphub/refusal"]["reason"] == "rate_limited"
