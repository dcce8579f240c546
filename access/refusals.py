"""Recording that access was refused: at the door, at the authorization server, on the consent page.

Strangers cause these, so that a flood of them is counted rather than written line by line: the first ones of a minute
are entries of their own, of one address and of all together, and the next one after it says how many were left out.
"""

import time
from collections import OrderedDict
from typing import Any

import orjson
from django.db import connection

from audit.entries import instance
from audit.models import Event, Outcome
from lib import redact

PLATFORM = 0
"""The tenant of refusals that belong to no tenant; only platform staff reads them."""

_OF_ONE_ADDRESS = 20
_OF_ALL = 500
_MOST_SOURCES = 5000


def record(
    *,
    tenant_id: int | None,
    reason: str,
    client: str = "",
    address: str = "",
    actor: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Add an entry on Django's connection. reason: a short code such as `code_replayed`, see docs/reference/ledger.md.

    detail: never a secret; strings in it are redacted. Inside a transaction it commits with it, so answer the refusal
    rather than raising it.
    """
    entry = row(
        tenant_id=tenant_id, reason=reason, client=client, address=address, actor=actor, detail=detail, via="oauth"
    )
    if entry is not None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([entry]).decode()])


def row(
    *,
    tenant_id: int | None,
    reason: str,
    via: str,
    client: str = "",
    address: str = "",
    actor: str = "",
    detail: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """The entry as `audit_append` takes it; None while this source has filled its minute."""
    tenant = PLATFORM if tenant_id is None else tenant_id
    left_out = _counts.admit((tenant, reason, address))
    if left_out is None:
        return None
    said = {name: redact.text(value) if isinstance(value, str) else value for name, value in (detail or {}).items()}
    return {
        "tenant_id": tenant,
        "event": Event.TURNED_AWAY,
        "instance_id": str(instance()),
        "actor": actor[:150],
        "client": redact.text(client)[:200],
        "via": via,
        "address": address[:64],
        "outcome": Outcome.REFUSED,
        "reason": reason,
        "detail": {**said, **({"left_out": left_out} if left_out else {})} or None,
    }


class _Counts:
    """How many entries each source has caused in its current minute, for the sources seen last."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[int, str, str], tuple[float, int]] = OrderedDict()

    def admit(self, source: tuple[int, str, str]) -> int | None:
        """How many were left out before this one, or None when this one is left out too."""
        tenant, reason, _ = source
        own = self._count(source, _OF_ONE_ADDRESS)
        if own is None:
            return None
        of_all = self._count((tenant, reason, "*"), _OF_ALL)
        return None if of_all is None else own + of_all

    def _count(self, source: tuple[int, str, str], most: int) -> int | None:
        now = time.monotonic()
        since, count = self._seen.pop(source, (now, 0))
        over = now - since >= 60
        left_out = max(0, count - most) if over else 0
        since, count = (now, 1) if over else (since, count + 1)
        self._seen[source] = (since, count)
        while len(self._seen) > _MOST_SOURCES:
            self._seen.popitem(last=False)
        return left_out if count <= most else None


_counts = _Counts()
