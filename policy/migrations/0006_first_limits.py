"""Tenants of old get what `policy.first` gives to new ones, unless they count repeats already."""

from django.db import migrations

REPEATS = """
INSERT INTO policy_limit (tenant_id, counts, per, tool, most, seconds, share)
SELECT t.id, 'repeats', 'member', '', 60, 60, 100 FROM tenants_tenant t
WHERE NOT EXISTS (SELECT FROM policy_limit l WHERE l.tenant_id = t.id AND l.counts = 'repeats')
"""


class Migration(migrations.Migration):
    dependencies = [("policy", "0005_limits")]
    operations = [migrations.RunSQL(REPEATS, migrations.RunSQL.noop)]
