"""Which tools, as they are now, the loosening rules of a draft are about."""

from collections.abc import Iterable, Mapping

from policy.rules.matching import globs
from policy.rules.spec import Spec


def pinned(rules: Iterable[Spec], live: Mapping[str, str]) -> dict[str, str]:
    """Of the live tools, by name, those that a loosening rule names, with their hashes."""
    patterns = [globs(rule.what.tools) for rule in rules if not rule.tightens]
    return {
        name: live[name] for name in sorted(live) if any(one is not None and one.fullmatch(name) for one in patterns)
    }
