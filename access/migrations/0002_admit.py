"""Row-level security for keys, and the one read that turns a presented secret into who is calling."""

from django.db import migrations

from lib.rls import definer, tenant_policy

# Crosses tenants by nature. It answers only what an exact digest opens, at the tenant it was issued for; without one
# it says no more than that a tenant is there.
ADMIT = """
    SELECT asked.place::int, t.id, t.catalog_version, k.id, k.name::text, k.scopes::text[], k.member_id, k.role::text,
        k.user_id, k.username::text
    FROM unnest(slugs, digests) WITH ORDINALITY AS asked(slug, digest, place)
    JOIN tenants_tenant t ON t.slug = asked.slug AND t.enabled
    LEFT JOIN LATERAL (
        SELECT k.id, k.name, k.scopes, k.member_id, m.role, m.user_id, u.username
        FROM access_apikey k
        JOIN tenants_member m ON m.id = k.member_id AND m.tenant_id = k.tenant_id AND m.active
        JOIN tenants_user u ON u.id = m.user_id AND u.is_active
        WHERE k.digest = asked.digest AND k.tenant_id = t.id AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    ) k ON true
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0001_initial"), ("tenants", "0002_policies")]
    operations = [
        tenant_policy("access_apikey"),
        definer(
            "access_admit(slugs text[], digests text[])",
            "TABLE (place int, tenant_id bigint, catalog_version bigint, key_id bigint, key_name text, key_scopes text[],"
            " member_id bigint, role text, user_id bigint, username text)",
            ADMIT,
            volatility="VOLATILE ROWS 50",
        ),
        # Only moves a timestamp, of keys whose secret was presented.
        definer(
            "access_touch(used bigint[])",
            "void",
            # In one order, as two processes may tell of the same keys at once.
            "UPDATE access_apikey SET last_used_at = clock_timestamp() WHERE id IN"
            " (SELECT id FROM access_apikey WHERE id = ANY (used) ORDER BY id FOR NO KEY UPDATE)",
        ),
    ]
