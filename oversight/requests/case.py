"""One request beside the live rules: what granting it would stand above, and what it would not be enough against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from oversight.drafts import live_rules, readable
from oversight.requests.standing import offered, refusing, signed_in
from policy.models import AccessRequest, Ruleset
from policy.rules import Rules, Spec, compiled
from policy.rules.compiled import Outlook
from policy.rules.matching import Matcher
from policy.rules.spec import ReviewedBy
from policy.values import Effect, Subject
from tenants.caller import Caller


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What stands when somebody looks at a request.

    number: of the live rules by which all of it was worked out; 0 for none. tool: as it is offered now. refusing: the
    rule that refuses it, where it still does. below: what becomes of such calls by the rules no higher than that one,
    but for those that refuse. still: rules above it that may refuse such calls as well, so that granting would not be
    enough. over: rules that the one which grants it will stand above, and that may do more to such calls than let them
    run.
    """

    number: int
    tool: Subject | None
    refusing: Spec | None
    below: Outlook | None = None
    still: Sequence[str] = ()
    over: Sequence[str] = ()

    @property
    def proposed(self) -> Effect:
        """What granting it should do, so that no call needs less than it would if nothing refused it: what such a call
        may have to wait for by the rules that the grant will stand above, whatever its arguments are."""
        effects = self.below.effects if self.below is not None else frozenset()
        return next((one for one in (Effect.REVIEW, Effect.CONFIRM) if one in effects), Effect.ALLOW)

    def reviewers(self) -> ReviewedBy | None:
        """Who says yes now to what is under review without the refusal. Raises ValidationError where rules differ."""
        found = [one for one in self.below.deciders if one.effect is Effect.REVIEW] if self.below is not None else []
        reviews = [one.reviewers or ReviewedBy() for one in found]
        if len({(frozenset(one.roles), frozenset(one.groups)) for one in reviews}) > 1:
            names = ", ".join(f"“{one.name}”" for one in found)
            raise ValidationError(f"{names} ask different people. Write the rule that grants it into the draft.")
        return min(reviews, key=lambda one: one.minutes, default=None)


def case_of(request: AccessRequest) -> Case:
    """By what is live now. Runs in a scope of the tenant."""
    live, there = live_rules(request.tenant), offered(request.tenant, request.tool)
    tool = there[0] if there is not None else None
    number, found = live.number if live is not None else 0, refusing(live, request.rule)
    if live is None or tool is None or found is None:
        return Case(number=number, tool=tool, refusing=found)
    caller = signed_in(request.member)
    beside = _beside(live, caller, tool)
    below = [one for one in beside if one.priority <= found.priority and one.name != found.name]
    return Case(
        number=number,
        tool=tool,
        refusing=found,
        below=_below(live, found).outlook(caller, tool),
        still=[one.name for one in beside if one.priority > found.priority and one.effect is Effect.DENY],
        over=[one.name for one in below if one.effect is not Effect.ALLOW],
    )


def _beside(live: Ruleset, caller: Caller, tool: Subject) -> list[Spec]:
    """Each live rule that may hold for such calls."""
    known = map(readable, map(_by_any_client, live.rules))
    holding = [one for one in known if one is not None and one.enabled]
    return [one for one in holding if not Matcher(one, live.pins).lacks(caller, tool)]


def _below(live: Ruleset, found: Spec) -> Rules:
    """The live rules no higher than the one that refuses, but for those that refuse."""
    kept = [
        _by_any_client(rule)
        for rule, spec in zip(live.rules, map(readable, live.rules), strict=True)
        if spec is None or (spec.effect is not Effect.DENY and spec.priority <= found.priority)
    ]
    return compiled({"tenant_id": live.tenant_id, "number": live.number, "rules": kept, "pins": live.pins})


def _by_any_client(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """A live rule as it may hold for the member: where it names clients or ways, that depends on the call."""
    who = rule.get("who", {})
    if not (who.get("clients") or who.get("ways")):
        return rule
    named = {part: who[part] for part in ("users", "roles") if part in who}
    return {**rule, "who": named, "if": rule.get("if", "true"), "secret": False}
