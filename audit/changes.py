"""Recording what people change: who, what, before and after, in the transaction of the change itself."""

import datetime
from typing import Any

import orjson
from django.db import connection, models

from audit import differences
from audit.entries import instance
from audit.models import Event
from lib import redact


def snapshot(row: models.Model) -> dict[str, Any]:
    """A row's fields as JSON, without the ones its class lists in `unrecorded` (secrets, digests, bookkeeping)."""
    hidden = getattr(row, "unrecorded", ())
    fields = [field for field in row._meta.concrete_fields if field.name not in hidden]
    return {field.attname: _plain(field.value_from_object(row)) for field in fields}


def record(
    *,
    tenant_id: int,
    actor: str,
    verb: str,
    subject: models.Model,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    note: str = "",
    client: str = "",
    via: str = "",
    address: str = "",
) -> None:
    """Add an entry for an administrative change. Only what differs is kept; see audit.differences.

    actor: the user name, or `system`. verb: past tense, like `published`. client, via, address: what made the change
    for the actor and from where, when it was a program. Runs on Django's connection, so the entry commits with the
    change or not at all.
    """
    old, new = differences.sides(before or {}, after or {})
    detail = {"before": old, "after": new, "note": redact.text(note)}
    entry = {
        "tenant_id": tenant_id,
        "event": Event.CHANGED,
        "instance_id": str(instance()),
        "actor": actor,
        "client": redact.text(client)[:200],
        "via": via,
        "address": address[:64],
        "reason": verb,
        "subject": f"{subject._meta.label}:{subject.pk} {subject}"[:200],
        "detail": {name: value for name, value in detail.items() if value},
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([entry]).decode()])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return redact.HIDDEN
    return value
