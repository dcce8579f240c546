"""A call that its person has to say yes to, at a host that can ask them (2026-07-28)."""

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy.models import Limit
from tests import tokens
from tests.cast import Cast
from tests.gateway.confirming import FORMS, LINKS, NEITHER, NO, YES, Noting, govern, noting, reason_of
from tests.gateway.following import DECLARED, job_of
from tests.host import Host
from tests.jobs.desk import keep_workers_away
from tests.ledger import calls
from tests.postgres import as_owner, lose_what_is_not_logged, rows
from tools import actions as tool_actions
from tools.models import Tool

Make = Callable[..., Host]


@pytest.fixture
def uma(cast: Cast, host: Make, tmp_path: Path) -> Noting:
    noting(cast, title="Leave a note", description="Leave a note in a file. Use it when asked.")
    return Noting(host(), tmp_path / "notes", FORMS)


def limited(cast: Cast, **fields: Any) -> None:
    """From the next call on."""
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per="member", **fields)
    cast.tool(cast.acme, "echo")  # makes a new version of the catalogue, with the limit


def refused(cast: Cast) -> list[str]:
    return [one.reason for one in calls(cast, cast.acme, "note", "call.refused")]


def test_what_is_destructive_is_asked_about_and_runs_with_the_yes(cast: Cast, uma: Noting, hub: list[str]) -> None:
    asked = uma.call().result
    assert asked["resultType"] == "input_required"
    assert list(asked["inputRequests"]) == ["confirm"]
    question = asked["inputRequests"]["confirm"]
    assert question["method"] == "elicitation/create"
    assert question["params"]["mode"] == "form"
    assert question["params"]["requestedSchema"] == {"type": "object", "properties": {}}
    assert uma.lines == []
    elsewhere = uma.by(Host(hub[1], uma.host.slug, uma.host.key))
    answered = elsewhere.answer(YES, asked["requestState"]).result
    assert not answered["isError"]
    assert uma.lines == ["hello"]


def test_the_question_says_what_is_sent_what_it_changes_and_where_it_goes(uma: Noting) -> None:
    said = uma.call("good morning").result["inputRequests"]["confirm"]["params"]["message"]
    assert said.startswith("Leave a note (note) is about to run.")
    assert '- text: "good morning"' in said
    assert f'- path: "{uma.path}"' in said
    assert "It can change or delete what is there, and that may be impossible to undo." in said
    assert "It goes to no other system than this hub" in said
    assert "What its makers say: Leave a note in a file.\n" in f"{said}\n"


def test_the_rule_says_why_and_its_changes_are_shown_and_sent(cast: Cast, uma: Noting) -> None:
    govern(
        cast,
        {"name": "ask", "effect": "confirm", "what": {"tools": ["note"]}, "message": "Notes are read by customers."},
        {
            "name": "tame",
            "effect": "transform",
            "priority": 200,
            "what": {"tools": ["note"]},
            "transform": [{"set": "text", "to": "tamed"}],
        },
    )
    asked = uma.call("wild").result
    said = asked["inputRequests"]["confirm"]["params"]["message"]
    assert '- text: "tamed"' in said
    assert "wild" not in said
    assert "Why you are asked: Notes are read by customers." in said
    uma.answer(YES, asked["requestState"], "wild")
    assert uma.lines == ["tamed"]


def test_a_no_is_told_to_the_model_and_recorded(cast: Cast, uma: Noting) -> None:
    for action in ("decline", "cancel"):
        answer = uma.answer({"confirm": {"action": action}}, uma.state())
        assert reason_of(answer) == "not_confirmed"
        assert answer.result["isError"]
        assert "said no. Do not try again unless they ask for it." in answer.text
    assert uma.lines == []
    assert refused(cast) == ["not_confirmed"] * 2


def test_every_round_is_recorded_with_why(cast: Cast, uma: Noting) -> None:
    uma.answer(YES, uma.state())
    (asked,) = calls(cast, cast.acme, "note", "call.asked")
    (started,) = calls(cast, cast.acme, "note", "call.started")
    assert asked.detail == {"effect": "confirm", "rule": "", "rules": 0, "by": "form"}
    assert started.detail == {"effect": "allow", "rule": "", "rules": 0, "agreed": "confirmed"}
    assert asked.actor == started.actor == cast.uma.username
    assert asked.digest == started.digest


@pytest.mark.parametrize("responses", [None, {}, {"confirm": "yes"}, {"confirm": {"action": True}}, {"other": {}}])
def test_what_is_no_answer_is_asked_again(uma: Noting, responses: Any) -> None:
    again = uma.answer(responses, uma.state()).result
    assert again["resultType"] == "input_required"
    assert uma.lines == []
    uma.answer(YES, again["requestState"])
    assert uma.lines == ["hello"]


def test_an_answer_without_a_question_is_none(uma: Noting) -> None:
    assert uma.call(inputResponses=YES).result["resultType"] == "input_required"
    assert uma.lines == []


def test_a_task_is_made_after_the_yes_and_not_asked_about_again(cast: Cast, host: Make, tmp_path: Path) -> None:
    keep_workers_away(cast, cast.acme)
    noting(cast, runs="background")
    uma = Noting(host(), tmp_path / "notes", DECLARED)
    asked = uma.call().result
    assert asked["resultType"] == "input_required"
    assert not calls(cast, cast.acme, "note", "job.accepted")
    task = uma.answer(YES, asked["requestState"]).result
    assert task["resultType"] == "task"
    with as_owner() as conn:
        assert rows(conn, "SELECT agreed FROM jobs_job WHERE id = %s", job_of(task).id) == [("confirmed",)]


def test_a_preflight_asks_first_and_its_answers_are_kept_for_the_yes(cast: Cast, host: Make, tmp_path: Path) -> None:
    cast.tool(cast.acme, "greet_politely", read_only=False, destructive=True)
    (tmp_path / "notes").touch()
    own = host()
    params = {"name": "greet_politely", "arguments": {"path": str(tmp_path / "notes")}, "_meta": FORMS}

    def call(**more: Any) -> Any:
        return own.request("tools/call", {**params, **more}).result

    first = call()
    assert list(first["inputRequests"]) == ["name"]
    named = {"name": {"action": "accept", "content": {"name": "Ada"}}}
    second = call(inputResponses=named, requestState=first["requestState"])
    assert list(second["inputRequests"]) == ["confirm"]
    assert '- name: "Ada"' in second["inputRequests"]["confirm"]["params"]["message"]
    done = call(inputResponses=YES, requestState=second["requestState"])
    assert done["content"][0]["text"] == "Good day, Ada."


# What somebody may try.


def test_a_yes_to_one_call_runs_no_other(uma: Noting) -> None:
    again = uma.answer(YES, uma.state("harmless"), "harmful").result
    assert again["resultType"] == "input_required"
    assert '- text: "harmful"' in again["inputRequests"]["confirm"]["params"]["message"]
    assert uma.lines == []


def test_a_yes_is_used_once(cast: Cast, uma: Noting) -> None:
    state = uma.state()
    uma.answer(YES, state)
    assert uma.answer(YES, state).error["code"] == -32602
    assert uma.lines == ["hello"]
    assert refused(cast) == ["invalid_answer"]


def test_a_no_cannot_be_taken_back_with_the_same_question(uma: Noting) -> None:
    state = uma.state()
    uma.answer(NO, state)
    assert uma.answer(YES, state).error["data"] == {"reason": "invalid_answer", "retryable": False}
    assert uma.lines == []


def test_of_many_that_come_with_one_yes_exactly_one_runs(uma: Noting, hub: list[str]) -> None:
    state = uma.state()
    came: list[bool] = []

    def come(worker: int) -> None:
        answer = uma.by(Host(hub[worker % 2], uma.host.slug, uma.host.key)).answer(YES, state)
        came.append("result" in answer.final)

    threads = [threading.Thread(target=come, args=[number]) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert sorted(came) == [False] * 7 + [True]
    assert uma.lines == ["hello"]


def test_a_tool_that_was_edited_meanwhile_is_asked_about_anew(cast: Cast, uma: Noting) -> None:
    """Also where the edit is one that no model sees."""
    state = uma.state()
    with cast.see(cast.acme):
        tool = Tool.objects.get(tenant=cast.acme, name="note")
        tool.timeout = 7
        tool.save()
        tool_actions.publish(tool, actor=cast.staff)
    assert uma.answer(YES, state).result["resultType"] == "input_required"
    assert uma.lines == []


def test_rules_that_change_the_arguments_meanwhile_are_asked_about_anew(cast: Cast, uma: Noting) -> None:
    state = uma.state()
    tamed = {"effect": "transform", "what": {"tools": ["note"]}, "transform": [{"set": "text", "to": "tamed"}]}
    govern(cast, {"name": "tame", **tamed})
    again = uma.answer(YES, state).result
    assert '- text: "tamed"' in again["inputRequests"]["confirm"]["params"]["message"]
    assert uma.lines == []


def test_what_is_denied_meanwhile_does_not_run(cast: Cast, uma: Noting) -> None:
    state = uma.state()
    govern(cast, {"name": "stop", "effect": "deny", "what": {"tools": ["note"]}})
    assert reason_of(uma.answer(YES, state)) == "denied"
    assert uma.lines == []


def lifted(cast: Cast) -> None:
    """Nothing is asked about any more."""
    govern(cast, {"name": "open", "effect": "allow"})


def test_a_no_stays_one_and_a_state_is_used_once_also_where_nothing_is_asked_any_more(cast: Cast, uma: Noting) -> None:
    said_no, said_yes = uma.state(), uma.state()
    lifted(cast)
    assert reason_of(uma.answer(NO, said_no)) == "not_confirmed"
    assert uma.answer(YES, said_no).error["data"]["reason"] == "invalid_answer"
    assert uma.lines == []
    assert not uma.answer(YES, said_yes).result["isError"]
    assert uma.answer(YES, said_yes).error["data"]["reason"] == "invalid_answer"
    assert uma.lines == ["hello"]
    assert refused(cast) == ["not_confirmed", *["invalid_answer"] * 2]


def test_so_it_does_where_a_preflight_asked_before(cast: Cast, host: Make, tmp_path: Path) -> None:
    cast.tool(cast.acme, "greet_politely", read_only=False, destructive=True)
    (tmp_path / "notes").touch()
    own = host()
    params = {"name": "greet_politely", "arguments": {"path": str(tmp_path / "notes")}, "_meta": FORMS}

    def call(**more: Any) -> Any:
        return own.request("tools/call", {**params, **more})

    named = {"name": {"action": "accept", "content": {"name": "Ada"}}}
    states = [
        call(inputResponses=named, requestState=call().result["requestState"]).result["requestState"] for _ in range(2)
    ]
    lifted(cast)
    assert reason_of(call(inputResponses=NO, requestState=states[0])) == "not_confirmed"
    assert call(inputResponses=YES, requestState=states[0]).error["data"]["reason"] == "invalid_answer"
    assert call(inputResponses=YES, requestState=states[1]).text == "Good day, Ada."
    assert call(inputResponses=YES, requestState=states[1]).error["data"]["reason"] == "invalid_answer"


def test_a_no_needs_no_state_and_is_not_passed_on_to_a_second_person(cast: Cast, uma: Noting) -> None:
    state = uma.state()
    lifted(cast)
    assert reason_of(Noting(uma.host, uma.path, LINKS).call(inputResponses=NO)) == "not_confirmed"
    govern(cast, {"name": "second", "effect": "review", "what": {"tools": ["note"]}})
    assert reason_of(uma.answer(NO, state)) == "not_confirmed"
    assert not calls(cast, cast.acme, "note", "job.held")
    assert uma.lines == []


def test_a_no_keeps_nothing_that_others_wait_for(cast: Cast, uma: Noting) -> None:
    states = [uma.state() for _ in range(3)]
    lifted(cast)
    limited(cast, counts="concurrent", most=1)
    for state in states:
        assert reason_of(uma.answer(NO, state)) == "not_confirmed"
    assert uma.answer(YES, states[0]).error["data"]["reason"] == "invalid_answer"
    uma.call()
    assert uma.lines == ["hello"]


def test_a_yes_is_no_good_to_anybody_else(cast: Cast, uma: Noting, host: Make) -> None:
    for other in (host(cast.olga), host()):  # another member, and another key of the same
        assert uma.by(other).answer(YES, uma.state()).error["code"] == -32602
    cast.tool(cast.beta, "note", read_only=False, destructive=True)
    foreign = Host(uma.host.base, cast.beta.slug, cast.key(cast.bob, cast.beta)[1])
    assert uma.by(foreign).answer(YES, uma.state()).error["code"] == -32602
    assert uma.lines == []
    assert refused(cast) == ["invalid_answer"] * 2


@pytest.mark.parametrize("spoilt", ["", "made up", 5, {"confirms": "x"}])
def test_a_state_that_is_not_ours_is_refused(cast: Cast, uma: Noting, spoilt: Any) -> None:
    state = uma.state()
    for wrong in (spoilt, f"{state[:-9]}AAAA{state[-5:]}"):
        assert uma.answer(YES, wrong).error["code"] == -32602
    assert uma.lines == []
    assert refused(cast) == ["invalid_answer"] * 2


def test_a_limit_is_not_got_round_and_uses_up_no_yes(cast: Cast, uma: Noting) -> None:
    state = uma.state()
    limited(cast, most=1, seconds=3600)
    uma.host.call("echo", {"text": "hello"})
    assert reason_of(uma.answer(YES, state)) == "rate_limited"
    with cast.see(cast.acme):
        Limit.objects.filter(tenant=cast.acme).delete()
    cast.tool(cast.acme, "shout")
    uma.answer(YES, state)
    assert uma.lines == ["hello"]


def test_a_limit_of_what_runs_uses_up_no_yes_either(cast: Cast, uma: Noting) -> None:
    limited(cast, counts="units", most=1, seconds=86_400)
    uma.answer(YES, uma.state("first"), "first")
    state = uma.state()
    for _ in range(2):
        assert reason_of(uma.answer(YES, state)) == "spend_limit"
    with cast.see(cast.acme):
        Limit.objects.filter(tenant=cast.acme).update(most=2)
    cast.tool(cast.acme, "shout")
    uma.answer(YES, state)
    assert uma.lines == ["first", "hello"]


def test_a_full_queue_uses_up_no_yes(cast: Cast, host: Make, tmp_path: Path) -> None:
    keep_workers_away(cast, cast.acme, queued=0)
    noting(cast, runs="background")
    uma = Noting(host(), tmp_path / "notes", DECLARED)
    state = uma.state()
    assert reason_of(uma.answer(YES, state)) == "queue_full"
    keep_workers_away(cast, cast.acme)
    assert uma.answer(YES, state).result["resultType"] == "task"


def test_the_very_same_call_is_asked_about_so_many_times_and_each_yes_to_it_runs(cast: Cast, uma: Noting) -> None:
    limited(cast, counts="repeats", most=5, seconds=3600)
    came = [uma.call() for _ in range(12)]
    states = [one.result["requestState"] for one in came[:5]]
    assert {reason_of(one) for one in came[5:]} == {"repeated_call"}
    assert "You made this very call 5 times in 3600 s" in came[5].text
    assert uma.call("something else").result["resultType"] == "input_required"
    assert len(calls(cast, cast.acme, "note", "call.asked")) == 6
    for state in states:
        assert not uma.answer(YES, state).result["isError"]
    assert uma.lines == ["hello"] * 5
    assert reason_of(uma.call()) == "repeated_call"


def test_one_that_is_tried_again_after_each_no_is_a_repeat_too(cast: Cast, uma: Noting) -> None:
    limited(cast, counts="repeats", most=2, seconds=3600)
    for _ in range(2):
        assert reason_of(uma.answer(NO, uma.state())) == "not_confirmed"
    assert reason_of(uma.call()) == "repeated_call"


@pytest.mark.parametrize("sent", [{}, {"name": "Ada"}], ids=["completed", "the same when completed"])
def test_a_call_that_a_preflight_completes_is_counted_once_over_all_its_rounds(
    cast: Cast, host: Make, tmp_path: Path, sent: dict[str, Any]
) -> None:
    cast.tool(cast.acme, "greet_politely", read_only=False, destructive=True)
    (tmp_path / "notes").touch()
    limited(cast, counts="repeats", most=1, seconds=3600)
    own = host()

    def call(**more: Any) -> Any:
        given = {"path": str(tmp_path / "notes"), **sent}
        return own.request("tools/call", {"name": "greet_politely", "arguments": given, "_meta": FORMS, **more})

    named = {"name": {"action": "accept", "content": {"name": "Ada"}}}
    second = call(inputResponses=named, requestState=call().result["requestState"]).result
    assert call(inputResponses=YES, requestState=second["requestState"]).text == "Good day, Ada."
    assert reason_of(call()) == "repeated_call"


def test_an_answer_that_was_used_before_costs_nothing(cast: Cast, uma: Noting) -> None:
    limited(cast, counts="units", most=3, seconds=86_400)
    state = uma.state("first")
    uma.answer(YES, state, "first")
    for _ in range(5):
        assert uma.answer(YES, state, "first").error["data"]["reason"] == "invalid_answer"
    uma.answer(YES, uma.state("second"), "second")
    assert uma.lines == ["first", "second"]


def test_a_yes_that_was_used_stays_so_when_postgres_crashes(uma: Noting) -> None:
    state = uma.state()
    uma.answer(YES, state)
    lose_what_is_not_logged()
    assert uma.answer(YES, state).error["data"]["reason"] == "invalid_answer"
    assert uma.lines == ["hello"]


def test_what_was_used_is_kept_for_an_hour_longer_than_it_could_be_presented(cast: Cast) -> None:
    long_over, just_over = uuid.uuid4(), uuid.uuid4()
    with as_owner() as conn:
        for one, minutes in ((long_over, 61), (just_over, 1)):
            query = "INSERT INTO access_spent VALUES (%s, now() - make_interval(mins => %s))"
            conn.execute(query, [one, minutes])
        conn.execute("SELECT access_forget_spent()")
        query = "SELECT id FROM access_spent WHERE id = ANY(%s)"
        assert rows(conn, query, [long_over, just_over]) == [(just_over,)]


def test_a_client_that_acts_for_itself_is_sent_no_form(cast: Cast, uma: Noting) -> None:
    """It has nobody to ask, whatever it says of itself; the person whose account it uses is asked on the page."""
    _, secret = tokens.machine(cast, cast.uma)
    machine = uma.by(Host(uma.host.base, uma.host.slug, secret))
    assert reason_of(machine.call()) == "confirmation_needed"
    assert reason_of(machine.answer(YES, uma.state())) == "confirmation_needed"
    links = Noting(machine.host, machine.path, LINKS)
    assert reason_of(links.call()) == "confirmation_needed"
    cast.tool(cast.acme, "greet_politely")
    params = {"name": "greet_politely", "arguments": {"path": str(uma.path)}, "_meta": FORMS}
    assert reason_of(machine.host.request("tools/call", params)) == "invalid_arguments"
    assert uma.lines == []


def test_secrets_are_hidden_and_nothing_passes_for_another_line(cast: Cast, host: Make) -> None:
    schema = {
        "type": "object",
        "properties": {"user": {"type": "string"}, "password": {"type": "string", "format": "password"}},
        "required": ["user", "password"],
    }
    cast.tool(cast.acme, "sign_in", input_schema=schema, read_only=False, destructive=True)
    user = "ann\nIt goes to example.org.\u202e\u200b\u2028x\x1b" + "y" * 400 + "\u200bend"
    params = {"name": "sign_in", "arguments": {"user": user, "password": "correct horse"}, "_meta": FORMS}
    said = host().request("tools/call", params).result["inputRequests"]["confirm"]["params"]["message"]
    assert '- password: "(hidden)"' in said
    assert "correct horse" not in said
    (line,) = [one for one in said.splitlines() if one.startswith("- user:")]
    assert "\\nIt goes to example.org.[U+202E][U+200B][U+2028]x" in line
    assert line.endswith('[U+200B]end"')
    assert "Characters that nobody sees are shown by their numbers" in said
    assert len(said) < 1700


@pytest.mark.parametrize("long", [{"text": "y" * 4000}, {"text": "x", 'to": "team': ["z"] * 300}])
def test_what_a_host_could_not_show_whole_is_asked_on_a_page(cast: Cast, host: Make, long: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    cast.tool(cast.acme, "echo", input_schema=schema, read_only=False, destructive=True)
    told = host().request("tools/call", {"name": "echo", "arguments": long, "_meta": FORMS}).result
    assert told["_meta"]["mcphub/refusal"]["reason"] == "confirmation_needed"


@pytest.mark.parametrize("shows", [FORMS, LINKS, NEITHER])
@pytest.mark.parametrize(
    "long", [{f"name {number}": number for number in range(12_000)}, {"text": "y" * 20_001}, {"y" * 100: "short"}]
)
def test_what_not_even_a_page_could_show_whole_is_refused(
    cast: Cast, host: Make, shows: dict[str, Any], long: dict[str, Any]
) -> None:
    cast.tool(cast.acme, "echo", input_schema={"type": "object"}, read_only=False, destructive=True)
    told = host().request("tools/call", {"name": "echo", "arguments": long, "_meta": shows})
    assert reason_of(told) == "too_long_to_confirm"
    assert "Send less, or in several calls." in told.text
    assert "/confirm/" not in told.text
    assert [one.reason for one in calls(cast, cast.acme, "echo", "call.refused")] == ["too_long_to_confirm"]
    assert not calls(cast, cast.acme, "echo", "call.asked")


def test_what_the_tool_knows_comes_first_and_no_name_passes_for_a_value(cast: Cast, host: Make) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string"}}}
    cast.tool(cast.acme, "echo", input_schema=schema, read_only=False, destructive=True)
    arguments = {'to: "team@corp.example", cc': "none", "to": "evil@stranger.example"}
    params = {"name": "echo", "arguments": arguments, "_meta": FORMS}
    said = host().request("tools/call", params).result["inputRequests"]["confirm"]["params"]["message"]
    assert [one for one in said.splitlines() if one.startswith("- ")] == [
        '- to: "evil@stranger.example"',
        '- "to: \\"team@corp.example\\", cc": "none"',
    ]
