"""The rule that grants a request."""

import datetime

from django.core.exceptions import ValidationError

from oversight.requests.case import Case
from oversight.requests.marks import mark
from policy.models import AccessRequest
from policy.rules import Spec, read
from policy.values import Effect

_HIGHEST = 1000


def rule_for(request: AccessRequest, case: Case, *, until: datetime.datetime, effect: Effect) -> Spec:
    """One above the rule that refuses, for exactly this member and this tool until then. Raises ValidationError when
    none can be, or when it is not clear whom it has to ask."""
    refusing = case.refusing
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
    if effect is Effect.REVIEW and (reviewers := case.reviewers()) is not None:
        rule["reviewers"] = reviewers.model_dump(mode="json")
    return read(rule)
