"""What the tool editor shows beside the form: what a model sees, the lint, and the difference to the live version."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.safestring import SafeString

from lib.html import coloured
from tools import actions, scan
from tools.actions import digest, values
from tools.differences import Difference, differences
from tools.kinds.http_config import only_called_back
from tools.lint import Finding, Running, lint
from tools.manifest import destination_of, encoded, estimated_tokens, is_led_elsewhere, manifest, manifest_hash
from tools.models import Connection, Tool, Version


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A draft as it would be listed. sent: the bytes of the manifest as hosts get them. digest: of the whole draft,
    with what a model does not see; what is confirmed is what is published. findings: of the lint. scanned: of the scan.
    stops: whether these keep it from being published. elsewhere: whether the live version's connection leads elsewhere
    since it was published, so that it is not offered."""

    sent: str
    shown: SafeString
    tokens: int
    list_tokens: int
    list_count: int
    hash: str
    digest: str
    findings: Sequence[Finding]
    scanned: Sequence[scan.Finding]
    stops: bool
    elsewhere: bool
    destination: str
    differences: Sequence[Difference]
    live: Version | None


def look(draft: Tool) -> Look:
    """Everything about a draft, saved or not. Reads the tenant's live tools."""
    listed, sisters, scanned = manifest(draft), sister_manifests(draft), scan.findings(draft)
    return Look(
        sent=encoded(listed).decode(),
        shown=coloured(listed),
        tokens=estimated_tokens(listed),
        list_tokens=estimated_tokens([listed, *sisters]),
        list_count=len(sisters) + 1,
        hash=manifest_hash(listed, scopes=draft.scopes, destination=destination_of(draft)),
        digest=digest(draft),
        findings=lint(listed, sisters, _running(draft)),
        scanned=scanned,
        stops=bool(scan.stopping(scanned, draft.tenant.scan_stops)),
        elsewhere=draft.live is not None and is_led_elsewhere(draft.live),
        destination=destination_of(draft),
        differences=differences(values(draft.live) if draft.live else None, values(draft)),
        live=draft.live,
    )


def _running(draft: Tool) -> Running:
    config = draft.config if isinstance(draft.config, dict) else {}
    return Running(
        runs=draft.runs,
        timeout=draft.timeout or 0,
        asynchronous=bool(config.get("asynchronous")),
        called_back=only_called_back(config),
    )


def live_manifests(tenant_id: int, *, besides: int | None = None) -> list[dict[str, Any]]:
    """What the tenant lists now, perhaps without one tool."""
    tools = Tool.objects.filter(tenant_id=tenant_id, enabled=True, live__isnull=False).exclude(pk=besides or 0)
    return list(tools.order_by("name").values_list("live__manifest", flat=True))


def live_through(connection: Connection) -> list[str]:
    """The names of live tools whose versions go through a connection, and so stop when it leads elsewhere."""
    tools = Tool.objects.filter(tenant_id=connection.tenant_id, enabled=True, live__connection=connection)
    return list(tools.exclude(live__destination="").order_by("live__name").values_list("live__name", flat=True))


def sister_manifests(draft: Tool) -> list[dict[str, Any]]:
    """What the tenant lists besides this tool."""
    return live_manifests(draft.tenant_id, besides=draft.pk)


def why_not(draft: Tool) -> list[str]:
    """Sentences that say why a draft cannot be published; none when it can."""
    try:
        draft.full_clean(exclude=["live"])
        actions.check(draft, draft.tenant_id)
    except ValidationError as problem:
        return [f"{field}: {sentence}" for field, found in problem.message_dict.items() for sentence in found]
    return []
