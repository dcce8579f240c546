"""Rules in force and rules in a draft, as the people of a tenant write them."""

from typing import Any

from django.test import Client as Browser

from policy import actions
from policy.models import Ruleset
from policy.rules import read, to_yaml
from tenants.models import User
from tests.cast import Cast
from tests.policy.judging import pinned_as
from tools import queries


def browser(user: User) -> Browser:
    found = Browser()
    found.force_login(user)
    return found


def draft(cast: Cast, *rules: dict[str, Any]) -> None:
    """Make these the draft."""
    with cast.see(cast.acme):
        actions.replace_draft(cast.acme, to_yaml(read(rule) for rule in rules), actor=cast.adam)


def publish(cast: Cast, *rules: dict[str, Any], pins: dict[str, str] | None = None) -> Ruleset:
    """Make these decide."""
    draft(cast, *rules)
    with cast.see(cast.acme):
        tools = queries.subjects(cast.acme.pk) if pins is None else pinned_as(**pins)
        return actions.publish(cast.acme, actor=cast.olga, tools=tools)


def live(cast: Cast) -> Ruleset:
    with cast.see(cast.acme):
        found = Ruleset.objects.filter(tenant=cast.acme).order_by("-number").first()
    assert found is not None
    return found
