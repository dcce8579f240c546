"""Tells every process when what a tenant offers may have changed, for hosts that listen."""

from django.db import migrations

TELL = """
CREATE FUNCTION tenants_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('mcphub', json_build_object('t', NEW.id, 'e', 'lists')::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tenants_tenant_tell AFTER UPDATE ON tenants_tenant
    FOR EACH ROW WHEN (OLD.catalog_version <> NEW.catalog_version) EXECUTE FUNCTION tenants_tell();
"""
UNTELL = "DROP TRIGGER tenants_tenant_tell ON tenants_tenant; DROP FUNCTION tenants_tell();"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0004_user_names")]
    operations = [migrations.RunSQL(TELL, UNTELL)]
