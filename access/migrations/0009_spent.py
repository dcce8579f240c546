"""What may be used once stays used, also when Postgres crashes: unlike a bucket, it is written to the log."""

from django.db import migrations

from lib.rls import definer

# Ids of our own making, random or made of whose they are, and until when they could be presented. No tenant's data is in
# it.
SPENT = """
CREATE TABLE access_spent (id uuid PRIMARY KEY, until timestamptz NOT NULL);
CREATE INDEX access_spent_until ON access_spent (until);
"""

# Of two that present one id, the second waits for the first, and finds it used; unless that one was rolled back.
SPEND = """
    INSERT INTO access_spent (id, until) VALUES (one, clock_timestamp() + make_interval(secs => span))
    ON CONFLICT DO NOTHING RETURNING true
"""

# For who used it and came to nothing.
UNSPEND = "DELETE FROM access_spent WHERE id = one"

# An hour late, as whoever says how old an id is goes by a clock of their own.
FORGET = """
    DELETE FROM access_spent WHERE id IN (
        SELECT id FROM access_spent WHERE until < clock_timestamp() - interval '1 hour'
        ORDER BY until LIMIT 10000 FOR UPDATE SKIP LOCKED
    )
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0008_admit_pins")]
    operations = [
        migrations.RunSQL(SPENT, "DROP TABLE access_spent;"),
        definer("access_spend(one uuid, span float8)", "boolean", SPEND),
        definer("access_unspend(one uuid)", "void", UNSPEND),
        definer("access_forget_spent()", "void", FORGET),
    ]
