"""Manifests for the scan as they are written in data: only what matters, the rest is a harmless tool."""

from pathlib import Path
from typing import Any

import yaml

from tools.scan import Scanned


def scanned(given: str | dict[str, Any]) -> Scanned:
    """What a hit, a miss or a case stands for; a text is a description."""
    one: dict[str, Any] = {"description": given} if isinstance(given, str) else given
    schema: dict[str, Any] = {"type": "object", "properties": one.get("properties", {}), "additionalProperties": False}
    manifest: dict[str, Any] = {
        "name": one.get("name", "tickets"),
        "description": one.get("description", "For tickets."),
        "inputSchema": schema | one.get("schema", {}),
        "annotations": {
            "readOnlyHint": bool(one.get("read_only")),
            "destructiveHint": bool(one.get("destructive")),
        },
    }
    if "title" in one:
        manifest["title"] = one["title"]
    if "icon" in one:
        manifest["icons"] = [{"src": one["icon"]}]
    if "output" in one:
        manifest["outputSchema"] = one["output"]
    return Scanned(
        manifest=manifest,
        destination=one.get("destination", ""),
        link_hosts=one.get("link_hosts", ()),
        sisters=one.get("sisters", ()),
        unlike=one.get("unlike", ()),
        method=one.get("method", ""),
    )


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of a file beside this one."""
    found: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return found
