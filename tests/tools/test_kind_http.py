"""Kind `http` from its front door, `run`: where arguments go, what comes back, and what the upstream learns."""

import base64
import json

import pytest

from lib.version import VERSION
from tests.tools.upstream import Upstream, answering, run, said
from tools.errors import Misconfigured, ToolError, UpstreamError
from tools.values import ABSENT, Audio, Image, Origin

# Where arguments go


async def test_arguments_named_in_the_path_go_there_and_the_rest_to_the_query(upstream: Upstream) -> None:
    await run(upstream, {"path": "/tickets/{ticket_id}"}, {"ticket_id": 7, "fields": "subject"})
    assert (upstream.last.method, upstream.last.raw) == ("GET", "/api/tickets/7?fields=subject")
    assert upstream.last.body == b""


async def test_the_rest_goes_to_the_json_body_of_a_write(upstream: Upstream) -> None:
    await run(
        upstream,
        {"method": "POST", "path": "/tickets/{ticket_id}/comments", "body": {"internal": True}},
        {"ticket_id": 7, "body": "Hëllo", "author": None},
    )
    assert upstream.last.path == "/api/tickets/7/comments"
    assert json.loads(upstream.last.body) == {"internal": True, "body": "Hëllo", "author": None}
    assert upstream.last.headers["Content-Type"] == "application/json"


async def test_listed_parameters_go_where_they_are_told_under_their_other_name(upstream: Upstream) -> None:
    config = {
        "method": "PUT",
        "path": "/tickets/{id}",
        "parameters": {
            "ticket": {"in": "path", "name": "id"},
            "language": {"in": "header", "name": "Accept-Language"},
            "dry_run": {"in": "query"},
            "text": {"in": "body", "name": "content"},
        },
        "headers": {"X-Team": "support"},
        "query": {"v": 2},
    }
    await run(upstream, config, {"ticket": 7, "language": " de ", "dry_run": True, "text": "x"})
    assert upstream.last.raw == "/api/tickets/7?v=2&dry_run=true"
    assert (upstream.last.headers["Accept-Language"], upstream.last.headers["X-Team"]) == ("de", "support")
    assert json.loads(upstream.last.body) == {"content": "x"}


async def test_values_in_a_query_are_written_as_most_apis_read_them(upstream: Upstream) -> None:
    arguments = {
        "tag": ["a", "b c", None],
        "open": False,
        "none": None,
        "near": {"lat": 1.5},
        "n": 5.0,
        "q": "a&b=c+\r\n",
    }
    await run(upstream, {"path": "/tickets"}, arguments)
    assert upstream.last.query.getall("tag") == ["a", "b c"]
    assert {name: upstream.last.query.get(name) for name in ("open", "none", "near", "n", "q")} == {
        "open": "false",
        "none": None,
        "near": '{"lat":1.5}',
        "n": "5",
        "q": "a&b=c+\r\n",
    }


async def test_a_form_body_follows_the_rules_of_a_query(upstream: Upstream) -> None:
    config = {"method": "POST", "path": "/t", "body_format": "form", "body": {"source": "hub"}}
    await run(upstream, config, {"tag": ["a", "b"], "x": None, "s": "a b&c"})
    assert upstream.last.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert upstream.last.body == b"source=hub&tag=a&tag=b&s=a%20b%26c"


async def test_a_write_without_anything_to_say_has_no_body(upstream: Upstream) -> None:
    await run(upstream, {"method": "POST", "path": "/tickets/{id}/close"}, {"id": 3})
    assert upstream.last.body == b""
    assert "Content-Type" not in upstream.last.headers


@pytest.mark.parametrize("place", ["query", "body"])
async def test_an_argument_cannot_replace_a_fixed_value(upstream: Upstream, place: str) -> None:
    method = "GET" if place == "query" else "POST"
    with pytest.raises(Misconfigured, match="would replace 'internal'"):
        await run(upstream, {"method": method, "path": "/t", place: {"internal": True}}, {"internal": False})
    assert upstream.seen == []


@pytest.mark.parametrize("value", ["de\r\nX-Evil: 1", "a\nb", "nul\x00", "ключ"])
async def test_a_header_cannot_be_injected_through_an_argument(upstream: Upstream, value: str) -> None:
    config = {"path": "/t", "parameters": {"language": {"in": "header", "name": "Accept-Language"}}}
    with pytest.raises(ToolError, match="language has to be printable ASCII"):
        await run(upstream, config, {"language": value})
    assert upstream.seen == []


async def test_what_cannot_be_encoded_is_explained(upstream: Upstream) -> None:
    for config in ({"path": "/t"}, {"path": "/t/{x}"}, {"method": "POST", "path": "/t"}):
        with pytest.raises(ToolError, match="surrogate"):
            await run(upstream, config, {"x": "\ud800"})


# What comes back


async def test_json_becomes_data_and_text_becomes_text(upstream: Upstream) -> None:
    upstream.answers = [answering({"id": 7, "nested": [1, None]})]
    assert (await run(upstream, {"path": "/t"})).structured == {"id": 7, "nested": [1, None]}
    upstream.answers = [answering("grün".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"})]
    result = await run(upstream, {"path": "/t"})
    assert (said(result), result.structured) == ("grün", ABSENT)


async def test_a_jmespath_expression_picks_what_the_model_gets(upstream: Upstream) -> None:
    upstream.answers = [answering({"tickets": [{"id": 1, "noise": "…"}, {"id": 2}]})]
    result = await run(upstream, {"path": "/t", "response": "{ids: tickets[].id, n: length(tickets)}"})
    assert result.structured == {"ids": [1, 2], "n": 2}


async def test_a_jmespath_expression_that_does_not_fit_is_the_admins_and_quotes_no_data(upstream: Upstream) -> None:
    upstream.answers = [answering({"tickets": 42424242})]
    with pytest.raises(Misconfigured) as problem:
        await run(upstream, {"path": "/t", "response": "length(tickets)"})
    assert "42424242" not in str(problem.value)


async def test_images_and_audio_become_blocks_and_other_files_are_explained(upstream: Upstream) -> None:
    for kind, block in (("image/png", Image), ("audio/mpeg", Audio)):
        upstream.answers = [answering(b"\x89\x00\xff", headers={"Content-Type": kind})]
        result = await run(upstream, {"path": "/t"})
        assert result.content == (block(data=base64.b64encode(b"\x89\x00\xff").decode(), mime_type=kind),)
    upstream.answers = [answering(b"%PDF\x00", headers={"Content-Type": "application/pdf"})]
    with pytest.raises(ToolError, match=r"application/pdf \(5 bytes\)"):
        await run(upstream, {"path": "/t"})


@pytest.mark.parametrize("response", ["auto", "json", "@.id"])
async def test_an_answer_that_only_claims_to_be_json_is_an_error(upstream: Upstream, response: str) -> None:
    upstream.answers = [answering(b"<oops>", headers={"Content-Type": "application/json"})]
    with pytest.raises(UpstreamError, match="not JSON"):
        await run(upstream, {"path": "/t", "response": response})


async def test_json_nested_beyond_reason_is_an_error(upstream: Upstream) -> None:
    upstream.answers = [answering(b"[" * 600 + b"]" * 600, headers={"Content-Type": "application/json"})]
    with pytest.raises(UpstreamError, match="nested too deeply"):
        await run(upstream, {"path": "/t"})


async def test_an_empty_answer_says_so(upstream: Upstream) -> None:
    upstream.answers = [answering("", status=204)]
    assert (
        said(await run(upstream, {"method": "DELETE", "path": "/t"})) == "The answer is empty (status 204 No Content)."
    )
    assert (await run(upstream, {"path": "/t"}, output_schema={"type": "null"})).structured is None


async def test_a_large_answer_is_read_and_too_large_a_one_teaches(upstream: Upstream) -> None:
    upstream.answers = [answering(["x" * 1000] * 900)]
    assert (await run(upstream, {"path": "/t", "response": "length(@)"})).structured == 900
    upstream.answers = [answering(["x" * 1000] * 1100)]
    with pytest.raises(UpstreamError, match="Ask for less") as problem:
        await run(upstream, {"path": "/t"})
    assert problem.value.reason == "result_too_large"


# Statuses


async def test_an_error_carries_status_message_and_advice(upstream: Upstream) -> None:
    upstream.answers = [answering({"error": "bad", "message": "limit is 900; it takes 1 to 100"}, status=422)]
    with pytest.raises(UpstreamError) as problem:
        await run(upstream, {"path": "/t"})
    assert str(problem.value) == (
        "The upstream answered 422 Unprocessable Entity. It said: limit is 900; it takes 1 to 100\n"
        "Mend the arguments by what it said and call again."
    )


async def test_what_an_upstream_says_about_its_error_is_bounded_and_redacted(upstream: Upstream) -> None:
    for body in ({"detail": "x" * 90_000}, {"errors": [{"msg": "y" * 150}] * 5000}, {"deep": {"e": "z" * 9000}}):
        upstream.answers = [answering({**body, "password": "hunter2"}, status=400)]
        with pytest.raises(UpstreamError) as problem:
            await run(upstream, {"path": "/t"})
        assert len(str(problem.value)) < 1300
        assert "hunter2" not in str(problem.value)
    upstream.answers = [answering("<html>stack trace</html>", status=400, headers={"Content-Type": "text/html"})]
    with pytest.raises(UpstreamError) as problem:
        await run(upstream, {"path": "/t"})
    assert "stack trace" not in str(problem.value)


async def test_statuses_mean_what_the_admin_says_exact_before_class(upstream: Upstream) -> None:
    config = {
        "path": "/t",
        "statuses": {"404": {"error": "No such ticket."}, "4xx": "empty", "409": "ok", "200": "empty"},
    }
    upstream.answers = [answering({"a": 1}, status=404)]
    with pytest.raises(UpstreamError, match=r"^No such ticket\.$"):
        await run(upstream, config)
    upstream.answers = [answering({"a": 1}, status=410)]
    assert "empty" in said(await run(upstream, config))
    upstream.answers = [answering({"a": 1}, status=409)]
    assert (await run(upstream, config)).structured == {"a": 1}
    upstream.answers = [answering({"a": 1})]
    assert (await run(upstream, config)).structured is ABSENT


async def test_a_redirected_write_is_not_sent_on(upstream: Upstream) -> None:
    upstream.answers = [answering("", status=307, headers={"Location": "/elsewhere"})]
    with pytest.raises(UpstreamError, match="307"):
        await run(upstream, {"method": "POST", "path": "/t"}, {"a": 1})
    assert len(upstream.seen) == 1


# What the upstream learns about the call

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_the_trace_goes_on_and_the_hub_says_who_it_is(upstream: Upstream) -> None:
    await run(upstream, {"path": "/t"}, origin=Origin(via="mcp", traceparent=TRACE, tracestate="a=1,b=2"))
    sent = upstream.last.headers
    assert (sent["traceparent"], sent["tracestate"]) == (TRACE, "a=1,b=2")
    assert sent["User-Agent"] == f"mcphub/{VERSION}"
    assert sent["Accept"].startswith("application/json")


async def test_without_a_trace_none_is_sent(upstream: Upstream) -> None:
    await run(upstream, {"path": "/t"}, origin=Origin(via="mcp"))
    assert not {"traceparent", "tracestate"} & set(upstream.last.headers)


async def test_nothing_about_the_caller_goes_upstream(upstream: Upstream) -> None:
    await run(upstream, {"path": "/t"}, origin=Origin(via="mcp", address="198.51.100.7", client="host/1"))
    assert set(upstream.last.headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}
