"""Groups of members, as admins keep them."""

from typing import Any

from django.test import Client
from django.urls import reverse

from tenants.models import Group
from tests.admin.conftest import SignIn, entries, olga, sign_in
from tests.cast import Cast

__all__ = ["olga", "sign_in"]  # fixtures

ADD = "admin:tenants_group_add"


def _groups(cast: Cast) -> dict[str, list[str]]:
    with cast.see(cast.acme):
        return {
            group.name: sorted(group.members.values_list("user__username", flat=True))
            for group in Group.objects.filter(tenant=cast.acme)
        }


def _member(cast: Cast, name: str) -> str:
    return str(cast.member(cast.acme, getattr(cast, name)).pk)


def test_an_admin_makes_a_group_of_members_and_the_ledger_names_them(cast: Cast, olga: Client) -> None:
    made = olga.post(reverse(ADD), {"name": "refunds", "people": [_member(cast, "anna"), _member(cast, "uma")]})
    assert made.status_code == 302
    assert _groups(cast) == {"refunds": sorted([cast.anna.username, cast.uma.username])}
    entry: Any = entries(cast, cast.acme, event="changed", subject__startswith="tenants.Group")[0]
    assert (entry.reason, entry.detail["after"]["members"]) == ("created", _groups(cast)["refunds"])


def test_who_is_in_a_group_is_changed_and_recorded(cast: Cast, olga: Client) -> None:
    olga.post(reverse(ADD), {"name": "refunds", "people": [_member(cast, "anna")]})
    with cast.see(cast.acme):
        group = Group.objects.get(tenant=cast.acme)
    page = reverse("admin:tenants_group_change", args=[group.pk])
    assert f'value="{_member(cast, "anna")}"' in olga.get(page).content.decode()
    olga.post(page, {"name": "refunds", "people": [_member(cast, "adam")]})
    assert _groups(cast) == {"refunds": [cast.adam.username]}
    entry: Any = entries(cast, cast.acme, event="changed", subject__startswith="tenants.Group")[-1]
    assert entry.detail["before"]["members"] == [cast.anna.username]
    assert entry.detail["after"]["members"] == [cast.adam.username]


def test_members_of_another_tenant_cannot_be_chosen(cast: Cast, olga: Client) -> None:
    stranger = str(cast.member(cast.beta, cast.bob).pk)
    answer = olga.post(reverse(ADD), {"name": "refunds", "people": [stranger]})
    assert answer.status_code == 200
    assert _groups(cast) == {}


def test_a_name_is_used_once(cast: Cast, olga: Client) -> None:
    for _ in range(2):
        answer = olga.post(reverse(ADD), {"name": "refunds", "people": []})
    assert answer.status_code == 200
    assert list(_groups(cast)) == ["refunds"]


def test_groups_are_for_those_who_manage_the_tenant(cast: Cast, sign_in: SignIn) -> None:
    for name, status in (("adam", 200), ("audrey", 403), ("bob", 200)):
        assert sign_in(getattr(cast, name)).get(reverse(ADD)).status_code == status
