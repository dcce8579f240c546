"""Whether one rule matches one call: by who and what, which stays the same, and by what each call brings.

Every answer is available as a sentence too, for the pages that explain decisions.
"""

import datetime
import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from policy.conditions import Condition, Known
from policy.rules import changes
from policy.rules.spec import ANY, Before, Change, Spec, What, When, Who
from policy.rules.times import Hours
from policy.values import Effect, Facts, Subject
from tenants.caller import Caller

_CREDENTIAL = re.compile(r"(?:key|app|client|outside):\d+")
STRICTNESS = (Effect.DENY, Effect.REVIEW, Effect.CONFIRM, Effect.WARN, Effect.ALLOW, Effect.TRANSFORM)
"""Of rules of one priority, the first of these decides."""


class Moment:
    """One call while it is judged. arguments: as they are by now; rules of a higher priority may have changed them.
    variables: what conditions know of the caller and the tool (`variables_of`)."""

    __slots__ = ("_arguments", "_known", "_variables", "caller", "facts", "subject")

    def __init__(self, caller: Caller, subject: Subject, facts: Facts, variables: Mapping[str, Any]) -> None:
        self.caller = caller
        self.subject = subject
        self.facts = facts
        self._variables = variables
        self._arguments = facts.arguments
        self._known: Known | None = None

    @property
    def arguments(self) -> Mapping[str, Any]:
        return self._arguments

    @arguments.setter
    def arguments(self, changed: Mapping[str, Any]) -> None:
        self._arguments = changed
        self._known = None

    @property
    def known(self) -> Known:
        """What conditions may look at."""
        if self._known is None:
            found = self.facts.found
            others = {**self._variables, "found": sorted(found)} if found else self._variables
            self._known = Known(self._arguments, others)
        return self._known


def variables_of(caller: Caller, subject: Subject) -> Mapping[str, Any]:
    """What conditions know beside the arguments, of a call in which inspection finds nothing."""
    return {
        "user": caller.username,
        "role": caller.role,
        "client": caller.client,
        "way": way_of(caller),
        "tool": subject.name,
        "tags": sorted(subject.tags),
        "found": [],
    }


Check = Callable[[Moment], bool | None]
"""Whether a call is as a rule wants it; None where that cannot be told."""


class Matcher:
    """A rule, compiled.

    broken: a part of it could not be read, so that it is never known whether it matches.
    """

    __slots__ = ("_binds", "_checks", "_pins", "_what", "_who", "ask", "broken", "changes", "hours", "rank", "spec")

    def __init__(self, spec: Spec, pins: Mapping[str, str], *, broken: bool = False) -> None:
        self.spec = spec
        self.broken = broken
        self._pins = pins
        self._binds = binding(spec)
        self.rank = (STRICTNESS.index(spec.effect), spec.name, repr(spec.written()))
        self.changes = tuple(_edit(change) for change in spec.transform)
        self.hours = Hours(spec.when) if spec.when else None
        self._who = _Who(spec.who)
        self._what = _What(spec.what)
        self._checks = dict(_checks(spec, self.hours))
        self.ask = _all_of(tuple(self._checks.values()))

    def lacks(self, caller: Caller, subject: Subject) -> str:
        """What keeps it from any call of this tool by this Caller, as a sentence; empty for nothing."""
        return self._who.lacks(caller) or self._what.lacks(subject) or self._unpinned(subject)

    def matches(self, moment: Moment) -> bool:
        """Whether it matches a call that nothing keeps it from. Where that cannot be told, a rule that tightens does,
        and one that loosens does not."""
        return self.heard(self.ask(moment))

    def heard(self, found: bool | None) -> bool:
        """Whether it matches, after what its checks have answered."""
        return self.spec.tightens if found is None or (found and self.broken) else found

    @property
    def seeks(self) -> bool:
        """Whether it matches only where inspection found something."""
        return bool(self.spec.found)

    @property
    def foreseen(self) -> bool | None:
        """The same of every such call, whatever it brings; None where it depends on that."""
        if self.broken and not self.spec.tightens:
            return False
        return None if self._checks else True

    def told(self, moment: Moment) -> str:
        """The same as a sentence."""
        asked = {name: check(moment) for name, check in self._checks.items()}
        failed = [name for name, found in asked.items() if found is False]
        unknown = [name for name, found in asked.items() if found is None] + [
            "a part that cannot be read"
        ] * self.broken
        if failed:
            return f"Does not match: {', '.join(failed)}."
        if not unknown:
            return "Matches."
        verdict = "Counts as matching, as it tightens" if self.spec.tightens else "Does not match, as it loosens"
        return f"{verdict} and this cannot be told: {', '.join(unknown)}."

    def _unpinned(self, subject: Subject) -> str:
        if not self._binds(subject):
            return ""
        pin = self._pins.get(subject.name)
        if pin is None:
            return f"{subject.name} was not live when these rules were published."
        return "" if pin == subject.pin else f"{subject.name} has changed since these rules were published."


def _all_of(checks: tuple[Check, ...]) -> Check:
    """One check for all; most rules have but one."""
    if len(checks) == 1:
        return checks[0]

    def every(moment: Moment) -> bool | None:
        known = True
        for check in checks:
            found = check(moment)
            if found is False:
                return False
            known = known and found is not None
        return True if known else None

    return every


def way_of(caller: Caller) -> str:
    """How they authenticated: one of `policy.rules.spec.WAYS`."""
    return caller.credential.partition(":")[0]


class _Who:
    __slots__ = ("_clients", "_credentials", "_roles", "_users", "_ways")

    def __init__(self, who: Who) -> None:
        self._users = frozenset(user.lower() for user in who.users)
        self._roles = frozenset(who.roles)
        self._ways = frozenset(who.ways)
        # A client may call itself app:7, so that what looks like a credential is never a name.
        self._credentials = frozenset(one for one in who.clients if _CREDENTIAL.fullmatch(one))
        self._clients = globs(one for one in who.clients if one not in self._credentials)

    def lacks(self, caller: Caller) -> str:
        if self._users and caller.username.lower() not in self._users:
            return f"The user {caller.username} is not among {_listed(self._users)}."
        if self._roles and caller.role not in self._roles:
            return f"The role {caller.role} is not among {_listed(self._roles)}."
        if self._ways and way_of(caller) not in self._ways:
            return f"The caller comes by {way_of(caller)}, not by {_listed(self._ways)}."
        if (self._clients or self._credentials) and not self._is_client(caller):
            return f"The client {caller.client or caller.credential} is none of those it names."
        return ""

    def _is_client(self, caller: Caller) -> bool:
        named = self._clients is not None and self._clients.fullmatch(caller.client) is not None
        return named or caller.credential in self._credentials


class _What:
    __slots__ = ("_kinds", "_scopes", "_tags", "_tools", "_traits", "_without")

    def __init__(self, what: What) -> None:
        self._tools = globs(what.tools)
        self._tags = frozenset(what.tags)
        self._kinds = frozenset(what.kinds)
        self._scopes = frozenset(what.scopes)
        self._without = frozenset(trait.removeprefix("not ") for trait in what.traits if trait.startswith("not "))
        self._traits = frozenset(trait for trait in what.traits if not trait.startswith("not "))

    def lacks(self, subject: Subject) -> str:
        if self._tools is not None and self._tools.fullmatch(subject.name) is None:
            return f"The tool {subject.name} is none of those it names."
        if self._tags and not self._tags & subject.tags:
            return f"The tool has no tag of {_listed(self._tags)}."
        if self._kinds and subject.kind not in self._kinds:
            return f"The tool's kind {subject.kind or '(none)'} is not among {_listed(self._kinds)}."
        if self._scopes and not self._scopes & subject.scopes:
            return f"The tool requires no scope of {_listed(self._scopes)}."
        if missing := self._traits - subject.traits:
            return f"The tool is not {_listed(missing)}."
        if present := self._without & subject.traits:
            return f"The tool is {_listed(present)}."
        return ""


def binding(rule: Spec) -> Callable[[Subject], bool]:
    """Which tools it holds for only as they were when it was published, of those that it matches.

    What loosens and names tools holds for them as they were. What lets calls of a sort of tools run is for tools to
    come as well, but for those that can destroy: the default asks about these, and does so until somebody has looked.
    """
    if rule.tightens:
        return lambda subject: False
    named = globs(rule.what.tools)
    if named is not None:
        return lambda subject: named.fullmatch(subject.name) is not None
    fits = fitting(rule.what)
    return lambda subject: "destructive" in subject.traits and fits(subject)


def fitting(what: What) -> Callable[[Subject], bool]:
    """Whether a rule's `what` matches a tool."""
    ready = _What(what)
    return lambda subject: not ready.lacks(subject)


def globs(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """One expression for all; `fnmatch` writes its stars so that they do not backtrack into each other."""
    alternatives = [fnmatch.translate(pattern) for pattern in patterns]
    return (
        re.compile("|".join(_own_groups(number, one) for number, one in enumerate(alternatives)))
        if alternatives
        else None
    )


def _own_groups(number: int, pattern: str) -> str:
    """`fnmatch` numbers the groups of each pattern from 0; two in one expression would clash."""
    return re.sub(r"(?<=\(\?P<|\(\?P=)g(?=\d+[>)])", f"p{number}g", pattern)


def _checks(spec: Spec, hours: Hours | None) -> Iterable[tuple[str, Check]]:
    """What to ask of each call, with what it is called, the cheapest first."""
    if spec.found:
        yield f"the input holds {_listed(spec.found)}", _finding(frozenset(spec.found))
    if spec.before is not None:
        yield _says_before(spec.before), _counting(spec.name, spec.before)
    if hours is not None and spec.when is not None:
        yield _says_when(spec.when), lambda moment: hours.hold(moment.facts.at)
    if spec.where:
        yield f"it comes from {_listed(spec.where)}", _coming(spec.where, within=True)
    if spec.not_where:
        yield f"it does not come from {_listed(spec.not_where)}", _coming(spec.not_where, within=False)
    if spec.condition is not None:
        condition = Condition(spec.condition)
        yield condition.source, lambda moment: condition.holds(moment.known)


def _finding(names: frozenset[str]) -> Check:
    if ANY in names:
        return lambda moment: bool(moment.facts.found)
    return lambda moment: not names.isdisjoint(moment.facts.found)


def _counting(rule: str, before: Before) -> Check:
    return lambda moment: moment.facts.before.get(rule, 0) > before.more_than


def _coming(ranges: Iterable[str], *, within: bool) -> Check:
    networks = tuple(ipaddress.ip_network(one) for one in ranges)
    inside = lru_cache(maxsize=256)(lambda address: _is_within(address, networks))

    def check(moment: Moment) -> bool | None:
        found: bool | None = inside(moment.facts.address)
        return None if found is None else found is within

    return check


_Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def _is_within(written: str, networks: _Networks) -> bool | None:
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any(address in network or (mapped is not None and mapped in network) for network in networks)


def _edit(change: Change) -> tuple[tuple[changes.Step, ...], changes.Edit]:
    if change.set is not None:
        return changes.path(change.set), changes.setting(change.to)
    if change.remove is not None:
        return changes.path(change.remove), changes.remove
    if change.mask is not None:
        return changes.path(change.mask), changes.mask
    return changes.path(change.clamp or ""), changes.clamping(change.least, change.most)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _says_before(before: Before) -> str:
    tools = "this tool" if before.of == "tool" else "tools it matches"
    return f"more than {before.more_than} calls of {tools} came within {before.seconds} s for the {before.shared_by}"


def _says_when(when: When) -> str:
    hours = f" from {when.start} to {when.end}" if when.start else ""
    since = f" since {_moment(when.since)}" if when.since else ""
    until = f" until {_moment(when.until)}" if when.until else ""
    return f"it comes{' on ' + ' '.join(when.days) if when.days else ''}{hours}{since}{until} ({when.zone})"


def _moment(at: datetime.datetime) -> str:
    return at.isoformat(timespec="minutes")
