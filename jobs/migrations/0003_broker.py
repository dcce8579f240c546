"""The default broker: pgmq's tables and functions in the hub's own Postgres (https://github.com/pgmq/pgmq).

Its SQL comes from the pinned package `pgmq`. Three things differ from what it would do by itself. Queues are made here
and by nobody else, as the application role may not make tables. Its own notify trigger updates a row which senders
would queue for, so ours replaces it. And nothing is installed as an extension, which would need a superuser.
"""

from typing import Any

from django.db import migrations
from pgmq.install import get_embedded_install_sql

QUEUES = ("jobs", "jobs_chores")

OURS = """
CREATE OR REPLACE FUNCTION pgmq.create(queue_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pgmq.meta m WHERE m.queue_name = $1) THEN
        RAISE EXCEPTION 'there is no queue %: queues are made by migrations', $1;
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION pgmq.enable_notify_insert(queue_name text, throttle_interval_ms integer DEFAULT 250)
    RETURNS void LANGUAGE sql AS $$ SELECT $$;
CREATE FUNCTION jobs_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pgmq.' || TG_TABLE_NAME || '.INSERT', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER wake AFTER INSERT ON pgmq.q_jobs FOR EACH STATEMENT EXECUTE FUNCTION jobs_wake();
CREATE TRIGGER wake AFTER INSERT ON pgmq.q_jobs_chores FOR EACH STATEMENT EXECUTE FUNCTION jobs_wake();
"""


def install(apps: Any, schema_editor: Any) -> None:
    # psycopg's own cursor: the text has per cents and many statements.
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace('pgmq') IS NULL")
        if cursor.fetchone()[0]:
            cursor.connection.cursor().execute(get_embedded_install_sql())
        for queue in QUEUES:
            cursor.execute("SELECT pgmq.create(%s)", [queue])
        cursor.connection.cursor().execute(OURS)


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_policies")]
    operations = [
        migrations.RunPython(install, migrations.RunPython.noop, elidable=False),
        migrations.RunSQL(
            migrations.RunSQL.noop, "DROP SCHEMA pgmq CASCADE; DROP FUNCTION IF EXISTS public.jobs_wake() CASCADE;"
        ),
    ]
