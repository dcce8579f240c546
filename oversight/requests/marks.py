"""How a rule is known that grants what somebody asked for: its name ends with the number of the request."""

import re
from typing import Final

from policy.models import AccessRequest
from policy.rules import Spec
from policy.values import Effect

GRANTABLE: Final = (Effect.ALLOW, Effect.CONFIRM, Effect.REVIEW)
"""What a rule may do that grants something."""
_MARK: Final = re.compile(r" \(request ([0-9]{1,18})\)\Z")


def mark(request: AccessRequest) -> str:
    """How the name of the rule ends that grants it."""
    return f" (request {request.pk})"


def granted_by(rule: Spec) -> int | None:
    """The number of the request that a rule grants; None where it grants none."""
    found = _MARK.search(rule.name)
    return int(found[1]) if found and rule.enabled and rule.effect in GRANTABLE else None
