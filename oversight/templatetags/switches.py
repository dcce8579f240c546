"""The kill switch on a thing's own page: one button, which throws it."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import reverse

from access.models import Client
from oversight import switches, things
from oversight.things import Thing
from tenants.models import Tenant
from tenants.standing import standing_of

register = template.Library()

_MOST_TENANTS = 10
Button = dict[str, Any]


@register.inclusion_tag("admin/oversight/buttons.html", takes_context=True)
def kill_switch(context: dict[str, Any], sort: str, target: Any, tenant: Any = None) -> dict[str, Any]:
    """A button that throws it, or leads to what came of it where it was thrown; nothing for who may not."""
    return _buttons(context, [things.find(sort, str(target or ""), tenant)])


@register.inclusion_tag("admin/oversight/buttons.html", takes_context=True)
def client_kill_switches(context: dict[str, Any], client: Client) -> dict[str, Any]:
    """The same for a client: its own, or for one of the whole hub also those of the tenants that the reader manages."""
    reader = standing_of(context["request"].user)
    if client.tenant_id is not None or reader.staff:
        return _buttons(context, [things.find("client", str(client.pk), None)])
    managed = Tenant.objects.filter(pk__in=reader.managed).order_by("name")[:_MOST_TENANTS]
    return _buttons(context, [things.find("client", str(client.pk), tenant) for tenant in managed])


def _buttons(context: dict[str, Any], found: Iterable[Thing | None]) -> dict[str, Any]:
    person = context["request"].user
    reader = standing_of(person)
    mine = [thing for thing in found if thing is not None and switches.may_throw(reader, thing)]
    return {"buttons": [_button(thing, person) for thing in mine], "csrf_token": context.get("csrf_token")}


def _button(thing: Thing, person: Any) -> Button:
    """Who would shut themself out is asked first, as they could not undo it."""
    thrown = switches.find_open(thing)
    does, lost = things.what_it_does(thing)
    button = {"label": thing.label, "does": does, "lost": lost, "thrown": thrown, "oneself": thing.row == person}
    if thrown is not None:
        return {**button, "link": reverse("admin:oversight_switch_change", args=[thrown.pk])}
    asked = {"sort": thing.sort.value, "target": thing.target}
    if thing.tenant is not None:
        asked["tenant"] = str(thing.tenant.pk)
    return {**button, "link": f"{reverse('admin:oversight_switch_throw')}?{urlencode(asked)}"}
