"""Who enters the admin, what each role may open, and that no page shows another tenant's objects."""

import pytest
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from access.models import APIKey
from audit.models import Entry
from policy.models import Limit
from tenants import actions
from tenants.models import Member, Scope, Tenant
from tests.admin.conftest import SignIn, entries, form_of
from tests.cast import Cast
from tools.models import Connection, Tool

MANAGED = (
    "tools_tool",
    "tools_connection",
    "tenants_scope",
    "policy_limit",
    "tenants_member",
    "access_apikey",
    "access_client",
    "access_admission",
    "jobs_hook",
)
LEDGER, TENANTS, USERS = "audit_entry", "tenants_tenant", "tenants_user"
JOBS, ALLOWANCES, DELIVERIES = "jobs_job", "jobs_allowance", "jobs_delivery"
LOOKED_AT = {JOBS, ALLOWANCES, DELIVERIES, LEDGER, TENANTS}
MAY = {
    "olga": {*MANAGED, *LOOKED_AT},
    "adam": {*MANAGED, *LOOKED_AT},
    "audrey": {LEDGER, JOBS},
    "staff": {*MANAGED, *LOOKED_AT, USERS},
}


@pytest.mark.parametrize("person", MAY)
@pytest.mark.parametrize("page", [*MANAGED, *sorted(LOOKED_AT), USERS])
def test_each_role_opens_its_lists_and_no_others(cast: Cast, sign_in: SignIn, person: str, page: str) -> None:
    status = sign_in(getattr(cast, person)).get(reverse(f"admin:{page}_changelist")).status_code
    assert status == (200 if page in MAY[person] else 403)


@pytest.mark.parametrize("person", MAY)
@pytest.mark.parametrize("page", [*MANAGED, ALLOWANCES, TENANTS, USERS])
def test_each_role_adds_only_what_it_manages(cast: Cast, sign_in: SignIn, person: str, page: str) -> None:
    status = sign_in(getattr(cast, person)).get(reverse(f"admin:{page}_add")).status_code
    staff_only = page in (ALLOWANCES, TENANTS, USERS)
    assert status == (200 if page in MAY[person] and (person == "staff" or not staff_only) else 403)


@pytest.mark.parametrize("person", MAY)
def test_the_first_page_offers_only_what_the_role_may_see(cast: Cast, sign_in: SignIn, person: str) -> None:
    page = sign_in(getattr(cast, person)).get(reverse("admin:index")).content.decode()
    for name in (*MANAGED, *LOOKED_AT, USERS):
        assert (f'href="{reverse(f"admin:{name}_changelist")}"' in page) == (name in MAY[person])


@pytest.mark.parametrize("person", ["anna", "uma"])
def test_approvers_and_users_are_turned_away_with_a_reason(cast: Cast, person: str) -> None:
    browser = Client()
    browser.force_login(getattr(cast, person))
    answer = browser.get(reverse("admin:tenants_member_changelist"), follow=True)
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "The admin has nothing for you" in page
    assert 'href="/account/apps/"' in page
    assert f'action="{reverse("account_logout")}"' in page


@pytest.mark.parametrize("person", ["olga", "adam", "audrey", "staff"])
def test_those_who_manage_or_audit_sign_in_with_a_password(cast: Cast, person: str) -> None:
    given = {"login": getattr(cast, person).username, "password": cast.password}
    browser = Client(REMOTE_ADDR="198.51.100.1")
    wanted = reverse("admin:tenants_tenant_changelist")
    form = browser.get(wanted, follow=True)
    assert form.redirect_chain[-1][0] == f"{reverse('account_login')}?next={wanted}"
    answer = browser.post(form.request["PATH_INFO"], {**given, "next": wanted}, follow=True)
    assert (answer.status_code, answer.request["PATH_INFO"]) == (200 if person != "audrey" else 403, wanted)


def test_the_admin_has_no_form_of_its_own_that_would_pass_by_second_factors(cast: Cast) -> None:
    browser = Client()
    given = {"username": cast.olga.username, "password": cast.password}
    assert browser.post(reverse("admin:login"), given)["location"].startswith(reverse("account_login"))
    assert browser.get(reverse("admin:index")).status_code == 302


def test_signing_in_to_the_admin_leads_to_no_other_site(cast: Cast, sign_in: SignIn) -> None:
    answer = sign_in(cast.olga).get(reverse("admin:login"), {"next": "//elsewhere.example/"})
    assert answer["location"] == reverse("admin:index")


def test_a_member_who_was_made_inactive_is_out_on_the_next_page(cast: Cast, sign_in: SignIn) -> None:
    browser = sign_in(cast.adam)
    assert browser.get(reverse("admin:index")).status_code == 200
    with cast.see(cast.acme):
        Member.objects.filter(user=cast.adam).update(active=False)
    assert browser.get(reverse("admin:index")).status_code == 302


def test_membership_as_a_user_does_not_widen_what_an_admin_sees(cast: Cast, sign_in: SignIn) -> None:
    with cast.see(cast.beta):
        Member.objects.create(tenant=cast.beta, user=cast.adam, role="user")
    tool = cast.tool(cast.beta, "echo")
    browser = sign_in(cast.adam)
    assert str(cast.beta.slug) not in browser.get(reverse("admin:tenants_tenant_changelist")).content.decode()
    assert browser.get(reverse("admin:tools_tool_change", args=[tool.pk])).status_code == 302
    assert browser.get(reverse("admin:tools_tool_add") + f"?tenant={cast.beta.pk}").status_code == 200
    assert browser.get(reverse("admin:tools_tool_add")).context["adminform"].form.tenant == cast.acme


def _foreign(cast: Cast) -> dict[str, int]:
    """One object of each kind in beta."""
    tool = cast.tool(cast.beta, "echo")
    cast.scopes(cast.beta, {"beta.read": "Read beta"})
    key, _ = cast.key(cast.bob, cast.beta)
    with cast.see(cast.beta):
        limit = Limit.objects.create(tenant=cast.beta, most=5)
        connection = Connection.objects.create(tenant=cast.beta, name="Beta's", base_url="https://beta.example")
        return {
            "tools_tool": tool.pk,
            "tools_connection": connection.pk,
            "tenants_scope": Scope.objects.get(tenant=cast.beta).pk,
            "policy_limit": limit.pk,
            "tenants_member": Member.objects.get(tenant=cast.beta).pk,
            "access_apikey": key.pk,
            "audit_entry": Entry.objects.filter(tenant_id=cast.beta.pk).latest("id").pk,
            "tenants_tenant": cast.beta.pk,
        }


@pytest.mark.parametrize("person", ["olga", "adam", "audrey"])
def test_no_direct_address_shows_another_tenants_object(cast: Cast, sign_in: SignIn, person: str) -> None:
    browser = sign_in(getattr(cast, person))
    for name, key in _foreign(cast).items():
        for page in ("change", "delete"):
            response = browser.get(reverse(f"admin:{name}_{page}", args=[key]))
            assert response.status_code in (302, 403, 404), (name, page)
        response = browser.post(reverse(f"admin:{name}_change", args=[key]), {"name": "taken"})
        assert response.status_code in (302, 403, 404), name


OWN_PAGES = ["publish", "versions", "enabled", "try"]


@pytest.mark.parametrize("page", OWN_PAGES)
def test_no_page_below_a_tool_opens_for_another_tenant(cast: Cast, olga: Client, page: str) -> None:
    tool = cast.tool(cast.beta, "echo")
    url = reverse(f"admin:tools_tool_{page}", args=[tool.pk])
    assert olga.get(url).status_code == 404
    assert olga.post(url, {"enabled": "no"}).status_code == 404
    with cast.see(cast.beta):
        assert Tool.objects.get(pk=tool.pk).enabled


@pytest.mark.parametrize("page", OWN_PAGES)
def test_an_auditor_opens_no_page_below_a_tool(cast: Cast, sign_in: SignIn, page: str) -> None:
    tool = cast.tool(cast.acme, "echo")
    assert sign_in(cast.audrey).get(reverse(f"admin:tools_tool_{page}", args=[tool.pk])).status_code == 404


def test_the_preview_of_another_tenants_tool_is_refused(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.beta, "echo")
    url = reverse("admin:tools_tool_preview")
    assert olga.post(f"{url}?tool={tool.pk}", {"name": "x"}).status_code == 404


def test_choices_on_a_form_are_the_tenants_own(cast: Cast, sign_in: SignIn) -> None:
    _foreign(cast)
    cast.scopes(cast.acme, {"acme.read": "Read acme"})
    browser = sign_in(cast.staff)
    for name in ("tools_tool", "access_apikey", "tenants_scope"):
        page = browser.get(reverse(f"admin:{name}_add") + f"?tenant={cast.acme.pk}").content.decode()
        assert "Beta&#x27;s" not in page
        assert "beta.read" not in page
        assert "bob" not in page


def test_an_object_cannot_be_moved_to_another_tenant(cast: Cast, sign_in: SignIn) -> None:
    with cast.see(cast.acme):
        limit = Limit.objects.create(tenant=cast.acme, most=5)
    browser, url = sign_in(cast.staff), reverse("admin:policy_limit_change", args=[limit.pk])
    browser.post(url, form_of(browser, url, most=6, tenant=cast.beta.pk))
    with cast.see():
        limit.refresh_from_db()
    assert (limit.tenant_id, limit.most) == (cast.acme.pk, 6)


def test_only_an_owner_changes_roles(cast: Cast, sign_in: SignIn, olga: Client) -> None:
    uma = cast.member(cast.acme, cast.uma)
    url = reverse("admin:tenants_member_change", args=[uma.pk])
    sign_in(cast.adam).post(url, {"role": "owner", "active": "on"})
    assert cast.member(cast.acme, cast.uma).role == "user"
    olga.post(url, {"role": "approver", "active": "on"})
    assert cast.member(cast.acme, cast.uma).role == "approver"


def test_an_admin_adds_users_but_no_owner_or_admin(cast: Cast, sign_in: SignIn) -> None:
    browser, url = sign_in(cast.adam), reverse("admin:tenants_member_add")
    for role in ("owner", "admin"):
        page = browser.post(url, {"username": cast.bob.username, "role": role})
        assert "Only an owner can add an owner or an admin." in page.content.decode()
    assert browser.post(url, {"username": cast.bob.username, "role": "user"}).status_code == 302
    assert cast.member(cast.acme, cast.bob).role == "user"


def test_an_admin_cannot_remove_or_deactivate_an_owner(cast: Cast, sign_in: SignIn) -> None:
    browser, owner = sign_in(cast.adam), cast.member(cast.acme, cast.olga)
    assert browser.post(reverse("admin:tenants_member_delete", args=[owner.pk]), {"post": "yes"}).status_code == 403
    browser.post(reverse("admin:tenants_member_change", args=[owner.pk]), {"role": "owner"})
    assert cast.member(cast.acme, cast.olga).active


def test_the_last_owner_can_neither_leave_nor_be_demoted(cast: Cast, olga: Client) -> None:
    owner = cast.member(cast.acme, cast.olga)
    change = reverse("admin:tenants_member_change", args=[owner.pk])
    for given in ({"role": "admin", "active": "on"}, {"role": "owner"}):
        assert "is the last owner" in olga.post(change, given).content.decode()
    page = olga.post(reverse("admin:tenants_member_delete", args=[owner.pk]), {"post": "yes"}).content.decode()
    assert "is the last owner" in page
    assert cast.member(cast.acme, cast.olga).role == "owner"


def test_every_model_with_a_tenant_is_in_the_admin_or_reached_through_one() -> None:
    registered = set(admin.site._registry)
    assert {Tenant, Member, Scope, APIKey, Limit, Tool, Connection, Entry} <= registered


def test_a_user_created_by_staff_is_told_by_the_platforms_ledger(cast: Cast, sign_in: SignIn) -> None:
    browser, name = sign_in(cast.staff), f"new-{cast.acme.slug}"
    given = {"username": name, "usable_password": "true", "password1": cast.password, "password2": cast.password}
    assert browser.post(reverse("admin:tenants_user_add"), given).status_code == 302
    page = browser.get(reverse("admin:audit_entry_changelist") + "?tenant=0").content.decode()
    assert name in page
    assert cast.password not in page
    assert entries(cast, cast.acme, subject__contains=name) == []


def test_the_last_owner_stays_whoever_asks(cast: Cast) -> None:
    owner = cast.member(cast.acme, cast.olga)
    with cast.see(cast.acme), pytest.raises(ValidationError, match="is the last owner"):
        actions.remove_member(owner, actor="system")
    owner.role = "user"
    with cast.see(cast.acme), pytest.raises(ValidationError, match="is the last owner"):
        actions.change_member(owner, actor="system")
    assert cast.member(cast.acme, cast.olga).role == "owner"
