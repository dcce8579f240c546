"""Entering where every call enters, `tools.calls.run`, in the tests' own process."""

from dataclasses import dataclass
from typing import Any

from access.callers import caller_of
from policy.values import Refusal
from tenants.caller import Caller
from tenants.models import Tenant, User
from tests.cast import Cast
from tools import calls
from tools.catalog import catalog
from tools.values import Origin, Result


@dataclass(frozen=True, kw_only=True)
class Enter:
    """A member of a tenant with everything their role may hold, ready to call."""

    caller: Caller
    version: int

    async def call(self, name: str, **arguments: Any) -> Result | Refusal:
        offered = await catalog(self.caller.tenant_id, self.version)
        ended = await calls.run(self.caller, name, arguments, catalog=offered, origin=Origin(via="cli"))
        assert not isinstance(ended, calls.Pending)
        return ended


def enter(cast: Cast, user: User, tenant: Tenant | None = None) -> Enter:
    """Prepared outside the event loop, once the tenant has its tools."""
    tenant = tenant or cast.acme
    member = cast.member(tenant, user)
    with cast.see(tenant):
        version = Tenant.objects.values_list("catalog_version", flat=True).get(pk=tenant.pk)
        return Enter(caller=caller_of(member, credential="test", client="tests"), version=version)
