"""Row-level security for approvals, what is asked about them, and confirmations."""

from django.db import migrations

from lib.rls import tenant_policy


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_approvals"), ("tenants", "0007_group_policies")]
    operations = [
        tenant_policy("jobs_approval"),
        tenant_policy("jobs_note"),
        tenant_policy("jobs_confirmation"),
    ]
