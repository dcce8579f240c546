"""What holding a scope means: the scopes it implies, and which roles may hold it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ScopeRule:
    """One scope of a tenant, without its row."""

    implies: frozenset[str]
    roles: frozenset[str]


def expand(granted: Iterable[str], rules: Mapping[str, ScopeRule]) -> frozenset[str]:
    """The granted scopes that exist, with everything they imply, however deep; loops do no harm."""
    found: set[str] = set()
    waiting = [name for name in granted if name in rules]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [implied for implied in rules[name].implies if implied in rules]
    return frozenset(found)


def reachable(role: str, rules: Mapping[str, ScopeRule]) -> frozenset[str]:
    """What a member of this role may hold at the most."""
    return expand((name for name, rule in rules.items() if role in rule.roles), rules)
