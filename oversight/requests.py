"""Asking for access to a tool that a rule refuses, and answering that. Each is one transaction with its entries."""

import datetime
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.utils import timezone

from access.callers import caller_of
from audit.models import Entry, Event
from oversight.drafts import askers, live_rules, not_yours, readable
from oversight.effective import SIGNED_IN
from oversight.marks import GRANTABLE, granted_by, mark
from policy import actions as policy_actions
from policy.decide import visible
from policy.models import AccessRequest, Rule, Ruleset
from policy.queries import rules_of
from policy.rules import Rules, Spec, compiled, read
from policy.rules.compiled import Outlook
from policy.rules.matching import Matcher
from policy.rules.spec import ReviewedBy
from policy.values import Effect, Facts, Subject
from tenants import actions as tenant_actions
from tenants import addresses
from tenants import queries as tenant_queries
from tenants.caller import Caller
from tenants.models import Member, Tenant, User
from tools import queries as tool_queries
from tools.catalog import subject_of
from tools.models import Tool, Version

State = AccessRequest.State
WAITING: Final = (State.OPEN, State.PROPOSED)
MOST_OPEN = 20
"""Open requests of one member."""
MOST_READERS = 50
"""People that a mail goes to at the most."""
USUAL_DAYS = 7
LONGEST_DAYS = 366
_LOOK_BACK = datetime.timedelta(days=31)
_HIGHEST = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a member stands with a tool that is there for them.

    refused: what keeps them from it, as a sentence; empty for nothing. rule: the name of the rule that does. scopes:
    what the host that was refused last did not carry, where that is what is missing.
    """

    tool: str
    refused: str = ""
    rule: str = ""
    scopes: tuple[str, ...] = ()


def standing(member: Member, tool: str) -> Standing | None:
    """None when there is no such tool for them, for whatever reason. Runs in a scope of the tenant."""
    subject = _subject(member.tenant, tool)
    if subject is None:
        return None
    rules, caller = rules_of(member.tenant_id), caller_of(member, credential=SIGNED_IN, client="")
    if not visible(caller, subject, rules):
        return None
    last = _last_refusal(member, tool)
    if last is not None and last.reason == "insufficient_scope":
        return Standing(tool=tool, scopes=tuple(sorted(subject.scopes)))
    rule = _named(member.tenant, str((last.detail or {}).get("rule", ""))) if last is not None else None
    rule = rule if rule is not None and not rule.secret else _deciding(member.tenant, rules, caller, subject)
    if rule is None:
        return Standing(tool=tool)
    said = rule.message or f"The rule “{rule.name}” does not allow it."
    return Standing(tool=tool, refused=said, rule=rule.name)


def _subject(tenant: Tenant, name: str) -> Subject | None:
    """The tool as it is offered now."""
    live = Tool.objects.filter(tenant=tenant, enabled=True).exclude(live__connection__enabled=False).values("live_id")
    row = Version.objects.filter(tenant=tenant, name=name, pk__in=live).values().first()
    return subject_of(row) if row is not None else None


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


def _named(tenant: Tenant, name: str) -> Spec | None:
    """The live rule of that name, where it refuses anything."""
    live = live_rules(tenant)
    found = next((readable(rule) for rule in live.rules if rule["name"] == name), None) if live is not None else None
    return found if found is not None and found.enabled and found.effect is Effect.DENY else None


def _deciding(tenant: Tenant, rules: Rules, caller: Caller, subject: Subject) -> Spec | None:
    """The rule that refuses a call without arguments."""
    decision = rules.judge(caller, subject, Facts(arguments={}, at=timezone.now()))
    return _named(tenant, decision.rule) if decision.effect is Effect.DENY else None


def granted_until(request: AccessRequest) -> datetime.datetime | None:
    """Until when what was granted still holds; None when it does not."""
    holds = request.state == State.GRANTED and request.until is not None and request.until > timezone.now()
    return request.until if holds else None


def latest(member: Member, tool: str) -> AccessRequest | None:
    """What the member asked for last, for this tool."""
    return AccessRequest.objects.filter(tenant_id=member.tenant_id, member=member, tool=tool).first()


@transaction.atomic
def ask(member: Member, tool: str, why: str) -> AccessRequest:
    """Ask for it. Raises ValidationError when nothing refuses it, no reason is given, or too many requests wait."""
    why = " ".join(why.split())
    if not why or len(why) > 500:
        raise ValidationError("Say in up to 500 characters what you need it for.")
    found = standing(member, tool)
    if found is None or not found.rule:
        raise ValidationError("Nothing refuses it to you now. Have your program call it again.")
    Member.objects.select_for_update(of=("self",)).get(pk=member.pk)
    waiting = AccessRequest.objects.filter(tenant_id=member.tenant_id, member=member, state__in=WAITING)
    if waiting.filter(tool=tool).exists():
        raise ValidationError("You asked for this already; an admin has to answer.")
    if waiting.count() >= MOST_OPEN:
        raise ValidationError(f"{MOST_OPEN} of your requests wait for an answer. Wait until some of them have one.")
    made = AccessRequest(tenant_id=member.tenant_id, member=member, tool=tool, rule=found.rule, why=why)
    tenant_actions.save(made, actor=member.user.username)
    _mail(
        _admins(member.tenant),
        f"{member.user.username} asks for {tool} in {member.tenant.name}",
        f"{member.user.username} asks for access to {tool} in {member.tenant.name}, which the rule “{found.rule}” "
        f"refuses. Read why, and answer: {settings.BASE_URL}/admin/policy/accessrequest/{made.pk}/change/",
    )
    return made


def proposed(request: AccessRequest) -> Effect:
    """What granting it should do, so that no call needs less than it would if nothing refused it: what such a call may
    have to wait for by the rules that the grant will stand above, whatever its arguments are."""
    below = _below(request)
    effects = below.effects if below is not None else frozenset()
    return next((one for one in (Effect.REVIEW, Effect.CONFIRM) if one in effects), Effect.ALLOW)


def _below(request: AccessRequest) -> Outlook | None:
    """What becomes of such calls by the rules no higher than the one that refuses, but for those that refuse."""
    subject, live = _subject(request.tenant, request.tool), live_rules(request.tenant)
    refusing = _named(request.tenant, request.rule)
    if subject is None or live is None or refusing is None:
        return None
    kept = [
        _by_any_client(rule)
        for rule, spec in zip(live.rules, map(readable, live.rules), strict=True)
        if spec is None or (spec.effect is not Effect.DENY and spec.priority <= refusing.priority)
    ]
    rules = compiled({"tenant_id": request.tenant_id, "number": live.number, "rules": kept, "pins": live.pins})
    return rules.outlook(_caller(request), subject)


def _by_any_client(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """A live rule as it may hold for the member: where it names clients or ways, that depends on the call."""
    who = rule.get("who", {})
    if not (who.get("clients") or who.get("ways")):
        return rule
    named = {part: who[part] for part in ("users", "roles") if part in who}
    return {**rule, "who": named, "if": rule.get("if", "true"), "secret": False}


def _caller(request: AccessRequest) -> Caller:
    return caller_of(request.member, credential=SIGNED_IN, client="")


@transaction.atomic
def grant(
    request: AccessRequest,
    *,
    actor: User,
    until: datetime.datetime,
    effect: Effect | None = None,
    answer: str = "",
    seen: int | None = None,
) -> AccessRequest:
    """Publish the live rules with one more, which lets exactly this member use exactly this tool until then. Where the
    tenant asks for a second person, put that rule into the draft, and wait until somebody else has published it.

    effect: what calls wait for; None for what is `proposed`. seen: the number of the live rules that the actor looked
    at. Raises ValidationError when that cannot be, others are live by now, or the actor is the one who asks.
    """
    held = _held(request, actor)
    if seen is not None and seen != live_number(held):
        raise ValidationError("Other rules were published after this page was shown. Look again at what stands.")
    now = timezone.now()
    if not now < until <= now + datetime.timedelta(days=LONGEST_DAYS):
        raise ValidationError(f"Choose a day within the next {LONGEST_DAYS}.")
    effect = effect or proposed(held)
    if effect not in GRANTABLE:
        raise ValidationError("A request is granted by letting the call run, or by having somebody asked.")
    if _subject(held.tenant, held.tool) is None:
        raise ValidationError(f"{held.tool} is not offered any more, so there is nothing to grant.")
    rule = _rule(held, until, effect)
    held.until = until
    if policy_actions.two_publish(held.tenant):
        policy_actions.save_rule(policy_actions.fill(Rule(tenant=held.tenant), rule), actor=actor)
        _answered(held, State.PROPOSED, actor, answer)
        return held
    note = f"{held.member.user.username} may use {held.tool} until {until:%Y-%m-%d}"[:200]
    policy_actions.publish_beside(held.tenant, rule, actor=actor, note=note, pins=tool_queries.pins(held.tenant_id))
    _answered(held, State.GRANTED, actor, answer)
    return held


@transaction.atomic
def publish(tenant: Tenant, *, actor: User, note: str, pins: Mapping[str, str], reviewed: str) -> Ruleset:
    """Publish the draft, and with it grant what was put forward. What was taken out of the draft waits for an admin
    again. Raises what `policy.actions.publish` does, and ValidationError when it grants what the actor asked for."""
    policy_actions.lock_draft(tenant.pk)  # from here on nobody else publishes, so that what is live stays so
    before = live_rules(tenant)
    made = policy_actions.publish(tenant, actor=actor, note=note, pins=pins, reviewed=reviewed)
    rules = list(map(read, made.rules))
    asked = askers(tenant, rules, made.pins, before)
    if actor.pk in asked:
        raise ValidationError(not_yours(asked[actor.pk]))
    granted = set(map(granted_by, rules))
    waiting = AccessRequest.objects.select_for_update(of=("self",)).select_related("tenant", "member__user")
    for request in waiting.filter(tenant=tenant, state=State.PROPOSED):
        if request.pk in granted:
            _answered(request, State.GRANTED, actor, request.answer)
        else:
            request.until, request.decided_by, request.decided_at = None, None, None
            request.state, request.answer = State.OPEN, ""
            tenant_actions.save(request, actor=actor.username)
    return made


@transaction.atomic
def deny(request: AccessRequest, *, actor: User, answer: str) -> AccessRequest:
    """Say no, and why. What was put forward goes out of the draft."""
    if not answer.strip():
        raise ValidationError("Say why; the person reads it.")
    held = _held(request, actor, WAITING)
    for rule in Rule.objects.filter(tenant=held.tenant, name__endswith=mark(held)):
        policy_actions.remove_rule(rule, actor=actor)
    held.until = None
    _answered(held, State.DENIED, actor, answer)
    return held


def _held(request: AccessRequest, actor: User, states: Collection[State] = (State.OPEN,)) -> AccessRequest:
    """The row, locked. Raises ValidationError when it was answered, or the actor is the one who asks."""
    policy_actions.lock_draft(request.tenant_id)  # first, as publishing does; and what is live stays so
    rows = AccessRequest.objects.select_for_update(of=("self",)).select_related("tenant", "member__user")
    held = rows.get(pk=request.pk, tenant_id=request.tenant_id)
    if held.state not in states:
        raise ValidationError(f"It was answered already: {held.get_state_display().lower()}.")
    if held.member.user_id == actor.pk:
        raise ValidationError("You cannot answer what you asked for yourself; another admin has to.")
    return held


def _rule(request: AccessRequest, until: datetime.datetime, effect: Effect) -> Spec:
    """The rule that grants it, one above the rule that refuses."""
    refusing = _named(request.tenant, request.rule)
    if refusing is None:
        raise ValidationError(
            f"The rule “{request.rule}” does not refuse it any more. Deny the request, and say that it works now."
        )
    if refusing.priority >= _HIGHEST:
        raise ValidationError(
            f"The rule “{request.rule}” has the highest priority there is, so that no other can stand above it."
        )
    username = request.member.user.username
    end = f" until {until:%Y-%m-%d}{mark(request)}"
    rule: dict[str, object] = {
        "name": f"Access for {username}: {request.tool}"[: 100 - len(end)] + end,
        "priority": refusing.priority + 1,
        "effect": effect.value,
        "who": {"users": [username]},
        "what": {"tools": [request.tool]},
        "when": {"until": until.isoformat()},
    }
    if effect is Effect.REVIEW and (reviewers := _reviewers(request)) is not None:
        rule["reviewers"] = reviewers.model_dump(mode="json")
    return read(rule)


def _reviewers(request: AccessRequest) -> ReviewedBy | None:
    """Who says yes now to what is under review without the refusal."""
    below = _below(request)
    found = [one for one in below.deciders if one.effect is Effect.REVIEW] if below is not None else []
    reviews = [one.reviewers or ReviewedBy() for one in found]
    if len({(frozenset(one.roles), frozenset(one.groups)) for one in reviews}) > 1:
        names = ", ".join(f"“{one.name}”" for one in found)
        raise ValidationError(f"{names} ask different people. Write the rule that grants it into the draft.")
    return min(reviews, key=lambda one: one.minutes, default=None)


def live_number(request: AccessRequest) -> int:
    """Of the rules by which its page says what stands; 0 for none."""
    live = live_rules(request.tenant)
    return live.number if live is not None else 0


def still_refusing(request: AccessRequest) -> list[str]:
    """Rules above the refusing one that may refuse such calls as well, so that granting would not be enough."""
    return [
        one.name for one, refusing in _beside(request) if one.effect is Effect.DENY and one.priority > refusing.priority
    ]


def passed_over(request: AccessRequest) -> list[str]:
    """Rules that the one which grants it will stand above, and that may do more to such calls than let them run."""
    return [
        one.name
        for one, refusing in _beside(request)
        if one.effect is not Effect.ALLOW and one.priority <= refusing.priority and one.name != refusing.name
    ]


def _beside(request: AccessRequest) -> list[tuple[Spec, Spec]]:
    """Each live rule that may hold for such calls, with the one that refuses."""
    refusing, live = _named(request.tenant, request.rule), live_rules(request.tenant)
    subject = _subject(request.tenant, request.tool)
    if refusing is None or subject is None or live is None:
        return []
    caller, known = _caller(request), map(readable, map(_by_any_client, live.rules))
    holding = [one for one in known if one is not None and one.enabled]
    return [(one, refusing) for one in holding if not Matcher(one, live.pins).lacks(caller, subject)]


def _answered(request: AccessRequest, state: State, actor: User, answer: str) -> None:
    request.state, request.answer = state, answer.strip()[:500]
    request.decided_by, request.decided_at = actor, timezone.now()
    tenant_actions.save(request, actor=actor.username)
    if state == State.PROPOSED:
        _tell_seconds(request, actor)
    else:
        _tell_person(request)


def _tell_person(request: AccessRequest) -> None:
    team = request.tenant
    granted = request.state == State.GRANTED
    said = f"until {request.until:%Y-%m-%d %H:%M} UTC" if request.until and granted else ""
    word = "You may use" if granted else "You may not use"
    _mail(
        [request.member.user.email],
        f"{word} {request.tool} in {team.name}",
        f"{word} {request.tool} in {team.name} {said}".strip()
        + f". {request.answer}".rstrip()
        + f"\n\n{addresses.asking(team.slug, request.tool)}",
    )


def _tell_seconds(request: AccessRequest, actor: User) -> None:
    team, asker = request.tenant, request.member.user.username
    _mail(
        [reader for reader in _admins(team) if reader not in (actor.email, request.member.user.email)],
        f"{actor.username} puts forward {request.tool} for {asker} in {team.name}",
        f"{actor.username} would let {asker} use {request.tool} in {team.name}, which asks for a second person. The "
        f"rule is in the draft. Look at it: {settings.BASE_URL}/admin/policy/rule/publish/?tenant={team.pk}",
    )


def _admins(tenant: Tenant) -> list[str]:
    members = Member.objects.filter(tenant=tenant, active=True, user__is_active=True, role__in=tenant_queries.MANAGERS)
    return list(members.order_by("pk").values_list("user__email", flat=True)[:MOST_READERS])


def _mail(readers: Iterable[str], subject: str, says: str) -> None:
    """One to each, once this is committed; nothing where the hub has no mail server."""
    line = " ".join(f"[mcphub] {subject}".split())
    letters = [EmailMessage(line, says, None, [reader]) for reader in readers if reader]
    if settings.SENDS_MAIL and letters:
        transaction.on_commit(lambda: get_connection().send_messages(letters))
