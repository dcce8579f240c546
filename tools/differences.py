"""The difference between two definitions of a tool, field by field and line by line. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.html import pretty

LABELS = {
    "name": "Name",
    "title": "Title",
    "description": "Description",
    "input_schema": "Input schema",
    "output_schema": "Output schema",
    "read_only": "It changes nothing",
    "destructive": "It may delete or overwrite",
    "idempotent": "Twice is like once",
    "open_world": "Reaches beyond the company",
    "scopes": "Scopes",
    "tags": "Tags",
    "icon": "Icon",
    "timeout": "Timeout in seconds",
    "max_result": "Most bytes of a result",
    "runs": "Runs",
    "wait": "Seconds a host waits for the job",
    "most_attempts": "Tries of a job",
    "replay_seconds": "Seconds in which the same call joins the job",
    "keep_hours": "Hours a result is kept",
    "patience_minutes": "Minutes a job may wait to start",
    "priority": "Priority",
    "task_required": "Only for hosts that follow tasks",
    "kind": "Kind",
    "config": "Configuration",
    "connection": "Connection",
    "destination": "Where its calls go",
    "units": "Units that a call spends",
    "inspect": "What its arguments are searched for",
    "high_risk": "Judged by the classifier too",
    "untrusted": "Its results hold what others wrote",
    "cleaning": "What is taken out of its results",
}
SEEN = frozenset({"name", "title", "description", "input_schema", "output_schema", "icon"}) | {
    "read_only",
    "destructive",
    "idempotent",
    "open_world",
}
"""Fields that a model reads."""
AGREED = SEEN | {"scopes", "destination"}
"""Fields that people agree to when they let a program use the tool; the others are the admins' own business."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One field that differs. lines: (`+`, `-` or ` `, text). seen: whether a model reads the field."""

    field: str
    label: str
    seen: bool
    lines: Sequence[tuple[str, str]]


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Difference]:
    """What differs, in the order of the form; everything when there is no before."""
    return [
        Difference(field=name, label=label, seen=name in SEEN, lines=_lines(old, after[name]))
        for name, label in LABELS.items()
        if (old := None if before is None else before[name]) != after[name]
    ]


def _lines(before: Any, after: Any) -> list[tuple[str, str]]:
    found = list(difflib.unified_diff(_text(before), _text(after), lineterm="", n=2))
    return [(line[0], line[1:]) if line[0] in "+- " else ("@", "…") for line in found[3:]]


def _text(value: Any) -> list[str]:
    if value in (None, "", [], {}):
        return []
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return (pretty(value, sort=True) if isinstance(value, dict | list) else str(value)).splitlines()
