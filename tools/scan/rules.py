"""The rules as they are written in rules.yaml, made ready to run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tools.scan.values import Level, Where

_GROUPS: Mapping[str, frozenset[Where]] = {
    "all": frozenset(Where),
    "prose": frozenset(Where) - {Where.ICON, Where.ANNOTATIONS, Where.SCHEMA_PATTERN},
    "schema": frozenset(where for where in Where if where.startswith("schema_")),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One thing to look for: by patterns, or by the check in code of that name. unless: what in the same sentence makes
    it harmless. kind: the class of risk, by which hits and false alarms are counted."""

    id: str
    kind: str
    level: Level
    where: frozenset[Where]
    why: str
    remedy: str
    patterns: tuple[str, ...]
    check: str
    unless: str


@cache
def rules() -> tuple[Rule, ...]:
    """All rules, in the order of the file."""
    return tuple(_rule(one) for one in written())


def written() -> list[dict[str, Any]]:
    """The rules as data, with their hits and misses."""
    found: list[dict[str, Any]] = _file("rules.yaml")
    return found


@cache
def well_known() -> Mapping[str, Any]:
    """Names that others are mistaken for, and hosts that tell something by themselves."""
    found: dict[str, Any] = _file("known.yaml")
    return found


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern without a placeholder, once."""
    return re.compile(pattern)


def _file(name: str) -> Any:
    return yaml.safe_load((Path(__file__).parent / name).read_text(encoding="utf-8"))


def _rule(one: Mapping[str, Any]) -> Rule:
    return Rule(
        id=one["id"],
        kind=one["kind"],
        level=Level(one["level"]),
        where=frozenset().union(*(_GROUPS.get(name) or {Where(name)} for name in one["where"])),
        why=one["why"],
        remedy=one["remedy"],
        patterns=tuple(one.get("patterns", ())),
        check=one.get("check", ""),
        unless=one.get("unless", ""),
    )
