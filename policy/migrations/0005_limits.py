"""Limits of more than calls."""

from importlib import import_module
from typing import Any

import django.core.validators
from django.db import migrations, models

from lib.rls import definer

# UNLOGGED like the buckets, so that a crash forgets both together. `policy_hold` is what calls that run now hold of a
# bucket until they end, or until they surely have: `owed` is charged then. `policy_past` is what went before: calls in
# sixty slots of a window and the one that is being filled, newest first.
TABLES = """
ALTER TABLE policy_bucket ADD COLUMN day int NOT NULL DEFAULT 0;
ALTER TABLE policy_bucket ADD COLUMN spent double precision NOT NULL DEFAULT 0;
CREATE UNLOGGED TABLE policy_hold (
    key text NOT NULL,
    holder uuid NOT NULL,
    cost double precision NOT NULL,
    owed double precision NOT NULL,
    since double precision NOT NULL,
    expires double precision NOT NULL,
    PRIMARY KEY (key, holder)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE UNLOGGED TABLE policy_past (
    key text PRIMARY KEY,
    width double precision NOT NULL,
    slot bigint NOT NULL,
    counts int[] NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
"""
NO_TABLES = """
DROP TABLE policy_past;
DROP TABLE policy_hold;
ALTER TABLE policy_bucket DROP COLUMN spent;
ALTER TABLE policy_bucket DROP COLUMN day;
"""

# Ends and takes, in this order, all or none of what each call asks for.
#
# names: every bucket it touches, in the order of their bytes, which is the order they are locked in. `places` and
# `ended` point into it. fresh: those of them that hardly exist yet. They are made first, while nothing is locked: who
# makes one waits at the most for somebody who makes another or who counts, and who counts waits for nobody who makes,
# so there is no circle. A bucket that was thought to be there and is not gives one row for call -1, and nothing was
# taken: the caller asks again and calls all of them fresh.
#
# modes: 0 drains with time (GCRA: `tat` is when it is empty again); 1 is empty again at midnight UTC; 2 and 3 are held
# until the call ends, or for the call's `lasts` seconds: of a 2 nothing is used up, of a 3 as much as `used` says, or
# everything where nobody ever says it. Nothing but a holder of the bucket's lock touches its holds.
TAKE = """
DECLARE
    total int := coalesce(array_length(names, 1), 0);
    asked int := coalesce(array_length(calls, 1), 0);
    tats float8[];
    days int[];
    spents float8[];
    moved boolean[];
    held float8[];
    oldest float8[];
    soonest float8[];
    taken int[] := '{}';
    again boolean := false;
    stale boolean := false;
    moment float8;
    today int;
    first int := 1;
    last int;
    place int;
    ahead float8;
    pause float8;
    worst int;
    one record;
BEGIN
    IF array_length(fresh, 1) > 0 THEN
        INSERT INTO policy_bucket (key, tat) SELECT b, extract(epoch FROM clock_timestamp()) FROM unnest(fresh) b
            ORDER BY b COLLATE "C" ON CONFLICT DO NOTHING;
    END IF;
    SELECT array_agg(b.tat), array_agg(b.day), array_agg(b.spent), array_agg(false) INTO tats, days, spents, moved FROM (
        SELECT * FROM policy_bucket WHERE key = ANY (names) ORDER BY key COLLATE "C" FOR UPDATE
    ) b;
    IF coalesce(array_length(tats, 1), 0) < total THEN
        call := -1;
        RETURN NEXT;
        RETURN;
    END IF;
    moment := extract(epoch FROM clock_timestamp());
    today := floor(moment / 86400);

    IF array_length(ended, 1) > 0 THEN
        FOR one IN
            WITH gone AS (
                DELETE FROM policy_hold h USING unnest(ended, enders, used) AS e(place, holder, used)
                WHERE h.key = names[e.place] AND h.holder = e.holder RETURNING e.place, e.used
            )
            SELECT * FROM gone WHERE gone.used > 0
        LOOP
            tats[one.place] := greatest(tats[one.place], moment) + one.used;
            moved[one.place] := true;
        END LOOP;
    END IF;

    IF array_length(holding, 1) > 0 THEN
        held := array_fill(0::float8, ARRAY[total]);
        oldest := array_fill(moment, ARRAY[total]);
        soonest := oldest;
        FOR one IN
            SELECT array_position(names, h.key) AS place, sum(h.cost) FILTER (WHERE h.expires > moment) AS cost,
                   min(h.since) FILTER (WHERE h.expires > moment) AS since,
                   min(h.expires) FILTER (WHERE h.expires > moment) AS expires,
                   bool_or(h.expires <= moment) AS stale, bool_or(h.holder = ANY (ids)) AS again
            FROM policy_hold h WHERE h.key = ANY (holding) GROUP BY h.key
        LOOP
            held[one.place] := coalesce(one.cost, 0);
            oldest[one.place] := coalesce(one.since, moment);
            soonest[one.place] := coalesce(one.expires, moment);
            again := again OR one.again;
            stale := stale OR one.stale;
        END LOOP;
    END IF;
    IF stale THEN
        FOR one IN
            DELETE FROM policy_hold h WHERE h.key = ANY (holding) AND h.expires <= moment
            RETURNING array_position(names, h.key) AS place, h.owed, h.expires
        LOOP
            IF one.owed > 0 THEN
                tats[one.place] := greatest(tats[one.place], one.expires) + one.owed;
                moved[one.place] := true;
            END IF;
        END LOOP;
    END IF;

    WHILE first <= asked LOOP
        last := first;
        worst := 0;
        wait := 0;
        WHILE last <= asked AND calls[last] = calls[first] LOOP
            place := places[last];
            pause := 0;
            IF modes[last] = 1 THEN
                IF days[place] <> today THEN
                    days[place] := today;
                    spents[place] := 0;
                END IF;
                IF spents[place] + costs[last] > windows[last] THEN
                    pause := (today + 1) * 86400.0 - moment;
                END IF;
            ELSE
                ahead := greatest(tats[place], moment) + costs[last] - moment - windows[last];
                IF modes[last] = 0 THEN
                    pause := CASE WHEN ahead > 1e-6 THEN ahead ELSE 0 END;
                ELSIF ahead + held[place] > 1e-6 AND NOT (again AND EXISTS (
                    SELECT FROM policy_hold h WHERE h.key = names[place] AND h.holder = ids[calls[last] + 1]
                )) THEN
                    -- What has run for so long may well run for as long again; then it is surely over.
                    pause := CASE WHEN ahead > 1e-6 THEN ahead
                        ELSE greatest(1, least(moment - oldest[place], soonest[place] - moment)) END;
                END IF;
            END IF;
            IF pause > wait THEN
                wait := pause;
                worst := last;
            END IF;
            last := last + 1;
        END LOOP;
        IF worst > 0 THEN
            call := calls[first];
            charge := worst;
            spare := CASE WHEN modes[worst] = 1 THEN windows[worst] - spents[places[worst]] ELSE 0 END;
            RETURN NEXT;
        ELSE
            FOR i IN first..last - 1 LOOP
                place := places[i];
                IF modes[i] = 0 THEN
                    tats[place] := greatest(tats[place], moment) + costs[i];
                    moved[place] := true;
                ELSIF modes[i] = 1 THEN
                    spents[place] := spents[place] + costs[i];
                    moved[place] := true;
                ELSE
                    IF NOT (again AND EXISTS (
                        SELECT FROM policy_hold h WHERE h.key = names[place] AND h.holder = ids[calls[i] + 1]
                    )) THEN
                        held[place] := held[place] + costs[i];
                        taken := taken || i;
                    END IF;
                END IF;
            END LOOP;
        END IF;
        first := last;
    END LOOP;

    IF array_length(taken, 1) > 0 THEN
        INSERT INTO policy_hold (key, holder, cost, owed, since, expires)
            SELECT names[places[i]], ids[calls[i] + 1], costs[i], CASE modes[i] WHEN 3 THEN costs[i] ELSE 0 END,
                   moment, moment + lasts[calls[i] + 1]
            FROM unnest(taken) i ON CONFLICT DO NOTHING;
    END IF;
    IF true = ANY (moved) THEN
        UPDATE policy_bucket b SET tat = new.tat, day = new.day, spent = new.spent
            FROM unnest(names, tats, days, spents, moved) AS new(key, tat, day, spent, moved)
            WHERE b.key = new.key AND new.moved;
    END IF;
END
"""

# Adds to each window in one order, so that two batches never wait for each other in a circle, and answers what is in it
# now. A slot that is only partly within the window counts wholly: never too little, and too much by what came in a
# sixtieth of it at the most. Who had to wait for the row may be late; then it counts where the row has got to.
NOTE = """
    INSERT INTO policy_past AS p (key, width, slot, counts)
        SELECT n.key, n.seconds / 60, floor(extract(epoch FROM clock_timestamp()) / (n.seconds / 60)), ARRAY[n.times]
        FROM unnest(names, seconds, times) AS n(key, seconds, times) ORDER BY n.key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET
        slot = greatest(p.slot, excluded.slot),
        counts = CASE WHEN excluded.slot <= p.slot THEN ARRAY[p.counts[1] + excluded.counts[1]] || p.counts[2:]
            ELSE (excluded.counts || array_fill(0, ARRAY[least(excluded.slot - p.slot - 1, 60)::int]) || p.counts)[1:61]
            END
    RETURNING p.key, (SELECT sum(c) FROM unnest(p.counts) c)::int
"""

# Drops what says nothing any more: holds of who is gone, charging what they owe; buckets that are full again; windows
# that nothing is left in. What is in use is left for the next round rather than waited for.
FORGET = """
DECLARE
    moment float8 := extract(epoch FROM clock_timestamp());
    free text[];
BEGIN
    SELECT array_agg(key) INTO free FROM (
        SELECT key FROM policy_bucket WHERE key IN (SELECT h.key FROM policy_hold h WHERE h.expires <= moment)
        FOR UPDATE SKIP LOCKED
    ) b;
    WITH gone AS (
        DELETE FROM policy_hold h WHERE h.key = ANY (free) AND h.expires <= moment RETURNING h.key, h.owed, h.expires
    )
    UPDATE policy_bucket b SET tat = greatest(b.tat, d.expires) + d.owed
        FROM (SELECT key, max(expires) AS expires, sum(owed) AS owed FROM gone GROUP BY key) d
        WHERE b.key = d.key AND d.owed > 0;
    DELETE FROM policy_bucket WHERE key IN (
        SELECT b.key FROM policy_bucket b WHERE b.tat < moment - 10 AND b.day < floor(moment / 86400)
            AND NOT EXISTS (SELECT FROM policy_hold h WHERE h.key = b.key)
        FOR UPDATE SKIP LOCKED
    );
    DELETE FROM policy_hold h WHERE h.expires < moment - 86400
        AND NOT EXISTS (SELECT FROM policy_bucket b WHERE b.key = h.key);
    DELETE FROM policy_past WHERE key IN (
        SELECT key FROM policy_past WHERE (slot + 62) * width < moment FOR UPDATE SKIP LOCKED
    );
END
"""

# The three they replace: one that knows nothing of holds, one that made buckets in a statement of its own.
GONE = """
DROP FUNCTION policy_take(int[], text[], float8[], float8[]);
DROP FUNCTION policy_open(text[]);
DROP FUNCTION policy_forget();
"""
BEFORE = import_module("policy.migrations.0002_buckets")
FUNCTIONS_BEFORE = "".join(step.sql for step in BEFORE.Migration.operations[2:])

WORDS = {
    "per": [
        ("tenant", "the whole tenant together"),
        ("member", "each member"),
        ("credential", "each key or app"),
        ("client", "each OAuth client, over all its users"),
        ("tool", "each tool"),
    ],
    "counts": [
        ("calls", "calls"),
        ("bytes", "bytes of results"),
        ("concurrent", "calls at once"),
        ("units", "units a day"),
        ("repeats", "the very same call, again and again"),
    ],
}


def between(least: int, most: int) -> list[Any]:
    return [django.core.validators.MinValueValidator(least), django.core.validators.MaxValueValidator(most)]


class Migration(migrations.Migration):
    dependencies = [("policy", "0004_rules_policies")]
    operations = [
        migrations.RemoveConstraint("limit", "limit_in_range"),
        migrations.RenameField("limit", "calls", "most"),
        migrations.AlterField(
            "limit",
            "most",
            models.PositiveIntegerField(validators=between(1, 1_000_000_000), help_text="How many of what it counts."),
        ),
        migrations.AlterField("limit", "per", models.CharField(max_length=16, choices=WORDS["per"], default="member")),
        migrations.AlterField(
            "limit",
            "seconds",
            models.PositiveIntegerField(
                default=60,
                validators=between(1, 86400),
                help_text="Within how many seconds. Means nothing for calls at once and for units a day.",
            ),
        ),
        migrations.AddField(
            "limit", "counts", models.CharField(max_length=12, choices=WORDS["counts"], default="calls")
        ),
        migrations.AddField(
            "limit",
            "share",
            models.PositiveSmallIntegerField(
                default=100,
                validators=between(1, 100),
                help_text="How much of it one member may take, in percent, so that one leaves room for the others.",
            ),
        ),
        migrations.AddConstraint(
            "limit",
            models.CheckConstraint(
                condition=models.Q(most__gte=1, seconds__gte=1, seconds__lte=86400, share__gte=1, share__lte=100),
                name="limit_in_range",
            ),
        ),
        migrations.RunSQL(TABLES, NO_TABLES),
        migrations.RunSQL(GONE, FUNCTIONS_BEFORE),
        definer(
            "policy_take(names text[], fresh text[], ended int[], enders uuid[], used float8[], calls int[],"
            " places int[], costs float8[], windows float8[], modes int[], ids uuid[], lasts float8[], holding text[])",
            "TABLE (call int, charge int, wait float8, spare float8)",
            TAKE,
            language="plpgsql",
        ),
        definer("policy_note(names text[], seconds float8[], times int[])", "TABLE (key text, inside int)", NOTE),
        definer("policy_forget()", "void", FORGET, language="plpgsql"),
    ]
