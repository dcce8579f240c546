"""Published versions of rules, as pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from oversight.drafts import readable
from oversight.rule_words import Difference, differences, said
from policy.actions import digest
from policy.models import Ruleset


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A rule of a version."""

    name: str
    priority: int
    effect: str
    enabled: bool
    says: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Between:
    """What differs from one version to another. changed: by the name of the rule."""

    added: Sequence[Published]
    removed: Sequence[Published]
    changed: Sequence[tuple[str, Sequence[Difference]]]

    @property
    def any(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def rules_of(version: Ruleset) -> list[Published]:
    """Its rules, in the order in which they were written: that in which they are asked."""
    return [_published(rule) for rule in version.rules]


def between(before: Ruleset, after: Ruleset) -> Between:
    """From one version to another."""
    was, now = {rule["name"]: rule for rule in before.rules}, {rule["name"]: rule for rule in after.rules}
    changed = []
    for name in [name for name in now if name in was]:
        old, new = readable(was[name]), readable(now[name])
        if old is not None and new is not None and digest([old]) != digest([new]):
            changed.append((name, differences(old, new)))
    return Between(
        added=[_published(rule) for name, rule in now.items() if name not in was],
        removed=[_published(rule) for name, rule in was.items() if name not in now],
        changed=changed,
    )


def _published(rule: dict[str, object]) -> Published:
    spec = readable(rule)
    if spec is None:
        name, effect = str(rule.get("name", "")), str(rule.get("effect", ""))
        return Published(name=name, priority=0, effect=effect, enabled=True, says="It can no longer be read.")
    return Published(
        name=spec.name, priority=spec.priority, effect=spec.effect.value, enabled=spec.enabled, says=said(spec)
    )
