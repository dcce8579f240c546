"""What a person is asked: which scopes, what each lets a program do, and what is new in it. Pure.

An offer is closed under what scopes imply, so that everything a token will carry stands on the page.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from access.unlocks import Sort, Unlocked
from tenants.scopes import ScopeRule, expand, reachable


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """A scope of the tenant as the page needs it."""

    says: str
    needed: bool
    rule: ScopeRule


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What the member let this client do before, and what they were shown then (`Consent.shown`)."""

    scopes: frozenset[str]
    shown: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One scope on the page."""

    scope: str
    says: str
    tools: tuple[Unlocked, ...]
    sort: Sort
    """The worst that it opens by itself; a tool that waits for another scope as well is not counted."""
    needed: bool
    ticked: bool
    new: bool
    gained: frozenset[str]
    """Destructive tools that it opens with what was allowed before, and that were not there then."""
    part_of: tuple[str, ...]
    """Other scopes of the offer that imply it: while one of them is ticked, it comes along."""

    def together(self, tool: Unlocked) -> list[str]:
        """The other scopes this tool needs as well."""
        return sorted(tool.scopes - {self.scope})


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """The question. `shown` is all that the answer depends on, as JSON; `hash` its SHA-256 in hex."""

    lines: tuple[Line, ...]
    always: tuple[Unlocked, ...]
    """Tools that need no scope: whatever is connected may call them."""
    always_gained: frozenset[str]
    forbidden: Mapping[str, str]
    """Scopes that were asked for and that the member's role may not hold, with what they say."""
    kept: Mapping[str, str]
    """Scopes it has and did not ask for this time, with what they say; they stay as they are."""
    implies: Mapping[str, frozenset[str]]
    shown: Mapping[str, Any]

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(line.scope for line in self.lines)

    @property
    def needed(self) -> frozenset[str]:
        return frozenset(line.scope for line in self.lines if line.needed)

    @property
    def fresh(self) -> tuple[Line, ...]:
        """The lines a person has to read: new scopes, and known ones that can now do lasting harm."""
        return tuple(line for line in self.lines if line.new or line.gained)

    @property
    def familiar(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if not (line.new or line.gained))

    @property
    def grantable(self) -> bool:
        """Whether a yes would mean anything: not when all that was asked for is beyond the member's role."""
        return bool(self.lines or self.always or not self.forbidden)

    @property
    def hash(self) -> str:
        return hashlib.sha256(orjson.dumps(self.shown, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def granted(self, ticked: Iterable[str]) -> frozenset[str]:
        """What a yes with these ticked grants: they, what cannot be left out, and what those imply."""
        wanted = (frozenset(ticked) & self.scopes) | self.needed
        return wanted.union(*(self.implies[scope] for scope in wanted)) if wanted else wanted


def make(
    *,
    asked: Collection[str],
    scopes: Mapping[str, Described],
    role: str,
    tools: Sequence[Unlocked],
    given: Given | None,
    about: Mapping[str, str],
) -> Offer:
    """The offer for one authorization request.

    asked: scopes of the request, empty when it named none: then the working set, which is what live tools need.
    about: further facts that are on the page and that the answer depends on (who asks whom, where it is sent).
    """
    rules = {name: one.rule for name, one in scopes.items()}
    wanted = expand(asked or (name for tool in tools for name in tool.scopes), rules)
    offered = expand(wanted & reachable(role, rules), rules)
    implies = {name: expand([name], rules) for name in offered}
    usable = [tool for tool in tools if tool.scopes <= offered]
    needed = expand((name for name in offered if scopes[name].needed), rules)
    ticked = proposed(offered, needed=needed, implies=implies, tools=usable)
    had = given.scopes if given else frozenset()
    before = remembered(given) if given else {}
    gained = {name: _gained(name, had, usable, before) for name in offered & had}
    lines = tuple(
        Line(
            scope=name,
            says=scopes[name].says,
            tools=tuple(tool for tool in usable if name in tool.scopes),
            sort=_worst(tool for tool in usable if name in tool.scopes and tool.scopes <= implies[name] | needed),
            needed=name in needed,
            ticked=name in ticked or (name in had and not gained[name]),
            new=name not in had,
            gained=gained.get(name, frozenset()),
            part_of=tuple(sorted(other for other in offered if other != name and name in implies[other])),
        )
        for name in sorted(offered, key=lambda name: (name not in needed, name not in ticked, name))
    )
    always = tuple(tool for tool in tools if not tool.scopes)
    kept = {name: before[name] for name in sorted(had - offered) if name in before}
    return Offer(
        lines=lines,
        always=always,
        always_gained=_destructive(always) - _harmful((given.shown if given else {}).get("always", {})),
        forbidden={name: scopes[name].says for name in sorted(wanted - offered)},
        kept={name: entry["says"] for name, entry in kept.items()},
        implies=implies,
        shown={
            **about,
            "scopes": {line.scope: _entry(line) for line in lines},
            "always": {tool.tool: tool.sort for tool in always},
            "kept": kept,
        },
    )


def proposed(
    offered: Collection[str],
    *,
    needed: frozenset[str],
    implies: Mapping[str, frozenset[str]],
    tools: Sequence[Unlocked],
) -> frozenset[str]:
    """What is ticked before the person does anything: all that does not open a destructive tool, and what is needed.

    A tool that needs several scopes is opened by the last of them, so that reading may stay ticked beside it.
    """

    def harm(held: frozenset[str]) -> frozenset[str]:
        return _destructive(tool for tool in tools if tool.scopes <= held)

    def harmless_uses(name: str) -> int:
        return sum(1 for tool in tools if name in tool.scopes and tool.sort != "destructive")

    ticked = needed
    for name in sorted(offered, key=lambda name: (-harmless_uses(name), name)):
        if harm(ticked | implies[name]) <= harm(needed):
            ticked |= implies[name]
    return ticked


def remembered(given: Given) -> dict[str, Any]:
    """Every scope that was granted with the tools it opened then. What was read beside a scope that was refused is not
    among them: nobody has allowed it."""
    shown = {**given.shown.get("kept", {}), **given.shown.get("scopes", {})}
    return {scope: _opened(entry, given.scopes) for scope, entry in shown.items() if scope in given.scopes}


def _opened(entry: Mapping[str, Any], scopes: frozenset[str]) -> dict[str, Any]:
    waits = {tool for tool, others in entry["together"].items() if not scopes.issuperset(others)}
    return {**entry, "tools": {tool: sort for tool, sort in entry["tools"].items() if tool not in waits}}


def _gained(name: str, had: frozenset[str], tools: Iterable[Unlocked], before: Mapping[str, Any]) -> frozenset[str]:
    now = _destructive(tool for tool in tools if name in tool.scopes and tool.scopes <= had)
    return now - _harmful(before.get(name, {}).get("tools", {}))


def _worst(tools: Iterable[Unlocked]) -> Sort:
    sorts = {tool.sort for tool in tools}
    if "destructive" in sorts:
        return "destructive"
    return "writes" if "writes" in sorts else "reads"


def _destructive(tools: Iterable[Unlocked]) -> frozenset[str]:
    return frozenset(tool.tool for tool in tools if tool.sort == "destructive")


def _harmful(shown: Mapping[str, str]) -> frozenset[str]:
    """The destructive ones among the tools of an earlier page."""
    return frozenset(tool for tool, sort in shown.items() if sort == "destructive")


def _entry(line: Line) -> dict[str, Any]:
    return {
        "says": line.says,
        "needed": line.needed,
        "tools": {tool.tool: tool.sort for tool in line.tools},
        "together": {tool.tool: others for tool in line.tools if (others := line.together(tool))},
    }
