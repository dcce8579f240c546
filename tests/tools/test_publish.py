"""Publishing: versions never change, one is live, and the next request knows."""
# ruff: noqa: S608 - the names of tables come from this file and the models

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError

from policy.models import Limit
from tenants import actions as tenant_actions
from tenants.models import Tenant
from tests.cast import Cast
from tests.gateway.conftest import Make, host
from tests.postgres import as_app, as_owner, rows
from tools import actions
from tools.manifest import estimated_tokens, manifest, manifest_hash
from tools.models import Connection, Tool, Version

__all__ = ["host"]


def test_publishing_freezes_the_draft_as_the_next_version(cast: Cast) -> None:
    tool = cast.tool(cast.acme, title="First")
    with cast.see(cast.acme):
        tool.title = "Second"
        tool.save()
        second = actions.publish(tool, actor=cast.adam)
        first = Version.objects.get(tool=tool, number=1)
        live = Tool.objects.get(pk=tool.pk).live
    assert (first.title, second.title, second.number) == ("First", "Second", 2)
    assert (live, second.published_by) == (second, cast.adam)
    assert first.manifest["title"] == "First"
    assert second.manifest_hash != first.manifest_hash


def test_a_draft_is_not_what_hosts_see(cast: Cast, host: Make) -> None:
    tool = cast.tool(cast.acme, title="Published")
    cast.draft(cast.acme, "shout")
    with cast.see(cast.acme):
        tool.title = "Draft"
        tool.save()
    assert [one["title"] for one in host().request("tools/list").result["tools"]] == ["Published"]


@pytest.mark.parametrize(
    "assignment", ["title = 'x'", "manifest = '{}'", "config = '{}'", "number = 9", "scopes = '{}'", "timeout = 1"]
)
def test_a_version_cannot_be_changed_even_by_the_owner_of_the_tables(cast: Cast, assignment: str) -> None:
    tool = cast.tool(cast.acme, scopes=[], title="y")
    changed = assignment.replace("'{}'", "'{\"a\"}'") if "scopes" in assignment else assignment
    with as_owner() as owner, pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changes"):
        owner.execute(f"UPDATE tools_version SET {changed} WHERE tool_id = {tool.pk}")


@pytest.mark.parametrize("verb", ["UPDATE tools_version SET title = 'x'", "DELETE FROM tools_version"])
def test_the_hub_itself_may_neither_change_nor_delete_a_version(cast: Cast, verb: str) -> None:
    cast.tool(cast.acme)
    with as_app() as conn:
        conn.execute("SELECT set_config('mcphub.tenants', %s, false)", [f"{{{cast.acme.pk}}}"])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(verb)


def test_the_hash_is_that_of_what_people_agree_to_and_of_nothing_else(cast: Cast) -> None:
    tool = cast.tool(cast.acme)
    with cast.see(cast.acme):
        one = Version.objects.get(tool=tool)
        tool.timeout, tool.tags = 7, ["x"]
        tool.save()
        two = actions.publish(tool, actor=cast.adam)
        tool.description += " More."
        tool.save()
        three = actions.publish(tool, actor=cast.adam)
    listed = manifest(tool) | {"description": one.description}
    assert one.manifest_hash == two.manifest_hash == manifest_hash(listed, scopes=[], destination="")
    assert three.manifest_hash != two.manifest_hash


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert manifest_hash(one, scopes=["r", "w"], destination="") == manifest_hash(
        other, scopes=["w", "r"], destination=""
    )
    # Written down, so that a change of how it is computed cannot pass unseen.
    assert manifest_hash({"name": "x"}, scopes=[], destination="") == (
        "c6ee071424bbb9b0162e8d5798706193608d06f0961bf1dee79e8b21ce04b40d"
    )


def test_another_scope_or_destination_is_another_hash() -> None:
    given = [([], ""), (["a.read"], ""), ([], "https://a.example"), ([], "https://b.example")]
    assert len({manifest_hash({"name": "x"}, scopes=scopes, destination=where) for scopes, where in given}) == 4


def test_tokens_are_estimated_from_the_bytes_a_model_reads() -> None:
    assert [estimated_tokens(one) for one in ("", "abcd", {"a": "ü" * 10})] == [1, 2, 7]


def test_rolling_back_makes_an_old_version_live_and_leaves_the_draft(cast: Cast, host: Make) -> None:
    tool = cast.tool(cast.acme, title="First")
    asking = host()
    with cast.see(cast.acme):
        first = Version.objects.get(tool=tool)
        tool.title = "Second"
        tool.save()
        actions.publish(tool, actor=cast.adam)
    assert asking.request("tools/list").result["tools"][0]["title"] == "Second"
    with cast.see(cast.acme):
        actions.roll_back(tool, first, actor=cast.adam)
        assert Tool.objects.get(pk=tool.pk).title == "Second"
        assert Version.objects.filter(tool=tool).count() == 2
    assert asking.request("tools/list").result["tools"][0]["title"] == "First"


def test_a_version_of_another_tool_is_refused(cast: Cast) -> None:
    one, two = cast.tool(cast.acme, "echo"), cast.tool(cast.acme, "shout")
    with cast.see(cast.acme), pytest.raises(ValidationError, match="is not a version of"):
        actions.roll_back(one, Version.objects.get(tool=two), actor=cast.adam)


def test_a_disabled_tool_vanishes_on_the_next_request(cast: Cast, host: Make) -> None:
    tool = cast.tool(cast.acme)
    asking = host()
    assert asking.tools() == ["echo"]
    with cast.see(cast.acme):
        actions.set_enabled(tool, False, actor=cast.adam)
    assert asking.tools() == []
    assert asking.call("echo", {"text": "x"}).error["code"] == -32602
    with cast.see(cast.acme):
        actions.set_enabled(tool, True, actor=cast.adam)
    assert asking.tools() == ["echo"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input_schema": {"type": "string"}}, "input_schema"),
        ({"input_schema": True}, "input_schema"),
        ({"input_schema": []}, "input_schema"),
        ({"input_schema": {"type": "object", "properties": {"a": {"type": "nothing"}}}}, "input_schema"),
        ({"output_schema": {"$ref": "https://example.com/x"}}, "output_schema"),
        ({"kind": "magic"}, "kind"),
        ({"kind": "http", "config": {"method": "GET", "path": "/"}}, "connection"),
        ({"config": {"function": "no_such_function"}}, "config"),
        ({"config": {"function": "echo", "more": 1}}, "config"),
        ({"scopes": ["not.defined"]}, "scopes"),
        ({"description": ""}, "description"),
        ({"timeout": 0}, "timeout"),
        ({"max_result": 1}, "max_result"),
    ],
)
def test_a_draft_that_could_not_run_is_not_published(cast: Cast, fields: dict[str, Any], field: str) -> None:
    tool = cast.draft(cast.acme, **fields)
    with cast.see(cast.acme):
        with pytest.raises(ValidationError) as refused:
            actions.publish(tool, actor=cast.adam)
        assert field in refused.value.message_dict
        assert not Version.objects.filter(tool=tool).exists()


def test_another_tenants_connection_is_refused(cast: Cast) -> None:
    with cast.see():
        foreign = Connection.objects.create(tenant=cast.beta, name="Desk", base_url="https://desk.example.com")
        tool = Tool(tenant=cast.acme, name="x", description="x", kind="function", connection=foreign)
        tool.config = {"function": "echo"}
        with pytest.raises(ValidationError) as refused:
            actions.check(tool, cast.acme.pk)
    assert "connection" in refused.value.message_dict


def test_two_tools_cannot_be_live_under_one_name(cast: Cast) -> None:
    """A renamed draft frees its name for another tool, while hosts still know the first one by it."""
    first = cast.tool(cast.acme, "echo")
    with cast.see(cast.acme):
        old = Version.objects.get(tool=first)
        first.name = "repeat"
        first.save()
    second = cast.draft(cast.acme, "echo")
    with cast.see(cast.acme):
        with pytest.raises(ValidationError, match="another tool as 'echo'"):
            actions.publish(second, actor=cast.adam)
        actions.publish(first, actor=cast.adam)
        actions.publish(second, actor=cast.adam)
        with pytest.raises(ValidationError, match="another tool as 'echo'"):
            actions.roll_back(first, old, actor=cast.adam)


CHANGES: dict[str, Callable[[Cast, Tool], object]] = {
    "publish": lambda cast, tool: actions.publish(tool, actor=cast.adam),
    "disable": lambda cast, tool: actions.set_enabled(tool, False, actor=cast.adam),
    "a connection": lambda cast, tool: Connection.objects.create(
        tenant=cast.acme, name="Desk", base_url="https://desk.example.com"
    ),
    "a secret": lambda cast, tool: actions.set_secret(
        Connection.objects.create(tenant=cast.acme, name="Desk", base_url="https://d.example.com"), "s", actor=cast.adam
    ),
    "a scope": lambda cast, tool: tenant_actions.define_scopes(cast.acme, {"a.b": ""}, actor="x", implies={}),
    "a limit": lambda cast, tool: Limit.objects.create(tenant=cast.acme, most=1),
    "the tenant": lambda cast, tool: Tenant.objects.filter(pk=cast.acme.pk).update(instructions="new"),
}
RAW = {
    "a tool by SQL": "UPDATE tools_tool SET enabled = false WHERE tenant_id = %(tenant)s",
    "a tool deleted by SQL": "DELETE FROM tools_tool WHERE tenant_id = %(tenant)s AND live_id IS NULL",
    "a scope by SQL": "UPDATE tenants_scope SET roles = '{owner}' WHERE tenant_id = %(tenant)s",
    "a scope deleted by SQL": "DELETE FROM tenants_scope WHERE tenant_id = %(tenant)s",
    "a limit by SQL": "INSERT INTO policy_limit (tenant_id, counts, per, tool, most, seconds, share)"
    " VALUES (%(tenant)s, 'calls', 'tenant', '', 1, 1, 100)",
    "the tenant by SQL": "UPDATE tenants_tenant SET name = 'x' WHERE id = %(tenant)s",
    "the version set back by SQL": "UPDATE tenants_tenant SET catalog_version = 0 WHERE id = %(tenant)s",
}


def version_of(tenant: Tenant) -> int:
    with as_owner() as owner:
        return int(rows(owner, "SELECT catalog_version FROM tenants_tenant WHERE id = %s", tenant.pk)[0][0])


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_moves_the_catalog_version(cast: Cast, change: str) -> None:
    tool = cast.tool(cast.acme)
    before, others = version_of(cast.acme), version_of(cast.beta)
    with cast.see(cast.acme):
        CHANGES[change](cast, tool)
    assert version_of(cast.acme) > before
    assert version_of(cast.beta) == others


@pytest.mark.parametrize("change", RAW)
@pytest.mark.parametrize("role", [as_app, as_owner])
def test_so_does_every_change_by_raw_sql(cast: Cast, role: Any, change: str) -> None:
    cast.scopes(cast.acme, {"a.read": "Read"})
    cast.tool(cast.acme)
    cast.draft(cast.acme, "shout")
    before = version_of(cast.acme)
    with role() as conn:
        conn.execute("SELECT set_config('mcphub.tenants', %s, false)", [f"{{{cast.acme.pk}}}"])
        assert conn.execute(RAW[change], {"tenant": cast.acme.pk}).rowcount >= 1
    assert version_of(cast.acme) > before


def test_a_row_given_to_another_tenant_moves_both(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read"})
    before = version_of(cast.acme), version_of(cast.beta)
    with as_owner() as owner:
        owner.execute("UPDATE tenants_scope SET tenant_id = %s WHERE tenant_id = %s", [cast.beta.pk, cast.acme.pk])
    assert (version_of(cast.acme) > before[0], version_of(cast.beta) > before[1]) == (True, True)
