"""What is probably not meant in a draft of rules. Advice: nothing here keeps anybody from publishing. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from policy.rules import Spec, changes
from policy.rules.matching import STRICTNESS, fitting, globs
from policy.rules.spec import What, Who
from policy.values import Effect, Reviewers
from tools.queries import Published

_SIGNS: Final = frozenset("*?[")
_MOST_NAMED = 5
_TEXT = re.compile(r"""r?'(?:[^'\\]|\\.)*'|r?"(?:[^"\\]|\\.)*\"""")
_DOTTED = re.compile(r"(?<![\w.])args\.([A-Za-z_]\w*)")
_QUOTED = re.compile(r"""(?<![\w.])args\[\s*(?:'([^'\\]+)'|"([^"\\]+)")\s*\]""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing to look at again. grave: it makes something more dangerous than it looks."""

    rule: str
    message: str
    grave: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What there is for rules to match: the tenant's live tools, and the user names of its active members, by role and
    by group."""

    tools: Sequence[Published]
    roles: Mapping[str, frozenset[str]]
    groups: Mapping[str, frozenset[str]]


def lint(rules: Iterable[Spec], around: Surroundings) -> list[Finding]:
    """Findings in the order of the rules, which is that in which they are asked."""
    used = [rule for rule in rules if rule.enabled]
    found: list[Finding] = []
    for place, rule in enumerate(used):
        never = _never(rule, used[:place])
        found += never or [Finding(rule=rule.name, message=said, grave=grave) for said, grave in _said(rule, around)]
        found += [] if never else _given_away(rule, used[:place], around.tools)
    return found


def _given_away(rule: Spec, earlier: Iterable[Spec], tools: Iterable[Published]) -> list[Finding]:
    """Where a secret is none for whoever an earlier rule may let call the tool."""
    if not rule.secret:
        return []
    kept = [one.subject for one in tools if fitting(rule.what)(one.subject)]
    for one in earlier:
        told = [subject.name for subject in kept if fitting(one.what)(subject)]
        if told and one.priority > rule.priority and one.effect not in (Effect.DENY, Effect.TRANSFORM):
            why = f"where {one.name!r} is about the caller, as that may let them call"
            return [Finding(rule=rule.name, message=f"It makes no secret of {_some(told)} {why}.")]
    return []


def _never(rule: Spec, earlier: Sequence[Spec]) -> list[Finding]:
    """Where an earlier rule decides every call that this one could, as can be seen from who and what alone."""
    winner = next((one for one in earlier if _wins(one, rule)), None)
    if winner is None:
        return []
    return [Finding(rule=rule.name, message=f"It never decides: {winner.name!r} is asked before and matches as much.")]


def _wins(one: Spec, other: Spec) -> bool:
    if one.effect is Effect.TRANSFORM or one.depends or (one.what.tools and not one.tightens):
        return False  # it decides nothing, or not always: what loosens holds for some versions of a tool only
    if other.secret and one.effect is Effect.DENY and not one.secret:
        return False  # what is denied may be a secret besides
    before = one.priority > other.priority
    stricter = STRICTNESS.index(one.effect) < STRICTNESS.index(other.effect) and other.effect is not Effect.TRANSFORM
    return (before or stricter) and _covers_who(one.who, other.who) and _covers_what(one.what, other.what)


def _covers_who(one: Who, other: Who) -> bool:
    return (
        _covers(one.roles, other.roles)
        and _covers(one.ways, other.ways)
        and _covers(one.clients, other.clients)
        and _covers([user.lower() for user in one.users], [user.lower() for user in other.users])
    )


def _covers_what(one: What, other: What) -> bool:
    return (
        _covers(one.tags, other.tags)
        and _covers(one.kinds, other.kinds)
        and _covers(one.scopes, other.scopes)
        and set(one.traits) <= set(other.traits)
        and _covers_tools(one.tools, other.tools)
    )


def _covers(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    """Of lists of which any entry will do; an empty one is anything."""
    return not wide or (bool(narrow) and set(narrow) <= set(wide))


def _covers_tools(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    if not wide or "*" in wide:
        return True
    return bool(narrow) and all(one in wide or (not _SIGNS & set(one) and _matching(wide, [one])) for one in narrow)


def _said(rule: Spec, around: Surroundings) -> Iterator[tuple[str, bool]]:
    """What is said of a rule that may decide, and whether that is grave."""
    fits = fitting(rule.what)
    matched = [one for one in around.tools if fits(one.subject)]
    if danger := _danger(rule, matched):
        yield danger, True
    hints = [*_absent(rule, around.tools, matched), *_arguments(rule, matched), *_reviewers(rule, around)]
    yield from ((hint, False) for hint in hints)


def _danger(rule: Spec, matched: Sequence[Published]) -> str:
    """What may delete or overwrite is confirmed unless a rule says otherwise; perhaps this one does."""
    names = [one.subject.name for one in matched if "destructive" in one.subject.traits]
    if rule.effect not in (Effect.ALLOW, Effect.WARN) or not names:
        return ""
    return f"It lets calls run without anybody being asked that may delete or overwrite: {_some(names)}."


def _absent(rule: Spec, tools: Sequence[Published], matched: Sequence[Published]) -> Iterator[str]:
    """Tools that are not there, or nothing at all that it could match."""
    names = [one.subject.name for one in tools]
    missing = [pattern for pattern in rule.what.tools if not _matching([pattern], names)]
    for pattern in missing:
        yield f"No live tool is called {pattern}.{_hint(pattern, names)}"
    if not missing and not matched and rule.what != What():
        yield "It matches no tool that is live."


def _arguments(rule: Spec, matched: Sequence[Published]) -> Iterator[str]:
    """Arguments that no tool describes which it matches. Where it matches none, that is said already."""
    known = {name for one in matched for name in one.arguments}
    for name in sorted(_named(rule) - known) if matched else ():
        yield f"No tool that it matches describes an argument {name}.{_hint(name, known)}"


def _reviewers(rule: Spec, around: Surroundings) -> Iterator[str]:
    """Groups that are not there, and too few people who could say yes, as nobody does to a call of their own."""
    if rule.effect is not Effect.REVIEW:
        return
    roles, groups = (rule.reviewers.value() if rule.reviewers else Reviewers()).people
    for name in sorted(groups - set(around.groups)):
        yield f"There is no group {name}, so that nobody in it can say yes."
    people = {one for role in roles for one in around.roles.get(role, ())}
    people |= {one for name in groups for one in around.groups.get(name, ())}
    if not people:
        yield "Nobody could say yes to what it holds."
    elif len(people) == 1:
        yield f"Only {people.pop()} could say yes to what it holds, and not to calls of their own."


def _hint(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _matching(patterns: Iterable[str], names: Iterable[str]) -> bool:
    found = globs(patterns)
    return found is not None and any(found.fullmatch(name) for name in names)


def _named(rule: Spec) -> set[str]:
    """Names of arguments in its condition and its changes."""
    condition = rule.condition or ""
    found = {name for match in _QUOTED.finditer(condition) for name in match.groups() if name}
    found |= set(_DOTTED.findall(_TEXT.sub("''", condition)))
    for change in rule.transform:
        first = changes.path(change.set or change.remove or change.mask or change.clamp or "")[0]
        if isinstance(first, str):
            found.add(first)
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
