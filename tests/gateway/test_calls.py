"""A host lists and calls tools, on every revision."""

import re

import pytest

from policy.models import Limit
from tests import tokens
from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.host import MODERN, REVISIONS
from tests.ledger import calls


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_tool_is_listed_and_called_on_every_revision(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme, "echo")
    asking = host(revision=revision)
    assert asking.tools() == ["echo"]
    answer = asking.call("echo", {"text": "hello"})
    assert answer.status == 200
    assert answer.result["isError"] is False
    assert answer.text == '{"text":"hello"}'


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_structured_content_comes_with_the_text(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme, "echo")
    assert host(revision=revision).call("echo", {"text": "x"}).result["structuredContent"] == {"text": "x"}


def test_a_result_that_is_no_object_is_structured_only_where_the_revision_allows_it(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "long_text", output_schema=None)
    cast.tool(
        cast.acme,
        "numbers",
        config={"function": "broken_promise"},
        input_schema={"type": "object"},
        output_schema={"type": "object"},
    )
    listed = host(revision="2025-11-25").request("tools/list").result["tools"]
    assert [("outputSchema" in tool) for tool in listed] == [False, True]


@pytest.mark.parametrize("revision", REVISIONS)
def test_bad_arguments_come_back_as_an_error_the_model_can_mend(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme, "echo")
    answer = host(revision=revision).call("echo", {"txt": 1})
    assert answer.status == 200
    assert answer.result["isError"] is True
    assert "text" in answer.text
    assert "txt" in answer.text


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_unknown_tool_is_a_protocol_error(cast: Cast, host: Make, revision: str) -> None:
    answer = host(revision=revision).call("no_such_tool")
    assert answer.error["code"] == -32602
    assert "no_such_tool" in answer.error["message"]


def test_an_unknown_tool_in_a_loop_is_told_so(cast: Cast, host: Make) -> None:
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, counts="repeats", per="member", most=3, seconds=3600)
    cast.tool(cast.acme, "echo")
    own = host()
    answers = [own.call("no_such_tool", {"id": 7}) for _ in range(5)]
    assert [one.error["code"] for one in answers[:3]] == [-32602] * 3
    assert ["You made this very call 3 times" in one.text for one in answers[3:]] == [True] * 2
    assert own.call("no_such_tool", {"id": 8}).error["code"] == -32602


def test_a_polite_failure_is_told_to_the_model(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "fail")
    answer = host().call("fail", {"how": "politely"})
    assert answer.result["isError"] is True
    assert answer.text == "The printer is out of paper. Add paper and call again."


def test_an_unexpected_failure_tells_nothing_of_the_inside(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "fail")
    answer = host().call("fail", {"how": "badly"})
    assert answer.result["isError"] is True
    assert "hunter2" not in answer.response.text
    assert "RuntimeError" not in answer.response.text


def test_a_slow_tool_is_stopped_at_its_timeout(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "count_slowly", timeout=1)
    answer = host().call("count_slowly", {"steps": 2, "seconds": 30})
    assert answer.result["isError"] is True
    assert "did not answer within 1 s" in answer.text


def test_a_result_over_the_bound_is_cut_with_a_notice(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "long_text", max_result=1000)
    answer = host().call("long_text", {"length": 5000})
    first, notice = answer.result["content"]
    assert len(first["text"]) == 1000
    assert "5000 bytes" in notice["text"]
    assert answer.result["isError"] is False


def test_a_result_that_breaks_its_schema_is_a_tool_error(cast: Cast, host: Make) -> None:
    schema = {"type": "object", "properties": {"promised": {"type": "string"}}, "required": ["promised"]}
    cast.tool(cast.acme, "broken_promise", output_schema=schema)
    answer = host().call("broken_promise")
    assert answer.status == 200
    assert answer.result["isError"] is True
    assert "promised" in answer.text
    assert "structuredContent" not in answer.result


@pytest.mark.parametrize("revision", REVISIONS)
def test_progress_arrives_before_the_result(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme, "count_slowly")
    params = {"name": "count_slowly", "arguments": {"steps": 3}, "_meta": {"progressToken": "mine"}}
    answer = host(revision=revision).request("tools/call", params)
    assert "text/event-stream" in answer.headers["content-type"]
    reported = [message["params"] for message in answer.messages[:-1]]
    assert [(one["progressToken"], one["progress"], one["total"]) for one in reported] == [
        ("mine", 1, 3),
        ("mine", 2, 3),
        ("mine", 3, 3),
    ]
    assert answer.text == "counted to 3"


def test_a_sync_function_reports_progress_from_its_thread(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "block")
    params = {"name": "block", "arguments": {"seconds": 0.1}, "_meta": {"progressToken": 7}}
    answer = host().request("tools/call", params)
    assert answer.messages[0]["params"]["message"] == "waiting"
    assert answer.text == "done"


def test_without_a_progress_token_the_answer_is_plain_json(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "count_slowly")
    assert host().call("count_slowly").headers["content-type"] == "application/json"


def test_a_tool_whose_scope_the_role_cannot_hold_does_not_exist(cast: Cast, host: Make) -> None:
    cast.scopes(cast.acme, {"ops.restart": "Restart things"})
    with cast.see(cast.acme):
        cast.acme.scopes.update(roles=["owner"])
    cast.tool(cast.acme, "echo", scopes=["ops.restart"])
    asking = host()
    assert asking.tools() == []
    assert asking.call("echo", {"text": "x"}).error["code"] == -32602
    assert host(cast.olga).tools() == ["echo"]


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_call_beyond_the_keys_scopes_is_403_and_names_all_it_needs(cast: Cast, host: Make, revision: str) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read", "tickets.write": "Write"}, tickets_write=["tickets.read"])
    cast.tool(cast.acme, "echo", scopes=["tickets.write", "tickets.read"])
    asking = host(scopes=["tickets.read"], revision=revision)
    assert asking.tools() == ["echo"]
    answer = asking.call("echo", {"text": "x"})
    assert answer.status == 403
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="tickets.read tickets.write"' in challenge
    assert f'/.well-known/oauth-protected-resource/t/{cast.acme.slug}/mcp"' in challenge
    assert host(scopes=["tickets.write"], revision=revision).call("echo", {"text": "x"}).text == '{"text":"x"}'


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_token_steps_up_scope_by_scope_and_is_told_all_at_once(cast: Cast, host: Make, revision: str) -> None:
    """The host asks anew for exactly what each 403 lists, and keeps what it had."""
    scopes = {"tickets.read": "Read", "tickets.write": "Write", "tickets.delete": "Delete", "notes": "Notes"}
    cast.scopes(cast.acme, scopes, tickets_write=["tickets.read"])
    cast.tool(cast.acme, "echo", scopes=["notes"])
    cast.tool(cast.acme, "shout", scopes=["tickets.write", "tickets.delete"])
    consent, secret = tokens.granted(cast, cast.uma, scopes="notes")
    asking = host(revision=revision)
    asking.key = secret
    assert asking.tools() == ["echo", "shout"]
    assert asking.call("echo", {"text": "x"}).status == 200
    answer = asking.call("shout", {"text": "x"})
    assert answer.status == 403
    listed = re.search(r'error="insufficient_scope".* scope="([^"]+)"', answer.headers["www-authenticate"])
    assert listed
    assert listed[1] == "notes tickets.delete tickets.write"
    with cast.see(cast.acme):
        asking.key = tokens.token(consent, listed[1])
    assert [asking.call(name, {"text": "x"}).status for name in ("echo", "shout")] == [200, 200]


def test_over_the_limit_the_call_is_refused_with_when_to_come_back(cast: Cast, host: Make) -> None:
    from policy.models import Limit, Per

    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per=Per.CREDENTIAL, most=3, seconds=3600)
    cast.tool(cast.acme, "echo")
    asking = host()
    assert [asking.call("echo", {"text": "x"}).result["isError"] for _ in range(4)] == [False, False, False, True]
    refused = asking.call("echo", {"text": "x"}).result
    assert refused["_meta"]["mcphub/refusal"]["reason"] == "rate_limited"
    assert 0 < refused["_meta"]["mcphub/refusal"]["retryAfter"] <= 1200
    assert host().call("echo", {"text": "x"}).result["isError"] is False


def test_over_the_limit_an_entry_keeps_the_digest_of_the_arguments_and_not_the_arguments(
    cast: Cast, host: Make
) -> None:
    from policy.models import Limit, Per

    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per=Per.TENANT, most=1, seconds=3600)
    cast.tool(cast.acme, "echo")
    asking = host()
    for arguments in ({"wrong": "x" * 2000}, {"text": "x" * 2000}):
        assert asking.call("echo", arguments).result["isError"] is True
    wrong, limited = calls(cast, cast.acme, "echo", "call.refused")
    assert (wrong.reason, wrong.preview is None) == ("invalid_arguments", False)
    assert (limited.reason, limited.preview, len(limited.digest)) == ("rate_limited", None, len(wrong.digest))


def test_the_server_says_who_the_tenant_is(cast: Cast, host: Make) -> None:
    with cast.see(cast.acme):
        cast.acme.instructions = "Only for tests."
        cast.acme.save()
    discovered = host().request("server/discover").result
    assert discovered["instructions"] == "Only for tests."
    assert discovered["_meta"]["io.modelcontextprotocol/serverInfo"]["title"] == "Acme"
    assert discovered["cacheScope"] == "private"
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    initialized = host(revision="2025-06-18").request("initialize", params).result
    assert initialized["protocolVersion"] == "2025-06-18"
    assert initialized["serverInfo"]["title"] == "Acme"
    assert initialized["instructions"] == "Only for tests."


def test_the_list_says_how_long_it_holds_and_for_whom(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    listed = host().request("tools/list").result
    assert listed["resultType"] == "complete"
    assert listed["ttlMs"] >= 0
    assert listed["cacheScope"] == "private"


def test_the_caller_is_the_keys_member(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "who_am_i", output_schema=None)
    said = host(cast.adam).call("who_am_i").result["structuredContent"]
    assert said == {"user": cast.adam.username, "tenant": cast.acme.slug}


@pytest.mark.parametrize("revision", REVISIONS[:3])
def test_ping_answers_on_the_revisions_that_have_it(cast: Cast, host: Make, revision: str) -> None:
    assert host(revision=revision).request("ping").result == {}


def test_ping_is_gone_on_the_newest_revision(cast: Cast, host: Make) -> None:
    answer = host(revision=MODERN).request("ping")
    assert (answer.status, answer.error["code"]) == (404, -32601)
