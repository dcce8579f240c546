"""Row-level security for tools, versions and connections; what moves the catalog version; versions never change."""

from django.db import migrations

from lib.rls import tenant_policy

BUMPED = ("tools_tool", "tools_connection", "policy_limit")
BUMP = "".join(
    f"CREATE TRIGGER {table}_bump AFTER INSERT OR UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION tenants_bump();"
    for table in BUMPED
)
FROZEN = """
CREATE FUNCTION tools_version_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'published_by_id' IS DISTINCT FROM to_jsonb(OLD) - 'published_by_id' THEN
        RAISE EXCEPTION 'a published version never changes; publish a new one'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tools_version_frozen BEFORE UPDATE ON tools_version
    FOR EACH ROW EXECUTE FUNCTION tools_version_frozen();
"""


class Migration(migrations.Migration):
    dependencies = [("tools", "0001_initial"), ("policy", "0002_buckets"), ("tenants", "0002_policies")]
    operations = [
        tenant_policy("tools_tool"),
        tenant_policy("tools_version"),
        tenant_policy("tools_connection"),
        migrations.RunSQL(BUMP, "".join(f"DROP TRIGGER {table}_bump ON {table};" for table in BUMPED)),
        migrations.RunSQL(
            FROZEN, "DROP TRIGGER tools_version_frozen ON tools_version; DROP FUNCTION tools_version_frozen();"
        ),
    ]
