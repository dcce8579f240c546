"""Row-level security for what the authorization server keeps, and the narrow functions it asks before it knows whose
rows it needs."""

from django.db import migrations

from lib.rls import definer, shared_policy, tenant_policy

# Which tenant a presented secret or client id belongs to, so that everything after it runs under that tenant's
# policies. It answers an id, and only for who presents the exact secret or a client's id.
OPENS = """
    SELECT coalesce(
        (SELECT tenant_id FROM access_grant WHERE code = ANY (digests) LIMIT 1),
        (SELECT tenant_id FROM access_refreshtoken WHERE token_checksum = ANY (digests) LIMIT 1),
        (SELECT tenant_id FROM access_accesstoken WHERE token_checksum = ANY (digests) LIMIT 1),
        (SELECT tenant_id FROM access_client WHERE client_id = client)
    )
"""

# UNLOGGED: a crash forgives what was counted. No tenant's data is in it.
BUCKETS = """
CREATE UNLOGGED TABLE access_bucket (
    key text PRIMARY KEY,
    tat double precision NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
"""

# The generic cell rate algorithm on one bucket: 0 when `cost` seconds were taken, else how many seconds to wait. With
# cost = span it is a single use. Ask it outside a transaction: the bucket stays locked until the end of one.
THROTTLE = """
DECLARE
    moment float8 := extract(epoch FROM clock_timestamp());
    held float8;
    ahead float8;
BEGIN
    INSERT INTO access_bucket (key, tat) VALUES (bucket, moment) ON CONFLICT (key) DO UPDATE SET tat = access_bucket.tat
        RETURNING tat INTO held;
    moment := extract(epoch FROM clock_timestamp());
    ahead := greatest(held, moment) + cost - moment - span;
    IF ahead > 1e-6 THEN
        RETURN ahead;
    END IF;
    UPDATE access_bucket SET tat = greatest(held, moment) + cost WHERE key = bucket;
    RETURN 0;
END
"""

# What nothing can ask for any more, of every tenant. Rows in use are left for the next round rather than waited for.
# A code and a superseded refresh token stay long enough that their replay is recognised.
FORGET = """
BEGIN
    DELETE FROM access_bucket WHERE key IN (
        SELECT key FROM access_bucket WHERE tat < extract(epoch FROM clock_timestamp()) - 10 FOR UPDATE SKIP LOCKED
    );
    DELETE FROM access_grant WHERE id IN (
        SELECT id FROM access_grant WHERE expires < now() - interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED
    );
    DELETE FROM access_refreshtoken WHERE id IN (
        SELECT id FROM access_refreshtoken
        WHERE until < now() - interval '1 day' OR revoked < now() - interval '30 days'
        LIMIT 1000 FOR UPDATE SKIP LOCKED
    );
    WITH stale AS (
        SELECT a.id FROM access_accesstoken a
        WHERE a.expires < now() - interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED
    ), loosened AS (
        UPDATE access_refreshtoken SET access_token_id = NULL WHERE access_token_id IN (SELECT id FROM stale)
    )
    DELETE FROM access_accesstoken WHERE id IN (SELECT id FROM stale);
    DELETE FROM access_client WHERE id IN (
        SELECT c.id FROM access_client c
        WHERE c.lapses_at < now() AND c.used_at IS NULL
            AND NOT EXISTS (SELECT FROM access_consent o WHERE o.client_id = c.id)
            AND NOT EXISTS (SELECT FROM access_admission a WHERE a.client_id = c.id)
        LIMIT 1000 FOR UPDATE SKIP LOCKED
    );
END
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0003_oauth")]
    operations = [
        shared_policy("access_client"),
        tenant_policy("access_admission"),
        tenant_policy("access_consent"),
        tenant_policy("access_grant"),
        tenant_policy("access_accesstoken"),
        tenant_policy("access_refreshtoken"),
        tenant_policy("access_outsideissuer"),
        # No policy at all: nobody sees or writes a row of it.
        migrations.RunSQL(
            "ALTER TABLE access_idtoken ENABLE ROW LEVEL SECURITY;",
            "ALTER TABLE access_idtoken DISABLE ROW LEVEL SECURITY;",
        ),
        migrations.RunSQL(BUCKETS, "DROP TABLE access_bucket;"),
        definer("access_opens(digests text[], client text)", "bigint", OPENS, volatility="STABLE"),
        definer("access_throttle(bucket text, cost float8, span float8)", "float8", THROTTLE, language="plpgsql"),
        definer("access_forget()", "void", FORGET, language="plpgsql"),
    ]
