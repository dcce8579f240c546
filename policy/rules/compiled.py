"""A tenant's published rules, compiled for deciding. Pure: no row, no clock, no network."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple, Self

from pydantic import ValidationError as Unfit

from policy.rules.changes import edited
from policy.rules.matching import Matcher, Moment, variables_of
from policy.rules.spec import Spec, problems
from policy.values import Decision, Effect, Facts, Refusal, Reviewers, Subject, Window
from tenants.caller import Caller

log = logging.getLogger(__name__)

_MOST_KEPT = 2048
_WITHOUT_PINS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What may become of calls of one tool by one Caller, whatever they bring.

    deciders: the rules that may decide, in the order in which they are asked. effects: theirs, and what is done by
    default where it may be that none of them decides.
    """

    deciders: tuple[Spec, ...]
    effects: frozenset[Effect]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    """Rules of one priority that may match. deciders: the strictest first; unsought: those of them that may match where
    inspection found nothing. transforms: in the order of their names."""

    deciders: tuple[Matcher, ...]
    unsought: tuple[Matcher, ...]
    transforms: tuple[Matcher, ...]

    @classmethod
    def of(cls, deciders: Iterable[Matcher], transforms: Iterable[Matcher] = ()) -> Self:
        deciding = tuple(deciders)
        return cls(
            deciders=deciding,
            unsought=tuple(one for one in deciding if not one.seeks),
            transforms=tuple(transforms),
        )

    def decider(self, moment: Moment) -> Matcher | None:
        for one in self.deciders if moment.facts.found else self.unsought:
            found = one.ask(moment)
            if found is not False and one.heard(found):  # mostly it is, of which nothing more is asked
                return one
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Selection:
    """The rules that nothing in who and what keeps from calls of one tool by one kind of caller.

    levels: by priority. steps: the same, with levels that change no arguments taken together, as of rules that see the
    same arguments the first that matches decides, whatever its priority.
    """

    levels: tuple[_Level, ...]
    steps: tuple[_Level, ...]
    counting: tuple[Matcher, ...]
    hidden: bool


class _Kept(NamedTuple):
    """What is the same for all calls of one tool by one kind of caller. variables: as `variables_of` gives them."""

    selection: _Selection
    variables: Mapping[str, Any]


class Rules:
    """A tenant's live rules, compiled. Safe to share between threads.

    number: the version of the Ruleset; 0 for none. pins: of each tool that a loosening rule names, by the tool's name.
    """

    def __init__(self, rules: Iterable[Spec] = (), *, number: int = 0, pins: Mapping[str, str] = _WITHOUT_PINS) -> None:
        self._matchers = _ordered(Matcher(spec, pins) for spec in rules if spec.enabled)
        self.number = number
        self._kept: dict[tuple[Subject, str, str, str, str], _Kept] = {}
        self._made: dict[tuple[Matcher, ...], _Selection] = {}

    @classmethod
    def of(cls, matchers: Iterable[Matcher], *, number: int) -> "Rules":
        """The same from rules that are compiled already."""
        rules = cls(number=number)
        rules._matchers = _ordered(matchers)
        return rules

    @property
    def reviews(self) -> bool:
        """Whether some rule holds calls until a second person says yes."""
        return any(one.spec.effect is Effect.REVIEW for one in self._matchers)

    @property
    def denies(self) -> bool:
        """Whether some rule denies calls."""
        return any(one.spec.effect is Effect.DENY for one in self._matchers)

    def windows(self, caller: Caller, subject: Subject) -> tuple[Window, ...]:
        """What has to be counted before a call of this tool by this Caller can be judged (`policy.history.count`)."""
        counting = self._known(caller, subject).selection.counting
        return tuple(_window(matcher.spec, caller, subject) for matcher in counting) if counting else ()

    def hides(self, caller: Caller, subject: Subject) -> bool:
        """Whether a rule makes a secret of the tool's existence for this Caller.

        A secret rule does so unless one that is asked before it may let a call through.
        """
        return self._known(caller, subject).selection.hidden

    def judge(self, caller: Caller, subject: Subject, facts: Facts) -> Decision:
        """What the rules say of a call of a tool that is there and granted."""
        selection, variables = self._known(caller, subject)
        decision, decider = self._judged(Moment(caller, subject, facts, variables), selection)
        if decision.effect is not Effect.DENY or decider is None or decider.hours is None:
            return decision
        end = decider.hours.end(facts.at)
        if end is None or decision.refusal is None:
            return decision
        later, _ = self._judged(Moment(caller, subject, replace(facts, at=end), variables), selection)
        if later.effect is Effect.DENY:
            return decision
        # The time of day alone stands against it, so it is said when it does not any more.
        wait = (end - facts.at).total_seconds()
        return replace(decision, refusal=replace(decision.refusal, retryable=True, retry_after=wait))

    def denied(self, caller: Caller, subject: Subject, facts: Facts) -> Refusal | None:
        """The Refusal, where the call is denied whatever its arguments are: asked before they are whole."""
        selection, variables = self._known(caller, subject)
        moment = Moment(caller, subject, facts, variables)
        for level in selection.levels:
            known = [one for one in level.deciders if one.spec.condition is None and one.matches(moment)]
            if known and known[0].spec.effect is Effect.DENY:
                return _refusal(known[0].spec, caller)
            if known or any(one.spec.condition is not None for one in level.deciders):
                return None
        return None

    def outlook(self, caller: Caller, subject: Subject) -> Outlook:
        """What calls of a tool that is there and granted may come to, before there is one."""
        deciders: list[Spec] = []
        for level in self._known(caller, subject).selection.levels:
            for one in level.deciders:
                if one.foreseen is False:
                    continue
                deciders.append(one.spec)
                if one.foreseen:
                    return Outlook(deciders=tuple(deciders), effects=frozenset(spec.effect for spec in deciders))
        default = Effect.CONFIRM if "destructive" in subject.traits else Effect.ALLOW
        return Outlook(deciders=tuple(deciders), effects=frozenset({default, *(spec.effect for spec in deciders)}))

    def explain(self, caller: Caller, subject: Subject, facts: Facts) -> list[tuple[str, str]]:
        """Every rule in the order in which they are asked, with what came of it as a sentence."""
        if not self._matchers:
            return []
        moment = Moment(caller, subject, facts, variables_of(caller, subject))
        told: list[tuple[str, str]] = []
        decided = ""
        for _, rules in groupby(self._matchers, key=_priority):
            level = list(rules)
            matching = [one for one in level if not one.lacks(caller, subject) and one.matches(moment)]
            decider = next((one for one in matching if one.spec.effect is not Effect.TRANSFORM), None)
            for one in level:
                told.append((one.spec.name, _told(one, moment, decided, decider)))
            decided = decided or (decider.spec.name if decider else "")
            if not decided:
                _transform(moment, [one for one in matching if one.spec.effect is Effect.TRANSFORM])
        return told

    def _known(self, caller: Caller, subject: Subject) -> _Kept:
        """Bounded. A selection is shared by all for whom it is the same."""
        asked = (subject, caller.username, caller.role, caller.client, caller.credential)
        found = self._kept.get(asked)
        if found is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
                self._made.clear()
            fit = tuple(one for one in self._matchers if not one.lacks(caller, subject))
            selection = self._made.setdefault(fit, _selected(fit))
            found = self._kept[asked] = _Kept(selection, variables_of(caller, subject))
        return found

    def _judged(self, moment: Moment, selection: _Selection) -> tuple[Decision, Matcher | None]:
        """The decision, and the rule that made it."""
        changed: list[str] = []
        for step in selection.steps:
            # Rules of one priority see the same arguments, whether they decide or transform.
            decider = step.decider(moment)
            if step.transforms:
                changed += _transform(moment, [one for one in step.transforms if one.matches(moment)])
            if decider is not None:
                return self._decided(moment, decider, tuple(changed)), decider
        return self._by_default(moment, tuple(changed)), None

    def _decided(self, moment: Moment, decider: Matcher, changed: tuple[str, ...]) -> Decision:
        spec, facts = decider.spec, moment.facts
        decision = Decision(
            effect=spec.effect,
            arguments=moment.arguments,
            found=facts.found,
            rule=spec.name,
            ruleset=self.number,
            changed=changed,
            message=spec.message,
        )
        if spec.effect is Effect.DENY:
            return replace(decision, refusal=_refusal(spec, moment.caller))
        if spec.effect is Effect.REVIEW:
            reviewers = spec.reviewers.value() if spec.reviewers else Reviewers()
            if facts.agreed.releases(reviewers):
                return replace(decision, effect=Effect.ALLOW)
            return replace(decision, reviewers=reviewers)
        agreed = facts.agreed.confirmed or facts.agreed.approved
        if spec.effect is Effect.CONFIRM:
            return replace(decision, effect=Effect.ALLOW) if agreed else decision
        if facts.gained and not agreed:
            return replace(decision, effect=Effect.CONFIRM, rule="", message=facts.gained)
        return decision

    def _by_default(self, moment: Moment, changed: tuple[str, ...]) -> Decision:
        facts = moment.facts
        asks = "destructive" in moment.subject.traits or bool(facts.gained)
        agreed = facts.agreed.confirmed or facts.agreed.approved
        return Decision(
            effect=Effect.CONFIRM if asks and not agreed else Effect.ALLOW,
            arguments=moment.arguments,
            found=facts.found,
            ruleset=self.number,
            changed=changed,
            message="" if agreed else facts.gained,
        )


def compiled(row: Mapping[str, Any]) -> Rules:
    """A Ruleset's columns, ready to judge by. A rule that cannot be read any more is kept as far as it can."""
    matchers = [_compiled(written, row) for written in row["rules"]]
    return Rules.of([one for one in matchers if one is not None and one.spec.enabled], number=row["number"])


def _compiled(written: Any, row: Mapping[str, Any]) -> Matcher | None:
    """None for what does not even have a name and an effect."""
    try:
        return Matcher(Spec.model_validate(written), row["pins"])
    except Unfit as problem:
        wrong = {str(place[0]) for place in problems(problem) if place}
        name = str(written.get("name", ""))[:100] if isinstance(written, Mapping) else ""
        _tell(row["tenant_id"], row["number"], name, "; ".join(problems(problem).values()))
    if not isinstance(written, Mapping):
        return None
    try:
        # What is said of the rule as a whole, such as that two parts do not go together, names no part.
        kept = {part: value for part, value in written.items() if wrong and part not in wrong}
        return Matcher(Spec.model_validate(kept or _static(written)), row["pins"], broken=True)
    except Unfit:
        return None


def _static(written: Mapping[str, Any]) -> dict[str, Any]:
    return {part: written[part] for part in ("name", "priority", "effect", "who", "what") if part in written}


@lru_cache(maxsize=1024)
def _tell(tenant_id: int, number: int, name: str, problem: str) -> None:
    """Once, however often the catalog is read."""
    log.error("rule %r of tenant %s, rules v%s, cannot be read: %s", name, tenant_id, number, problem)


def _priority(matcher: Matcher) -> int:
    return -matcher.spec.priority


def _ordered(matchers: Iterable[Matcher]) -> tuple[Matcher, ...]:
    """By priority, among equal ones the strictest first, then by name: whatever order they came in."""
    return tuple(sorted(matchers, key=lambda one: (_priority(one), one.rank)))


def _selected(fit: Sequence[Matcher]) -> _Selection:
    levels = []
    for _, rules in groupby(fit, key=_priority):
        level = list(rules)
        levels.append(
            _Level.of(
                (one for one in level if one.spec.effect is not Effect.TRANSFORM),
                (one for one in level if one.spec.effect is Effect.TRANSFORM),
            )
        )
    return _Selection(
        levels=tuple(levels),
        steps=tuple(_merged(levels)),
        counting=tuple(one for one in fit if one.spec.before is not None),
        hidden=_hides(levels),
    )


def _hides(levels: Iterable[_Level]) -> bool:
    """Whether a secret rule comes before every rule that may let a call through."""
    for level in levels:
        if any(one.spec.secret for one in level.deciders):
            return True
        if any(one.spec.effect is not Effect.DENY for one in level.deciders):
            return False
    return False


def _merged(levels: Iterable[_Level]) -> Iterator[_Level]:
    waiting: tuple[Matcher, ...] = ()
    for level in levels:
        if level.transforms:
            yield from [_Level.of(waiting)] if waiting else []
            yield level
            waiting = ()
        else:
            waiting += level.deciders
    if waiting:
        yield _Level.of(waiting)


def _transform(moment: Moment, matching: Sequence[Matcher]) -> list[str]:
    """Change the arguments, and name the rules that did. Which of them match was asked before any of them changed
    anything, so that the last name wins where two are at odds."""
    arguments: Any = moment.arguments
    changed = []
    for one in matching:
        before = arguments
        for steps, edit in one.changes:
            arguments = edited(arguments, steps, edit)
        if arguments is not before:
            changed.append(one.spec.name)
    if changed:
        moment.arguments = arguments
    return changed


def _refusal(spec: Spec, caller: Caller) -> Refusal:
    said = spec.message or f"The rule {spec.name!r} of {caller.tenant_slug} does not allow this call."
    return Refusal(reason="denied", message=said)


def _window(spec: Spec, caller: Caller, subject: Subject) -> Window:
    """The rule by a digest, whose length is fixed: no name, of whatever signs, makes one bucket of two."""
    before = spec.before
    assert before is not None  # noqa: S101 - it is counted because it has one
    sharer = {"tenant": "", "member": f"m{caller.member_id}", "credential": caller.credential}[before.shared_by]
    rule = hashlib.sha256(spec.name.encode()).hexdigest()[:16]
    tool = subject.name if before.of == "tool" else ""
    return Window(rule=spec.name, bucket=f"r{caller.tenant_id}/{rule}/{sharer}/{tool}", seconds=before.seconds)


def _told(one: Matcher, moment: Moment, decided: str, decider: Matcher | None) -> str:
    if decided:
        return f"Not asked: {decided!r} had decided."
    if lacks := one.lacks(moment.caller, moment.subject):
        return f"Does not apply: {lacks}"
    said = one.told(moment)
    if decider is one:
        return f"{said} Decides: {one.spec.effect.value}."
    if one.spec.effect is Effect.TRANSFORM or decider is None or not one.matches(moment):
        return said
    return f"{said} {decider.spec.name!r} has the same priority and is stricter."


NO_RULES = Rules()
