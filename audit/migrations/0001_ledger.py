"""The ledger's table, its partitions, the triggers that keep it append-only, and the three doors into it."""

from django.db import migrations, models

from lib.rls import definer, tenant_policy

COLUMNS = (
    "tenant_id bigint, event text, call_id uuid, instance_id uuid, actor text, credential text,"
    " client text, via text, address text, tool text, version int, outcome text, reason text, duration_ms real,"
    " digest text, preview jsonb, trace text, subject text, detail jsonb"
)
SILENCE = "interval '20 seconds'"
"""How long a process must be silent before what it left open may be declared interrupted."""
LOCK = "hashtextextended('mcphub instance ' || {}, 0)"
"""The advisory lock that a process holds while it lives."""
NAMES = ", ".join(column.strip().split(" ")[0] for column in COLUMNS.split(","))

TABLE = """
CREATE TABLE audit_entry (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    tenant_id bigint NOT NULL,
    event text NOT NULL,
    call_id uuid,
    instance_id uuid,
    actor text NOT NULL DEFAULT '',
    credential text NOT NULL DEFAULT '',
    client text NOT NULL DEFAULT '',
    via text NOT NULL DEFAULT '',
    address text NOT NULL DEFAULT '',
    tool text NOT NULL DEFAULT '',
    version int,
    outcome text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    duration_ms real,
    digest text NOT NULL DEFAULT '',
    preview jsonb,
    trace text NOT NULL DEFAULT '',
    subject text NOT NULL DEFAULT '',
    detail jsonb,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE INDEX audit_entry_tenant ON audit_entry (tenant_id, at DESC);
CREATE INDEX audit_entry_call ON audit_entry (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX audit_entry_time ON audit_entry USING brin (at);
CREATE TABLE audit_entry_other PARTITION OF audit_entry DEFAULT;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_entry_no_change BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entry_no_truncate BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entry_other_no_truncate BEFORE TRUNCATE ON audit_entry_other
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

CREATE TABLE audit_instance (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid int NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    steady_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

# The ledger's batches cross tenants by nature; this can do nothing but add rows, at the time it is.
APPEND = f"""
    INSERT INTO audit_entry (at, {NAMES})
    SELECT clock_timestamp(), tenant_id, event, call_id, instance_id, coalesce(actor, ''),
        coalesce(credential, ''), coalesce(client, ''), coalesce(via, ''), coalesce(address, ''), coalesce(tool, ''),
        version, coalesce(outcome, ''), coalesce(reason, ''), duration_ms, coalesce(digest, ''), preview,
        coalesce(trace, ''), coalesce(subject, ''), detail
    FROM jsonb_to_recordset(rows) AS given({COLUMNS})
"""  # noqa: S608 - constants of this file

# The same for a batch that may have landed already: what is there is left out.
APPEND_AGAIN = """
    SELECT audit_append(coalesce(jsonb_agg(given.row), '[]')) FROM jsonb_array_elements(rows) AS given(row)
    WHERE NOT EXISTS (
        SELECT FROM audit_entry e
        WHERE e.call_id = (given.row ->> 'call_id')::uuid AND e.event = given.row ->> 'event'
    )
"""

# Makes next months' partitions, in UTC whatever the session's time zone is. The default one catches rows should this
# ever fall behind (a hub that was off for months); a month it has rows of stays in it, as a partition cannot be added.
# Making one shuts every other user of the ledger out, and while it waits for one that reads (pg_dump), every append
# waits behind it. So it waits half a second at most and leaves the rest to the next time: there are months for it.
PARTITIONS = """
DECLARE
    month date := date_trunc('month', now() AT TIME ZONE 'UTC');
    following date;
    name text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('audit_partitions')) THEN
        RETURN;
    END IF;
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR ahead IN 0..months LOOP
        name := 'audit_entry_' || to_char(month, 'YYYYMM');
        following := month + interval '1 month';
        IF to_regclass(name) IS NULL AND NOT EXISTS (
            SELECT FROM audit_entry_other
            WHERE at >= month::timestamp AT TIME ZONE 'UTC' AND at < following::timestamp AT TIME ZONE 'UTC'
        ) THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF audit_entry FOR VALUES FROM (%L) TO (%L)',
                name, month || ' 00:00:00+00', following || ' 00:00:00+00');
            EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()',
                name || '_no_truncate', name);
        END IF;
        month := following;
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    RETURN;
END
"""

# What a process that is gone had started and not finished is declared interrupted, once. Gone is who is silent and
# whose lock nobody holds: one that merely stalls keeps its session, and with it its calls. No call lives longer than
# an hour (a tool's longest timeout), so two are looked at. After an outage of Postgres everybody was silent and held
# no lock: only who has been heard without a break since then may judge.
SWEEP = f"""
DECLARE
    dead record;
    found bigint := 0;
    added bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM audit_instance WHERE id = sweeper AND steady_at < clock_timestamp() - {SILENCE}) THEN
        RETURN 0;
    END IF;
    FOR dead IN
        DELETE FROM audit_instance WHERE seen_at < clock_timestamp() - {SILENCE} AND id <> sweeper
            AND pg_try_advisory_xact_lock({LOCK.format("id")}) RETURNING id, seen_at
    LOOP
        INSERT INTO audit_entry (at, tenant_id, event, call_id, instance_id, actor, credential, client, via, tool,
            version, outcome, reason, trace, duration_ms)
        SELECT clock_timestamp(), s.tenant_id, 'call.interrupted', s.call_id, s.instance_id, s.actor, s.credential,
            s.client, s.via, s.tool, s.version, 'interrupted', 'process_gone', s.trace, NULL
        FROM audit_entry s
        WHERE s.event = 'call.started' AND s.instance_id = dead.id
            AND s.at >= dead.seen_at - interval '2 hours'
            AND NOT EXISTS (SELECT FROM audit_entry f WHERE f.call_id = s.call_id AND f.event <> 'call.started');
        GET DIAGNOSTICS added = ROW_COUNT;
        found := found + added;
    END LOOP;
    RETURN found;
END
"""  # noqa: S608 - constants of this file

# A process says that it lives, and since when without a break, and holds its lock for as long as its session lasts.
# It is taken with every sign of life, as Postgres may have been restarted; taken twice is held once more. "Try",
# because a session that was cut off may still hold it; the next sign of life asks again.
HEARTBEAT = f"""
    SELECT pg_try_advisory_lock({LOCK.format("instance")});
    INSERT INTO audit_instance (id, host, pid) VALUES (instance, host, pid)
    ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), steady_at = CASE
        WHEN audit_instance.seen_at < clock_timestamp() - {SILENCE} THEN clock_timestamp()
        ELSE audit_instance.steady_at END
"""  # noqa: S608 - constants of this file

# A process that stopped with nothing left open takes its own name off, so that nobody has to look for it.
FAREWELL = "DELETE FROM audit_instance WHERE id = instance"


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.RunSQL(
            TABLE,
            "DROP TABLE audit_entry; DROP TABLE audit_instance; DROP FUNCTION audit_refuse();",
            state_operations=[
                migrations.CreateModel(
                    name="Entry",
                    fields=[("id", models.BigIntegerField(primary_key=True, serialize=False))],
                    options={
                        "db_table": "audit_entry",
                        "managed": False,
                        "ordering": ["-at", "-id"],
                        "verbose_name_plural": "entries",
                    },
                )
            ],
        ),
        tenant_policy("audit_entry"),
        definer("audit_append(rows jsonb)", "void", APPEND),
        definer("audit_append_again(rows jsonb)", "void", APPEND_AGAIN),
        definer("audit_partitions(months int)", "void", PARTITIONS, language="plpgsql"),
        definer("audit_sweep(sweeper uuid)", "bigint", SWEEP, language="plpgsql"),
        definer("audit_heartbeat(instance uuid, host text, pid int)", "void", HEARTBEAT),
        definer("audit_farewell(instance uuid)", "void", FAREWELL),
        migrations.RunSQL("SELECT audit_partitions(3)", migrations.RunSQL.noop),
    ]
