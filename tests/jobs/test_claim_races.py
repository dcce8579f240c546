"""Many workers that claim, and many hosts that call, at the same moment: each by a connection of its own.

In a database where nothing else claims, sweeps or accepts, since all of it is committed.
"""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, LiteralString, TypeVar

import orjson
import psycopg
import pytest
from psycopg import sql

from lib.ids import uuid7
from tests.cast import Cast
from tests.database import doomed
from tests.jobs.queues import Queue, callable_in
from tests.postgres import Connection, as_owner, rows

AT_ONCE = 12
_COPIED: dict[str, LiteralString] = {
    "tenants_user": "id IN (SELECT user_id FROM tenants_member WHERE tenant_id = ANY(%(tenants)s)"
    " UNION SELECT published_by_id FROM tools_version WHERE tenant_id = ANY(%(tenants)s))",
    "tenants_tenant": "id = ANY(%(tenants)s)",
    "tenants_member": "tenant_id = ANY(%(tenants)s)",
    "tools_tool": "tenant_id = ANY(%(tenants)s)",
    "tools_version": "tenant_id = ANY(%(tenants)s)",
}
Found = TypeVar("Found")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[dict[str, str]]:
    with doomed() as (environment, _):
        yield environment


@pytest.fixture
def crowd(cast: Cast, elsewhere: dict[str, str]) -> Iterator[Queue]:
    """acme and beta in that other database, with no jobs there yet."""
    tools = callable_in(cast)
    with psycopg.connect(elsewhere["DATABASE_OWNER_URL"], autocommit=True) as conn:
        _copy(conn, [cast.acme.pk, cast.beta.pk])
        conn.execute("DELETE FROM jobs_job; DELETE FROM jobs_worker; DELETE FROM jobs_allowance")
        yield Queue(conn, cast, tools)


def _copy(conn: Connection, tenants: list[int]) -> None:
    """The tenants with their people and tools, as they are in the tests' database."""
    with as_owner() as here, conn.transaction():
        for name, which in _COPIED.items():
            table = sql.Identifier(name)
            query = sql.SQL("SELECT row_to_json(t)::text FROM {} t WHERE {}").format(table, sql.SQL(which))
            put = sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_record(NULL::{}, %s)")
            for row in here.execute(query, {"tenants": tenants}).fetchall():
                conn.execute(put.format(table, table), row)


def at_once(url: str, act: Callable[[Connection], Found]) -> list[Found]:
    """What each of them got, each in a thread and on a connection of its own, all begun together."""
    together = Barrier(AT_ONCE)

    def one() -> Found:
        with psycopg.connect(url, autocommit=True, options="-c statement_timeout=20s") as conn:
            together.wait(20)
            return act(conn)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [future.result(60) for future in [threads.submit(one) for _ in range(AT_ONCE)]]


@pytest.mark.parametrize(
    ("slots", "kept", "usual", "most"),
    [
        pytest.param(20, 0, 3, 3, id="what a tenant may have"),
        pytest.param(4, 1, 8, 3, id="the slot that is kept"),
    ],
)
def test_who_claims_at_once_gets_each_job_once_and_passes_no_bound(
    crowd: Queue, elsewhere: dict[str, str], slots: int, kept: int, usual: int, most: int
) -> None:
    acme, beta = crowd.cast.acme, crowd.cast.beta
    crowd.workers(slots)
    waiting = {*crowd.put(acme, 60), *crowd.put(beta, 20)}

    def work(conn: Connection) -> tuple[list[uuid.UUID], int, int]:
        return _work(conn, kept, usual)

    got = at_once(elsewhere["DATABASE_URL"], work)
    claimed = [job for jobs, _, _ in got for job in jobs]
    assert len(claimed) == len(set(claimed))
    assert {*claimed} == waiting
    assert max(of_one for _, of_one, _ in got) == most
    if kept:
        assert max(of_all for _, _, of_all in got) <= slots
    ends = rows(crowd.conn, "SELECT state, attempts, fence, count(*) FROM jobs_job GROUP BY 1, 2, 3")
    assert ends == [("succeeded", 1, 1, len(waiting))]


def _work(conn: Connection, kept: int, usual: int) -> tuple[list[uuid.UUID], int, int]:
    """Claim and finish until nothing waits: what was claimed, and the most that ran at once, of a tenant and of all."""
    claimed: list[uuid.UUID] = []
    of_one = of_all = 0
    while rows(conn, "SELECT queued FROM jobs_health()")[0][0]:
        found = rows(conn, "SELECT * FROM jobs_claim(gen_random_uuid(), 60, %s, %s)", kept, usual)
        for job, tenant, fence in found:
            claimed.append(job)
            conn.execute("SELECT set_config('mcphub.tenants', %s, false)", [f"{{{tenant}}}"])
            query = "SELECT count(*) FROM jobs_job WHERE state = 'running'"
            of_one = max(of_one, rows(conn, query)[0][0])
            of_all = max(of_all, rows(conn, "SELECT running FROM jobs_health()")[0][0])
            finish = "SELECT jobs_finish(%s, %s, 'succeeded', '', NULL, '', 0, NULL)"
            assert rows(conn, finish, job, fence) == [("done",)]
    return claimed, of_one, of_all


@pytest.mark.parametrize("bound", [1, 5])
def test_calls_at_once_do_not_fill_a_queue_beyond_its_bound(
    crowd: Queue, elsewhere: dict[str, str], bound: int
) -> None:
    verdicts = at_once(elsewhere["DATABASE_URL"], lambda conn: _accept(conn, crowd, bound))
    assert (verdicts.count("new"), verdicts.count("full")) == (bound, AT_ONCE - bound)
    assert rows(crowd.conn, "SELECT count(*) FROM jobs_job") == [(bound,)]


def _accept(conn: Connection, crowd: Queue, bound: int) -> str:
    tenant = crowd.cast.acme.pk
    version, member = crowd.tools[tenant]
    given: dict[str, Any] = {
        "id": str(uuid7()),
        "tenant_id": tenant,
        "member_id": member,
        "version_id": version,
        "scopes": [],
        "priority": 0,
        "idempotent": True,
        "most_attempts": 1,
        "preview": None,
        "fingerprint": uuid.uuid4().hex,
        **dict.fromkeys(("tool", "username", "credential", "client", "via", "address", "trace", "tracestate"), "x"),
    }
    entry = {"tenant_id": tenant, "event": "job.accepted", "call_id": given["id"], "instance_id": given["id"]}
    with conn.transaction():
        conn.execute("SELECT set_config('mcphub.tenants', %s, true)", [f"{{{tenant}}}"])
        said = [orjson.dumps(one).decode() for one in (given, entry)]
        query = "SELECT verdict FROM jobs_accept(%s, 'x'::bytea, %s, 0, 3600, 3600, 8, %s)"
        return str(rows(conn, query, *said, bound)[0][0])
