"""Rules as people write them in the admin: its pages, and what is in the draft."""

from typing import Any

from django.test import Client
from django.urls import reverse

from policy import actions
from policy.models import Rule, Ruleset
from policy.rules import Spec
from tenants.models import Tenant
from tests.cast import Cast
from tools import queries

WHOLE = """\
- name: Everything that can be asked
  priority: 310
  effect: review
  enabled: false
  who: {users: [zoe, adam], roles: [user, admin], clients: ['Acme, Inc *', 'key:12', ' odd '], ways: [key, app]}
  what:
    tools: [refund_*, echo, close_ticket]
    tags: [money, new]
    traits: [not read_only, destructive]
    kinds: [http, function]
    scopes: [tickets.write]
  if: "args.amount > 500 &&\\n  args.note != 'a, b'"
  when: {days: [sun, mon], from: "22:00", to: "06:00", zone: Europe/Berlin, since: 2026-12-01T00:00:00Z,
    until: 2027-12-01T12:30:00.5+02:00}
  where: [10.0.0.0/8, 2001:db8::/32]
  not_where: [10.1.0.0/16]
  before: {more_than: 0, seconds: 60, of: any, shared_by: tenant}
  found: [sql, any, too_long]
  message: "Ask the desk.\\nThey know."
  reviewers: {roles: [owner], groups: [refunds, night], minutes: 120}

- name: What is hidden
  effect: deny
  what: {tools: [close_ticket]}
  secret: true

- name: What is changed
  effect: transform
  transform:
    - {set: customer.currency, to: EUR}
    - {set: 'lines[0]["odd name"]', to: {a: [1, true, null, 1.0, "é"]}}
    - {set: nothing, to: null}
    - {remove: bcc}
    - {mask: lines.*.card}
    - {clamp: amount, least: 1, most: 500.5}
    - {clamp: count, most: 0}

- name: ' The least'
  effect: allow
"""


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:policy_rule_{name}", args=args)


def write(cast: Cast, text: str, tenant: Tenant | None = None) -> None:
    tenant = tenant or cast.acme
    with cast.see(tenant):
        actions.replace_draft(tenant, text, actor=cast.adam)


def publish(cast: Cast, text: str = "") -> Ruleset:
    if text:
        write(cast, text)
    with cast.see(cast.acme):
        return actions.publish(cast.acme, actor=cast.adam, tools=queries.subjects(cast.acme.pk))


def draft(cast: Cast) -> list[Spec]:
    with cast.see(cast.acme):
        return actions.draft_of(cast.acme)


def row(cast: Cast, name: str) -> Rule:
    with cast.see(cast.acme):
        return Rule.objects.get(tenant=cast.acme, name=name)


def text_of(browser: Client, url: str) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200
    return answer.content.decode()
