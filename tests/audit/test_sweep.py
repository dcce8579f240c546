"""The sweep: a call cut off with its process is found and said, and that of a living process is left alone."""

# ruff: noqa: S608 - the names of columns come from this file

import asyncio
import contextlib
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from audit import entries
from audit import writer as audit_writer
from audit.models import Event
from audit.writer import beat, open_writer, sweep
from lib import db
from tests.audit.conftest import ROW, Ledger
from tests.cast import Cast
from tests.postgres import as_app, as_owner, rows
from tests.waiting import until


def age(instance: str, *, silent: bool) -> None:
    """Move a process's signs of life a minute back: silent since then, or heard without a break since then."""
    column = "seen_at" if silent else "steady_at"
    with as_owner() as owner:
        owner.execute(f"UPDATE audit_instance SET {column} = {column} - interval '1 minute' WHERE id = %s", [instance])


@contextlib.contextmanager
def doomed_call(cast: Cast) -> Iterator[str]:
    """A server process killed in mid-call, the only one here; yields its instance id."""
    with as_owner() as owner:  # tests of jobs kill processes too
        owner.execute(
            "DELETE FROM audit_instance WHERE pg_try_advisory_xact_lock(hashtextextended('mcphub instance ' || id, 0))"
        )
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
        age(str(entries.instance()), silent=False)
        return await sweep()


def test_a_call_cut_off_by_a_crash_is_marked_interrupted_exactly_once(cast: Cast, ledger: Ledger) -> None:
    with doomed_call(cast) as instance:
        pass
    age(instance, silent=True)

    async def sweep_from_two_processes() -> list[int]:
        async with db.open_pool(size=4):
            await beat()
            age(str(entries.instance()), silent=False)
            return list(await asyncio.gather(sweep(), sweep(), sweep(), sweep()))

    asyncio.run(sweep_from_two_processes())
    started, interrupted = until(lambda: _both(ledger))
    assert (started.event, interrupted.event) == (Event.STARTED, Event.INTERRUPTED)
    assert (interrupted.call_id, interrupted.reason, interrupted.outcome) == (
        started.call_id,
        "process_gone",
        "interrupted",
    )
    assert sum(asyncio.run(sweep_from_two_processes())) == 0
    assert len(ledger()) == 2


def _both(ledger: Ledger) -> list[Any]:
    """The start and the end, once there are both: a process of the hub, which sweeps as well, may be at it."""
    found = ledger()
    return found if len(found) == 2 else []


def test_a_living_process_keeps_its_calls(cast: Cast, ledger: Ledger) -> None:
    with doomed_call(cast):
        assert asyncio.run(look_for_the_dead()) == 0
        assert [one.event for one in ledger()] == [Event.STARTED]


def test_a_process_that_stalls_keeps_its_calls_however_silent_it_is(cast: Cast, ledger: Ledger) -> None:
    with doomed_call(cast) as instance:
        age(instance, silent=True)
        assert asyncio.run(look_for_the_dead()) == 0
        assert [one.event for one in ledger()] == [Event.STARTED]
    asyncio.run(look_for_the_dead())
    assert until(lambda: _both(ledger))[1].event == Event.INTERRUPTED


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
        monkeypatch.setattr("audit.writer.instance", lambda instance=instance: instance)
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
                age(str(entries.instance()), silent=True)
                await beat()
                return await sweep()

        assert asyncio.run(look()) == 0
        assert [one.event for one in ledger()] == [Event.STARTED]
