"""A tenant's draft of rules beside what is live: what publishing it would change, and what keeps it from that."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.utils import timezone

from oversight.requests.marks import granted_by
from oversight.rule_lint import Finding, Surroundings, lint
from oversight.rule_words import Difference, differences, said
from policy.actions import digest, spec_of
from policy.models import AccessRequest, Draft, Rule, Ruleset
from policy.rules import Spec, read
from policy.rules.matching import STRICTNESS, binding, fitting
from policy.rules.pins import pinned
from policy.values import Subject
from tenants import queries as tenant_queries
from tenants.models import Group, Member, Tenant, User
from tools import queries as tool_queries
from tools.queries import Published

NEW, CHANGED, SAME = "new", "changed", "same"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One rule of the draft. spec: None when it cannot be read; then `wrong` says why. state: NEW, CHANGED or SAME,
    against what is live."""

    row: Rule
    spec: Spec | None
    says: str
    state: str
    differs: Sequence[Difference] = ()
    wrong: Sequence[str] = ()

    @property
    def effect(self) -> str:
        return self.row.effect


@dataclass(frozen=True, kw_only=True, slots=True)
class Gone:
    """A rule that is live and not in the draft."""

    name: str
    effect: str
    says: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Loose:
    """A tool for which a live rule that loosens does not hold, though it names it. why: in words. known: whether it
    was live, in another version, when the rules were published."""

    rule: str
    tool: str
    tool_id: int
    known: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A tenant's draft beside its live rules. lines: in the order in which rules are asked."""

    tenant: Tenant
    live: Ruleset | None
    lines: Sequence[Line]
    gone: Sequence[Gone]

    @property
    def changes(self) -> int:
        return sum(line.state != SAME for line in self.lines) + len(self.gone)

    @property
    def specs(self) -> list[Spec]:
        return [line.spec for line in self.lines if line.spec is not None]

    def of(self, state: str) -> list[Line]:
        return [line for line in self.lines if line.state == state]

    @property
    def added(self) -> list[Line]:
        return self.of(NEW)

    @property
    def changed(self) -> list[Line]:
        return self.of(CHANGED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """Everything that somebody should know before they publish. digest, tools: of exactly what was shown. pinned: the
    tools that loosening rules will be bound to. wait: who has to publish instead of the reader, as a sentence."""

    state: State
    digest: str
    tools: str
    findings: Sequence[Finding]
    loose: Sequence[Loose]
    pinned: Sequence[str]
    problems: Sequence[str]
    wait: str

    @property
    def worth(self) -> bool:
        """Whether publishing changes anything: the rules, or the tools for which they hold."""
        return bool(self.state.changes or self.loose)


def live_rules(tenant: Tenant) -> Ruleset | None:
    """The version that decides; None while there is none."""
    return Ruleset.objects.filter(tenant=tenant).select_related("published_by").order_by("-number").first()


def state_of(tenant: Tenant) -> State:
    """The draft beside what is live. A rule that cannot be read is shown, and said to be so."""
    live = live_rules(tenant)
    published = {rule["name"]: rule for rule in live.rules} if live else {}
    lines = [_line(row, published.get(row.name)) for row in Rule.objects.filter(tenant=tenant)]
    names = {line.row.name for line in lines}
    gone = [_gone(rule) for name, rule in published.items() if name not in names]
    return State(tenant=tenant, live=live, lines=sorted(lines, key=_place), gone=gone)


def _line(row: Rule, published: Any) -> Line:
    try:
        spec = spec_of(row)
    except ValidationError as problem:
        return Line(row=row, spec=None, says="It cannot be read.", state=CHANGED, wrong=problem.messages)
    if published is None:
        return Line(row=row, spec=spec, says=said(spec), state=NEW)
    live = readable(published)
    if live is not None and digest([live]) == digest([spec]):
        return Line(row=row, spec=spec, says=said(spec), state=SAME)
    differs = differences(live, spec) if live is not None else []
    return Line(row=row, spec=spec, says=said(spec), state=CHANGED, differs=differs)


def readable(published: Any) -> Spec | None:
    """A published rule; None for one that can no longer be read."""
    try:
        return read(published)
    except ValidationError:
        return None


def _gone(published: Mapping[str, Any]) -> Gone:
    spec = readable(published)
    says = said(spec) if spec is not None else "It can no longer be read."
    return Gone(name=published["name"], effect=published.get("effect", ""), says=says)


def _place(line: Line) -> tuple[int, int, str]:
    """By priority, then the strictest first, then by name; as `policy.rules.Rules` asks them."""
    strictness = STRICTNESS.index(line.spec.effect) if line.spec is not None else 0
    return -line.row.priority, strictness, line.row.name


def review(tenant: Tenant, reader: User) -> Review:
    """What publishing the tenant's draft would do, for somebody who may."""
    state = state_of(tenant)
    tools = tool_queries.published(tenant.pk)
    bound = pinned(state.specs, [one.subject for one in tools])
    return Review(
        state=state,
        digest=digest(state.specs),
        tools=digest_of_pins(bound),
        findings=lint(state.specs, _around(tenant, tools)),
        loose=loose(state.live, tools),
        pinned=list(bound),
        problems=[f"{line.row.name}: {sentence}" for line in state.lines for sentence in line.wrong],
        wait=_wait(tenant, reader, askers(tenant, state.specs, bound, state.live)),
    )


def _around(tenant: Tenant, tools: Sequence[tool_queries.Published]) -> Surroundings:
    roles: dict[str, set[str]] = {}
    groups: dict[str, set[str]] = {group.name: set() for group in Group.objects.filter(tenant=tenant)}
    able = Member.objects.filter(tenant=tenant, active=True, user__is_active=True)
    for username, role, group in able.values_list("user__username", "role", "groups__name"):
        roles.setdefault(role, set()).add(username)
        if group is not None:
            groups[group].add(username)
    return Surroundings(tools=tools, roles=_frozen(roles), groups=_frozen(groups))


def _frozen(found: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(people) for name, people in found.items()}


def digest_of_pins(bound: Mapping[str, str]) -> str:
    """Of the tools that loosening rules would be bound to, as somebody saw them."""
    return hashlib.sha256(orjson.dumps(bound, option=orjson.OPT_SORT_KEYS)).hexdigest()


def loose(live: Ruleset | None, tools: Iterable[Published]) -> list[Loose]:
    """Where the live rules that loosen do not hold for a tool that they are bound to."""
    found = []
    for rule in _loosening(live):
        binds = binding(rule)
        for one in tools:
            pin = live.pins.get(one.subject.name) if live else None
            if binds(one.subject) and pin != one.subject.pin:
                found.append(Loose(rule=rule.name, tool=one.subject.name, tool_id=one.tool_id, known=pin is not None))
    return found


def stopping(live: Ruleset | None, now: Subject, then: Subject) -> list[str]:
    """The names of live rules that loosen and hold for a tool as it is now, and will not for what is to go live."""
    pins = live.pins if live else {}
    found = []
    for rule in _loosening(live):
        fits, binds = fitting(rule.what), binding(rule)
        holds = fits(now) and (not binds(now) or pins.get(now.name) == now.pin)
        if holds and (binds(then) or not fits(then)):
            found.append(rule.name)
    return found


def _loosening(live: Ruleset | None) -> list[Spec]:
    read_rules = [readable(rule) for rule in live.rules] if live else []
    return [rule for rule in read_rules if rule is not None and rule.enabled and not rule.tightens]


def askers(tenant: Tenant, rules: Iterable[Spec], bound: Mapping[str, str], live: Ruleset | None) -> Mapping[int, str]:
    """Whose own requests publishing these rules would grant, by user id: the tool. bound: the pins of their tools."""
    before = map(readable, live.rules) if live else ()
    same = [rule for rule in before if rule is not None and not _revived(rule, bound, live.pins if live else {})]
    found = AccessRequest.objects.filter(
        tenant=tenant, pk__in={number for rule in rules if (number := granted_by(rule)) and rule not in same}
    )
    return dict(found.values_list("member__user", "tool"))


def _revived(rule: Spec, bound: Mapping[str, str], pins: Mapping[str, str]) -> bool:
    """Whether a live rule would hold for a tool that has changed since."""
    over = rule.when is not None and rule.when.until is not None and rule.when.until <= timezone.now()
    return not rule.tightens and not over and any(bound.get(tool) != pins.get(tool) for tool in rule.what.tools)


def not_yours(tool: str) -> str:
    """Told to whoever would publish what grants them a tool."""
    return f"You asked for {tool} yourself, so somebody else has to publish the rule that grants it."


def _wait(tenant: Tenant, reader: User, askers: Mapping[int, str]) -> str:
    """Who has to publish, where the reader may not: because it grants what they asked for, or because the tenant asks
    for a second person and they are the first."""
    kept = Draft.objects.filter(tenant=tenant).values_list("writers", flat=True).first() or []
    writers = kept if tenant.second_publisher else []
    if reader.pk in askers:
        why = not_yours(askers[reader.pk])
    elif reader.pk in writers:
        why = f"You wrote at this draft, and {tenant.name} asks for a second person to publish it."
    else:
        return ""
    others = Member.objects.filter(
        tenant=tenant, active=True, user__is_active=True, role__in=tenant_queries.MANAGERS
    ).exclude(user__in=[*writers, *askers])
    names = list(others.order_by("user__username").values_list("user__username", flat=True))
    ask = f"Ask {' or '.join(names)}." if names else "There is nobody else who may: make somebody an admin first."
    return f"{why} {ask}"
