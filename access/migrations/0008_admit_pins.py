"""The one read at the door learns which client presents a token and which version the pins of its consent have, and
lets nobody in while everything is stopped.

While `tenants_stop` has its row, a tenant that is there is answered with the sort `stopped` and nothing else, so that
the door can say so; whatever secret was presented is not looked at.
"""

from importlib import import_module

from django.db import migrations

from lib.rls import definer

_tokens = import_module("access.migrations.0005_admit_tokens")
_standing = import_module("access.migrations.0006_standing")

STOPPED = "CROSS JOIN (SELECT EXISTS (SELECT FROM tenants_stop) AS now) stopped"

# As before: crosses tenants by nature, and says of a tenant only that it is there and what an exact digest opens.
ADMIT = f"""
    SELECT asked.place::int, t.id, t.catalog_version, CASE WHEN stopped.now THEN 'stopped' ELSE c.sort END, c.id,
        c.name, c.scopes, m.id, m.role::text, u.id, u.username::text,
        CASE WHEN u.id IS NULL AND NOT stopped.now THEN coalesce(
            (SELECT s.tenant_id FROM access_accesstoken s WHERE s.token_checksum = asked.token),
            (SELECT s.tenant_id FROM access_apikey s WHERE s.digest = asked.key)
        ) END,
        c.client_id, c.pins_version
    FROM unnest(slugs, keys, tokens) WITH ORDINALITY AS asked(slug, key, token, place)
    JOIN tenants_tenant t ON t.slug = asked.slug AND t.enabled
    {STOPPED}
    LEFT JOIN LATERAL (
        SELECT 'key' AS sort, k.id, k.name::text, k.scopes::text[], k.member_id, '' AS client_id,
            NULL::int AS pins_version
        FROM access_apikey k
        WHERE k.digest = asked.key AND k.tenant_id = t.id AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
        UNION ALL
        SELECT CASE WHEN o.id IS NULL THEN 'client' ELSE 'app' END, coalesce(o.id, p.id), p.name::text,
            string_to_array(a.scope, ' '), a.member_id, p.client_id::text, o.pins_version
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
    ) c ON NOT stopped.now
    LEFT JOIN tenants_member m ON m.id = c.member_id AND m.tenant_id = t.id AND m.active
    LEFT JOIN tenants_user u ON u.id = m.user_id AND u.is_active
"""  # noqa: S608 - of a constant

# The same for a token of an issuer that the tenant trusts; see 0005 for what its claims are worth.
OUTSIDE = f"""
    SELECT asked.place::int, t.id, t.catalog_version, CASE WHEN stopped.now THEN 'stopped' ELSE 'outside' END,
        c.member_id, c.issuer, NULL::text[], m.id, m.role::text, u.id, u.username::text, NULL::bigint, '',
        NULL::int
    FROM unnest(slugs, claims) WITH ORDINALITY AS asked(slug, claims, place)
    JOIN tenants_tenant t ON t.slug = asked.slug AND t.enabled
    {STOPPED}
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
    ) c ON NOT stopped.now
    LEFT JOIN tenants_member m ON m.id = c.member_id AND m.tenant_id = t.id AND m.active
    LEFT JOIN tenants_user u ON u.id = m.user_id AND u.is_active
"""  # noqa: S608 - of a constant

# What it looks at is what `access_admit` does; see 0006 for why it may.
STANDING = """
    SELECT t.catalog_version, t.slug::text, c.name, c.scopes, m.role::text, u.id, u.username::text, c.client_id,
        c.pins_version
    FROM tenants_tenant t
    JOIN tenants_member m ON m.id = member AND m.tenant_id = t.id AND m.active
    JOIN tenants_user u ON u.id = m.user_id AND u.is_active
    CROSS JOIN LATERAL (
        SELECT k.name::text, k.scopes::text[], '' AS client_id, NULL::int AS pins_version FROM access_apikey k
        WHERE sort = 'key' AND k.id = credential AND k.member_id = m.id AND k.tenant_id = t.id AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
        UNION ALL
        SELECT p.name::text, o.scopes::text[], p.client_id::text, o.pins_version FROM access_consent o
        JOIN access_client p ON p.id = o.client_id AND p.blocked_at IS NULL
        WHERE sort = 'app' AND o.id = credential AND o.member_id = m.id AND o.tenant_id = t.id AND o.revoked_at IS NULL
            AND (o.until IS NULL OR o.until > clock_timestamp())
            AND NOT EXISTS (SELECT FROM access_admission x
                WHERE x.tenant_id = t.id AND x.client_id = p.id AND x.state = 'blocked')
        UNION ALL
        SELECT p.name::text, p.scopes::text[], p.client_id::text, NULL FROM access_client p
        WHERE sort = 'client' AND p.id = credential AND p.tenant_id = t.id AND p.member_id = m.id
            AND p.blocked_at IS NULL
            AND NOT EXISTS (SELECT FROM access_admission x
                WHERE x.tenant_id = t.id AND x.client_id = p.id AND x.state = 'blocked')
        UNION ALL
        SELECT i.issuer::text, NULL, '', NULL FROM access_outsideissuer i
        WHERE sort = 'outside' AND credential = m.id AND i.tenant_id = t.id AND i.enabled
        UNION ALL
        SELECT ''::text, NULL, '', NULL WHERE sort IN ('admin', 'cli')
    ) c
    WHERE t.id = tenant AND t.enabled AND NOT EXISTS (SELECT FROM tenants_stop)
"""

RETURNS = f"{_tokens.RETURNS.removesuffix(')')}, client_id text, pins_version int)"
SETTINGS = "SET plan_cache_mode = force_generic_plan"

_BEFORE = [
    made
    for made in (*_tokens.Migration.operations, *_standing.Migration.operations)
    if made.sql.startswith(
        ("CREATE FUNCTION access_admit(", "CREATE FUNCTION access_admit_outside(", "CREATE FUNCTION access_standing(")
    )
]
BEFORE = [migrations.RunSQL(made.reverse_sql, made.sql) for made in _BEFORE]
"""Takes away the three functions that are replaced here, and brings them back when this is undone."""


class Migration(migrations.Migration):
    dependencies = [("access", "0007_pins"), ("tenants", "0006_oversight")]
    operations = [
        *BEFORE,
        definer(
            "access_admit(slugs text[], keys text[], tokens text[])",
            RETURNS,
            ADMIT,
            volatility="VOLATILE ROWS 50",
            settings=SETTINGS,
        ),
        definer(
            "access_admit_outside(slugs text[], claims text[])",
            RETURNS,
            OUTSIDE,
            volatility="VOLATILE ROWS 50",
            settings=SETTINGS,
        ),
        definer(
            "access_standing(tenant bigint, member bigint, sort text, credential bigint)",
            "TABLE (catalog_version bigint, slug text, name text, scopes text[], role text, user_id bigint,"
            " username text, client_id text, pins_version int)",
            STANDING,
            volatility="VOLATILE ROWS 1",
            settings=SETTINGS,
        ),
    ]
