"""The way from a thing's page to its kill switch."""

from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import reverse

from access.models import Client
from oversight import switches, things
from oversight.things import Thing
from tenants.models import Tenant
from tenants.standing import Standing, standing_of

register = template.Library()

_MOST_TENANTS = 10
Button = dict[str, str]


@register.inclusion_tag("admin/oversight/buttons.html", takes_context=True)
def kill_switch(context: dict[str, Any], sort: str, target: Any, tenant: Any = None) -> dict[str, list[Button]]:
    """A button that leads to the switch, or to what came of it where it was thrown; nothing for who may not."""
    return {"buttons": _buttons(standing_of(context["request"].user), things.find(sort, str(target or ""), tenant))}


@register.inclusion_tag("admin/oversight/buttons.html", takes_context=True)
def client_kill_switches(context: dict[str, Any], client: Client) -> dict[str, list[Button]]:
    """The same for a client: its own, or for one of the whole hub also those of the tenants that the reader manages."""
    reader = standing_of(context["request"].user)
    found = [things.find("client", str(client.pk), None)]
    if client.tenant_id is None and not reader.staff:
        managed = Tenant.objects.filter(pk__in=reader.managed).order_by("name")[:_MOST_TENANTS]
        found = [things.find("client", str(client.pk), tenant) for tenant in managed]
    return {"buttons": [button for thing in found for button in _buttons(reader, thing)]}


def _buttons(reader: Standing, thing: Thing | None) -> list[Button]:
    if thing is None or not switches.may_throw(reader, thing):
        return []
    thrown = switches.find_open(thing)
    if thrown is not None:
        link = reverse("admin:oversight_switch_change", args=[thrown.pk])
        return [{"link": link, "says": f"Kill switch: {thing.label} is stopped"}]
    asked = {"sort": thing.sort.value, "target": thing.target}
    if thing.tenant is not None:
        asked["tenant"] = str(thing.tenant.pk)
    return [
        {"link": f"{reverse('admin:oversight_switch_throw')}?{urlencode(asked)}", "says": f"Kill switch: {thing.label}"}
    ]
