"""Whether what a job was accepted with still holds: asked when a worker takes it up, and while it runs."""

from django.db import migrations

from lib.rls import definer

# Crosses tenants by nature, as workers serve them all. It takes no secret and so answers no more than whether the named
# credential of that member still opens that tenant, and with which scopes; NULL where they are not the credential's own
# (an outside issuer's token says them itself; an admin and the command line act with all that the member may hold).
# What it looks at is what `access_admit` does.
STANDING = """
    SELECT t.catalog_version, t.slug::text, c.name, c.scopes, m.role::text, u.id, u.username::text
    FROM tenants_tenant t
    JOIN tenants_member m ON m.id = member AND m.tenant_id = t.id AND m.active
    JOIN tenants_user u ON u.id = m.user_id AND u.is_active
    CROSS JOIN LATERAL (
        SELECT k.name::text, k.scopes::text[] FROM access_apikey k
        WHERE sort = 'key' AND k.id = credential AND k.member_id = m.id AND k.tenant_id = t.id AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
        UNION ALL
        SELECT p.name::text, o.scopes::text[] FROM access_consent o
        JOIN access_client p ON p.id = o.client_id AND p.blocked_at IS NULL
        WHERE sort = 'app' AND o.id = credential AND o.member_id = m.id AND o.tenant_id = t.id AND o.revoked_at IS NULL
            AND (o.until IS NULL OR o.until > clock_timestamp())
            AND NOT EXISTS (SELECT FROM access_admission x
                WHERE x.tenant_id = t.id AND x.client_id = p.id AND x.state = 'blocked')
        UNION ALL
        SELECT p.name::text, p.scopes::text[] FROM access_client p
        WHERE sort = 'client' AND p.id = credential AND p.tenant_id = t.id AND p.member_id = m.id
            AND p.blocked_at IS NULL
            AND NOT EXISTS (SELECT FROM access_admission x
                WHERE x.tenant_id = t.id AND x.client_id = p.id AND x.state = 'blocked')
        UNION ALL
        SELECT i.issuer::text, NULL FROM access_outsideissuer i
        WHERE sort = 'outside' AND credential = m.id AND i.tenant_id = t.id AND i.enabled
        UNION ALL
        SELECT ''::text, NULL WHERE sort IN ('admin', 'cli')
    ) c
    WHERE t.id = tenant AND t.enabled
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0005_admit_tokens")]
    operations = [
        definer(
            "access_standing(tenant bigint, member bigint, sort text, credential bigint)",
            "TABLE (catalog_version bigint, slug text, name text, scopes text[], role text, user_id bigint,"
            " username text)",
            STANDING,
            volatility="VOLATILE ROWS 1",
            settings="SET plan_cache_mode = force_generic_plan",
        ),
    ]
