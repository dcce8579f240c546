"""Whether a tenant lets a client in: open to all, after an admin was asked, or a list."""

from typing import Literal

from django.db import transaction

from access.models import Admission, Client
from audit import changes
from tenants.models import Admits, Member, Tenant

Standing = Literal["admitted", "may_ask", "asked", "refused", "blocked"]
_DECIDED: dict[str, Standing] = {"admitted": "admitted", "blocked": "blocked"}


def standing(tenant: Tenant, client: Client) -> Standing:
    """What the tenant says to a client. Runs inside the tenant's scope.

    `may_ask`: a member may ask an admin to admit it; `asked`: somebody has; `refused`: only an admin can put it on the
    list. A client that an admin of the tenant made is admitted by that, unless it is blocked.
    """
    state = Admission.objects.filter(tenant=tenant, client=client).values_list("state", flat=True).first()
    if state in _DECIDED:
        return _DECIDED[state]
    if tenant.admits == Admits.OPEN or client.tenant_id == tenant.pk:
        return "admitted"
    if tenant.admits == Admits.ASK:
        return "asked" if state else "may_ask"
    return "refused"


@transaction.atomic
def ask(tenant: Tenant, client: Client, *, member: Member) -> bool:
    """Put a client before the tenant's admins; False when it is there already, or a decision about it is.

    Runs inside the tenant's scope.
    """
    admission, created = Admission.objects.get_or_create(
        tenant=tenant, client=client, defaults={"state": Admission.State.ASKED, "asked_by": member}
    )
    if created:
        changes.record(
            tenant_id=tenant.pk,
            actor=member.user.username,
            verb="asked",
            subject=admission,
            after=changes.snapshot(admission),
        )
    return created
