"""Dropping the confirmations that are over."""

from django.db import migrations

from lib.rls import definer

# Of every tenant, which no role but the owner may touch at once; only what can be neither answered nor used any more.
FORGET = "DELETE FROM jobs_confirmation WHERE expires_at < clock_timestamp() - interval '1 day'"


class Migration(migrations.Migration):
    dependencies = [("jobs", "0007_killed")]
    operations = [definer("jobs_forget_confirmations()", "void", FORGET)]
