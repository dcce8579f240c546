"""Dropping the confirmations that are over."""

from django.db import migrations

from lib.rls import definer

# Of every tenant, which no role but the owner may touch at once; only what can be neither answered nor used any more.
# A thousand at a time; whether there may be more. Rows in use are left for the next round rather than waited for.
FORGET = """
    WITH gone AS (
        DELETE FROM jobs_confirmation WHERE id IN (
            SELECT id FROM jobs_confirmation WHERE expires_at < clock_timestamp() - interval '1 day'
            ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED
        ) RETURNING true
    )
    SELECT count(*) = 1000 FROM gone
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0007_killed")]
    operations = [
        migrations.RunSQL(
            "CREATE INDEX jobs_confirmation_over ON jobs_confirmation (expires_at);",
            "DROP INDEX jobs_confirmation_over;",
        ),
        definer("jobs_forget_confirmations()", "boolean", FORGET),
    ]
