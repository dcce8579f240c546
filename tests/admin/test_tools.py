"""The tool editor: the form from the kind's config, preview, publishing, rolling back, disabling, and Try it."""

import html
import json
from typing import Any

import orjson
import pytest
from django.test import Client
from django.urls import resolve, reverse

from audit.models import Event
from policy.models import Limit
from tenants.models import Scope
from tests.admin.conftest import entries, form_of
from tests.cast import Cast
from tests.gateway.confirming import govern
from tools.models import Connection, Tool

AS_IT_COMES = {
    "runs": "inline",
    "wait": 10,
    "most_attempts": 3,
    "replay_seconds": 120,
    "keep_hours": 24,
    "patience_minutes": 60,
    "priority": 0,
    "units": 1,
    "untrusted": "on",
    "cleaning-secrets": "on",
}


def _change(tool: Tool) -> str:
    return reverse("admin:tools_tool_change", args=[tool.pk])


def _post(client: Client, tool: Tool, **changed: Any) -> Any:
    return client.post(_change(tool), form_of(client, _change(tool), _save="1", **changed))


def _fresh(cast: Cast, tool: Tool) -> Tool:
    with cast.see(cast.acme):
        return Tool.objects.select_related("live").get(pk=tool.pk)


def test_saving_the_form_unchanged_changes_nothing(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    before = len(entries(cast, cast.acme))
    assert _post(olga, tool).status_code == 302
    after = _fresh(cast, tool)
    assert (after.config, after.input_schema, after.output_schema) == (
        tool.config,
        tool.input_schema,
        tool.output_schema,
    )
    assert len(entries(cast, cast.acme)) == before


def test_the_form_draws_and_reads_the_config_of_an_http_tool(cast: Cast, olga: Client) -> None:
    with cast.see(cast.acme):
        connection = Connection.objects.create(tenant=cast.acme, name="Desk", base_url="https://desk.example")
    given = {
        "name": "get_ticket",
        "description": "Read a ticket.",
        "kind": "http",
        "connection": connection.pk,
        "input_schema": '{"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}',
        "timeout": 20,
        "max_result": 65536,
        **AS_IT_COMES,
        "config-http-method": "GET",
        "config-http-path": "/tickets/{id}",
        "config-http-body_format": "json",
        "config-http-response": "auto",
        "config-http-retries": 2,
        "config-http-statuses": '{"404": {"error": "There is no such ticket."}}',
    }
    page = olga.post(reverse("admin:tools_tool_add"), given)
    assert page.status_code == 302, page.context["adminform"].form.errors
    with cast.see(cast.acme):
        tool = Tool.objects.get(tenant=cast.acme)
    assert tool.config == {"path": "/tickets/{id}", "statuses": {"404": {"error": "There is no such ticket."}}}
    assert tool.live is None
    again = olga.get(_change(tool)).content.decode()
    assert "/tickets/{id}" in again
    assert "There is no such ticket." in again


def test_a_wrong_nested_config_is_said_beside_its_field_with_the_path(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    with cast.see(cast.acme):
        connection = Connection.objects.create(tenant=cast.acme, name="Desk", base_url="https://desk.example")
    wrong = {"config__http__path": "/x", "config__http__parameters": '{"text": {"in": "nowhere"}}'}
    page = _post(olga, tool, kind="http", connection=connection.pk, **wrong)
    errors = page.context["adminform"].form.errors
    assert set(errors) == {"config-http-parameters"}
    assert "parameters.text.in" in str(errors)


def test_broken_schemas_are_said_beside_their_field(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    for wrong in ("{", '{"type": "nonsense"}', '{"type": "string"}', '{"type": "object", "x": NaN}'):
        page = _post(olga, tool, input_schema=wrong)
        assert set(page.context["adminform"].form.errors) == {"input_schema"}, wrong
    assert _fresh(cast, tool).input_schema == tool.input_schema


def test_a_function_gives_its_schemas_when_nobody_wrote_any(cast: Cast, olga: Client) -> None:
    empty = '{"type": "object", "properties": {}, "additionalProperties": false}'
    given: dict[str, Any] = {"name": "echo", "description": "Repeat.", "kind": "function"}
    given |= {"config-function-function": "echo"}
    given |= {"input_schema": empty, "timeout": 5, "max_result": 999, **AS_IT_COMES}
    olga.post(reverse("admin:tools_tool_add"), given)
    with cast.see(cast.acme):
        tool = Tool.objects.get(tenant=cast.acme)
    assert list(tool.input_schema["properties"]) == ["text"]
    assert tool.output_schema is not None


def test_the_button_takes_the_schemas_of_the_chosen_function(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    url = reverse("admin:tools_tool_schema") + f"?tool={tool.pk}"
    given = form_of(olga, _change(tool), config__function__function="sign_in")
    answer = olga.post(url, given).json()
    assert set(json.loads(answer["input_schema"])["properties"]) == {"user", "password"}


def test_the_preview_shows_what_is_typed_and_stores_nothing(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    url = reverse("admin:tools_tool_preview") + f"?tool={tool.pk}"
    page = olga.post(url, form_of(olga, _change(tool), description="Something <b>new</b>.")).content.decode()
    assert "Something &lt;b&gt;new&lt;/b&gt;." in page
    assert "<b>new" not in page
    assert _fresh(cast, tool).description == tool.description


def test_the_preview_is_byte_for_byte_what_is_listed_after_publishing(cast: Cast, olga: Client) -> None:
    tool = cast.draft(
        cast.acme, "echo", title="Écho", input_schema={"type": "object", "properties": {"zz": {}, "a": {}}}
    )
    shown = olga.get(_change(tool)).context["look"].sent
    olga.post(_publish(tool), {"digest": olga.get(_publish(tool)).context["look"].digest})
    live = _fresh(cast, tool).live
    assert live is not None
    assert shown == orjson.dumps(live.manifest).decode()


def test_the_preview_says_which_fields_it_cannot_show(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    url = reverse("admin:tools_tool_preview") + f"?tool={tool.pk}"
    page = olga.post(url, form_of(olga, _change(tool), input_schema="{")).content.decode()
    assert "because it has errors: input_schema" in page


def _publish(tool: Tool) -> str:
    return reverse("admin:tools_tool_publish", args=[tool.pk])


def test_publishing_shows_the_difference_first_and_then_makes_a_version(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    _post(olga, tool, description="A better description.")
    assert _fresh(cast, tool).live.number == 1  # type: ignore[union-attr]
    page = olga.get(_publish(tool))
    text = page.content.decode()
    assert "+ A better description." in text
    assert "- Does one thing for tests." in text
    olga.post(_publish(tool), {"digest": page.context["look"].digest})
    live = _fresh(cast, tool).live
    assert live is not None
    assert (live.number, live.description) == (2, "A better description.")
    last = entries(cast, cast.acme, event=Event.CHANGED)[-1]
    assert (last.actor, last.reason) == (cast.olga.username, "published")


def test_what_changed_after_it_was_reviewed_is_not_published(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    _post(olga, tool, timeout=7)
    digest = olga.get(_publish(tool)).context["look"].digest
    _post(olga, tool, timeout=8)
    page = olga.post(_publish(tool), {"digest": digest}).content.decode()
    assert "The draft changed after this page was shown" in page
    assert _fresh(cast, tool).live.number == 1  # type: ignore[union-attr]


def test_a_draft_that_cannot_run_says_why_and_has_no_publish_button(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo", scopes=["no.such"])
    page = olga.get(_publish(tool))
    assert "Not a scope of this tenant: no.such" in page.content.decode()
    assert "Publish version" not in page.content.decode()
    olga.post(_publish(tool), {"digest": page.context["look"].digest})
    assert _fresh(cast, tool).live is None


def test_an_earlier_version_is_made_live_again_and_the_draft_stays(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    _post(olga, tool, description="Second.")
    olga.post(_publish(tool), {"digest": olga.get(_publish(tool)).context["look"].digest})
    listed = olga.get(reverse("admin:tools_tool_versions", args=[tool.pk])).content.decode()
    assert "v1" in listed
    assert "v2" in listed
    url = reverse("admin:tools_tool_roll_back", args=[tool.pk, 1])
    assert "- Second." in olga.get(url).content.decode()
    olga.post(url)
    after = _fresh(cast, tool)
    assert after.live is not None
    assert (after.live.number, after.description) == (1, "Second.")
    assert entries(cast, cast.acme, event=Event.CHANGED)[-1].reason == "rolled back"


def test_a_tool_is_disabled_and_enabled_after_a_question(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    url = reverse("admin:tools_tool_enabled", args=[tool.pk])
    assert "vanishes from every host" in olga.get(url).content.decode()
    olga.post(url, {"enabled": "no"})
    assert not _fresh(cast, tool).enabled
    olga.post(url, {"enabled": "yes"})
    assert _fresh(cast, tool).enabled
    assert [entry.reason for entry in entries(cast, cast.acme)][-2:] == ["disabled", "enabled"]


def _try(cast: Cast, client: Client, tool: Tool, arguments: Any, user: Any = None) -> tuple[Any, str]:
    member = cast.member(cast.acme, user or cast.olga)
    url = reverse("admin:tools_tool_try", args=[tool.pk])
    page = client.post(url, {"member": member.pk, "arguments": json.dumps(arguments)})
    return page, html.unescape(page.content.decode())


def test_trying_a_draft_shows_its_result_and_leaves_entries(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    text = _try(cast, olga, tool, {"text": "hello there"}, cast.uma)[1]
    assert 'data-outcome="ok"' in text
    assert "hello there" in text
    started, finished = entries(cast, cast.acme, tool="echo", event__startswith="call.")
    assert (started.event, finished.event, finished.outcome) == (Event.STARTED, Event.FINISHED, "ok")
    assert (started.actor, started.via, started.credential, started.version) == (cast.uma.username, "admin", "admin", 0)
    assert started.client == f"admin: {cast.olga.username}"


def test_try_starts_from_an_example_that_fits_the_schema(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    form = olga.get(reverse("admin:tools_tool_try", args=[tool.pk])).context["form"]
    assert form["arguments"].value() == '{\n  "text": "text"\n}'


def test_trying_shows_every_refusal_with_its_reason(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    text = _try(cast, olga, tool, {"text": 5})[1]
    assert "Refused: invalid_arguments" in text
    assert "text" in text
    cast.scopes(cast.acme, {"a.read": "Read"})
    with cast.see(cast.acme):
        Scope.objects.filter(tenant=cast.acme).update(roles=["owner"])
        Tool.objects.filter(pk=tool.pk).update(scopes=["a.read"])
    assert "Refused: unknown_tool" in _try(cast, olga, tool, {"text": "x"}, cast.uma)[1]
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per="member", most=1, seconds=3600)
    assert 'data-outcome="ok"' in _try(cast, olga, tool, {"text": "x"})[1]
    assert "Refused: rate_limited" in _try(cast, olga, tool, {"text": "x"})[1]
    reasons = [entry.reason for entry in entries(cast, cast.acme, event=Event.REFUSED)]
    assert reasons == ["invalid_arguments", "unknown_tool", "rate_limited"]


@pytest.mark.parametrize("changed", [{"name": "other"}, {"tags": []}, {"name": "other", "inspect": []}])
@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        ({"effect": "deny"}, "denied"),
        ({"effect": "deny", "found": ["sql"]}, "denied"),
        ({"effect": "deny", "before": {"more_than": 0, "seconds": 60}}, "denied"),
        ({"effect": "review"}, "review_needed"),
        ({"effect": "transform", "transform": [{"set": "text", "to": "as it has to be"}]}, ""),
    ],
)
def test_a_draft_is_tried_as_what_is_live_of_it_is_called(
    cast: Cast, olga: Client, changed: dict[str, Any], rule: dict[str, Any], refused: str
) -> None:
    tool = cast.tool(cast.acme, "echo", tags=["loud"], inspect=["sql"])
    what = {"tools": ["echo"]} if "name" in changed else {"tags": ["loud"]}
    govern(cast, {"name": "as it is live", "what": what, **rule})
    with cast.see(cast.acme):
        Tool.objects.filter(pk=tool.pk).update(**changed)
    if "before" in rule:
        assert 'data-outcome="ok"' in _try(cast, olga, tool, {"text": "x"})[1]
    text = _try(cast, olga, tool, {"text": "' OR '1'='1"})[1]
    if refused:
        assert f"Refused: {refused}" in text
    else:
        assert "as it has to be" in text
    ended = entries(cast, cast.acme, event__startswith="call.")[-1]
    assert (ended.reason, ended.version if refused else 0) == (refused, 0)


def test_what_is_allowed_of_what_is_live_is_not_allowed_of_a_draft_of_another_name(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    govern(
        cast,
        {"name": "this one", "effect": "allow", "priority": 9, "what": {"tools": ["echo"]}},
        {"name": "no other", "effect": "deny", "priority": 1},
    )
    with cast.see(cast.acme):
        Tool.objects.filter(pk=tool.pk).update(name="other")
    assert "Refused: denied" in _try(cast, olga, tool, {"text": "x"})[1]


def test_trying_shows_what_a_tool_says_when_it_fails_and_hides_what_it_should_not(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "fail")
    text = _try(cast, olga, tool, {"how": "politely"})[1]
    assert "The printer is out of paper." in text
    assert "tool_error" in text
    text = _try(cast, olga, tool, {"how": "rudely"})[1]
    assert "internal_error" in text
    assert "hunter2" not in text


def test_trying_a_broken_draft_says_why_in_a_sentence(cast: Cast, olga: Client) -> None:
    schema = cast.draft(cast.acme, "echo", input_schema={"type": "nonsense"})
    assert "The draft cannot run:" in _try(cast, olga, schema, {})[1]
    config = cast.draft(cast.acme, "shout", config={"function": "gone"})
    text = _try(cast, olga, config, {})[1]
    assert "The draft cannot run: function: no function is registered as 'gone'" in text
    kind = cast.draft(cast.acme, "fail", kind="telepathy")
    assert "there is no kind 'telepathy'" in _try(cast, olga, kind, {})[1]
    assert entries(cast, cast.acme, event__startswith="call.") == []


def test_only_a_member_of_the_tenant_can_be_tried_as(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    stranger = cast.member(cast.beta, cast.bob)
    url = reverse("admin:tools_tool_try", args=[tool.pk])
    page = olga.post(url, {"member": stranger.pk, "arguments": '{"text": "x"}'})
    assert page.context["form"].errors["member"]
    assert entries(cast, cast.acme, event__startswith="call.") == []


def test_arguments_that_are_no_object_are_said_beside_the_field(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    wrong: list[Any] = [[], "text", None]
    for arguments in wrong:
        page, _ = _try(cast, olga, tool, arguments)
        assert page.context["form"].errors["arguments"], arguments


def test_a_trial_waits_without_holding_a_transaction(cast: Cast) -> None:
    tool = cast.draft(cast.acme, "echo")
    match = resolve(reverse("admin:tools_tool_try", args=[tool.pk]))
    assert hasattr(match.func, "own_transactions")
