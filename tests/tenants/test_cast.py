"""The people whom every test is given are as the hub's own actions make them."""

from typing import Any

from audit.models import Entry
from tenants.models import Member, Role
from tests.cast import Cast


def test_a_member_of_the_cast_is_as_one_who_was_let_in(cast: Cast) -> None:
    let_in = cast.join(cast.acme, "zoe", Role.USER)
    given = cast.member(cast.acme, cast.uma)
    assert told(given) == told(let_in)
    assert recorded(cast, given) == recorded(cast, let_in) != []


def told(member: Member) -> dict[str, Any]:
    return {"tenant": member.tenant_id, "role": member.role, "active": member.active}


def recorded(cast: Cast, member: Member) -> list[Any]:
    """What the ledger has of them, but for who they are and when."""
    with cast.see(cast.acme):
        entries = Entry.objects.filter(tenant_id=cast.acme.pk, subject__startswith=f"tenants.Member:{member.pk} ")
        return [(entry.event, entry.actor, entry.reason, sorted((entry.detail or {})["after"])) for entry in entries]
