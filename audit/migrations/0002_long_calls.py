"""Calls may last as long as jobs do, so the sweep looks back to when the process that is gone began; and a job's
entries are found by their subject."""

import importlib

from django.db import migrations

_ledger = importlib.import_module("audit.migrations.0001_ledger")

NEW = _ledger.SWEEP.replace("RETURNING id, seen_at", "RETURNING id, started_at").replace(
    "dead.seen_at - interval '2 hours'", "dead.started_at - interval '1 minute'"
)


def _replace(body: str) -> str:
    return (
        "CREATE OR REPLACE FUNCTION audit_sweep(sweeper uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER"
        f" SET search_path = public, pg_temp AS $body$ {body} $body$;"
    )


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_ledger")]
    operations = [
        migrations.RunSQL(_replace(NEW), _replace(_ledger.SWEEP)),
        migrations.RunSQL(
            "CREATE INDEX audit_entry_subject ON audit_entry (tenant_id, subject, at) WHERE subject <> ''",
            "DROP INDEX audit_entry_subject",
        ),
    ]
