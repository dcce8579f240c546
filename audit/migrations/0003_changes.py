"""What one person changed is found without reading all that a tenant's calls wrote."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_long_calls")]
    operations = [
        migrations.RunSQL(
            "CREATE INDEX audit_entry_changed ON audit_entry (tenant_id, actor, at) WHERE event = 'changed'",
            "DROP INDEX audit_entry_changed",
        ),
    ]
