"""A tool's draft and what stands around it, as the scan sees them."""

from collections.abc import Mapping
from typing import NamedTuple

from tools.manifest import destination_of, manifest, origin_of
from tools.models import Tool
from tools.scan.engine import scan
from tools.scan.values import Finding, Scanned


class _Other(NamedTuple):
    name: str
    read_only: bool
    destructive: bool
    base_url: str | None


def findings(draft: Tool) -> list[Finding]:
    """What the scan finds in a draft, saved or not. Reads the tenant's other tools."""
    others = _others(draft)
    return scan(
        Scanned(
            manifest=manifest(draft),
            destination=destination_of(draft),
            link_hosts=tuple(draft.tenant.link_hosts),
            sisters=tuple(sorted({other.name for other in others})),
            unlike=tuple(sorted({other.name for other in others if not _is_like(draft, other)})),
            method=_method(draft),
        )
    )


def _others(draft: Tool) -> list[_Other]:
    """The tenant's other tools, as drafts and as they are live."""
    marks = ("name", "read_only", "destructive", "connection__base_url")
    found = Tool.objects.filter(tenant_id=draft.tenant_id).exclude(pk=draft.pk)
    rows = found.values_list(*marks, *(f"live__{mark}" for mark in marks))
    each = [_Other(*part) for row in rows for part in (row[:4], row[4:]) if part[0]]
    return [other for other in each if other.name != draft.name]


def _is_like(draft: Tool, other: _Other) -> bool:
    """Whether they may do the same, one to one thing and one to many."""
    marks = (draft.read_only, draft.destructive and not draft.read_only)
    destination = origin_of(other.base_url) if other.base_url else ""
    return marks == (other.read_only, other.destructive and not other.read_only) and destination == destination_of(
        draft
    )


def _method(draft: Tool) -> str:
    """The HTTP method that a call sends, for tools that send one."""
    config = draft.config if isinstance(draft.config, Mapping) else {}
    return str(config.get("method") or "GET").upper() if draft.kind == "http" else ""
