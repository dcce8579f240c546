"""A tool's draft and what stands around it, as the scan sees them."""

from collections.abc import Mapping

from tools.manifest import destination_of, manifest
from tools.models import Tool
from tools.scan.engine import scan
from tools.scan.values import Finding, Scanned


def findings(draft: Tool) -> list[Finding]:
    """What the scan finds in a draft, saved or not. Reads the tenant's other tools."""
    others = Tool.objects.filter(tenant_id=draft.tenant_id).exclude(pk=draft.pk).values_list("name", "live__name")
    return scan(
        Scanned(
            manifest=manifest(draft),
            destination=destination_of(draft),
            link_hosts=tuple(draft.tenant.link_hosts),
            sisters=tuple(sorted({name for names in others for name in names if name} - {draft.name})),
            method=_method(draft),
        )
    )


def _method(draft: Tool) -> str:
    """The HTTP method that a call sends, for tools that send one."""
    config = draft.config if isinstance(draft.config, Mapping) else {}
    return str(config.get("method") or "GET").upper() if draft.kind == "http" else ""
