"""Row-level security for limits, and the buckets they are counted in."""

from django.db import migrations

from lib.rls import definer, tenant_policy

# UNLOGGED: a crash forgives what was counted, which is the cheap side to err on. No tenant's data is in it.
TABLE = """
CREATE UNLOGGED TABLE policy_bucket (
    key text PRIMARY KEY,
    tat double precision NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
"""

# Locks every bucket it needs in one order (no deadlocks), counts in memory in the order the calls came, writes once.
# A bucket that is not there yet must not be made here: the locks held by then would be out of order. The answer is one
# row for call -1, and the caller opens the buckets in a transaction of its own and asks again.
TAKE = """
DECLARE
    names text[];
    tats float8[];
    changed boolean[];
    moment float8;
    first int := 1;
    last int;
    total int := coalesce(array_length(calls, 1), 0);
    place int;
    ahead float8;
    worst float8;
    worst_bucket text;
BEGIN
    SELECT array_agg(key), array_agg(tat), array_agg(false) INTO names, tats, changed FROM (
        SELECT key, tat FROM policy_bucket WHERE key = ANY (buckets) ORDER BY key FOR UPDATE
    ) held;
    IF coalesce(array_length(names, 1), 0) < (SELECT count(DISTINCT b) FROM unnest(buckets) b) THEN
        call := -1;
        RETURN NEXT;
        RETURN;
    END IF;
    moment := extract(epoch FROM clock_timestamp());
    WHILE first <= total LOOP
        last := first;
        worst := 0;
        WHILE last <= total AND calls[last] = calls[first] LOOP
            place := array_position(names, buckets[last]);
            ahead := greatest(tats[place], moment) + costs[last] - moment - windows[last];
            IF ahead > 1e-6 AND ahead > worst THEN
                worst := ahead;
                worst_bucket := buckets[last];
            END IF;
            last := last + 1;
        END LOOP;
        IF worst > 0 THEN
            call := calls[first];
            bucket := worst_bucket;
            wait := worst;
            RETURN NEXT;
        ELSE
            FOR i IN first..last - 1 LOOP
                place := array_position(names, buckets[i]);
                tats[place] := greatest(tats[place], moment) + costs[i];
                changed[place] := true;
            END LOOP;
        END IF;
        first := last;
    END LOOP;
    UPDATE policy_bucket b SET tat = new.tat FROM unnest(names, tats, changed) AS new(key, tat, moved)
        WHERE b.key = new.key AND new.moved;
END
"""


# Makes the buckets that are not there, full: in one order, holding nothing else.
OPEN = """
    INSERT INTO policy_bucket (key, tat)
    SELECT DISTINCT b, extract(epoch FROM clock_timestamp()) FROM unnest(buckets) b ORDER BY b ON CONFLICT DO NOTHING
"""

# Drops what has been full for a while. Buckets in use are left for the next round rather than waited for.
FORGET = """
    DELETE FROM policy_bucket WHERE key IN (
        SELECT key FROM policy_bucket WHERE tat < extract(epoch FROM clock_timestamp()) - 10 FOR UPDATE SKIP LOCKED
    )
"""


class Migration(migrations.Migration):
    dependencies = [("policy", "0001_initial")]
    operations = [
        tenant_policy("policy_limit"),
        migrations.RunSQL(TABLE, "DROP TABLE policy_bucket;"),
        definer(
            "policy_take(calls int[], buckets text[], costs float8[], windows float8[])",
            "TABLE (call int, bucket text, wait float8)",
            TAKE,
            language="plpgsql",
        ),
        definer("policy_open(buckets text[])", "void", OPEN),
        definer("policy_forget()", "void", FORGET),
    ]
