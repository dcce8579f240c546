"""Where a member stands with a tool: whether a rule keeps them from it, and which."""

import datetime
from dataclasses import dataclass

from django.utils import timezone

from access.callers import caller_of
from audit.models import Entry, Event
from oversight.drafts import live_rules, readable
from oversight.effective import SIGNED_IN
from policy.decide import visible
from policy.models import Ruleset
from policy.queries import rules_of
from policy.rules import Rules, Spec
from policy.values import Effect, Facts, Subject
from tenants.caller import Caller
from tenants.models import Member, Tenant
from tools.catalog import subject_of
from tools.models import Tool, Version

_LOOK_BACK = datetime.timedelta(days=31)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a member stands with a tool that is there for them.

    version: the number of what is live of it. refused: what keeps them from it, as a sentence; empty for nothing. rule:
    the name of the rule that does. scopes: what the host that was refused last did not carry, where that is what is
    missing.
    """

    tool: str
    version: int
    refused: str = ""
    rule: str = ""
    scopes: tuple[str, ...] = ()


def standing(member: Member, tool: str) -> Standing | None:
    """None when there is no such tool for them, for whatever reason. Runs in a scope of the tenant."""
    found = offered(member.tenant, tool)
    if found is None:
        return None
    subject, version = found
    rules, caller = rules_of(member.tenant_id), signed_in(member)
    if not visible(caller, subject, rules):
        return None
    last = _last_refusal(member, tool)
    if last is not None and last.reason == "insufficient_scope":
        return Standing(tool=tool, version=version, scopes=tuple(sorted(subject.scopes)))
    live = live_rules(member.tenant)
    rule = refusing(live, str((last.detail or {}).get("rule", ""))) if last is not None else None
    rule = rule if rule is not None and not rule.secret else refusing(live, _deciding(rules, caller, subject))
    if rule is None:
        return Standing(tool=tool, version=version)
    said = rule.message or f"The rule “{rule.name}” does not allow it."
    return Standing(tool=tool, version=version, refused=said, rule=rule.name)


def offered(tenant: Tenant, name: str) -> tuple[Subject, int] | None:
    """The tool as it is offered now, and the number of that version."""
    live = Tool.objects.filter(tenant=tenant, enabled=True).exclude(live__connection__enabled=False).values("live_id")
    row = Version.objects.filter(tenant=tenant, name=name, pk__in=live).values().first()
    return (subject_of(row), row["number"]) if row is not None else None


def signed_in(member: Member) -> Caller:
    """Whoever calls for them, by no client in particular."""
    return caller_of(member, credential=SIGNED_IN, client="")


def refusing(live: Ruleset | None, name: str) -> Spec | None:
    """The live rule of that name, where it refuses anything."""
    found = next((readable(rule) for rule in live.rules if rule["name"] == name), None) if live is not None else None
    return found if found is not None and found.enabled and found.effect is Effect.DENY else None


def _last_refusal(member: Member, tool: str) -> Entry | None:
    """The last time that a rule or a missing scope kept them from it."""
    found = Entry.objects.filter(
        tenant_id=member.tenant_id,
        at__gte=timezone.now() - _LOOK_BACK,
        event=Event.REFUSED,
        actor=member.user.username,
        tool=tool,
        reason__in=["denied", "insufficient_scope"],
    )
    return found.order_by("-at", "-id").first()


def _deciding(rules: Rules, caller: Caller, subject: Subject) -> str:
    """The name of the rule that refuses a call without arguments; empty for none."""
    decision = rules.judge(caller, subject, Facts(arguments={}, at=timezone.now()))
    return decision.rule if decision.effect is Effect.DENY else ""
