"""Rules in words: what one matches as a sentence, and each of its parts as lines that can be compared. Pure."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from policy.rules import Spec
from policy.rules.spec import ANY, Before, Change, What, When, Who

LABELS: Final = {
    "priority": "Priority",
    "effect": "Effect",
    "enabled": "In use",
    "who": "Who",
    "what": "What",
    "if": "Condition",
    "when": "When",
    "where": "From",
    "not_where": "Not from",
    "before": "What went before",
    "found": "What inspection found",
    "message": "Message",
    "secret": "Hides the tool",
    "transform": "What is changed",
    "reviewers": "Who reviews",
}
"""What the parts of a rule are called, in the order in which they are shown."""
WAYS: Final = {
    "key": "an API key",
    "app": "an app that a person let in",
    "client": "a machine",
    "outside": "a token of another issuer",
    "admin": "a trial in the admin",
    "cli": "the command line",
}
TRAITS: Final = {
    "read_only": "only read",
    "destructive": "may delete or overwrite",
    "idempotent": "do no more when they are called twice",
    "open_world": "reach beyond the company",
    "not read_only": "change something",
    "not destructive": "delete and overwrite nothing",
    "not idempotent": "do more when they are called twice",
    "not open_world": "stay within the company",
}
DAYS: Final = {
    "mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday", "sat": "Saturday",
    "sun": "Sunday",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A part of a rule that differs. lines: (`+` or `-`, text)."""

    label: str
    lines: Sequence[tuple[str, str]]


def said(spec: Spec) -> str:
    """What calls a rule matches, and what it changes in them or keeps secret, in sentences."""
    calls = ", ".join([_what(spec.what) + _who(spec.who), *_conditions(spec)])
    changed = "; ".join(change_in_words(change) for change in spec.transform)
    kept = " For them the tool does not exist." if spec.secret else ""
    return f"Calls of {calls}: {changed}." if changed else f"Calls of {calls}.{kept}"


def _what(what: What) -> str:
    tools = _or(what.tools) if what.tools else "any tool"
    told = []
    if what.tags:
        told.append(f"tagged {_or(what.tags)}")
    if what.kinds:
        told.append(f"of the kind {_or(what.kinds)}")
    if what.scopes:
        told.append(f"with the scope {_or(what.scopes)}")
    if what.traits:
        told.append(f"marked {' and '.join(trait.replace('_', ' ') for trait in what.traits)}")
    return " ".join([tools, *told])


def _who(who: Who) -> str:
    told = ""
    if who.users:
        told += f" by {_or(who.users)}"
    if who.roles:
        told += f"{' with' if who.users else ' by members with'} the role {_or(who.roles)}"
    if who.clients:
        told += f" through {_or(who.clients)}"
    if who.ways:
        told += f" with {_or(WAYS[way] for way in who.ways)}"
    return told


def _conditions(spec: Spec) -> Iterator[str]:
    if spec.condition:
        yield f"if {spec.condition}"
    if spec.when:
        yield _when(spec.when)
    if spec.where:
        yield f"from {_or(spec.where)}"
    if spec.not_where:
        yield f"not from {_or(spec.not_where)}"
    if spec.before:
        yield _before(spec.before)
    if spec.found:
        yield f"when inspection found {_or('anything' if one == ANY else one for one in spec.found)}"


def _when(when: When) -> str:
    told = []
    if when.days:
        told.append(f"on {_or(DAYS[day] for day in when.days)}")
    if when.start:
        told.append(f"between {when.start} and {when.end}")
    if when.days or when.start:
        told.append(f"({when.zone})")
    if when.since:
        told.append(f"since {when.since:%Y-%m-%d %H:%M %Z}")
    if when.until:
        told.append(f"until {when.until:%Y-%m-%d %H:%M %Z}")
    return " ".join(told)


def _before(before: Before) -> str:
    tools = "of the same tool" if before.of == "tool" else "of tools that it matches"
    return f"after more than {before.more_than} calls {tools} by the same {before.shared_by} in {before.seconds} s"


def _or(names: Iterable[str]) -> str:
    listed = list(names)
    return " or ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)


def differences(before: Spec, after: Spec) -> list[Difference]:
    """What differs between two rules of one name, in the order of LABELS."""
    was, now = _parts(before), _parts(after)
    return [
        Difference(label=label, lines=_lines(was[name], now[name]))
        for name, label in LABELS.items()
        if was[name] != now[name]
    ]


def _lines(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    return [(line[0], line[2:]) for line in difflib.ndiff(before, after) if line[0] in "+- "]


def _parts(spec: Spec) -> Mapping[str, Sequence[str]]:
    """Every part as lines; none for what the rule leaves out."""
    written = spec.written()
    return {
        "enabled": ["yes" if spec.enabled else "no"],
        "secret": ["yes" if spec.secret else "no"],
        "if": (spec.condition or "").splitlines(),
        "message": spec.message.splitlines(),
        "transform": [change_in_words(change) for change in spec.transform],
        **{name: _plain(written.get(name)) for name in LABELS if name not in _SHOWN},
    }


_SHOWN: Final = {"enabled", "secret", "if", "message", "transform"}


def _plain(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [f"{name.replace('_', ' ')}: {', '.join(_plain(one))}" for name, one in value.items()]
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def change_in_words(change: Change) -> str:
    """One change of arguments as a line."""
    if change.set is not None:
        return f"set {change.set} to {orjson.dumps(change.to).decode()}"
    if change.remove is not None:
        return f"remove {change.remove}"
    if change.mask is not None:
        return f"mask {change.mask}"
    bounds = {"at least": change.least, "at most": change.most}
    return f"keep {change.clamp} {' and '.join(f'{bound} {one}' for bound, one in bounds.items() if one is not None)}"
