"""The ledger's months: made ahead, by UTC, and in nobody's way."""

import asyncio

import pytest

from audit import writer as audit_writer
from tests.postgres import as_app, as_owner, rows


def test_the_coming_months_have_partitions_and_the_default_one_is_empty() -> None:
    with as_owner() as owner:
        for ahead in range(3):
            (name,) = rows(
                owner,
                "SELECT 'audit_entry_' || to_char((now() AT TIME ZONE 'UTC') + %s * interval '1 month', 'YYYYMM')",
                ahead,
            )[0]
            assert rows(owner, "SELECT to_regclass(%s) IS NOT NULL", name) == [(True,)]
        # What is older than this month is of other tests, which write as if long ago.
        recent = "SELECT count(*) FROM audit_entry_other WHERE at >= date_trunc('month', now() AT TIME ZONE 'UTC')"
        assert rows(owner, recent) == [(0,)]


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
