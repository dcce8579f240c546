"""What a kill switch does to jobs: they end, say why, and none is taken up while everything is stopped."""

from importlib import import_module

from django.db import migrations

from lib.rls import VISIBLE, definer

_policies = import_module("jobs.migrations.0002_policies")

# The open jobs of a tool, a connection, a client, a user, a tenant, or of everything; how many there were. It reaches
# the tenants of the transaction and no others, which are those whose jobs row-level security would let the hub's role
# change anyway: a tenant's admin has one tenant in sight, platform staff all. It is a function for the ledger's sake,
# as nothing else may write entries of jobs. What has not been claimed ends at once; what runs is asked to stop. One
# kill at a time, so that two do not wait for each other's rows; and no row is waited for, as nothing may keep a switch
# from being thrown: a job that somebody else is at ends by its standing, when a worker takes it up or shows life. Five
# thousand at a time, as a statement has its time; whoever calls it does so again until there are fewer.
KILL = f"""
DECLARE
    one record;
    moment timestamptz := clock_timestamp();
    many bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('jobs_kill'));
    FOR one IN
        UPDATE jobs_job j SET cancel_at = moment, cancelled_by = by_whom, changed_at = moment, reason = 'killed',
            state = CASE WHEN j.state IN ('queued', 'awaiting_approval') THEN 'cancelled' ELSE j.state END,
            ended_at = CASE WHEN j.state IN ('queued', 'awaiting_approval') THEN moment END,
            expires_at = CASE WHEN j.state IN ('queued', 'awaiting_approval') THEN moment + j.keep END
        WHERE j.id IN (
            SELECT k.id FROM jobs_job k
            WHERE k.tenant_id = {VISIBLE} AND (tenant IS NULL OR k.tenant_id = tenant) AND k.cancel_at IS NULL
                AND k.ended_at IS NULL
                AND CASE sort
                    WHEN 'tool' THEN k.version_id IN (SELECT v.id FROM tools_version v WHERE v.tool_id = target)
                    WHEN 'connection' THEN
                        k.version_id IN (SELECT v.id FROM tools_version v WHERE v.connection_id = target)
                    WHEN 'client' THEN k.credential = 'client:' || target
                        OR k.credential IN (SELECT 'app:' || o.id FROM access_consent o WHERE o.client_id = target)
                    WHEN 'user' THEN k.member_id IN (SELECT m.id FROM tenants_member m WHERE m.user_id = target)
                    WHEN 'tenant' THEN k.tenant_id = target
                    ELSE sort = 'everything' END
            LIMIT 5000 FOR UPDATE SKIP LOCKED)
        RETURNING j.id, j.tenant_id, j.state
    LOOP
        many := many + 1;
        PERFORM jobs_tell(one.id, 'job.cancelled', 'cancelled', 'killed', json_build_object('by', by_whom)::jsonb);
        IF one.state = 'cancelled' THEN
            PERFORM jobs_announce(one.id);
        END IF;
        PERFORM pg_notify('mcphub', json_build_object('t', one.tenant_id, 'j', one.id, 'e', 'cancel')::text);
    END LOOP;
    RETURN many;
END
"""  # noqa: S608 - of a constant

NOTHING_STOPPED = "NOT EXISTS (SELECT FROM tenants_stop)"


def _changed(body: str, *pairs: tuple[str, str]) -> str:
    """The same function but for these places, each of which is there."""
    for old, new in pairs:
        if old not in body:
            raise ValueError(old)
        body = body.replace(old, new)
    return body


CLAIM = _changed(
    _policies.CLAIM,
    (
        "    PERFORM pg_advisory_xact_lock(hashtext('jobs_claim'));\n",
        "    PERFORM pg_advisory_xact_lock(hashtext('jobs_claim'));\n"
        "    IF EXISTS (SELECT FROM tenants_stop) THEN\n        RETURN;\n    END IF;\n",
    ),
)
BEAT = _changed(
    _policies.BEAT,
    ("AND o.enabled THEN", f"AND o.enabled AND coalesce(c.enabled, true) AND {NOTHING_STOPPED} THEN"),
    (
        "JOIN tools_tool o ON o.id = v.tool_id",
        "JOIN tools_tool o ON o.id = v.tool_id LEFT JOIN tools_connection c ON c.id = v.connection_id",
    ),
)
# What a kill switch said stays the reason, whoever writes the end.
FINISH = _changed(
    _policies.FINISH,
    (
        "reason = CASE WHEN j.cancel_at IS NULL OR ended = 'cancelled' THEN why",
        "reason = CASE WHEN j.cancel_at IS NOT NULL AND j.reason = 'killed' AND why <> 'ended_by_force' THEN 'killed'"
        " WHEN j.cancel_at IS NULL OR ended = 'cancelled' THEN why",
    ),
)
RELEASE = _changed(
    _policies.RELEASE,
    (
        "reason = CASE WHEN j.cancel_at IS NULL THEN why ELSE",
        "reason = CASE WHEN j.cancel_at IS NULL THEN why WHEN j.reason = 'killed' THEN 'killed' ELSE",
    ),
    (
        "PERFORM jobs_tell(job, 'job.ended', 'cancelled', 'cancelled', NULL);",
        "PERFORM jobs_tell(job, 'job.ended', 'cancelled', (SELECT j.reason FROM jobs_job j WHERE j.id = job), NULL);",
    ),
)
SWEEP = _changed(
    _policies.SWEEP,
    (
        "reason = CASE dead.becomes WHEN 'cancelled' THEN 'cancelled'",
        "reason = CASE dead.becomes WHEN 'cancelled' THEN CASE j.reason WHEN 'killed' THEN 'killed' ELSE 'cancelled' END",
    ),
)
# Nothing is told to anybody outside while everything is stopped; deliveries wait, and go out afterwards.
DUE = _changed(
    _policies.DUE,
    ("WHERE d.state = 'waiting' AND d.due_at", f"WHERE {NOTHING_STOPPED} AND d.state = 'waiting' AND d.due_at"),
)

# By how each was made: everything about it but its body stays.
NEW = {
    _policies.CLAIM: CLAIM,
    _policies.BEAT: BEAT,
    _policies.FINISH: FINISH,
    _policies.RELEASE: RELEASE,
    _policies.SWEEP: SWEEP,
    _policies.DUE: DUE,
}


def _replaced() -> list[migrations.RunSQL]:
    found = []
    for made in _policies.Migration.operations:
        for old, new in NEW.items():
            if isinstance(made, migrations.RunSQL) and f"$body$ {old} $body$" in made.sql:
                again = made.sql.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
                found.append(migrations.RunSQL(again.replace(old, new), again))
    return found


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0006_held"),
        ("tenants", "0006_oversight"),
        ("tools", "0004_governed"),
        ("access", "0007_pins"),
    ]
    operations = [
        # The few that are open among the many that are kept for their history.
        migrations.RunSQL(
            "CREATE INDEX jobs_open ON jobs_job (tenant_id) WHERE ended_at IS NULL;", "DROP INDEX jobs_open;"
        ),
        definer("jobs_kill(sort text, target bigint, tenant bigint, by_whom text)", "bigint", KILL, language="plpgsql"),
        *_replaced(),
    ]
