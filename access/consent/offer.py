"""What a person is asked: which scopes, what each lets a program do, and what is new in it. Pure.

An offer is closed under what scopes imply, so that everything a token will carry stands on the page.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from access.unlocks import Unlocked
from tenants.pins import Pin, Sort, gains
from tenants.scopes import ScopeRule, expand, reachable


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """A scope of the tenant as the page needs it."""

    says: str
    needed: bool
    rule: ScopeRule


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What the member let this client do before, what they were shown then (`Consent.shown`), and what the tools that
    this covers were (`Consent.pins`)."""

    scopes: frozenset[str]
    shown: Mapping[str, Any]
    pins: Mapping[str, Pin]


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
    gained: Mapping[str, str]
    """Tools that it opens with what was allowed before and that can do more than then, by name: what they gained."""
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
    always_gained: Mapping[str, str]
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
        """The lines a person has to read: new scopes, and known ones that can now do more."""
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

    def pins(self, granted: frozenset[str], before: Mapping[str, Pin]) -> dict[str, Pin]:
        """What a yes that leaves the client with these scopes is given for: what is on the page as it is now, and of
        what is not, what was agreed to before."""
        kept = {name: pin for name, pin in before.items() if pin.scopes <= granted}
        shown = {tool.tool: tool.pin for line in self.lines for tool in line.tools if tool.scopes <= granted}
        return kept | shown | {tool.tool: tool.pin for tool in self.always}


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
    before = given.pins if given else {}
    gained = {name: _gained(_opened_by(name, usable, had), before) for name in offered & had}
    lines = tuple(
        Line(
            scope=name,
            says=scopes[name].says,
            tools=tuple(tool for tool in usable if name in tool.scopes),
            sort=_worst(tool for tool in usable if name in tool.scopes and tool.scopes <= implies[name] | needed),
            needed=name in needed,
            ticked=name in ticked or (name in had and not gained[name]),
            new=name not in had,
            gained=gained.get(name, {}),
            part_of=tuple(sorted(other for other in offered if other != name and name in implies[other])),
        )
        for name in sorted(offered, key=lambda name: (name not in needed, name not in ticked, name))
    )
    always = tuple(tool for tool in tools if not tool.scopes)
    kept = {name: entry for name, entry in remembered(given).items() if name not in offered} if given else {}
    return Offer(
        lines=lines,
        always=always,
        always_gained=_gained(always, before),
        forbidden={name: scopes[name].says for name in sorted(wanted - offered)},
        kept={name: entry["says"] for name, entry in kept.items()},
        implies=implies,
        shown={
            **about,
            "scopes": {line.scope: _entry(line) for line in lines},
            "always": {tool.tool: tool.sort for tool in always},
            "kept": kept,
            "pins": {tool.tool: tool.hash for tool in usable},
            "asks": {tool.tool: tool.asks for tool in (*usable, *always) if tool.asks},
            "gained": {name: dict(tools) for name, tools in gained.items() if tools},
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
    """Every scope that was granted, as it was shown."""
    shown = {**given.shown.get("kept", {}), **given.shown.get("scopes", {})}
    return {scope: shown[scope] for scope in sorted(given.scopes) if scope in shown}


def _opened_by(scope: str, tools: Iterable[Unlocked], had: frozenset[str]) -> list[Unlocked]:
    return [tool for tool in tools if scope in tool.scopes and tool.scopes <= had]


def _gained(tools: Iterable[Unlocked], before: Mapping[str, Pin]) -> dict[str, str]:
    """Which of these can do more than when they were agreed to, with what that is."""
    found = {tool.tool: gains(before.get(tool.tool), tool.pin) for tool in tools}
    return {name: ", ".join(gained) for name, gained in found.items() if gained}


def _worst(tools: Iterable[Unlocked]) -> Sort:
    sorts = {tool.sort for tool in tools}
    if "destructive" in sorts:
        return "destructive"
    return "writes" if "writes" in sorts else "reads"


def _destructive(tools: Iterable[Unlocked]) -> frozenset[str]:
    return frozenset(tool.tool for tool in tools if tool.sort == "destructive")


def _entry(line: Line) -> dict[str, Any]:
    return {
        "says": line.says,
        "needed": line.needed,
        "tools": {tool.tool: tool.sort for tool in line.tools},
        "together": {tool.tool: others for tool in line.tools if (others := line.together(tool))},
    }
