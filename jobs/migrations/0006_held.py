"""Jobs that are held until a second person releases them.

The job's row is the one arbiter: whoever changes its state away from `awaiting_approval` has decided, and everybody else
finds it changed. Rows are locked in one order, the job before its approval.
"""

from importlib import import_module

from django.db import migrations

from lib.rls import VISIBLE, definer

_before = import_module("jobs.migrations.0002_policies")


def _changed(body: str, *edits: tuple[str, str]) -> str:
    """The body with these texts replaced, each of which must be there once."""
    for old, new in edits:
        if body.count(old) != 1:
            raise ValueError(f"there once was one {old!r} in it")
        body = body.replace(old, new)
    return body


# As before, but that a job keeps what people said yes to; that the same call joins a held job for as long as it is
# held, of this version of the tool, for the same place, and by the same reviewers unless nothing holds it now,
# and then within the window from when it was approved; and that where a second person has to say yes, the job is held
# with an approval, of which one member has so many waiting at the most. Its calls follow each other there, so that the
# bound is exact. Who may decide is who could at that moment.
ACCEPT = _changed(
    _before.ACCEPT,
    ("CREATE FUNCTION jobs_accept(", "CREATE OR REPLACE FUNCTION jobs_accept("),
    (
        "    held bigint;\n",
        "    held bigint;\n    review jsonb := nullif(given -> 'held', 'null');\n    open bigint;\n",
    ),
    (
        "AND j.created_at > moment - make_interval(secs => replay) AND j.cancel_at IS NULL",
        """AND j.cancel_at IS NULL AND CASE WHEN j.state = 'awaiting_approval'
            THEN j.version_id = (given ->> 'version_id')::bigint AND (review IS NULL OR EXISTS (
                SELECT FROM jobs_approval a,
                    jsonb_to_record(review) AS r(destination text, roles text[], groups text[])
                WHERE a.job_id = j.id AND (a.destination, a.roles::text[], a.groups::text[])
                    = (r.destination, r.roles, r.groups)))
            ELSE j.created_at > moment - make_interval(secs => replay) OR EXISTS (
                SELECT FROM jobs_approval a WHERE a.job_id = j.id AND a.state = 'approved'
                AND a.decided_at > moment - make_interval(secs => replay)) END""",
    ),
    (
        "    SELECT coalesce(a.running, usual_running), coalesce",
        """    IF review IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('jobs_held ' || (given ->> 'member_id'), own));
        SELECT count(*) INTO open FROM jobs_approval a
        WHERE a.tenant_id = own AND a.member_id = (given ->> 'member_id')::bigint AND a.state = 'waiting';
        IF open >= (review ->> 'most')::int THEN
            PERFORM audit_append(jsonb_build_array(entry || jsonb_build_object(
                'event', 'call.refused', 'outcome', 'refused', 'reason', 'too_many_waiting', 'preview', NULL)));
            RETURN QUERY SELECT 'crowded', NULL::uuid, 0::float8, false;
            RETURN;
        END IF;
    END IF;
    SELECT coalesce(a.running, usual_running), coalesce""",
    ),
    ("result_bytes, created_at,", "result_bytes, agreed, created_at,"),
    ("g.fingerprint, '', '', 0, moment", "g.fingerprint, '', '', 0, coalesce(g.agreed, ''), moment"),
    ("preview jsonb, fingerprint text)", "preview jsonb, fingerprint text, agreed text)"),
    (
        "g.scopes, 'queued', '', g.priority",
        "g.scopes,\n        CASE WHEN review IS NULL THEN 'queued' ELSE 'awaiting_approval' END, '', g.priority",
    ),
    (
        "    RETURN QUERY SELECT 'new', job, 0::float8, held + queued < most_running;",
        """    IF review IS NOT NULL THEN
        INSERT INTO jobs_approval (id, tenant_id, job_id, member_id, tool, manifest_hash, digest, destination,
            arguments, rule, message, found, roles, groups, reviewers, state, created_at, expires_at, reason, broken,
            mail_due_at, mail_attempts)
        SELECT r.id, own, job, (given ->> 'member_id')::bigint, given ->> 'tool', r.manifest_hash, r.digest,
            r.destination, sealed, r.rule, r.message, r.found, r.roles, r.groups, ARRAY(
                SELECT m.id FROM tenants_member m JOIN tenants_user u ON u.id = m.user_id AND u.is_active
                WHERE m.tenant_id = own AND m.active AND m.id <> (given ->> 'member_id')::bigint
                    AND (m.role = ANY (r.roles) OR EXISTS (
                        SELECT FROM tenants_group_members x JOIN tenants_group g ON g.id = x.group_id
                        WHERE x.member_id = m.id AND g.tenant_id = own AND g.name = ANY (r.groups)))),
            'waiting', moment, moment + make_interval(mins => r.minutes), '', '', moment, 0
        FROM jsonb_to_record(review) AS r(id uuid, manifest_hash text, digest text, destination text, rule text,
            message text, found text[], roles text[], groups text[], minutes int);
        INSERT INTO jobs_delivery (tenant_id, hook_id, job_id, about, state, attempts, created_at, due_at, said)
        SELECT own, h.id, job, 'held', 'waiting', 0, moment, moment, ''
        FROM jobs_hook h WHERE h.tenant_id = own AND h.enabled FOR KEY SHARE OF h;
        PERFORM audit_append(jsonb_build_array(entry || jsonb_build_object('event', 'job.held', 'preview', NULL,
            'subject', 'job ' || job, 'detail', jsonb_build_object('approval', review ->> 'id',
            'rule', review ->> 'rule', 'roles', review -> 'roles', 'groups', review -> 'groups',
            'minutes', review -> 'minutes'))));
    END IF;
    RETURN QUERY SELECT 'new', job, 0::float8, review IS NULL AND held + queued < most_running;""",
    ),
)

ANNOUNCE = _changed(
    _before.ANNOUNCE,
    ("(tenant_id, hook_id, job_id, state,", "(tenant_id, hook_id, job_id, about, state,"),
    ("SELECT j.tenant_id, h.id, j.id, 'waiting',", "SELECT j.tenant_id, h.id, j.id, 'ended', 'waiting',"),
)

FORGET = _changed(
    _before.FORGET,
    (
        "    ), removed AS (",
        """    ), unsaid AS (
        DELETE FROM jobs_note WHERE approval_id IN (
            SELECT id FROM jobs_approval WHERE job_id IN (SELECT id FROM old))
    ), unasked AS (
        DELETE FROM jobs_approval WHERE job_id IN (SELECT id FROM old)
    ), removed AS (""",
    ),
)

# Whatever ends the wait, a person, time, the caller or a kill switch: its approval follows the job in the same moment.
SETTLED = """
BEGIN
    UPDATE jobs_approval SET decided_at = clock_timestamp(), mail_due_at = NULL,
        state = CASE WHEN NEW.state = 'queued' THEN 'approved' WHEN NEW.state = 'expired' THEN 'expired'
            WHEN NEW.reason = 'approval_denied' THEN 'denied' ELSE 'withdrawn' END,
        reason = CASE WHEN NEW.state = 'cancelled' THEN NEW.reason ELSE '' END
    WHERE job_id = NEW.id AND state = 'waiting';
    RETURN NULL;
END
"""
WATCHED = """
CREATE TRIGGER settled AFTER UPDATE OF state ON jobs_job FOR EACH ROW
WHEN (OLD.state = 'awaiting_approval' AND NEW.state <> OLD.state) EXECUTE FUNCTION jobs_settled();
"""

# Only in the tenant's own scope, and once for each job: false when it no longer waits, or waits too long. decision:
# `approved`, `denied`, `broken` (an owner released it alone) or `void` (what was asked for is not there any more: why).
# A released job has its whole patience from now on. It is called for by whoever decided, once this is committed.
DECIDE = f"""
DECLARE
    moment timestamptz := clock_timestamp();
    freed boolean := decision IN ('approved', 'broken');
    told text;
BEGIN
    UPDATE jobs_job j SET state = CASE WHEN freed THEN 'queued' ELSE 'cancelled' END,
        agreed = CASE WHEN freed THEN 'approved' ELSE j.agreed END, reason = why,
        message = CASE WHEN decision = 'denied' THEN left(said, 200) ELSE j.message END, changed_at = moment,
        due_at = moment, rung_at = moment, patience_until = moment + (j.patience_until - j.created_at),
        ended_at = CASE WHEN NOT freed THEN moment END, expires_at = CASE WHEN NOT freed THEN moment + j.keep END
    FROM jobs_approval a
    WHERE j.id = job AND j.tenant_id = tenant AND tenant = {VISIBLE} AND j.state = 'awaiting_approval'
        AND j.cancel_at IS NULL AND a.job_id = j.id AND a.state = 'waiting' AND a.expires_at > moment;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF decision <> 'void' THEN
        UPDATE jobs_approval SET decided_by_id = person, reason = left(said, 500),
            broken = CASE WHEN decision = 'broken' THEN left(said, 500) ELSE '' END,
            mail_due_at = CASE WHEN decision = 'broken' THEN moment END, mail_attempts = 0
        WHERE job_id = job;
        told := CASE decision WHEN 'approved' THEN 'approval.given' WHEN 'denied' THEN 'approval.denied'
            ELSE 'approval.broken' END;
        PERFORM audit_append(jsonb_build_array(jsonb_build_object('tenant_id', tenant, 'event', told, 'call_id', j.id,
            'actor', by_whom, 'via', 'portal', 'tool', j.tool, 'version', v.number, 'reason', why,
            'subject', 'job ' || j.id, 'detail', jsonb_build_object('by', by_whom, 'for', j.username,
            'digest', a.digest, 'manifest', a.manifest_hash, 'said', said))))
        FROM jobs_job j JOIN tools_version v ON v.id = j.version_id JOIN jobs_approval a ON a.job_id = j.id
        WHERE j.id = job;
    END IF;
    IF decision = 'broken' THEN
        INSERT INTO jobs_delivery (tenant_id, hook_id, job_id, about, state, attempts, created_at, due_at, said)
        SELECT tenant, h.id, job, 'broken', 'waiting', 0, moment, moment, ''
        FROM jobs_hook h WHERE h.tenant_id = tenant AND h.enabled FOR KEY SHARE OF h;
    END IF;
    IF freed THEN
        PERFORM pg_notify('mcphub', json_build_object('t', tenant, 'j', job, 'e', 'state', 's', 'queued')::text);
    ELSE
        PERFORM jobs_tell(job, 'job.ended', 'cancelled', why, NULL);
        PERFORM jobs_announce(job);
    END IF;
    RETURN true;
END
"""  # noqa: S608 - of a constant

# What nobody decided in time ends. What another transaction is at, to approve it perhaps, is left to the next time.
LAPSE = """
DECLARE
    moment timestamptz := clock_timestamp();
    one record;
BEGIN
    FOR one IN
        UPDATE jobs_job j SET state = 'expired', reason = 'approval_expired', ended_at = moment, changed_at = moment,
            expires_at = moment + j.keep
        WHERE j.id IN (
            SELECT w.id FROM jobs_job w JOIN jobs_approval a ON a.job_id = w.id
            WHERE a.state = 'waiting' AND a.expires_at <= moment AND w.state = 'awaiting_approval' LIMIT 200
            FOR UPDATE OF w SKIP LOCKED)
        RETURNING j.id
    LOOP
        PERFORM jobs_tell(one.id, 'job.expired', 'timeout', 'approval_expired', NULL);
        PERFORM jobs_announce(one.id);
    END LOOP;
END
"""

# Approvals of which people are to be written to, for who asks to write; nobody else gets them for so many seconds. While
# their tenant or everything is stopped nobody is asked to decide on what cannot run; what an owner released alone is told
# of all the same.
MAILS = """
    UPDATE jobs_approval a SET mail_attempts = a.mail_attempts + 1,
        mail_due_at = clock_timestamp() + make_interval(secs => taken)
    WHERE a.id IN (
        SELECT d.id FROM jobs_approval d JOIN tenants_tenant t ON t.id = d.tenant_id
        WHERE d.mail_due_at <= statement_timestamp()
            AND (d.broken <> '' OR (t.enabled AND NOT EXISTS (SELECT FROM tenants_stop)))
        ORDER BY d.mail_due_at LIMIT most FOR UPDATE OF d SKIP LOCKED)
    RETURNING a.id, a.tenant_id, a.mail_attempts::int
"""


def _replace(signature: str, returns: str, body: str) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {signature} RETURNS {returns} LANGUAGE sql VOLATILE SECURITY DEFINER"
        f" SET search_path = public, pg_temp AS $body$ {body} $body$;"
    )


_FORGETS = ("jobs_forget()", "TABLE (keys text[], more boolean)")
_ANNOUNCES = ("jobs_announce(job uuid)", "void")


class Migration(migrations.Migration):
    dependencies = [("jobs", "0005_approval_policies")]
    operations = [
        migrations.RunSQL(ACCEPT, _before.ACCEPT.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")),
        migrations.RunSQL(_replace(*_ANNOUNCES, ANNOUNCE), _replace(*_ANNOUNCES, _before.ANNOUNCE)),
        migrations.RunSQL(_replace(*_FORGETS, FORGET), _replace(*_FORGETS, _before.FORGET)),
        definer("jobs_settled()", "trigger", SETTLED, language="plpgsql"),
        migrations.RunSQL(WATCHED, "DROP TRIGGER settled ON jobs_job;"),
        definer(
            "jobs_decide(job uuid, tenant bigint, decision text, person bigint, by_whom text, why text, said text)",
            "boolean",
            DECIDE,
            language="plpgsql",
        ),
        definer("jobs_lapse()", "void", LAPSE, language="plpgsql"),
        definer("jobs_mails(most int, taken float8)", "TABLE (approval uuid, tenant bigint, attempts int)", MAILS),
    ]
