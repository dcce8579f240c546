"""Which calls that run belong to something that was switched off, who runs any, and the tenants a kill from the command
line spans."""

from django.db import migrations

from lib.rls import definer

# Crosses tenants by nature, as a process runs calls of them all. It takes what a process knows of its own calls and
# answers which of them are to stop, by their place: nothing that the one who asks did not name.
KILLED = """
    SELECT asked.place::int
    FROM unnest(tenants, members, clients, versions, connections)
        WITH ORDINALITY AS asked(tenant, member, client, version, connection, place)
    WHERE EXISTS (SELECT FROM tenants_stop)
        OR NOT EXISTS (
            SELECT FROM tenants_tenant t JOIN tenants_member m ON m.tenant_id = t.id AND m.id = asked.member AND m.active
            JOIN tenants_user u ON u.id = m.user_id AND u.is_active WHERE t.id = asked.tenant AND t.enabled)
        OR EXISTS (
            SELECT FROM tools_version v JOIN tools_tool o ON o.id = v.tool_id
            WHERE v.id = asked.version AND v.tenant_id = asked.tenant AND NOT o.enabled)
        OR EXISTS (
            SELECT FROM tools_connection c
            WHERE c.id = asked.connection AND c.tenant_id = asked.tenant AND NOT c.enabled)
        OR EXISTS (
            SELECT FROM access_client p WHERE asked.client <> '' AND p.client_id = asked.client
            AND (p.blocked_at IS NOT NULL OR EXISTS (SELECT FROM access_admission x
                WHERE x.tenant_id = asked.tenant AND x.client_id = p.id AND x.state = 'blocked')))
"""

# Ids and nothing else. Whoever has a shell on the hub's machine acts on every tenant, also where nobody is platform
# staff yet, or no longer.
TENANTS = "SELECT coalesce(array_agg(t.id ORDER BY t.id), '{}') FROM tenants_tenant t"

# Random ids of processes and nothing else: what a call of another process had started, nobody runs.
LIVING = "SELECT coalesce(array_agg(i.id), '{}') FROM audit_instance i"


class Migration(migrations.Migration):
    dependencies = [
        ("oversight", "0002_policies"),
        ("access", "0008_admit_pins"),
        ("tools", "0004_governed"),
        ("jobs", "0007_killed"),
    ]
    operations = [
        definer(
            "oversight_killed(tenants bigint[], members bigint[], clients text[], versions bigint[],"
            " connections bigint[])",
            "TABLE (place int)",
            KILLED,
            volatility="VOLATILE ROWS 10",
        ),
        definer("oversight_tenants()", "bigint[]", TENANTS, volatility="STABLE"),
        definer("oversight_living()", "uuid[]", LIVING, volatility="STABLE"),
    ]
