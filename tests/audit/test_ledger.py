"""Nothing runs unrecorded, and what is recorded stays."""
# ruff: noqa: S608 - the names of tables come from this file and the models

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import override_settings

from access import actions as access_actions
from audit import entries
from audit import writer as audit_writer
from audit.models import Event
from audit.writer import LedgerUnavailable, Writer, beat, open_writer, sweep, writer
from lib import db
from policy.models import Limit, Per
from tenants import actions as tenant_actions
from tenants.models import Role, Scope
from tests.calling import enter
from tests.cast import Cast
from tests.database import apart
from tests.host import Host
from tests.postgres import as_app, as_owner, end_sessions_of_the_hub, rows
from tests.waiting import until
from tools import actions as tool_actions
from tools.models import Connection
from tools.values import Result

Make = Callable[..., Host]
Ledger = Callable[..., list[Any]]
ROW = {"tenant_id": 1, "event": "changed", "actor": "test"}


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
        Limit.objects.create(tenant=cast.acme, per=Per.CREDENTIAL, tool="shout", calls=1, seconds=3600)
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


# Before anything runs


def test_nothing_runs_before_its_started_row_is_durable(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "read_ledger")
    assert int(host().call("read_ledger").text) >= 1


async def test_when_the_ledger_cannot_be_written_nothing_runs(
    enter_echo: Any, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    from tests import functions

    async def refuse(self: Any, query: str, parameters: Any) -> Any:
        if "audit_append" in query:
            raise psycopg.OperationalError("gone")
        return await original(self, query, parameters)

    original = db.Lane.fetch
    monkeypatch.setattr(functions, "echo", lambda text: ran.append(text))
    with monkeypatch.context() as broken:
        broken.setattr(db.Lane, "fetch", refuse)
        with pytest.raises(LedgerUnavailable, match="nothing was run"):
            await enter_echo.call("echo", text="x")
    assert ran == []
    ended = await enter_echo.call("echo", text="x")
    assert isinstance(ended, Result)


def test_a_host_is_told_to_try_again_when_the_ledger_cannot_be_written(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    asking = host()
    with as_owner() as owner:
        owner.execute("REVOKE EXECUTE ON FUNCTION audit_append(jsonb) FROM mcphub_app")
        try:
            answer = asking.call("echo", {"text": "x"})
        finally:
            owner.execute("GRANT EXECUTE ON FUNCTION audit_append(jsonb) TO mcphub_app")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"
    assert "nothing was run" in answer.error["message"]
    assert asking.call("echo", {"text": "x"}).text == '{"text":"x"}'


def test_finished_rows_outlive_a_restart_of_postgres_in_mid_call(cast: Cast, host: Make, ledger: Ledger) -> None:
    cast.tool(cast.acme, "cut_the_hub_off")
    assert host().call("cut_the_hub_off").text == "ended True"
    connection.close()  # the tests' own was cut off with the others
    assert [one.event for one in ledger()] == [Event.STARTED, Event.FINISHED]


def test_after_a_restart_of_postgres_at_most_one_call_is_asked_to_come_again(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    asking = host()
    asking.call("echo", {"text": "x"})
    assert end_sessions_of_the_hub() > 0
    connection.close()
    answers = [asking.call("echo", {"text": "y"}) for _ in range(5)]
    assert [one.status for one in answers[1:]] == [200] * 4
    assert answers[0].status in {200, 503}


# Cancelled


async def test_a_call_cancelled_while_its_started_row_is_on_the_way_is_concluded(
    enter_slow: Any, ledger: Ledger, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, let_through = asyncio.Event(), asyncio.Event()
    original = db.Lane.fetch

    async def slow(self: Any, query: Any, parameters: Any) -> Any:
        if "call.started" in str(parameters):
            sent.set()
            await let_through.wait()
        return await original(self, query, parameters)

    monkeypatch.setattr(db.Lane, "fetch", slow)
    task = asyncio.create_task(enter_slow.call("count_slowly", steps=1, seconds=60))
    await sent.wait()
    task.cancel()
    let_through.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await writer().write({**ROW, "tenant_id": 1})  # goes the same way, so the started row has landed before it
    left = await asyncio.to_thread(apart, ledger)
    assert sorted(one.event for one in left) == [Event.FINISHED, Event.STARTED]
    assert {one.outcome for one in left} == {"", "cancelled"}


async def test_a_call_cancelled_before_its_started_row_is_taken_leaves_nothing(running: None) -> None:
    tenant = -int.from_bytes(os.urandom(5), "big")
    crowded = Writer(1)
    waiting = [asyncio.create_task(crowded.begin({**ROW, "tenant_id": tenant})) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[2]
    await asyncio.gather(*(await asyncio.gather(*waiting[:2])))
    with as_owner() as owner:
        assert rows(owner, "SELECT count(*) FROM audit_entry WHERE tenant_id = %s", tenant) == [(2,)]


# Group commit


def commits(count: int, room: int, tenant: int) -> tuple[int, int]:
    """Rows and distinct transactions after `count` concurrent writes through a writer with that much room."""

    async def write() -> None:
        async with db.open_pool(size=2):
            writer = Writer(room)
            await asyncio.gather(*(writer.write({**ROW, "tenant_id": tenant}) for _ in range(count)))
            await writer.close()

    asyncio.run(write())
    with as_owner() as owner:
        return rows(  # type: ignore[no-any-return]
            owner, "SELECT count(*), count(DISTINCT xmin::text) FROM audit_entry WHERE tenant_id = %s", tenant
        )[0]


def test_concurrent_rows_share_commits() -> None:
    written, transactions = commits(500, 2000, -int.from_bytes(os.urandom(5), "big"))
    assert written == 500
    assert transactions <= 10


def test_a_burst_beyond_the_queue_slows_callers_and_loses_nothing() -> None:
    written, transactions = commits(200, 3, -int.from_bytes(os.urandom(5), "big"))
    assert written == 200
    assert transactions >= 200 / 3 - 1


async def test_a_row_that_cannot_be_stored_harms_no_other(running: None) -> None:
    tenant = -int.from_bytes(os.urandom(5), "big")
    writer = Writer(100)
    good, bad = {**ROW, "tenant_id": tenant}, {**ROW, "tenant_id": tenant, "actor": "a\x00b"}
    # What has not run yet is refused; what has run can only be told.
    for write, told in ((writer.write, LedgerUnavailable), (writer.conclude, psycopg.errors.UntranslatableCharacter)):
        ended = await asyncio.gather(write(good), write(bad), write(good), return_exceptions=True)
        assert [type(one) for one in ended] == [type(None), told, type(None)]
    with pytest.raises(LedgerUnavailable, match="nothing was run"):
        await (await writer.begin(bad))
    with as_owner() as owner:
        assert rows(owner, "SELECT count(*) FROM audit_entry WHERE tenant_id = %s", tenant) == [(4,)]


# Interrupted


def age(instance: str, *, silent: bool) -> None:
    """Move a process's signs of life a minute back: silent since then, or heard without a break since then."""
    column = "seen_at" if silent else "steady_at"
    with as_owner() as owner:
        owner.execute(f"UPDATE audit_instance SET {column} = {column} - interval '1 minute' WHERE id = %s", [instance])


@contextlib.contextmanager
def doomed_call(cast: Cast) -> Iterator[str]:
    """A server process killed in mid-call; yields its instance id."""
    cast.tool(cast.acme, "count_slowly", timeout=600)
    _, secret = cast.key(cast.uma)
    command = [sys.executable, "-m", "tests.audit.victim", cast.acme.slug, secret]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        try:
            instance = victim.stdout.readline().strip()
            yield instance
        finally:
            victim.send_signal(signal.SIGKILL)
    until(lambda: not held(instance))


def held(instance: str) -> bool:
    """Whether a session holds that process's lock."""
    with as_owner(autocommit=False) as owner:
        key = "hashtextextended('mcphub instance ' || %s, 0)"
        return not rows(owner, f"SELECT pg_try_advisory_xact_lock({key})", instance)[0][0]


async def look_for_the_dead() -> int:
    """The sweep of a process that has been heard for long enough."""
    async with db.open_pool(size=4):
        await beat()
        age(str(entries.INSTANCE), silent=False)
        return await sweep()


def test_a_call_cut_off_by_a_crash_is_marked_interrupted_exactly_once(cast: Cast, ledger: Ledger) -> None:
    with doomed_call(cast) as instance:
        pass
    age(instance, silent=True)

    async def sweep_from_two_processes() -> list[int]:
        async with db.open_pool(size=4):
            await beat()
            age(str(entries.INSTANCE), silent=False)
            return list(await asyncio.gather(sweep(), sweep(), sweep(), sweep()))

    assert sum(asyncio.run(sweep_from_two_processes())) == 1
    started, interrupted = ledger()
    assert (started.event, interrupted.event) == (Event.STARTED, Event.INTERRUPTED)
    assert (interrupted.call_id, interrupted.reason, interrupted.outcome) == (
        started.call_id,
        "process_gone",
        "interrupted",
    )
    assert sum(asyncio.run(sweep_from_two_processes())) == 0
    assert len(ledger()) == 2


def test_a_living_process_keeps_its_calls(cast: Cast, ledger: Ledger) -> None:
    with doomed_call(cast):
        assert asyncio.run(look_for_the_dead()) == 0
        assert [one.event for one in ledger()] == [Event.STARTED]


def test_a_process_that_stalls_keeps_its_calls_however_silent_it_is(cast: Cast, ledger: Ledger) -> None:
    with doomed_call(cast) as instance:
        age(instance, silent=True)
        assert asyncio.run(look_for_the_dead()) == 0
        assert [one.event for one in ledger()] == [Event.STARTED]
    assert asyncio.run(look_for_the_dead()) == 1


def test_a_process_holds_its_lock_again_with_a_sign_of_life_after_a_restart_of_postgres() -> None:
    instance = uuid.uuid4()

    async def live() -> list[bool]:
        seen = []
        async with db.open_pool(size=1):
            await beat(instance)
            seen.append(held(str(instance)))
            with as_app() as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name LIKE 'mcphub sign of life%' AND datname = current_database()"
                )
            until(lambda: not held(str(instance)))
            with contextlib.suppress(psycopg.OperationalError):
                await beat(instance)  # may be the one that notices
            await beat(instance)
            return [*seen, held(str(instance))]

    assert asyncio.run(live()) == [True, True]


async def test_a_process_that_stops_with_nothing_open_leaves_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    left = []
    for open_call in (True, False):
        instance = uuid.uuid4()
        monkeypatch.setattr("audit.writer.INSTANCE", instance)
        monkeypatch.setattr("audit.writer.beat", partial(beat, instance))
        row = {**ROW, "tenant_id": -7, "call_id": str(uuid.uuid4())}
        # In a loop of its own: the tests' own runs a writer already.
        await asyncio.to_thread(asyncio.run, begin_and_stop(row, conclude=not open_call))
        with as_owner() as owner:
            left.append(rows(owner, "SELECT count(*) FROM audit_instance WHERE id = %s", instance)[0][0])
    assert left == [1, 0]


async def begin_and_stop(row: dict[str, Any], *, conclude: bool) -> None:
    async with db.open_pool(size=2), open_writer() as opened:
        await (await opened.begin({**row, "event": "call.started"}))
        if conclude:
            await opened.conclude({**row, "event": "call.finished"})


async def test_the_sign_of_life_goes_on_after_an_error_nobody_thought_of(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    enough = asyncio.Event()

    async def fail() -> None:
        beats.append(1)
        if len(beats) == 3:
            enough.set()
        raise ValueError("nobody thought of this")

    monkeypatch.setattr("audit.writer.HEARTBEAT", 0.0)
    monkeypatch.setattr("audit.writer.beat", fail)
    pulse = asyncio.create_task(audit_writer._pulse())
    done, _ = await asyncio.wait([pulse, asyncio.create_task(enough.wait())], return_when=asyncio.FIRST_COMPLETED)
    assert pulse not in done
    pulse.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulse


def test_after_an_outage_nobody_is_declared_gone_by_who_was_silent_too(cast: Cast, ledger: Ledger) -> None:
    with doomed_call(cast) as instance:
        age(instance, silent=True)

        async def look() -> int:
            async with db.open_pool(size=2):
                await beat()
                age(str(entries.INSTANCE), silent=True)
                await beat()
                return await sweep()

        assert asyncio.run(look()) == 0
        assert [one.event for one in ledger()] == [Event.STARTED]


# Partitions


def test_the_coming_months_have_partitions_and_the_default_one_is_empty() -> None:
    with as_owner() as owner:
        for ahead in range(3):
            (name,) = rows(
                owner,
                "SELECT 'audit_entry_' || to_char((now() AT TIME ZONE 'UTC') + %s * interval '1 month', 'YYYYMM')",
                ahead,
            )[0]
            assert rows(owner, "SELECT to_regclass(%s) IS NOT NULL", name) == [(True,)]
        assert rows(owner, "SELECT count(*) FROM audit_entry_other") == [(0,)]


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_months_are_those_of_utc_whatever_the_session_says(zone: str) -> None:
    with as_owner(autocommit=False) as owner:
        owner.execute("SELECT set_config('TimeZone', %s, true)", [zone])
        owner.execute("SELECT audit_partitions(14)")
        owner.execute("SET LOCAL TimeZone = 'UTC'")
        bounds = rows(
            owner,
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relname ~ 'audit_entry_2'"
            " AND relkind = 'r'",
        )
        owner.rollback()
    assert len(bounds) == 15
    assert all(bound.count("-01 00:00:00+00'") == 2 for (bound,) in bounds)


def test_a_month_with_rows_in_the_default_partition_keeps_nobody_from_starting() -> None:
    """As after months without a running hub, when a command was the first to write."""
    with as_owner(autocommit=False) as owner:
        owner.execute(
            "INSERT INTO audit_entry (at, tenant_id, event) VALUES (now() + interval '7 months', 1, 'changed')"
        )
        owner.execute("SELECT audit_partitions(9)")
        made = rows(
            owner,
            "SELECT to_regclass("
            "'audit_entry_' || to_char((now() AT TIME ZONE 'UTC') + m * interval '1 month', 'YYYYMM')) IS NULL"
            " FROM unnest(ARRAY[6, 7, 8]) m",
        )
        owner.rollback()
    assert made == [(False,), (True,), (False,)]


def test_who_reads_the_ledger_keeps_partitions_waiting_and_nobody_else() -> None:
    """As pg_dump does for as long as it takes."""
    with as_owner(autocommit=False) as reader, as_app() as hub:
        reader.execute("SELECT count(*) FROM audit_entry")
        hub.execute("SET statement_timeout = '5s'")
        hub.execute("SELECT audit_partitions(30)")
        hub.execute("SELECT audit_append('[]')")
        assert rows(hub, "SHOW lock_timeout") == [("0",)]
        made = "SELECT count(*) FROM pg_class WHERE relname ~ '^audit_entry_2[0-9]{5}$'"
        assert rows(hub, made)[0][0] < 30


def test_two_who_make_partitions_do_not_wait_for_each_other() -> None:
    with as_owner(autocommit=False) as first, as_app() as second:
        first.execute("SELECT audit_partitions(2)")
        second.execute("SET statement_timeout = '5s'")
        second.execute("SELECT audit_partitions(2)")


async def test_partitions_are_made_at_the_start_and_then_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    beats: list[int] = []
    enough = asyncio.Event()

    async def live() -> None:
        beats.append(1)
        if len(beats) == 5:
            enough.set()

    async def make() -> None:
        asked.append(1)

    async def find() -> int:
        return 0

    monkeypatch.setattr("audit.writer.HEARTBEAT", 0.0)
    for name, instead in (("beat", live), ("make_partitions", make), ("sweep", find)):
        monkeypatch.setattr(f"audit.writer.{name}", instead)
    pulse = asyncio.create_task(audit_writer._pulse())
    await asyncio.wait_for(enough.wait(), 10)
    assert asked == []
    monkeypatch.setattr("audit.writer.PARTITIONS_EVERY", 0.0)
    beats.clear()
    enough.clear()
    await asyncio.wait_for(enough.wait(), 10)
    assert len(asked) >= 4
    pulse.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulse


def test_a_row_cannot_say_when_it_was() -> None:
    tenant = -int.from_bytes(os.urandom(5), "big")
    with as_app() as hub:
        row = {**ROW, "tenant_id": tenant, "at": "1999-01-01T00:00:00Z"}
        hub.execute("SELECT audit_append(%s::jsonb)", [json.dumps([row])])
    with as_owner() as owner:
        assert rows(owner, "SELECT at > now() - interval '1 hour' FROM audit_entry WHERE tenant_id = %s", tenant) == [
            (True,)
        ]


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


@pytest.fixture
def enter_echo(cast: Cast) -> Any:
    cast.tool(cast.acme, "echo")
    return enter(cast, cast.uma)


@pytest.fixture
def enter_slow(cast: Cast) -> Any:
    cast.tool(cast.acme, "count_slowly", timeout=600)
    return enter(cast, cast.uma)
