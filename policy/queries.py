"""What pages read of policy. All of it runs inside the scope of the tenant concerned."""

from policy.models import Ruleset
from policy.rules import NO_RULES, Rules, compiled


def rules_of(tenant_id: int) -> Rules:
    """The tenant's live rules, ready to judge by."""
    live = Ruleset.objects.filter(tenant_id=tenant_id).order_by("-number").values().first()
    return compiled(live) if live else NO_RULES
