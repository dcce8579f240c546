"""One recorded call, decided again by other rules, as far as what the ledger kept of it can tell.

The ledger keeps a preview of the arguments: secrets are hidden and long values cut. Where a rule's condition looks at
such a value, the call is decided as if the rule matched and as if it did not; only what comes out the same is told.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lib.redact import HIDDEN
from policy.rules import Rules, Spec
from policy.rules.changes import path
from policy.rules.matching import Matcher
from policy.values import Effect, Facts, Subject, Window
from tenants.caller import Caller

_CUT: Final = "…"
_BEYOND = "a whole number beyond 64 bits"
EVERY: Final = frozenset({_CUT})
"""Stands for the names of all arguments."""

_ARGUMENT = re.compile(
    r"""\bargs\b(?:\s*\.\s*(?P<name>[A-Za-z_]\w*)(?P<called>\s*\()?|\s*\[\s*(?:"(?P<a>[^"\\]*)"|'(?P<b>[^'\\]*)')\s*\])?"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A call as its entry has it. facts: without what went before. lost: the names of arguments that were hidden or
    cut, or changed by a rule, so that what was sent is not known."""

    caller: Caller
    subject: Subject
    facts: Facts
    lost: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What rules say of it. effect: None where that cannot be told. rule: what decides, empty for the default. changed:
    the rules that change its arguments."""

    effect: Effect | None
    rule: str = ""
    changed: tuple[str, ...] = ()


class Judge:
    """Rules that recorded calls are decided by."""

    def __init__(self, specs: Iterable[Spec], pins: Mapping[str, str], *, number: int) -> None:
        self._matchers = [Matcher(spec, pins) for spec in specs if spec.enabled]
        self._number = number
        self._rules = Rules.of(self._matchers, number=number)
        self._looking = [(one, looked_at(one.spec.condition)) for one in self._matchers if one.spec.condition]
        self._clamping = [(one, clamped_by(one.spec)) for one in self._matchers if one.spec.transform]
        self._free = {one.spec.name: _without_condition(one, pins) for one, _ in self._looking}
        self._variants: dict[tuple[frozenset[str], frozenset[str]], Rules] = {}

    @property
    def longest(self) -> int:
        """Seconds that its rules look back at the most."""
        return max((one.spec.before.seconds for one in self._matchers if one.spec.before), default=0)

    def windows(self, call: Recorded) -> tuple[Window, ...]:
        return self._rules.windows(call.caller, call.subject)

    def judge(self, call: Recorded, before: Mapping[str, int]) -> Verdict:
        """What comes of the call; before: how many came earlier, by rule."""
        if self._rules.hides(call.caller, call.subject):
            return Verdict(effect=Effect.DENY, rule=self._hiding(call))
        if (clamping := self._clamps_lost(call)) is not None:
            return Verdict(effect=None, rule=clamping)
        call = replace(call, facts=replace(call.facts, before=before)) if before else call
        doubtful = self._doubtful(call)
        if not doubtful:
            return _verdict(self._rules, call)
        found = {_verdict(rules, call) for rules in self._possible(doubtful)}
        if len(found) == 1:
            return found.pop()
        effects = {one.effect for one in found}
        changed = {one.changed for one in found}
        rules = sorted({one.rule for one in found if one.rule})
        if len(effects) > 1 or len(changed) > 1:
            return Verdict(effect=None, rule=doubtful[0].spec.name)
        return Verdict(effect=effects.pop(), rule=" or ".join(rules)[:200], changed=changed.pop())

    def _hiding(self, call: Recorded) -> str:
        secret = [one for one in self._matchers if one.spec.secret and not one.lacks(call.caller, call.subject)]
        return max(secret, key=lambda one: one.spec.priority).spec.name

    def _clamps_lost(self, call: Recorded) -> str | None:
        """The rule that may bring a number within bounds which is not known."""
        if not call.lost:
            return None
        fit = (one for one, names in self._clamping if meet(names, call.lost))
        return next((one.spec.name for one in fit if not one.lacks(call.caller, call.subject)), None)

    def _doubtful(self, call: Recorded) -> list[Matcher]:
        """The rules, in no order, of which it cannot be told whether they match. What one of them would change is not
        known either."""
        if not call.lost or not self._looking:
            return []
        lost, found = call.lost, dict[str, Matcher]()
        fit = [(one, names) for one, names in self._looking if not one.lacks(call.caller, call.subject)]
        while True:
            more = [one for one, names in fit if one.spec.name not in found and meet(names, lost)]
            if not more:
                return list(found.values())
            found |= {one.spec.name: one for one in more}
            lost = lost.union(*(changed_by(one.spec) for one in more))

    def _possible(self, doubtful: Sequence[Matcher]) -> list[Rules]:
        """The rules for each way in which it may be: every decider may be the first of them that matches, or none; what
        changes arguments may do so or not."""
        deciders = [one.spec.name for one in doubtful if one.spec.effect is not Effect.TRANSFORM]
        transforms = frozenset(one.spec.name for one in doubtful if one.spec.effect is Effect.TRANSFORM)
        first = [frozenset[str](), *(frozenset({name}) for name in deciders)]
        away = frozenset(one.spec.name for one in doubtful)
        sets = [one | changing for one in first for changing in {frozenset[str](), transforms}]
        return [self._variant(away, matching) for matching in sets]

    def _variant(self, away: frozenset[str], matching: frozenset[str]) -> Rules:
        made = self._variants.get((away, matching))
        if made is None:
            kept = [one for one in self._matchers if one.spec.name not in away]
            made = Rules.of([*kept, *(self._free[name] for name in matching)], number=self._number)
            self._variants[away, matching] = made
        return made


def _verdict(rules: Rules, call: Recorded) -> Verdict:
    decision = rules.judge(call.caller, call.subject, call.facts)
    return Verdict(effect=decision.effect, rule=decision.rule, changed=decision.changed)


def _without_condition(matcher: Matcher, pins: Mapping[str, str]) -> Matcher:
    """The same where its condition holds; what else it asks is known."""
    return Matcher(matcher.spec.model_copy(update={"condition": None}), pins)


def looked_at(condition: str) -> frozenset[str]:
    """The names of the arguments that a condition looks at; EVERY where it looks at them as a whole."""
    names: set[str] = set()
    for found in _ARGUMENT.finditer(condition):
        name = found["name"] or found["a"] or found["b"]
        if not name or found["called"]:
            return EVERY
        names.add(name)
    return frozenset(names)


def meet(names: frozenset[str], lost: frozenset[str]) -> bool:
    """Whether what is looked at is among what is not known."""
    if not names or not lost:
        return False
    return names == EVERY or lost >= EVERY or not names.isdisjoint(lost)


def changed_by(spec: Spec) -> frozenset[str]:
    """The names of the arguments that a rule changes."""
    return _first_steps(one.set or one.remove or one.mask or one.clamp or "" for one in spec.transform)


def clamped_by(spec: Spec) -> frozenset[str]:
    """The names of those that it brings within bounds."""
    return _first_steps(one.clamp for one in spec.transform if one.clamp)


def _first_steps(paths: Iterable[str]) -> frozenset[str]:
    firsts = [path(one)[0] for one in paths]
    return EVERY if any(not isinstance(one, str) for one in firsts) else frozenset(map(str, firsts))


def lost_in(preview: Any) -> frozenset[str]:
    """The names of the arguments of which a preview does not have all; EVERY where it may be any."""
    if not isinstance(preview, Mapping) or any(_is_cut(name) for name in preview):
        return EVERY
    return frozenset(name for name, value in preview.items() if _lacks(value))


def _lacks(value: Any) -> bool:
    """Whether a part of a value was hidden or cut (`lib.redact.preview`). Text that only looks so counts as well."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str) and _is_cut(node):
            return True
        if isinstance(node, Mapping):
            waiting += [*node, *node.values()]
        elif isinstance(node, list):
            waiting += node
            if node and isinstance(node[-1], str) and node[-1].startswith(_CUT):
                return True
    return False


def _is_cut(text: str) -> bool:
    return text.endswith(_CUT) or HIDDEN in text or "\ufffd" in text or text == _BEYOND
