"""A Caller without a credential: the command line and the admin's “try it” act as a member they name."""

from tenants import queries
from tenants.caller import Caller
from tenants.models import Member
from tenants.scopes import reachable


def caller_of(member: Member, *, credential: str, client: str) -> Caller:
    """The Caller this member would be with everything their role may hold. Runs inside a tenant scope."""
    reach = reachable(member.role, queries.scope_rules(member.tenant_id))
    return Caller(
        tenant_id=member.tenant_id,
        tenant_slug=member.tenant.slug,
        member_id=member.pk,
        user_id=member.user_id,
        username=member.user.username,
        role=member.role,
        credential=credential,
        client=client,
        scopes=reach,
        reach=reach,
    )
