"""The one read at the door learns of access tokens and of people whom an outside issuer names."""

from importlib import import_module

from django.db import migrations

from lib.rls import definer

# Crosses tenants by nature. Of a tenant it says only that it is there and what an exact digest opens; `stray` is the
# tenant that such a digest belongs to instead, by id, so that both are told.
# A machine's token has no consent; it holds while the machine still acts as that member.
ADMIT = """
    SELECT asked.place::int, t.id, t.catalog_version, c.sort, c.id, c.name, c.scopes, m.id, m.role::text, u.id,
        u.username::text,
        CASE WHEN u.id IS NULL THEN coalesce(
            (SELECT s.tenant_id FROM access_accesstoken s WHERE s.token_checksum = asked.token),
            (SELECT s.tenant_id FROM access_apikey s WHERE s.digest = asked.key)
        ) END
    FROM unnest(slugs, keys, tokens) WITH ORDINALITY AS asked(slug, key, token, place)
    JOIN tenants_tenant t ON t.slug = asked.slug AND t.enabled
    LEFT JOIN LATERAL (
        SELECT 'key' AS sort, k.id, k.name::text, k.scopes::text[], k.member_id
        FROM access_apikey k
        WHERE k.digest = asked.key AND k.tenant_id = t.id AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
        UNION ALL
        SELECT CASE WHEN o.id IS NULL THEN 'client' ELSE 'app' END, coalesce(o.id, p.id), p.name::text,
            string_to_array(a.scope, ' '), a.member_id
        FROM access_accesstoken a
        JOIN access_client p ON p.id = a.application_id AND p.blocked_at IS NULL
        LEFT JOIN access_consent o ON o.id = a.consent_id
        WHERE a.token_checksum = asked.token AND a.tenant_id = t.id AND a.expires > clock_timestamp()
            AND CASE WHEN o.id IS NULL THEN p.tenant_id = t.id AND p.member_id = a.member_id
                ELSE o.revoked_at IS NULL AND (o.until IS NULL OR o.until > clock_timestamp()) END
            AND NOT EXISTS (
                SELECT FROM access_admission x
                WHERE x.tenant_id = t.id AND x.client_id = p.id AND x.state = 'blocked'
            )
    ) c ON true
    LEFT JOIN tenants_member m ON m.id = c.member_id AND m.tenant_id = t.id AND m.active
    LEFT JOIN tenants_user u ON u.id = m.user_id AND u.is_active
"""

# The same for a token of an issuer that the tenant trusts. `claims` are of one whose signature nobody has checked yet:
# what comes of them is a candidate (see access.outside), and two candidates are none. Apart from the other, which every
# other request asks, because all that a statement might have to do is paid for each time it runs.
OUTSIDE = """
    SELECT asked.place::int, t.id, t.catalog_version, 'outside', c.member_id, c.issuer, NULL::text[], m.id, m.role::text,
        u.id, u.username::text, NULL::bigint
    FROM unnest(slugs, claims) WITH ORDINALITY AS asked(slug, claims, place)
    JOIN tenants_tenant t ON t.slug = asked.slug AND t.enabled
    LEFT JOIN LATERAL (
        SELECT min(n.id) AS member_id, i.issuer::text
        FROM access_outsideissuer i
        JOIN LATERAL (
            SELECT n.id FROM tenants_user w JOIN tenants_member n ON n.user_id = w.id AND n.tenant_id = t.id AND n.active
            WHERE i.matches = 'username' AND w.username = asked.claims::jsonb ->> i.claim AND w.is_active
            UNION ALL
            SELECT n.id FROM tenants_user w JOIN tenants_member n ON n.user_id = w.id AND n.tenant_id = t.id AND n.active
            WHERE i.matches = 'email' AND w.email <> '' AND lower(w.email) = lower(asked.claims::jsonb ->> i.claim)
                AND w.is_active
        ) n ON true
        WHERE i.tenant_id = t.id AND i.enabled AND i.issuer = asked.claims::jsonb ->> 'iss'
        GROUP BY i.id HAVING count(*) = 1
    ) c ON true
    LEFT JOIN tenants_member m ON m.id = c.member_id AND m.tenant_id = t.id AND m.active
    LEFT JOIN tenants_user u ON u.id = m.user_id AND u.is_active
"""

RETURNS = (
    "TABLE (place int, tenant_id bigint, catalog_version bigint, sort text, credential_id bigint, name text,"
    " scopes text[], member_id bigint, role text, user_id bigint, username text, stray bigint)"
)

# Only moves timestamps and addresses, of what was presented. It waits for nobody: a row that is being changed is being
# used or taken away, and whoever locks several must not meet this in the middle.
TOUCH = """
    UPDATE access_apikey SET last_used_at = clock_timestamp() WHERE id IN
        (SELECT id FROM access_apikey WHERE id = ANY (keys) FOR NO KEY UPDATE SKIP LOCKED);
    UPDATE access_consent o SET last_used_at = clock_timestamp(), last_address = used.address
        FROM (
            SELECT c.id, left(given.address, 64) AS address
            FROM unnest(consents, addresses) AS given(id, address) JOIN access_consent c ON c.id = given.id
            FOR NO KEY UPDATE OF c SKIP LOCKED
        ) used WHERE o.id = used.id;
"""

_policy, *FUNCTIONS = import_module("access.migrations.0002_admit").Migration.operations
BEFORE = [migrations.RunSQL(made.reverse_sql, made.sql) for made in FUNCTIONS]
"""Takes away the two functions that are replaced here, and brings them back when this is undone."""


class Migration(migrations.Migration):
    dependencies = [("access", "0004_oauth_policies")]
    operations = [
        *BEFORE,
        # Generic: with a plan for each call, planning this costs twice what running it does.
        definer(
            "access_admit(slugs text[], keys text[], tokens text[])",
            RETURNS,
            ADMIT,
            volatility="VOLATILE ROWS 50",
            settings="SET plan_cache_mode = force_generic_plan",
        ),
        definer(
            "access_admit_outside(slugs text[], claims text[])",
            RETURNS,
            OUTSIDE,
            volatility="VOLATILE ROWS 50",
            settings="SET plan_cache_mode = force_generic_plan",
        ),
        definer("access_touch(keys bigint[], consents bigint[], addresses text[])", "void", TOUCH),
        # Addresses are compared without regard to case; people are found by them at each such request.
        migrations.RunSQL(
            "CREATE INDEX tenants_user_email ON tenants_user (lower(email));", "DROP INDEX tenants_user_email;"
        ),
        # What the door keeps of an issuer goes by the catalog's version, as all that it keeps.
        migrations.RunSQL(
            "CREATE TRIGGER access_outsideissuer_bump AFTER INSERT OR UPDATE OR DELETE ON access_outsideissuer"
            " FOR EACH ROW EXECUTE FUNCTION tenants_bump();",
            "DROP TRIGGER access_outsideissuer_bump ON access_outsideissuer;",
        ),
    ]
