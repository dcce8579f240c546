"""The one door to tenants, members and scopes for pages and commands."""

from django.db import connection

from tenants.models import Member, Role, Scope, Tenant
from tenants.scopes import ScopeRule

MANAGERS = frozenset({Role.OWNER, Role.ADMIN})
READERS = frozenset({Role.OWNER, Role.ADMIN, Role.AUDITOR})
PRIVILEGED = frozenset({Role.OWNER, Role.ADMIN})
"""The roles that only an owner gives, takes, switches off and on."""


def tenants_reached_by(user_id: int) -> list[int]:
    """Ids of the tenants a user may see in pages: all for platform staff, else those of their active memberships."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenants_reached_by(%s)", [user_id])
        return list(cursor.fetchone()[0] or [])


def tenant_id_of(slug: str) -> int | None:
    """The id of an enabled tenant, or None. Says nothing of a tenant that is disabled or absent."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM tenants_public(%s)", [slug])
        row = cursor.fetchone()
    return int(row[0]) if row else None


def scope_rules(tenant_id: int) -> dict[str, ScopeRule]:
    """The tenant's scopes by name."""
    return {
        scope.name: ScopeRule(implies=frozenset(scope.implies), roles=frozenset(scope.roles))
        for scope in Scope.objects.filter(tenant_id=tenant_id)
    }


def next_tenant_id() -> int:
    """An id for a tenant about to be created: the policy lets a row in only when its id is in the scope already."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [Tenant._meta.db_table])
        return int(cursor.fetchone()[0])


def member(tenant: Tenant, username: str) -> Member:
    """The tenant's active member of that user name; raises Member.DoesNotExist."""
    return Member.objects.select_related("user", "tenant").get(
        tenant=tenant, user__username=username, active=True, user__is_active=True
    )
