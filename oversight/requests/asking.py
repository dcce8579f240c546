"""Asking for access to a tool that a rule refuses: one transaction with its entries."""

import datetime
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from jobs import hooks
from oversight.requests import mails
from oversight.requests.standing import standing
from policy.models import AccessRequest
from tenants import actions as tenant_actions
from tenants.models import Member

State = AccessRequest.State
WAITING: Final = (State.OPEN, State.PROPOSED)
MOST_OPEN = 20
"""Open requests of one member."""


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
    mails.to_admins(made)
    hooks.queue_asked(made, version=found.version)
    return made


def latest(member: Member, tool: str) -> AccessRequest | None:
    """What the member asked for last, for this tool."""
    return AccessRequest.objects.filter(tenant_id=member.tenant_id, member=member, tool=tool).first()


def granted_until(request: AccessRequest) -> datetime.datetime | None:
    """Until when what was granted still holds; None when it does not."""
    holds = request.state == State.GRANTED and request.until is not None and request.until > timezone.now()
    return request.until if holds else None
