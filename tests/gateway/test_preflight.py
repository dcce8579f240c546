"""What a tool's preflight does is tool code: it is judged, charged, recorded, bounded and caught like a call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy.models import Limit
from tests.cast import Cast
from tests.gateway.following import DECLARED, follow
from tests.host import Answer, Host
from tests.jobs import review
from tests.jobs.desk import Desk, desk
from tests.ledger import calls
from tools import calls as business
from tools import preflight
from tools.calls import Ready
from tools.functions import load
from tools.values import Origin, Result

Make = Callable[..., Host]

NAME = "greet_politely"
ADA = {"name": {"action": "accept", "content": {"name": "Ada"}}}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where the preflight adds a line each time that it runs."""
    found = tmp_path / "notes"
    found.touch()
    return found


def ask(host: Host, notes: Path, arguments: dict[str, Any] | None = None, **more: Any) -> Answer:
    given = {"path": str(notes), **(arguments or {})}
    return follow(host, "tools/call", {"name": NAME, "arguments": given, **more}, DECLARED)


def runs(notes: Path) -> list[str]:
    return notes.read_text().splitlines()


def endings(cast: Cast) -> list[tuple[str, str, str]]:
    """What the ledger says of the ends of calls: subject, outcome and reason."""
    return [(one.subject, one.outcome, one.reason) for one in calls(cast, cast.acme, NAME, "call.finished")]


def refusals(cast: Cast) -> list[str]:
    return [one.reason for one in calls(cast, cast.acme, NAME, "call.refused")]


def limited(cast: Cast, to: int) -> None:
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per="member", most=to, seconds=3600)


@pytest.mark.parametrize("priority", [0, 900])
def test_what_a_rule_denies_whatever_its_arguments_never_reaches_it(
    cast: Cast, host: Make, notes: Path, priority: int
) -> None:
    cast.tool(cast.acme, NAME)
    review.publish(cast, name="Not here", effect="deny", priority=priority, spec={"what": {"tools": [NAME]}})
    told = ask(host(), notes).result
    assert (told["isError"], told["_meta"]["mcphub/refusal"]["reason"]) == (True, "denied")
    assert (runs(notes), refusals(cast)) == ([], ["denied"])


def test_what_a_rule_says_of_arguments_is_asked_once_they_are_whole(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    spec = {"what": {"tools": [NAME]}, "if": "args.name == 'Ada'"}
    review.publish(cast, name="Not Ada", effect="deny", spec=spec)
    mine = host()
    asked = ask(mine, notes)
    assert asked.result["resultType"] == "input_required"
    told = ask(mine, notes, inputResponses=ADA, requestState=asked.result["requestState"]).result
    assert told["_meta"]["mcphub/refusal"]["reason"] == "denied"


@pytest.mark.parametrize("wrong", [{"number": "three"}, {"name": 5}, {"stray": 1}])
def test_arguments_that_do_not_fit_never_reach_it(cast: Cast, host: Make, notes: Path, wrong: dict[str, Any]) -> None:
    cast.tool(cast.acme, NAME)
    own = host()
    answers = [ask(own, notes, wrong) for _ in range(3)]
    assert all(answer.result["isError"] for answer in answers)
    assert "Mend them and call again." in answers[0].text
    assert next(iter(wrong)) in answers[0].text
    assert refusals(cast) == ["invalid_arguments"] * 3
    assert runs(notes) == []


def test_a_required_argument_may_be_missing_as_it_is_asked_for(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    own = host()
    state = ask(own, notes).result["requestState"]
    assert ask(own, notes, inputResponses=ADA, requestState=state).text == "Good day, Ada."


def test_its_entry_is_durable_before_it_runs(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    ask(host(), notes)
    assert int(runs(notes)[0]) >= 1


def test_every_round_has_its_entries_and_the_tool_its_own(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    own = host()
    state = ask(own, notes).result["requestState"]
    ask(own, notes, inputResponses=ADA, requestState=state)
    assert endings(cast) == [("preflight", "ok", "input_required"), ("preflight", "ok", ""), ("", "ok", "")]
    *rounds, ran = calls(cast, cast.acme, NAME, "call.started")
    assert len({one.call_id for one in [*rounds, ran]}) == 3
    assert [one.preview for one in rounds] == [{"path": str(notes)}] * 2
    assert ran.preview == {"path": str(notes), "name": "Ada"}


def test_each_request_is_charged_once(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    limited(cast, 2)
    own = host()
    state = ask(own, notes).result["requestState"]
    assert ask(own, notes, inputResponses=ADA, requestState=state).text == "Good day, Ada."
    assert ask(own, notes).result["_meta"]["mcphub/refusal"]["reason"] == "rate_limited"


def test_whoever_is_over_a_limit_cannot_drive_it(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    limited(cast, 1)
    own = host()
    state = ask(own, notes).result["requestState"]
    answers = [ask(own, notes), ask(own, notes, inputResponses=ADA, requestState=state)]
    assert {answer.result["_meta"]["mcphub/refusal"]["reason"] for answer in answers} == {"rate_limited"}
    assert len(runs(notes)) == 1


def test_answers_are_not_used_up_by_a_refusal(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    limited(cast, 1)
    own = host()
    state = ask(own, notes).result["requestState"]
    ask(own, notes, inputResponses=ADA, requestState=state)
    with cast.see(cast.acme):
        Limit.objects.filter(tenant=cast.acme).delete()
    cast.tool(cast.acme, "echo")  # makes a new version of the catalogue, without the limit
    assert ask(own, notes, inputResponses=ADA, requestState=state).text == "Good day, Ada."


def test_a_state_that_is_not_ours_is_charged_and_recorded(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    limited(cast, 2)
    own = host()
    for wrong in ({"requestState": "made up"}, {"requestState": "made up", "inputResponses": []}):
        assert ask(own, notes, **wrong).error["code"] == -32602
    assert ask(own, notes).result["_meta"]["mcphub/refusal"]["reason"] == "rate_limited"
    assert refusals(cast) == ["invalid_answer", "invalid_answer", "rate_limited"]
    assert runs(notes) == []


@pytest.mark.parametrize(
    ("how", "says", "reason"),
    [
        ("politely", "The door is closed.", "tool_error"),
        ("loudly", "failed inside the hub. It is logged as call", "internal_error"),
        ("by leaving", "failed inside the hub. It is logged as call", "internal_error"),
        ("in shape", "failed inside the hub. It is logged as call", "internal_error"),
        ("in schema", "asks for something that is no schema", "misconfigured"),
    ],
)
def test_its_failure_is_told_and_recorded_like_a_tools(
    cast: Cast, host: Make, notes: Path, how: str, says: str, reason: str
) -> None:
    cast.tool(cast.acme, NAME)
    answer = ask(host(), notes, {"how": how})
    assert (answer.status, answer.result["isError"]) == (200, True)
    assert says in answer.text
    assert str(notes) not in answer.response.text
    assert endings(cast) == [("preflight", "error", reason)]


def test_one_that_hangs_is_stopped_at_the_tools_timeout(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME, timeout=1)
    answer = ask(host(), notes, {"how": "by hanging"})
    assert "did not answer within 1 s" in answer.text
    assert endings(cast) == [("preflight", "timeout", "timeout")]


def test_what_it_adds_is_judged_like_any_argument(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME)
    answer = ask(host(), notes, {"how": "in value"})
    assert answer.result["_meta"]["mcphub/refusal"]["reason"] == "invalid_arguments"
    assert endings(cast) == [("preflight", "ok", "")]
    assert refusals(cast) == ["invalid_arguments"]


def test_nobody_is_asked_for_a_job_that_they_could_not_follow(cast: Cast, host: Make, notes: Path) -> None:
    cast.tool(cast.acme, NAME, runs="background", task_required=True)
    meta: dict[str, Any] = {next(iter(DECLARED)): {"elicitation": {}}}
    params = {"name": NAME, "arguments": {"path": str(notes)}}
    assert follow(host(), "tools/call", params, meta).error["code"] == -32021
    assert refusals(cast) == ["capability_missing"]
    assert runs(notes) == []


@pytest.fixture
def uma(cast: Cast) -> Desk:
    """Somebody who calls the tool in this process, where its log can be read."""
    cast.tool(cast.acme, NAME)
    return desk(cast, cast.uma)


async def complete(own: Desk, notes: Path, how: str) -> Result:
    """A round that fails."""
    given, check = {"path": str(notes), "how": how}, load()[NAME].preflight
    catalog = await own.catalog()
    ready = await business.prepare(own.caller, NAME, given, catalog=catalog, origin=Origin(via="mcp"), partial=True)
    assert isinstance(ready, Ready)
    assert check is not None
    ended = await business.complete(ready, check, {})
    assert isinstance(ended, Result)
    return ended


async def test_the_log_has_the_places_of_a_failure_and_not_its_text(
    running: None, uma: Desk, notes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await complete(uma, notes, "loudly")).reason == "internal_error"
    assert "look_ahead" in caplog.text
    assert "RuntimeError" in caplog.text
    assert str(notes) not in caplog.text


async def test_it_holds_its_host_no_longer_than_a_host_waits(
    running: None, uma: Desk, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "LONGEST", 0.05)
    ended = await complete(uma, notes, "by hanging")
    assert ended.reason == "timeout"
    assert "within 0.05 s" in str(ended.content)
