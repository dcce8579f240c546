"""Row-level security for tenants, members and scopes; what pages may ask across tenants; the catalog's version."""

from django.db import migrations

from lib.rls import definer, tenant_policy

# Every change to what a host can see or do moves the tenant's catalog version, whoever makes it and however.
BUMP = """
CREATE FUNCTION tenants_bump() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tenants_tenant SET catalog_version = catalog_version + 1
        WHERE id IN (OLD.tenant_id, NEW.tenant_id);
    RETURN NULL;
END $$;
CREATE FUNCTION tenants_bump_self() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.catalog_version := OLD.catalog_version + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER tenants_tenant_bump BEFORE UPDATE ON tenants_tenant
    FOR EACH ROW EXECUTE FUNCTION tenants_bump_self();
CREATE TRIGGER tenants_scope_bump AFTER INSERT OR UPDATE OR DELETE ON tenants_scope
    FOR EACH ROW EXECUTE FUNCTION tenants_bump();
"""
UNBUMP = """
DROP TRIGGER tenants_scope_bump ON tenants_scope; DROP TRIGGER tenants_tenant_bump ON tenants_tenant;
DROP FUNCTION tenants_bump(); DROP FUNCTION tenants_bump_self();
"""

# Which tenants a person's pages may show; only ids.
REACHED = """
    SELECT CASE WHEN u.is_superuser THEN (SELECT array_agg(t.id ORDER BY t.id) FROM tenants_tenant t)
        ELSE (SELECT array_agg(m.tenant_id ORDER BY m.tenant_id) FROM tenants_member m
              WHERE m.user_id = u.id AND m.active) END
    FROM tenants_user u WHERE u.id = who AND u.is_active
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [
        tenant_policy("tenants_tenant", "id"),
        tenant_policy("tenants_member"),
        tenant_policy("tenants_scope"),
        migrations.RunSQL(BUMP, UNBUMP),
        definer("tenants_reached_by(who bigint)", "bigint[]", REACHED, volatility="STABLE"),
        # The public face of an enabled tenant: what its connect page and its resource metadata say to anybody.
        definer(
            "tenants_public(wanted text)",
            "TABLE (id bigint, name text, scopes text[])",
            "SELECT t.id, t.name::text, (SELECT array_agg(s.name::text ORDER BY s.name) FROM tenants_scope s"
            " WHERE s.tenant_id = t.id) FROM tenants_tenant t WHERE t.slug = wanted AND t.enabled",
            volatility="STABLE",
        ),
    ]
