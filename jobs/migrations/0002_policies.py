"""Row-level security for jobs, and what workers and accepting processes do to them, each in one statement.

Workers serve all tenants, so they go by SECURITY DEFINER functions that answer ids, numbers and verdicts and never a
job's content; content is read and written in the tenant's own scope.
"""

from django.db import migrations

from lib.rls import VISIBLE, definer, tenant_policy

# jobs_worker is UNLOGGED: after a crash everybody says again within seconds that they are there. jobs_watch remembers
# since when the sweeper has looked without a gap.
TABLES = """
CREATE UNLOGGED TABLE jobs_worker (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid int NOT NULL,
    slots int NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE jobs_watch (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    steady_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO jobs_watch DEFAULT VALUES;
ALTER TABLE jobs_job SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
"""

# What every change of a job tells: the ledger, and whoever follows it. Only ids and words, never content.
TELL = """
    INSERT INTO audit_entry (at, tenant_id, event, call_id, actor, credential, client, via, address, tool, version,
        outcome, reason, digest, trace, subject, detail)
    SELECT clock_timestamp(), j.tenant_id, event, j.id, j.username, j.credential, j.client, j.via, j.address, j.tool,
        v.number, outcome, why, '', j.trace, 'job ' || j.id, detail
    FROM jobs_job j JOIN tools_version v ON v.id = j.version_id WHERE j.id = job;
    SELECT pg_notify('mcphub', json_build_object('t', j.tenant_id, 'j', j.id, 'e', 'state', 's', j.state)::text)
    FROM jobs_job j WHERE j.id = job
"""

# The same call of the same caller again joins what is there, within its window and unless that failed, was cancelled
# or ran out. The lock makes two such calls, perhaps on two servers, follow each other; so this must run in READ
# COMMITTED, where the second sees what the first wrote. The entry commits with the row or not at all. Far from the bound
# of waiting jobs nobody waits for anybody; near it the tenant's calls follow each other and each counts what the last
# one wrote, so that the bound holds unless a hundred count at once while it is still far.
ACCEPT = """
CREATE FUNCTION jobs_accept(
    given jsonb, sealed bytea, entry jsonb, replay float8, keeping float8, patience float8, usual_running int,
    usual_queued int
) RETURNS TABLE (verdict text, job uuid, wait float8, bell boolean) LANGUAGE plpgsql AS $body$
DECLARE
    own bigint := (given ->> 'tenant_id')::bigint;
    moment timestamptz := clock_timestamp();
    most_queued int;
    most_running int;
    queued bigint;
    held bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(given ->> 'fingerprint', own));
    moment := clock_timestamp();
    SELECT j.id INTO job FROM jobs_job j
    WHERE j.tenant_id = own AND j.fingerprint = given ->> 'fingerprint'
        AND j.created_at > moment - make_interval(secs => replay) AND j.cancel_at IS NULL
        AND (j.state IN ('queued', 'running', 'input_required', 'awaiting_approval')
            OR (j.state = 'succeeded' AND j.expires_at > moment)
            OR (j.state = 'interrupted' AND NOT j.idempotent))
    ORDER BY j.created_at DESC LIMIT 1;
    IF job IS NOT NULL THEN
        UPDATE jobs_job j SET joined_at = moment WHERE j.id = job;
        PERFORM audit_append(jsonb_build_array(
            entry || jsonb_build_object('event', 'job.joined', 'preview', NULL, 'subject', 'job ' || job)));
        RETURN QUERY SELECT 'joined', job, 0::float8, false;
        RETURN;
    END IF;
    SELECT coalesce(a.running, usual_running), coalesce(a.queued, usual_queued) INTO most_running, most_queued
    FROM (SELECT own AS tenant_id) o LEFT JOIN jobs_allowance a USING (tenant_id);
    FOR look IN 1..2 LOOP
        SELECT count(*) INTO queued FROM (
            SELECT FROM jobs_job j WHERE j.tenant_id = own AND j.state = 'queued' LIMIT most_queued) waiting;
        EXIT WHEN look = 2 OR queued < most_queued - 100;
        PERFORM pg_advisory_xact_lock(hashtextextended('jobs_accept', own));
    END LOOP;
    IF queued >= most_queued THEN
        SELECT least(300, greatest(5, 60.0 * queued / greatest(1, count(*)))) INTO wait FROM jobs_job j
        WHERE j.tenant_id = own AND j.ended_at > moment - interval '1 minute';
        PERFORM audit_append(jsonb_build_array(entry || jsonb_build_object(
            'event', 'call.refused', 'outcome', 'refused', 'reason', 'queue_full', 'preview', NULL)));
        RETURN QUERY SELECT 'full', NULL::uuid, wait, false;
        RETURN;
    END IF;
    SELECT count(*) INTO held FROM jobs_job j
    WHERE j.tenant_id = own AND j.state IN ('running', 'input_required');
    job := (given ->> 'id')::uuid;
    INSERT INTO jobs_job (id, tenant_id, member_id, version_id, tool, username, credential, client, via, address, trace,
        tracestate, scopes, state, reason, priority, idempotent, attempts, most_attempts, fence, cancelled_by,
        arguments, preview, fingerprint, message, result_key, result_bytes, created_at, changed_at, due_at, rung_at,
        patience_until, keep)
    SELECT job, own, g.member_id, g.version_id, g.tool, g.username, g.credential, g.client, g.via, g.address, g.trace,
        g.tracestate, g.scopes, 'queued', '', g.priority, g.idempotent, 0, g.most_attempts, 0, '',
        sealed, g.preview, g.fingerprint, '', '', 0, moment, moment, moment, moment,
        moment + make_interval(secs => patience), make_interval(secs => keeping)
    FROM jsonb_to_record(given) AS g(member_id bigint, version_id bigint, tool text, username text, credential text,
        client text, via text, address text, trace text, tracestate text, scopes text[], priority smallint,
        idempotent boolean, most_attempts smallint, preview jsonb, fingerprint text);
    PERFORM audit_append(jsonb_build_array(entry || jsonb_build_object('subject', 'job ' || job)));
    RETURN QUERY SELECT 'new', job, 0::float8, held + queued < most_running;
END
$body$;
"""

# The next job by fairness: the tenant that runs the fewest goes first, then the one that was served longest ago; within
# a tenant by priority and age. The last `kept` slots are for tenants that run nothing, so that nobody waits for
# somebody else's long jobs to end. One claim at a time, so that the counts are exact; the tenants that wait are found
# by skipping through the index, one probe each. A disabled tenant's jobs stay where they are. Nobody is waited for: a
# job that another transaction is at, to cancel it perhaps, is passed by. Asked again by a worker whose answer was lost,
# it gives the same job.
CLAIM = """
#variable_conflict use_column
DECLARE
    chosen uuid;
    passed uuid[] := '{}';
    busy bigint;
    slots bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('jobs_claim'));
    RETURN QUERY UPDATE jobs_job j SET lease_until = clock_timestamp() + make_interval(secs => lease)
        WHERE j.holder = worker AND j.state = 'running' AND j.begun_at IS NULL RETURNING j.id, j.tenant_id, j.fence;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT coalesce(sum(w.slots), 0) INTO slots FROM jobs_worker w WHERE w.seen_at > clock_timestamp() - interval '15 s';
    SELECT count(*) INTO busy FROM jobs_job j WHERE j.state IN ('running', 'input_required');
    LOOP
        WITH RECURSIVE held AS MATERIALIZED (
            SELECT j.tenant_id, count(*) AS many FROM jobs_job j
            WHERE j.state IN ('running', 'input_required') GROUP BY j.tenant_id
        ), waiting (tenant_id) AS (
            (SELECT j.tenant_id FROM jobs_job j WHERE j.state = 'queued' ORDER BY j.tenant_id LIMIT 1)
            UNION ALL
            SELECT (SELECT j.tenant_id FROM jobs_job j WHERE j.state = 'queued' AND j.tenant_id > w.tenant_id
                ORDER BY j.tenant_id LIMIT 1) FROM waiting w WHERE w.tenant_id IS NOT NULL
        )
        SELECT f.id INTO chosen FROM waiting w
        JOIN tenants_tenant t ON t.id = w.tenant_id AND t.enabled
        LEFT JOIN held h ON h.tenant_id = w.tenant_id
        LEFT JOIN jobs_allowance a ON a.tenant_id = w.tenant_id
        CROSS JOIN LATERAL (
            SELECT j.id, j.created_at FROM jobs_job j
            WHERE j.state = 'queued' AND j.tenant_id = w.tenant_id AND j.due_at <= clock_timestamp()
                AND j.id <> ALL (passed)
            ORDER BY j.priority DESC, j.due_at, j.id LIMIT 1
        ) f
        CROSS JOIN LATERAL (
            SELECT max(j.started_at) AS served FROM jobs_job j
            WHERE j.tenant_id = w.tenant_id AND j.started_at IS NOT NULL
        ) s
        WHERE coalesce(h.many, 0) < coalesce(a.running, usual)
            AND (coalesce(h.many, 0) = 0 OR busy < slots - least(kept, slots - 1))
        ORDER BY coalesce(h.many, 0), s.served NULLS FIRST, f.created_at LIMIT 1;
        IF chosen IS NULL THEN
            RETURN;
        END IF;
        passed := passed || chosen;
        PERFORM FROM jobs_job j WHERE j.id = chosen AND j.state = 'queued' FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        RETURN QUERY UPDATE jobs_job j SET state = 'running', fence = j.fence + 1, attempts = j.attempts + 1,
            holder = worker, started_at = clock_timestamp(), begun_at = NULL, changed_at = clock_timestamp(),
            lease_until = clock_timestamp() + make_interval(secs => lease), reason = ''
        WHERE j.id = chosen RETURNING j.id, j.tenant_id, j.fence;
        EXIT;
    END LOOP;
    PERFORM pg_notify('mcphub', json_build_object('t', j.tenant_id, 'j', j.id, 'e', 'state', 's', j.state)::text)
    FROM jobs_job j WHERE j.id = chosen;
END
"""

# From here on only an idempotent tool may be run again. Not when it was cancelled meanwhile or the lease was lost.
BEGIN = """
    WITH begun AS (
        UPDATE jobs_job SET begun_at = clock_timestamp()
        WHERE id = job AND fence = fenced AND state = 'running' AND cancel_at IS NULL RETURNING 1
    )
    SELECT EXISTS (SELECT FROM begun)
"""

# A sign of life of a running job, with its progress (NULL keeps what was there). `stop`: its tenant, tool, member or
# user was switched off meanwhile.
BEAT = """
    WITH held AS (
        UPDATE jobs_job j SET lease_until = clock_timestamp() + make_interval(secs => lease),
            progress = coalesce(jobs_beat.progress, j.progress), total = coalesce(jobs_beat.total, j.total),
            message = coalesce(jobs_beat.message, j.message), upstream = coalesce(jobs_beat.upstream, j.upstream),
            changed_at = CASE WHEN jobs_beat.progress IS NULL AND jobs_beat.message IS NULL THEN j.changed_at
                ELSE clock_timestamp() END
        WHERE j.id = job AND j.fence = fenced AND j.state IN ('running', 'input_required')
        RETURNING j.cancel_at, j.tenant_id, j.member_id, j.version_id
    )
    SELECT coalesce((
        SELECT CASE WHEN h.cancel_at IS NOT NULL THEN 'cancel'
            WHEN t.enabled AND m.active AND u.is_active AND o.enabled THEN 'held' ELSE 'stop' END
        FROM held h JOIN tenants_tenant t ON t.id = h.tenant_id JOIN tenants_member m ON m.id = h.member_id
        JOIN tenants_user u ON u.id = m.user_id JOIN tools_version v ON v.id = h.version_id
        JOIN tools_tool o ON o.id = v.tool_id
    ), 'lost')
"""

# Once for each claim: asked again by the same holder for the same end, it says `done` again, as the first answer may
# have been lost. What was asked to stop is cancelled whatever came of it: whoever asked was told so (MCP 2025-11-25,
# tasks). What hooks of the tenant are told is queued with it.
FINISH = """
DECLARE
    one jobs_job;
    moment timestamptz := clock_timestamp();
BEGIN
    UPDATE jobs_job j SET state = CASE WHEN j.cancel_at IS NULL THEN ended ELSE 'cancelled' END,
        reason = CASE WHEN j.cancel_at IS NULL OR ended = 'cancelled' THEN why ELSE 'cancelled' END,
        result = CASE WHEN j.cancel_at IS NULL THEN outcome END,
        result_key = CASE WHEN j.cancel_at IS NULL THEN stored ELSE '' END,
        result_bytes = CASE WHEN j.cancel_at IS NULL THEN size ELSE 0 END,
        error = CASE WHEN j.cancel_at IS NULL THEN failure END,
        ended_at = moment, changed_at = moment, lease_until = NULL,
        holder = NULL, inputs = NULL, answers = NULL, expires_at = moment + j.keep
    WHERE j.id = job AND j.fence = fenced AND j.state IN ('running', 'input_required') RETURNING * INTO one;
    IF NOT FOUND THEN
        RETURN coalesce((SELECT CASE WHEN j.fence = fenced AND j.ended_at IS NOT NULL
                AND (j.state = ended OR j.cancel_at IS NOT NULL) THEN 'done' ELSE 'lost' END
            FROM jobs_job j WHERE j.id = job), 'lost');
    END IF;
    PERFORM jobs_tell(job, 'job.ended', jobs_outcome(one.state), one.reason, NULL);
    PERFORM jobs_announce(job);
    RETURN 'done';
END
"""

OUTCOME = """
    SELECT CASE ended WHEN 'succeeded' THEN 'ok' WHEN 'failed' THEN 'error' WHEN 'cancelled' THEN 'cancelled'
        WHEN 'interrupted' THEN 'interrupted' WHEN 'expired' THEN 'timeout' ELSE '' END
"""

# Whenever a job has ended: its hooks will be told, and what its upstream said meanwhile is dropped. A hook that is
# being deleted is waited for, and told no more.
ANNOUNCE = """
    DELETE FROM jobs_callback WHERE job_id = job;
    INSERT INTO jobs_delivery (tenant_id, hook_id, job_id, state, attempts, created_at, due_at, said)
    SELECT j.tenant_id, h.id, j.id, 'waiting', 0, clock_timestamp(), clock_timestamp(), ''
    FROM jobs_job j JOIN jobs_hook h ON h.tenant_id = j.tenant_id AND h.enabled WHERE j.id = job
    FOR KEY SHARE OF h
    ON CONFLICT DO NOTHING
"""

# Given back by its holder: to be claimed again in so many seconds. counted: whether this was one of its attempts. What
# was asked to stop meanwhile is not queued again but ends.
RELEASE = """
DECLARE
    becomes text;
    moment timestamptz := clock_timestamp();
BEGIN
    UPDATE jobs_job j SET state = CASE WHEN j.cancel_at IS NULL THEN 'queued' ELSE 'cancelled' END,
        reason = CASE WHEN j.cancel_at IS NULL THEN why ELSE 'cancelled' END,
        begun_at = CASE WHEN j.cancel_at IS NOT NULL THEN j.begun_at END, holder = NULL, lease_until = NULL,
        attempts = CASE WHEN counted THEN j.attempts ELSE greatest(j.attempts - 1, 0) END, rung_at = NULL,
        inputs = NULL, answers = NULL, due_at = moment + make_interval(secs => seconds), changed_at = moment,
        ended_at = CASE WHEN j.cancel_at IS NOT NULL THEN moment END,
        expires_at = CASE WHEN j.cancel_at IS NOT NULL THEN moment + j.keep END
    WHERE j.id = job AND j.fence = fenced AND j.state IN ('running', 'input_required') RETURNING j.state INTO becomes;
    IF NOT FOUND THEN
        RETURN (SELECT CASE WHEN j.fence = fenced AND j.state IN ('queued', 'cancelled') THEN 'done' ELSE 'lost' END
            FROM jobs_job j WHERE j.id = job);
    END IF;
    IF becomes = 'cancelled' THEN
        PERFORM jobs_tell(job, 'job.ended', 'cancelled', 'cancelled', NULL);
        PERFORM jobs_announce(job);
    ELSE
        PERFORM jobs_tell(job, 'job.returned', '', why, NULL);
    END IF;
    RETURN 'done';
END
"""

# Only in the tenant's own scope. What has not been claimed ends at once; what runs is asked to stop.
CANCEL = f"""
DECLARE
    found text;
    moment timestamptz := clock_timestamp();
BEGIN
    UPDATE jobs_job j SET cancel_at = coalesce(j.cancel_at, moment),
        cancelled_by = CASE WHEN j.cancel_at IS NULL THEN by_whom ELSE j.cancelled_by END,
        changed_at = moment,
        state = CASE WHEN j.state IN ('queued', 'awaiting_approval') THEN 'cancelled' ELSE j.state END,
        ended_at = CASE WHEN j.state IN ('queued', 'awaiting_approval') THEN moment END,
        expires_at = CASE WHEN j.state IN ('queued', 'awaiting_approval') THEN moment + j.keep END,
        reason = CASE WHEN j.state IN ('queued', 'awaiting_approval') THEN 'cancelled' ELSE j.reason END
    WHERE j.id = job AND j.tenant_id = tenant AND tenant = {VISIBLE}
        AND j.state IN ('queued', 'awaiting_approval', 'running', 'input_required')
    RETURNING j.state INTO found;
    IF found IS NULL THEN
        RETURN (SELECT j.state FROM jobs_job j WHERE j.id = job AND j.tenant_id = tenant AND tenant = {VISIBLE});
    END IF;
    PERFORM jobs_tell(job, 'job.cancelled', 'cancelled', '', json_build_object('by', by_whom)::jsonb);
    IF found = 'cancelled' THEN
        PERFORM jobs_announce(job);
    END IF;
    PERFORM pg_notify('mcphub', json_build_object('t', tenant, 'j', job, 'e', 'cancel')::text);
    RETURN found;
END
"""  # noqa: S608 - of a constant

# One sweeper at a time. When nobody had swept for most of a lease, Postgres or all sweepers were away, and every lease
# looks dead while its holder lives: then nobody is judged until a whole lease was watched. What never started in time
# expires. What was handed back waits on, as it has begun to be served; but not where its tenant is disabled, as nobody
# would ever claim it. Answers how many workers should be called: no more than are idle, as who is busy looks for the
# next by itself, and unheard bells would pile up.
SWEEP = """
DECLARE
    watch jobs_watch;
    moment timestamptz := clock_timestamp();
    one record;
    idle bigint;
    called bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('jobs_sweep')) THEN
        RETURN 0;
    END IF;
    SELECT * INTO watch FROM jobs_watch FOR UPDATE;
    UPDATE jobs_watch SET last_at = moment,
        steady_at = CASE WHEN moment - watch.last_at > make_interval(secs => lease * 0.8) THEN moment
            ELSE watch.steady_at END
    RETURNING * INTO watch;
    IF moment - watch.steady_at >= make_interval(secs => lease) THEN
        FOR one IN
            UPDATE jobs_job j SET fence = j.fence + 1, holder = NULL, lease_until = NULL, changed_at = moment,
                inputs = NULL, answers = NULL, rung_at = NULL, state = dead.becomes,
                reason = CASE dead.becomes WHEN 'cancelled' THEN 'cancelled' WHEN 'failed' THEN 'never_begun'
                    ELSE 'process_gone' END,
                due_at = moment + make_interval(secs => least(60, 0.5 * 2 ^ least(j.attempts, 10)) * (0.5 + random())),
                ended_at = CASE WHEN dead.becomes <> 'queued' THEN moment END,
                expires_at = CASE WHEN dead.becomes <> 'queued' THEN moment + j.keep END
            FROM (
                SELECT d.id, CASE WHEN d.cancel_at IS NOT NULL THEN 'cancelled'
                    WHEN d.begun_at IS NULL AND d.attempts < 10 THEN 'queued'
                    WHEN d.begun_at IS NULL THEN 'failed'
                    WHEN d.upstream IS NOT NULL AND d.attempts < 10 THEN 'queued'
                    WHEN d.idempotent AND d.attempts < d.most_attempts THEN 'queued'
                    ELSE 'interrupted' END AS becomes
                FROM jobs_job d WHERE d.lease_until < moment FOR UPDATE SKIP LOCKED
            ) dead
            WHERE j.id = dead.id RETURNING j.id, j.state, j.reason
        LOOP
            PERFORM jobs_tell(one.id, CASE one.state WHEN 'queued' THEN 'job.returned'
                WHEN 'interrupted' THEN 'job.interrupted' ELSE 'job.ended' END,
                jobs_outcome(one.state), one.reason, NULL);
            IF one.state <> 'queued' THEN
                PERFORM jobs_announce(one.id);
            END IF;
        END LOOP;
    END IF;
    FOR one IN
        UPDATE jobs_job j SET state = CASE WHEN j.fence = 0 THEN 'expired' ELSE 'cancelled' END,
            reason = CASE WHEN j.fence = 0 THEN 'patience_over' ELSE 'standing_lost' END,
            ended_at = moment, changed_at = moment, expires_at = moment + j.keep
        WHERE j.id IN (
            SELECT late.id FROM jobs_job late WHERE late.state = 'queued' AND late.patience_until < moment
                AND (late.fence = 0
                    OR EXISTS (SELECT FROM tenants_tenant t WHERE t.id = late.tenant_id AND NOT t.enabled))
            FOR UPDATE OF late SKIP LOCKED)
        RETURNING j.id, j.state, j.reason
    LOOP
        PERFORM jobs_tell(one.id, CASE one.state WHEN 'expired' THEN 'job.expired' ELSE 'job.ended' END,
            jobs_outcome(one.state), one.reason, NULL);
        PERFORM jobs_announce(one.id);
    END LOOP;
    SELECT greatest(1, (SELECT coalesce(sum(w.slots), 0) FROM jobs_worker w WHERE w.seen_at > moment - interval '15 s'))
        - (SELECT count(*) FROM jobs_job j WHERE j.lease_until > moment) INTO idle;
    UPDATE jobs_job SET rung_at = moment WHERE id IN (
        SELECT j.id FROM jobs_job j WHERE j.state = 'queued' AND j.due_at <= moment
            AND (j.rung_at IS NULL OR j.rung_at < moment - interval '5 s')
        LIMIT least(64, greatest(idle, 0)) FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS called = ROW_COUNT;
    RETURN called;
END
"""

HERE = """
    INSERT INTO jobs_worker (id, host, pid, slots) VALUES (worker, host, pid, slots)
    ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), slots = excluded.slots;
    DELETE FROM jobs_worker WHERE seen_at < clock_timestamp() - interval '1 hour'
"""

GONE = "DELETE FROM jobs_worker WHERE id = worker"

# Removing a member takes their jobs along. The ledger says of an open one that it ended; whoever runs it hears so, and
# finds its lease lost.
REMOVED = """
BEGIN
    PERFORM jobs_tell(OLD.id, 'job.ended', 'cancelled', 'standing_lost', NULL);
    PERFORM pg_notify('mcphub', json_build_object('t', OLD.tenant_id, 'j', OLD.id, 'e', 'cancel')::text);
    RETURN OLD;
END
"""
WATCHED = """
CREATE TRIGGER removed BEFORE DELETE ON jobs_job FOR EACH ROW WHEN (OLD.ended_at IS NULL)
EXECUTE FUNCTION jobs_removed();
"""

# Numbers of the whole hub, for platform staff: nothing of them belongs to one tenant. `statement_timestamp`, here and
# below, as no index is used to compare with `clock_timestamp`.
HEALTH = """
    SELECT (SELECT count(*) FROM jobs_job WHERE state = 'queued'),
        (SELECT extract(epoch FROM clock_timestamp() - min(due_at))::float8 FROM jobs_job
            WHERE state = 'queued' AND due_at <= statement_timestamp()),
        (SELECT count(*) FROM jobs_job WHERE state IN ('running', 'input_required')),
        (SELECT count(*) FROM jobs_worker WHERE seen_at > clock_timestamp() - interval '15 s'),
        (SELECT coalesce(sum(slots), 0) FROM jobs_worker WHERE seen_at > clock_timestamp() - interval '15 s'),
        (SELECT count(*) FROM jobs_job WHERE ended_at > statement_timestamp() - interval '1 hour'),
        (SELECT count(*) FROM jobs_job WHERE ended_at > statement_timestamp() - interval '1 hour'
            AND state IN ('failed', 'interrupted', 'expired'))
"""

# What was kept for its followers is dropped when its time is over; the row stays another 30 days for its history.
# Answers the keys of results that lie in storage, for the caller to delete there, and whether there may be more to do.
FORGET = """
    WITH over AS (
        SELECT id, result_key FROM jobs_job WHERE expires_at < statement_timestamp() LIMIT 1000 FOR UPDATE SKIP LOCKED
    ), emptied AS (
        UPDATE jobs_job j SET expires_at = NULL, arguments = NULL, result = NULL, result_key = '', error = NULL,
            preview = NULL, message = '', changed_at = clock_timestamp()
        FROM over WHERE j.id = over.id
    ), old AS MATERIALIZED (
        SELECT id FROM jobs_job WHERE ended_at < statement_timestamp() - interval '30 days' AND expires_at IS NULL
        LIMIT 1000
    ), untold AS (
        DELETE FROM jobs_delivery WHERE job_id IN (SELECT id FROM old)
    ), unheard AS (
        DELETE FROM jobs_callback WHERE job_id IN (SELECT id FROM old)
    ), removed AS (
        DELETE FROM jobs_job WHERE id IN (SELECT id FROM old)
    )
    SELECT coalesce(array_agg(result_key::text) FILTER (WHERE result_key <> ''), '{}'),
        count(*) = 1000 OR (SELECT count(*) FROM old) = 1000 FROM over
"""

# Deliveries to hooks whose time has come, for who asks to send; nobody else gets them for `held` seconds. A few of each
# hook, so that one that is slow to answer does not keep the others waiting, and the tenants in turn.
DUE = """
    WITH due AS MATERIALIZED (
        SELECT d.id, d.due_at, row_number() OVER (PARTITION BY d.hook_id ORDER BY d.due_at, d.id) AS place,
            row_number() OVER (PARTITION BY d.tenant_id ORDER BY d.due_at, d.id) AS turn
        FROM jobs_delivery d JOIN jobs_hook h ON h.id = d.hook_id AND h.enabled
        JOIN tenants_tenant t ON t.id = d.tenant_id AND t.enabled
        WHERE d.state = 'waiting' AND d.due_at <= statement_timestamp()
    ), taken AS (
        SELECT d.id FROM jobs_delivery d
        WHERE d.id IN (SELECT u.id FROM due u WHERE u.place <= each ORDER BY u.place, u.turn, u.due_at LIMIT most)
            AND d.state = 'waiting' AND d.due_at <= statement_timestamp() FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs_delivery d SET attempts = d.attempts + 1, tried_at = clock_timestamp(),
        due_at = clock_timestamp() + make_interval(secs => held)
    FROM taken WHERE d.id = taken.id RETURNING d.id, d.tenant_id
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial"), ("audit", "0002_long_calls"), ("tenants", "0003_invitations")]
    operations = [
        migrations.RunSQL(TABLES, "DROP TABLE jobs_worker; DROP TABLE jobs_watch;"),
        tenant_policy("jobs_job"),
        tenant_policy("jobs_allowance"),
        tenant_policy("jobs_hook"),
        tenant_policy("jobs_delivery"),
        tenant_policy("jobs_callback"),
        definer("jobs_tell(job uuid, event text, outcome text, why text, detail jsonb)", "void", TELL),
        definer("jobs_announce(job uuid)", "void", ANNOUNCE),
        definer("jobs_outcome(ended text)", "text", OUTCOME, volatility="IMMUTABLE"),
        definer("jobs_removed()", "trigger", REMOVED, language="plpgsql"),
        migrations.RunSQL(WATCHED, "DROP TRIGGER removed ON jobs_job;"),
        migrations.RunSQL(
            ACCEPT,
            "DROP FUNCTION jobs_accept(jsonb, bytea, jsonb, float8, float8, float8, int, int);",
        ),
        definer(
            "jobs_claim(worker uuid, lease float8, kept int, usual int)",
            "TABLE (job uuid, tenant bigint, fence bigint)",
            CLAIM,
            language="plpgsql",
        ),
        definer("jobs_begin(job uuid, fenced bigint)", "boolean", BEGIN),
        definer(
            "jobs_beat(job uuid, fenced bigint, lease float8, progress float8, total float8, message text,"
            " upstream jsonb)",
            "text",
            BEAT,
        ),
        definer(
            "jobs_finish(job uuid, fenced bigint, ended text, why text, outcome bytea, stored text, size bigint,"
            " failure jsonb)",
            "text",
            FINISH,
            language="plpgsql",
        ),
        definer(
            "jobs_release(job uuid, fenced bigint, seconds float8, counted boolean, why text)",
            "text",
            RELEASE,
            language="plpgsql",
        ),
        definer("jobs_cancel(job uuid, tenant bigint, by_whom text)", "text", CANCEL, language="plpgsql"),
        definer("jobs_sweep(lease float8)", "bigint", SWEEP, language="plpgsql"),
        definer("jobs_worker_here(worker uuid, host text, pid int, slots int)", "void", HERE),
        definer("jobs_worker_gone(worker uuid)", "void", GONE),
        definer(
            "jobs_health()",
            "TABLE (queued bigint, oldest_wait float8, running bigint, workers bigint, slots bigint, ended bigint,"
            " failed bigint)",
            HEALTH,
        ),
        definer("jobs_forget()", "TABLE (keys text[], more boolean)", FORGET),
        definer("jobs_due(most int, each int, held float8)", "TABLE (delivery bigint, tenant bigint)", DUE),
    ]
