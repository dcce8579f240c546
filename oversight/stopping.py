"""How far a kill switch is: what is left of what ran, and when the last of it had stopped.

Found out from the ledger and the jobs' rows, which are what happened, so that it is the same whoever looks and when.
"""

import datetime
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils import timezone

from oversight import switches
from oversight.models import Switch

_LOOKED_AT = datetime.timedelta(hours=2)
# How long a call may have run before the switch was thrown is how long its tool may take; so far back is looked, and a
# minute on, for calls that were let in before. What is called later was switched on again elsewhere. What a process
# that is gone had begun does not run any more, whether or not the ledger says so yet.
_CALLS = """
WITH bound AS (
    SELECT least(interval '2 hours', make_interval(secs => coalesce(max(v.timeout), 0)) + interval '2 minutes') AS past
    FROM tools_version v WHERE v.tenant_id = ANY (%(tenants)s) AND v.runs = 'inline'
), begun AS MATERIALIZED (
    SELECT s.call_id, s.instance_id FROM audit_entry s
    WHERE s.tenant_id = ANY (%(tenants)s) AND s.at > %(thrown_at)s - (SELECT past FROM bound)
        AND s.at < %(thrown_at)s + interval '1 minute' AND s.event = 'call.started' AND s.subject NOT LIKE 'job %%'
        AND CASE %(sort)s
            WHEN 'tool' THEN s.version > 0 AND s.tool IN (
                SELECT v.name FROM tools_version v WHERE v.tool_id = %(target)s)
            WHEN 'connection' THEN s.tool IN (SELECT v.name FROM tools_version v WHERE v.connection_id = %(target)s)
            WHEN 'client' THEN s.credential = 'client:' || %(target)s OR s.credential IN (
                SELECT 'app:' || o.id FROM access_consent o WHERE o.client_id = %(target)s)
            WHEN 'user' THEN s.actor = (SELECT u.username FROM tenants_user u WHERE u.id = %(target)s)
            ELSE true END
)
SELECT count(*) FILTER (WHERE e.at IS NULL AND b.instance_id = ANY (oversight_living())), max(e.at),
    count(*) FILTER (WHERE e.detail ? 'thread')
FROM begun b LEFT JOIN LATERAL (
    SELECT e.at, e.detail FROM audit_entry e WHERE e.call_id = b.call_id AND e.event <> 'call.started'
    ORDER BY e.at LIMIT 1
) e ON true
WHERE e.at IS NULL OR e.at >= %(thrown_at)s
"""
# What had begun before the switch was thrown, or was let in just then. Asked each second while somebody looks, among
# jobs that are kept for weeks: what runs is found by `jobs_held`, what has ended since by `jobs_ended`.
_THEIRS = """
    j.tenant_id = ANY (%(tenants)s) AND j.started_at < %(thrown_at)s + interval '1 minute'
    AND CASE %(sort)s
        WHEN 'tool' THEN j.version_id IN (SELECT v.id FROM tools_version v WHERE v.tool_id = %(target)s)
        WHEN 'connection' THEN j.version_id IN (SELECT v.id FROM tools_version v WHERE v.connection_id = %(target)s)
        WHEN 'client' THEN j.credential = 'client:' || %(target)s OR j.credential IN (
            SELECT 'app:' || o.id FROM access_consent o WHERE o.client_id = %(target)s)
        WHEN 'user' THEN j.member_id IN (SELECT m.id FROM tenants_member m WHERE m.user_id = %(target)s)
        ELSE true END
"""
_JOBS = f"""
SELECT (SELECT count(*) FROM jobs_job j WHERE j.state IN ('running', 'input_required') AND {_THEIRS}),
    (SELECT max(j.ended_at) FROM jobs_job j WHERE j.ended_at >= %(thrown_at)s AND {_THEIRS})
"""  # noqa: S608 - of constants


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """calls, jobs: what still runs. threads: functions that were given up and may run on, unheard. stopped_at: when the
    last of it had stopped; None while something runs."""

    calls: int
    jobs: int
    threads: int
    stopped_at: datetime.datetime | None

    def told(self, thrown_at: datetime.datetime) -> str:
        """In words."""
        if self.stopped_at is not None:
            seconds = max(0.0, (self.stopped_at - thrown_at).total_seconds())
            return f"all stopped after {seconds:.1f} s"
        left = [_counted(self.calls, "call"), _counted(self.jobs, "job")]
        return f"stopping: {', '.join(one for one in left if one)} left"


def _counted(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}" if many else ""


def _sees_all() -> bool:
    """Whether every tenant is in the scope of who looks: what one tenant's admin finds is not said for the others."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT oversight_tenants() <@"
            " coalesce(nullif(current_setting('mcphub.tenants', true), ''), '{}')::bigint[]"
        )
        return bool(cursor.fetchone()[0])


def progress(switch: Switch) -> Progress:
    """How far it is now; kept with the switch once nothing is left. Runs in the scope of the tenants it touches.

    What has long stopped is not looked for again.
    """
    if switch.stopped_at is not None and timezone.now() - switch.thrown_at > _LOOKED_AT:
        return Progress(calls=0, jobs=0, threads=0, stopped_at=switch.stopped_at)
    thing = switches.thing_of(switch)
    asked: dict[str, Any] = {
        "tenants": thing.tenants() if thing is not None else [],
        "sort": switch.sort,
        "target": int(switch.target or 0),
        "thrown_at": switch.thrown_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CALLS, asked)
        calls, last_call, threads = cursor.fetchone()
        if switch.stopped_at is not None:
            return Progress(calls=0, jobs=0, threads=threads, stopped_at=switch.stopped_at)
        cursor.execute(_JOBS, asked)
        jobs, last_job = cursor.fetchone()
    if calls or jobs:
        return Progress(calls=calls, jobs=jobs, threads=threads, stopped_at=None)
    stopped_at = max(one for one in (switch.thrown_at, last_call, last_job) if one is not None)
    if switch.tenant_id is None and not _sees_all():
        return Progress(calls=0, jobs=0, threads=threads, stopped_at=stopped_at)  # of what the reader sees of it
    Switch.objects.filter(pk=switch.pk, stopped_at=None, thrown_at=switch.thrown_at).update(stopped_at=stopped_at)
    switch.stopped_at = stopped_at
    return Progress(calls=0, jobs=0, threads=threads, stopped_at=stopped_at)
