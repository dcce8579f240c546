"""Which tools rules are bound to as they are now."""

from collections.abc import Iterable

from policy.rules.matching import binding
from policy.rules.spec import Spec
from policy.values import Subject


def pinned(rules: Iterable[Spec], live: Iterable[Subject]) -> dict[str, str]:
    """Of the live tools, those that a rule is bound to, with their hashes, by name."""
    bound = [binding(rule) for rule in rules]
    return {one.name: one.pin for one in sorted(live, key=lambda one: one.name) if any(binds(one) for binds in bound)}
