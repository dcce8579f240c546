"""Who is served next: by tenants first, so that one tenant's ten thousand jobs do not delay another's one.

By the hub's own function, in a transaction that nobody else sees and that is taken back.
"""

from tests.cast import Cast
from tests.jobs.desk import keep_workers_away
from tests.jobs.place import place
from tests.jobs.queues import Queue, queue_fixture
from tests.postgres import CANCEL, as_owner, rows

__all__ = ["queue_fixture"]


def test_one_job_goes_before_another_tenants_ten_thousand(queue: Queue) -> None:
    acme, beta = queue.cast.acme, queue.cast.beta
    queue.workers(8)
    queue.put(acme, 10_000)
    queue.put(beta, 1)
    assert queue.tenants(4) == [acme.pk, beta.pk, acme.pk, acme.pk]


def test_tenants_take_turns(queue: Queue) -> None:
    acme, beta = queue.cast.acme, queue.cast.beta
    queue.workers(8)
    queue.put(acme, 10)
    queue.put(beta, 10)
    assert queue.tenants(6) == [acme.pk, beta.pk] * 3


def test_who_was_served_longest_ago_goes_first_also_when_nobody_runs_anything(queue: Queue) -> None:
    acme, beta = queue.cast.acme, queue.cast.beta
    queue.workers(1)
    queue.put(acme, 20)
    assert [queue.serve(), queue.serve()] == [acme.pk] * 2
    queue.put(beta, 2)
    assert [queue.serve() for _ in range(4)] == [beta.pk, acme.pk, beta.pk, acme.pk]


def test_the_last_slot_is_for_who_has_nothing_running(queue: Queue) -> None:
    acme, beta = queue.cast.acme, queue.cast.beta
    queue.workers(4)
    queue.put(acme, 10)
    assert queue.tenants(4, kept=1) == [acme.pk, acme.pk, acme.pk, None]
    queue.put(beta, 2)
    assert queue.tenants(2, kept=1) == [beta.pk, None]


def test_a_single_slot_is_for_everybody(queue: Queue) -> None:
    queue.workers(1)
    queue.put(queue.cast.acme, 1)
    assert queue.claim(kept=1) is not None


def test_a_tenant_runs_no_more_than_it_may(queue: Queue) -> None:
    acme, beta = queue.cast.acme, queue.cast.beta
    queue.workers(20)
    queue.put(acme, 10)
    queue.put(beta, 10)
    queue.conn.execute("INSERT INTO jobs_allowance (tenant_id, running, queued) VALUES (%s, 3, 1000)", [beta.pk])
    served = queue.tenants(8, usual=2)
    assert (served.count(acme.pk), served.count(beta.pk), served.count(None)) == (2, 3, 3)


def test_within_a_tenant_priority_goes_before_age(queue: Queue) -> None:
    queue.workers(4)
    (low,), (usual,), (high,) = (queue.put(queue.cast.acme, priority=priority) for priority in (-5, 0, 5))
    assert [queue.claim()[0] for _ in range(3)] == [high, usual, low]


def test_priority_does_not_cross_tenants(queue: Queue) -> None:
    acme, beta = queue.cast.acme, queue.cast.beta
    queue.workers(8)
    queue.put(beta, 1)
    queue.put(acme, 10, priority=10)
    assert beta.pk in queue.tenants(2)


def test_what_is_not_due_and_what_is_of_a_disabled_tenant_stays(queue: Queue) -> None:
    queue.workers(4)
    queue.put(queue.cast.acme, due="1 hour")
    queue.put(queue.cast.beta)
    queue.conn.execute("UPDATE tenants_tenant SET enabled = false WHERE id = %s", [queue.cast.beta.pk])
    assert queue.claim() is None


def test_a_job_that_is_not_due_does_not_hide_those_that_are(queue: Queue) -> None:
    queue.workers(4)
    queue.put(queue.cast.acme, due="1 hour", priority=10)
    (due,) = queue.put(queue.cast.acme)
    assert queue.claim()[0] == due


def test_workers_that_fell_silent_do_not_count_as_slots(queue: Queue) -> None:
    queue.workers(2)
    queue.conn.execute("UPDATE jobs_worker SET seen_at = now() - interval '16 s'")
    queue.put(queue.cast.acme, 2)
    assert queue.claim(kept=1) is not None
    assert queue.claim(kept=1) is None


def test_who_lost_the_lease_can_write_nothing(queue: Queue) -> None:
    queue.workers(1)
    queue.put(queue.cast.acme)
    job, _, fence = queue.claim()
    queue.conn.execute("UPDATE jobs_job SET fence = fence + 1 WHERE id = %s", [job])
    before = rows(queue.conn, "SELECT * FROM jobs_job WHERE id = %s", job)
    for statement, answer in (
        ("SELECT jobs_begin(%s, %s)", False),
        ("SELECT jobs_beat(%s, %s, 60, 1, 2, 'here', '{}')", "lost"),
        ("SELECT jobs_finish(%s, %s, 'succeeded', '', 'x'::bytea, '', 1, NULL)", "lost"),
        ("SELECT jobs_release(%s, %s, 0, true, 'mine')", "lost"),
    ):
        assert rows(queue.conn, statement, job, fence) == [(answer,)]
    assert rows(queue.conn, "SELECT * FROM jobs_job WHERE id = %s", job) == before
    assert rows(queue.conn, "SELECT FROM audit_entry WHERE subject = %s", f"job {job}") == []


def test_an_end_that_is_written_again_is_one_end(queue: Queue) -> None:
    queue.workers(1)
    queue.put(queue.cast.acme)
    job, _, fence = queue.claim()
    finish = "SELECT jobs_finish(%s, %s, 'succeeded', '', 'x'::bytea, '', 1, NULL)"
    assert [rows(queue.conn, finish, job, fence) for _ in range(2)] == [[("done",)], [("done",)]]
    assert rows(queue.conn, "SELECT jobs_finish(%s, %s, 'failed', '', NULL, '', 0, NULL)", job, fence) == [("lost",)]
    assert rows(queue.conn, "SELECT event FROM audit_entry WHERE subject = %s", f"job {job}") == [("job.ended",)]


def test_what_is_given_back_after_it_was_asked_to_stop_ends(queue: Queue) -> None:
    queue.put(queue.cast.acme)
    job, tenant, fence = queue.claim()
    assert rows(queue.conn, CANCEL, tenant, job, tenant) == [("running",)]
    release = "SELECT jobs_release(%s, %s, 60, true, 'upstream_timeout')"
    assert [rows(queue.conn, release, job, fence) for _ in range(2)] == [[("done",)], [("done",)]]
    found = rows(queue.conn, "SELECT state, reason, expires_at - ended_at = keep FROM jobs_job WHERE id = %s", job)
    assert found == [("cancelled", "cancelled", True)]
    told = rows(queue.conn, "SELECT event, outcome FROM audit_entry WHERE subject = %s ORDER BY id", f"job {job}")
    assert told == [("job.cancelled", "cancelled"), ("job.ended", "cancelled")]


def test_nobody_waits_for_a_transaction_that_is_at_the_next_job(cast: Cast) -> None:
    """Its process may have stopped there."""
    here, tool = place(cast), cast.tool(cast.acme, "leave_a_mark", runs="background")
    keep_workers_away(cast, cast.acme)
    first, second = (here.accept(tool, {"path": "/nowhere"}, priority=priority) for priority in (1, 0))
    with as_owner(autocommit=False) as person, as_owner(autocommit=False) as worker:
        rows(person, CANCEL, cast.acme.pk, first.id, cast.acme.pk)
        worker.execute("SET LOCAL lock_timeout = '5s'")
        worker.execute("UPDATE jobs_allowance SET running = 1 WHERE tenant_id = %s", [cast.acme.pk])
        # What other tests have left in the queue would go first.
        worker.execute(
            "UPDATE jobs_job SET due_at = 'infinity' WHERE tenant_id <> %s AND state = 'queued'", [cast.acme.pk]
        )
        assert rows(worker, "SELECT job FROM jobs_claim(gen_random_uuid(), 60, 0, 1000)") == [(second.id,)]
        worker.rollback()
        person.commit()
    assert first.row()["state"] == "cancelled"
    second.ask_to_stop()


def test_who_asks_again_as_the_answer_was_lost_gets_the_same_job(queue: Queue) -> None:
    queue.workers(4)
    queue.put(queue.cast.acme, 2)
    claim = "SELECT * FROM jobs_claim('01a1fdc2-0000-7000-8000-000000000000', 60, 0, 1000)"
    first, again = rows(queue.conn, claim), rows(queue.conn, claim)
    assert first == again != []
    assert rows(queue.conn, "SELECT state, attempts FROM jobs_job ORDER BY state") == [("queued", 0), ("running", 1)]
