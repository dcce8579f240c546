"""What commands that work inside one tenant have in common."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from lib import db
from tenants import queries
from tenants.models import Member, Tenant


@contextmanager
def tenant_of(slug: str) -> Iterator[Tenant]:
    """The tenant, with its rows in sight; a CommandError when there is none of that name."""
    tenant_id = queries.tenant_id_of(slug)
    if tenant_id is None:
        raise CommandError(f"There is no enabled tenant {slug!r}.")
    with db.tenant_scope([tenant_id]):
        yield Tenant.objects.get(pk=tenant_id)


def member_of(tenant: Tenant, username: str) -> Member:
    """The active member; a CommandError that lists who there is when there is none."""
    try:
        return queries.member(tenant, username)
    except Member.DoesNotExist:
        names = ", ".join(Member.objects.filter(tenant=tenant, active=True).values_list("user__username", flat=True))
        raise CommandError(f"{username!r} is no active member of {tenant.slug}. Members: {names or 'none'}.") from None
