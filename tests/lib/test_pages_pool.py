"""The pool that pages use, when Postgres was away."""

import threading
import time

import psycopg
from django.db import connection, connections

from tests.database import superuser_conninfo
from tests.waiting import until


def _leave_idle(count: int) -> None:
    """So many connections in the pool that nobody uses."""
    meet = threading.Barrier(count)

    def use() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            meet.wait(30)
        finally:
            connection.close()

    users = [threading.Thread(target=use) for _ in range(count)]
    for user in users:
        user.start()
    for user in users:
        user.join()


def test_a_restart_that_broke_every_connection_is_overcome_at_the_first_look() -> None:
    connection.close()
    most = connections["default"].pool.max_size  # type: ignore[attr-defined]
    _leave_idle(most)
    with psycopg.connect(superuser_conninfo(), autocommit=True) as superuser:
        superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND usename = 'mcphub_app'"
        )
    before = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert time.monotonic() - before < 5  # one pause of about a second; without the cure none in ten seconds
    pool = connections["default"].pool  # type: ignore[attr-defined]
    until(lambda: pool.get_stats()["pool_available"] >= most - 1)  # its threads are done with what they make anew
