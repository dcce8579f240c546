"""Answering requests, as verbs: grant and deny, and publishing, which grants what was put forward. Each is one
transaction with its entries."""

import datetime
from collections.abc import Collection, Iterable

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from oversight.drafts import askers, live_rules, not_yours
from oversight.requests import mails
from oversight.requests.asking import WAITING, State
from oversight.requests.case import case_of
from oversight.requests.grant import rule_for
from oversight.requests.marks import GRANTABLE, granted_by, mark
from policy import actions as policy_actions
from policy.models import AccessRequest, Rule, Ruleset
from policy.rules import read
from policy.values import Effect, Subject
from tenants import actions as tenant_actions
from tenants.models import Tenant, User
from tools import queries as tool_queries

USUAL_DAYS = 7
LONGEST_DAYS = 366


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

    effect: what calls wait for; None for what its `Case` proposes. seen: the number of the live rules that the actor
    looked at. Raises ValidationError when that cannot be, others are live by now, or the actor is the one who asks.
    """
    held = _held(request, actor)
    case = case_of(held)
    if seen is not None and seen != case.number:
        raise ValidationError("Other rules were published after this page was shown. Look again at what stands.")
    now = timezone.now()
    if not now < until <= now + datetime.timedelta(days=LONGEST_DAYS):
        raise ValidationError(f"Choose a day within the next {LONGEST_DAYS}.")
    effect = effect or case.proposed
    if effect not in GRANTABLE:
        raise ValidationError("A request is granted by letting the call run, or by having somebody asked.")
    if case.tool is None:
        raise ValidationError(f"{held.tool} is not offered any more, so there is nothing to grant.")
    rule = rule_for(held, case, until=until, effect=effect)
    held.until = until
    if policy_actions.two_publish(held.tenant):
        policy_actions.save_rule(policy_actions.fill(Rule(tenant=held.tenant), rule), actor=actor)
        _answered(held, State.PROPOSED, actor, answer)
        return held
    note = f"{held.member.user.username} may use {held.tool} until {until:%Y-%m-%d}"[:200]
    policy_actions.publish_beside(
        held.tenant, rule, actor=actor, note=note, tools=tool_queries.subjects(held.tenant_id)
    )
    _answered(held, State.GRANTED, actor, answer)
    return held


@transaction.atomic
def publish(tenant: Tenant, *, actor: User, note: str, tools: Iterable[Subject], reviewed: str) -> Ruleset:
    """Publish the draft, and with it grant what was put forward. What was taken out of the draft waits for an admin
    again. Raises what `policy.actions.publish` does, and ValidationError when it grants what the actor asked for."""
    policy_actions.lock_draft(tenant.pk)  # from here on nobody else publishes, so that what is live stays so
    before = live_rules(tenant)
    made = policy_actions.publish(tenant, actor=actor, note=note, tools=tools, reviewed=reviewed)
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


def _answered(request: AccessRequest, state: State, actor: User, answer: str) -> None:
    request.state, request.answer = state, answer.strip()[:500]
    request.decided_by, request.decided_at = actor, timezone.now()
    tenant_actions.save(request, actor=actor.username)
    if state == State.PROPOSED:
        mails.to_seconds(request, actor)
    else:
        mails.to_asker(request)
