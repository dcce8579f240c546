"""Who wrote at a draft and who proposed it; and what programs were let in for before anybody kept that."""

from typing import Any

import django.contrib.postgres.fields
from django.db import migrations, models

from tools.manifest import origin_of


def pin_consents(apps: Any, schema_editor: Any) -> None:
    """A consent that was given earlier covers the tools that its scopes open as they are now."""
    tenants: dict[int, dict[str, dict[str, Any]]] = {}
    database = schema_editor.connection.alias  # the owner's, who sees every tenant
    tools = apps.get_model("tools", "Tool").objects.using(database).exclude(live=None)
    for tool in tools.select_related("live__connection"):
        tenants.setdefault(tool.tenant_id, {})[tool.live.name] = _pin(tool.live)
    consents = apps.get_model("access", "Consent").objects.using(database).filter(revoked_at=None, pins={})
    for consent in consents.filter(tenant__in=tenants).iterator():
        held, pins = set(consent.scopes), tenants[consent.tenant_id]
        consent.pins = {name: pin for name, pin in sorted(pins.items()) if held.issuperset(pin["scopes"])}
        consent.save(update_fields=["pins"])


def _pin(version: Any) -> dict[str, Any]:
    """As `tenants.pins.Pin.written` gives it."""
    sort = "reads" if version.read_only else "destructive" if version.destructive else "writes"
    return {
        "hash": version.manifest_hash,
        "sort": sort,
        "open_world": version.open_world,
        "destination": origin_of(version.connection.base_url) if version.connection else "",
        "scopes": sorted(version.scopes),
    }


class Migration(migrations.Migration):
    dependencies = [("tools", "0004_governed"), ("access", "0007_pins")]
    operations = [
        migrations.AddField(
            model_name="tool",
            name="proposed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="tool",
            name="writers",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(), default=list, editable=False, size=None
            ),
        ),
        migrations.RunPython(pin_consents, migrations.RunPython.noop),
    ]
