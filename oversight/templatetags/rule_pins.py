"""What a new version of a tool means for the rules that it is about."""

from typing import Any

from django import template
from django.urls import reverse

from oversight import drafts
from tools.actions import DEFINED
from tools.catalog import subject_of
from tools.models import Tool

register = template.Library()


@register.inclusion_tag("admin/policy/rule/stop_holding.html")
def rules_that_stop_holding(tool: Tool, pin: str) -> dict[str, Any]:
    """The live rules that loosen, and hold for the live version of a tool but not for one with this hash."""
    live = tool.live
    stopping = []
    if live is not None and (live.name, live.manifest_hash) != (tool.name, pin):
        drafted = {name: getattr(tool, name) for name in DEFINED} | {"manifest_hash": pin}
        stopping = drafts.stopping(drafts.live_rules(tool.tenant), subject_of(vars(live)), subject_of(drafted))
    return {
        "tool": tool,
        "rules": stopping,
        "publish": f"{reverse('admin:policy_rule_publish')}?tenant={tool.tenant_id}",
    }
