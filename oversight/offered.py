"""What the form of a rule offers to choose from: the tenant's own tools, tags, scopes, people, clients and groups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from access.models import APIKey, Client, Consent
from tenants.models import Group, Member, Scope, Tenant
from tools import queries
from tools.kinds import KINDS

_MOST = 60
"""Where there are more, they are typed: a wall of boxes helps nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offered:
    """Choices by what is stored, with how they read."""

    tools: Mapping[str, str]
    tags: Mapping[str, str]
    kinds: Mapping[str, str]
    scopes: Mapping[str, str]
    users: Mapping[str, str]
    clients: Mapping[str, str]
    groups: Mapping[str, str]


def offered(tenant: Tenant) -> Offered:
    """What this tenant has now."""
    tools = [one.subject for one in queries.published(tenant.pk)]
    members = Member.objects.filter(tenant=tenant, active=True).order_by("user__username")
    groups = Group.objects.filter(tenant=tenant).values_list("name", flat=True)
    return Offered(
        tools=_plain(one.name for one in tools),
        tags=_plain(sorted({tag for one in tools for tag in one.tags})),
        kinds=_plain(KINDS),
        scopes=_few({one.name: f"{one.name}: {one.description}" for one in Scope.objects.filter(tenant=tenant)}),
        users=_plain(members.values_list("user__username", flat=True)[: _MOST + 1]),
        clients=_clients(tenant),
        groups=_plain(groups),
    )


def _clients(tenant: Tenant) -> dict[str, str]:
    """Credentials, each with whose it is: what a client calls itself is its own choice."""
    keys = APIKey.objects.filter(tenant=tenant, revoked_at=None).select_related("member__user")
    apps = Consent.objects.filter(tenant=tenant, revoked_at=None).select_related("member__user", "client")
    machines = Client.objects.filter(tenant=tenant, member__isnull=False)
    return _few(
        {f"key:{one.pk}": f"key:{one.pk}, {one.name} of {one.member.user.username}" for one in keys.order_by("pk")}
        | {f"app:{one.pk}": f"app:{one.pk}, {one.client} for {one.member.user.username}" for one in apps.order_by("pk")}
        | {f"client:{one.pk}": f"client:{one.pk}, {one}" for one in machines.order_by("pk")}
    )


def _plain(names: Iterable[str]) -> dict[str, str]:
    return _few({name: name for name in names})


def _few(choices: dict[str, str]) -> dict[str, str]:
    return choices if len(choices) <= _MOST else {}
