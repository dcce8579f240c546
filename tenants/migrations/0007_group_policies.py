"""Row-level security for groups, and for who is in them, which goes by the group."""

from django.db import migrations

from lib.rls import tenant_policy

MEMBERS = """
ALTER TABLE tenants_group_members ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants_group_members
    USING (EXISTS (SELECT FROM tenants_group g WHERE g.id = group_id))
    WITH CHECK (EXISTS (SELECT FROM tenants_group g WHERE g.id = group_id));
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_oversight")]
    operations = [
        tenant_policy("tenants_group"),
        migrations.RunSQL(
            MEMBERS,
            "DROP POLICY tenant ON tenants_group_members; ALTER TABLE tenants_group_members DISABLE ROW LEVEL SECURITY;",
        ),
    ]
