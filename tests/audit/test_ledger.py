"""What is recorded of calls and of changes, and that it stays."""

import json
import os
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.test import override_settings

from access import actions as access_actions
from audit import entries
from audit.models import Event
from policy.models import Limit, Per
from tenants import actions as tenant_actions
from tenants.models import Role, Scope
from tests.audit.conftest import ROW, Ledger, Make
from tests.cast import Cast
from tests.gateway.confirming import govern
from tests.postgres import as_app, as_owner, rows
from tools import actions as tool_actions
from tools.models import Connection


def month() -> str:
    with as_owner() as owner:
        return str(rows(owner, "SELECT 'audit_entry_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')")[0][0])


# Append-only


@pytest.mark.parametrize("role", [as_app, as_owner])
@pytest.mark.parametrize("table", ["audit_entry", "audit_entry_other", "this month"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET actor = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_an_entry_cannot_be_changed_or_removed(cast: Cast, role: Any, table: str, statement: str) -> None:
    name = month() if table == "this month" else table
    with as_owner(autocommit=False) as owner:
        # A row in the default partition, so that there is something to change there too; rolled back.
        if role is as_owner:
            owner.execute("INSERT INTO audit_entry (at, tenant_id, event) VALUES ('1999-01-01', 1, 'changed')")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                owner.execute(statement.format(name))
            return
    with role() as conn:
        conn.execute("SELECT set_config('mcphub.tenants', %s, false)", [f"{{{cast.acme.pk}}}"])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement.format(name))


def test_the_application_role_cannot_insert_past_the_function(cast: Cast) -> None:
    with as_app() as conn:
        conn.execute("SELECT set_config('mcphub.tenants', %s, false)", [f"{{{cast.acme.pk}}}"])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("INSERT INTO audit_entry (at, tenant_id, event) VALUES (now(), %s, 'changed')", [cast.acme.pk])


def test_a_row_cannot_say_when_it_was() -> None:
    tenant = -int.from_bytes(os.urandom(5), "big")
    with as_app() as hub:
        row = {**ROW, "tenant_id": tenant, "at": "1999-01-01T00:00:00Z"}
        hub.execute("SELECT audit_append(%s::jsonb)", [json.dumps([row])])
    with as_owner() as owner:
        assert rows(owner, "SELECT at > now() - interval '1 hour' FROM audit_entry WHERE tenant_id = %s", tenant) == [
            (True,)
        ]


# What a call leaves


def test_every_call_leaves_started_and_finished(cast: Cast, host: Make, ledger: Ledger) -> None:
    cast.tool(cast.acme, "echo")
    host().call("echo", {"text": "hello"}, traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    started, finished = ledger()
    assert (started.event, finished.event) == (Event.STARTED, Event.FINISHED)
    assert started.call_id == finished.call_id
    assert started.preview == {"text": "hello"}
    assert len(started.digest) == 32
    assert (started.actor, started.tool, started.version, started.via) == (cast.uma.username, "echo", 1, "mcp")
    assert started.trace.startswith("00-aaaa")
    assert started.client.startswith("test-host/1")
    assert finished.outcome == "ok"
    assert finished.duration_ms is not None
    assert finished.duration_ms >= 0


@pytest.mark.parametrize(
    ("tool", "fields", "arguments", "outcome", "reason"),
    [
        ("fail", {}, {"how": "politely"}, "error", "tool_error"),
        ("fail", {}, {"how": "badly"}, "error", "internal_error"),
        ("count_slowly", {"timeout": 1}, {"steps": 1, "seconds": 30}, "timeout", "timeout"),
        ("broken_promise", {"output_schema": {"type": "array"}}, {}, "error", "invalid_output"),
    ],
)
def test_a_call_that_fails_is_finished_with_how(
    cast: Cast, host: Make, ledger: Ledger, tool: str, fields: Any, arguments: Any, outcome: str, reason: str
) -> None:
    cast.tool(cast.acme, tool, **fields)
    host().call(tool, arguments)
    assert [(one.event, one.outcome, one.reason) for one in ledger()] == [
        (Event.STARTED, "", ""),
        (Event.FINISHED, outcome, reason),
    ]


def test_a_refused_call_leaves_its_reason_and_nothing_else(cast: Cast, host: Make, ledger: Ledger) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write"})
    cast.tool(cast.acme, "echo", scopes=["a.write"])
    cast.tool(cast.acme, "shout")
    with cast.see(cast.acme):
        Limit.objects.create(tenant=cast.acme, per=Per.CREDENTIAL, tool="shout", most=1, seconds=3600)
    asking = host(scopes=["a.read"])
    asking.call("echo", {"wrong": 1})
    asking.call("echo", {"text": "x"})
    asking.call("gone", {"text": "x"})
    asking.call("shout", {"text": "x"})
    asking.call("shout", {"text": "x"})
    refused = [one for one in ledger() if one.event == Event.REFUSED]
    assert [one.reason for one in refused] == [
        "invalid_arguments",
        "insufficient_scope",
        "unknown_tool",
        "rate_limited",
    ]
    assert {one.outcome for one in refused} == {"refused"}
    assert len({one.call_id for one in ledger()}) == 5
    assert sum(one.event == Event.STARTED for one in ledger()) == 1


def test_secrets_in_arguments_are_kept_out(cast: Cast, host: Make, ledger: Ledger) -> None:
    """By the field's name, by the value's shape, and by the schema: written there, in anyOf, or behind a $ref."""
    marked = {"type": "string", "format": "password"}
    schema = {
        "type": "object",
        "properties": {
            "user": {"type": "string"},
            "password": {"type": "string"},
            "plain": {"type": "string", "writeOnly": True},
            "optional": {"anyOf": [marked, {"type": "null"}]},
            "several": {"type": "array", "items": {"$ref": "#/$defs/hidden"}},
            "note": {"type": "string"},
        },
        "$defs": {"hidden": marked},
    }
    cast.tool(cast.acme, "broken_promise", input_schema=schema, output_schema=None)
    secret = "hunter2-hunter2"
    host().call(
        "broken_promise",
        {
            "user": "uma",
            "password": secret,
            "plain": secret,
            "optional": secret,
            "several": [secret],
            "note": f"use ghp_{'x' * 30} or https://me:{secret}@example.com",
        },
    )
    kept = ledger()[0].preview
    assert kept["user"] == "uma"
    assert "hunter2" not in str(kept)
    assert "xxxxxxxx" not in str(kept)
    assert kept["note"].startswith("use [redacted]")


def test_what_a_hidden_tool_takes_as_secret_is_kept_out_too(cast: Cast, host: Make, ledger: Ledger) -> None:
    schema = {"type": "object", "properties": {"plain": {"type": "string", "writeOnly": True}}}
    cast.tool(cast.acme, "broken_promise", input_schema=schema, output_schema=None)
    govern(cast, {"name": "hush", "effect": "deny", "secret": True, "what": {"tools": ["broken_promise"]}})
    host().call("broken_promise", {"plain": "hunter2-hunter2"})
    (refused,) = ledger()
    assert (refused.reason, "hunter2" in str(refused.preview)) == ("unknown_tool", False)


def test_a_preview_is_bounded_whatever_is_sent(cast: Cast, host: Make, ledger: Ledger) -> None:
    cast.tool(cast.acme, "echo")
    tree: Any = "x" * 300
    for _ in range(3):
        tree = [tree] * 15
    host().call("echo", {"text": "y" * 100_000})
    host().call("echo", {"wrong": tree})
    long, wide = (one.preview for one in ledger() if one.preview is not None)
    assert len(long["text"]) <= 201
    assert len(str(wide)) < 5000


def test_a_name_with_nul_is_recorded_and_harms_nobody(cast: Cast, host: Make, ledger: Ledger) -> None:
    """Postgres takes no NUL in text, and the row travels with those of other callers."""
    answer = host(revision="2025-06-18").call("no\x00such", {"a\x00": "b\x00"})
    assert answer.error["code"] == -32602
    (refused,) = ledger()
    assert (refused.reason, refused.tool) == ("unknown_tool", "no\ufffdsuch")
    assert refused.preview == {"a\ufffd": "b\ufffd"}


def test_a_digest_knows_equal_arguments_in_any_order_and_only_with_the_key() -> None:
    one = entries.digest({"a": 1, "b": {"c": [1, 2], "d": None}})
    assert one == entries.digest({"b": {"d": None, "c": [1, 2]}, "a": 1})
    assert one != entries.digest({"a": 1, "b": {"c": [2, 1], "d": None}})
    with override_settings(DIGEST_KEY=b"another key"):
        assert one != entries.digest({"a": 1, "b": {"c": [1, 2], "d": None}})


@pytest.mark.parametrize("other", [2**70, float("nan"), "\ud800", {1: 2}, [[]] * 3])
def test_a_digest_takes_whatever_python_can_hold(other: Any) -> None:
    deep: Any = other
    for _ in range(900):
        deep = [deep]
    assert len({entries.digest({"a": value}) for value in (other, [other], deep, [deep])}) == 4


# Changes


def test_every_verb_of_an_admin_leaves_an_entry(cast: Cast, ledger: Ledger) -> None:
    secret = "s3cr3t-of-the-upstream"
    with cast.see(cast.acme):
        tenant_actions.define_scopes(cast.acme, {"x.read": "Read"}, actor="adam", implies={})
        cast.acme.name = "Acme & Sons"
        tenant_actions.save(cast.acme, actor="adam")
        upstream = Connection(tenant=cast.acme, name="Desk", base_url="https://desk.example.com")
        tool_actions.save_connection(upstream, actor=cast.adam, new_secret=secret)
        tool_actions.set_secret(upstream, "", actor=cast.adam)
        tool = cast.draft(cast.acme)
        first = tool_actions.publish(tool, actor=cast.adam)
        tool.title = "Echo"
        tool.save()
        tool_actions.publish(tool, actor=cast.adam)
        tool_actions.roll_back(tool, first, actor=cast.adam)
        tool_actions.set_enabled(tool, False, actor=cast.adam)
        tool_actions.set_enabled(tool, False, actor=cast.adam)
        tool_actions.set_enabled(tool, True, actor=cast.adam)
        key, opened = access_actions.issue_key(cast.member(cast.acme, cast.uma), name="host", actor="adam")
        access_actions.revoke_key(key, actor="adam")
        member = cast.member(cast.acme, cast.uma)
        member.role = Role.ADMIN
        tenant_actions.change_member(member, actor="olga")
        tenant_actions.remove_member(member, actor="olga")
        tenant_actions.remove_scope(Scope.objects.get(tenant=cast.acme, name="x.read"), actor="adam")
    told = [(one.reason, one.subject.split(":")[0]) for one in ledger(changes=True)]
    assert told[-15:] == [
        ("created", "tenants.Scope"),
        ("changed", "tenants.Tenant"),
        ("created", "tools.Connection"),
        ("set the secret of", "tools.Connection"),
        ("removed the secret of", "tools.Connection"),
        ("published", "tools.Tool"),
        ("published", "tools.Tool"),
        ("rolled back", "tools.Tool"),
        ("disabled", "tools.Tool"),
        ("enabled", "tools.Tool"),
        ("issued", "access.APIKey"),
        ("revoked", "access.APIKey"),
        ("changed", "tenants.Member"),
        ("deleted", "tenants.Member"),
        ("deleted", "tenants.Scope"),
    ]
    by_verb = {(one.reason, one.subject.split(":")[0]): one for one in ledger(changes=True)}
    renamed = by_verb["changed", "tenants.Tenant"]
    assert renamed.actor == "adam"
    assert renamed.detail["before"]["name"] == "Acme"
    assert renamed.detail["after"]["name"] == "Acme & Sons"
    back = by_verb["rolled back", "tools.Tool"].detail
    assert (back["before"]["version"], back["after"]["version"]) == (2, 1)
    assert by_verb["changed", "tenants.Member"].detail["before"] == {"role": "user"}
    assert by_verb["deleted", "tenants.Member"].detail["before"]["role"] == "admin"
    everything = str([one.detail for one in ledger(changes=True)])
    assert secret not in everything
    assert opened not in everything
    assert key.digest not in everything


def test_a_change_that_fails_leaves_no_entry(cast: Cast, ledger: Ledger) -> None:
    before = len(ledger(changes=True))
    with cast.see(cast.acme), pytest.raises(ValidationError):
        tenant_actions.remove_member(cast.member(cast.acme, cast.olga), actor="olga")
    assert len(ledger(changes=True)) == before
