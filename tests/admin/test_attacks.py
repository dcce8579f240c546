"""What a member with a role in the admin might try in order to get more than the role gives."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from access.models import APIKey
from audit.models import Entry
from lib import db, seal
from tenants import actions as tenant_actions
from tenants.actions import PLATFORM
from tenants.middleware import TenantScopeMiddleware
from tenants.models import Member, Role, Tenant, User
from tests.admin.conftest import SignIn, entries, form_of
from tests.cast import Cast
from tools import actions
from tools.models import Connection, Tool

SECRET = "s3cr3t-upstream-value"
BEYOND = 2**64


@pytest.mark.parametrize(
    "address",
    [
        "tools_tool_changelist?description__regex=(a%2B)%2B%24",
        "tools_tool_changelist?kind__exact=%00",
        "tools_tool_changelist?kind__exact=" + "x" * 201,
        "tools_tool_changelist?kind__regex=x",
        "access_apikey_changelist?digest__startswith=0",
        "access_apikey_changelist?digest=0",
        "access_apikey_changelist?member__user__password__startswith=p",
        "tools_connection_changelist?secret__startswith=g",
        "tenants_tenant_changelist?instructions__regex=x",
        "tools_tool_changelist?no_such_field=x",
    ],
    ids=lambda address: address[:50],
)
def test_a_list_filters_by_nothing_it_does_not_offer(cast: Cast, olga: Client, address: str) -> None:
    page, _, query = address.partition("?")
    assert olga.get(f"{reverse(f'admin:{page}')}?{query}").status_code == 400


def test_users_are_not_filtered_by_their_password(cast: Cast, sign_in: SignIn) -> None:
    address = reverse("admin:tenants_user_changelist") + "?password__startswith=p"
    assert sign_in(cast.staff).get(address).status_code == 400


def test_a_list_filters_by_what_it_offers(cast: Cast, sign_in: SignIn) -> None:
    cast.draft(cast.acme, "echo")
    browser, page = sign_in(cast.staff), reverse("admin:tools_tool_changelist")
    shown = browser.get(f"{page}?tenant={cast.acme.pk}&enabled__exact=1&kind=function&q=echo&o=1&p=1")
    assert [tool.name for tool in shown.context["cl"].result_list] == ["echo"]
    assert browser.get(f"{page}?tenant={cast.acme.pk}&kind=http").context["cl"].result_list.count() == 0
    members = browser.get(reverse("admin:tenants_member_changelist") + f"?tenant={cast.acme.pk}&role__exact=owner")
    assert [member.user for member in members.context["cl"].result_list] == [cast.olga]
    assert browser.get(reverse("admin:tenants_user_changelist") + "?is_active__exact=1").status_code == 200


@pytest.mark.parametrize("tenant", ["9" * 5000, "9" * 30, "٣", "-1", "x"], ids=lambda tenant: tenant[:5])
def test_a_tenant_that_cannot_be_is_no_error(cast: Cast, sign_in: SignIn, tenant: str) -> None:
    browser = sign_in(cast.staff)
    assert browser.get(reverse("admin:tools_tool_add"), {"tenant": tenant}).status_code == 403
    assert browser.get(reverse("admin:tools_tool_changelist"), {"tenant": tenant}).status_code in (200, 400)


def test_a_form_is_never_saved_as_a_second_row(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    url = reverse("admin:tools_tool_change", args=[tool.pk])
    assert olga.post(url, form_of(olga, url, _saveasnew="1", name="twin")).status_code == 403
    with cast.see(cast.acme):
        assert Tool.objects.filter(tenant=cast.acme).count() == 1


def _connection(cast: Cast, **fields: Any) -> Connection:
    given = {"name": "Desk", "base_url": "https://desk.example/api", "auth": "bearer", "secret": seal.seal(SECRET)}
    with cast.see(cast.acme):
        return Connection.objects.create(tenant=cast.acme, **(given | fields))


ELSEWHERE = [
    {"base_url": "https://evil.example/api"},
    {"base_url": "http://desk.example/api"},
    {"base_url": "https://desk.example:8443/api"},
    {"auth": "basic", "username": "desk"},
    {"auth_name": "X-Echo"},
]


@pytest.mark.parametrize("changed", ELSEWHERE, ids=str)
def test_a_kept_secret_is_not_sent_elsewhere(cast: Cast, sign_in: SignIn, changed: dict[str, str]) -> None:
    connection, browser = _connection(cast), sign_in(cast.adam)
    url = reverse("admin:tools_connection_change", args=[connection.pk])
    page = browser.post(url, form_of(browser, url, **changed))
    assert "Give the secret anew" in str(page.context["adminform"].form.errors["new_secret"])
    for name, value in changed.items():
        setattr(connection, name, value)
    with cast.see(cast.acme), pytest.raises(ValidationError, match="Give the secret anew"):
        actions.save_connection(connection, actor=cast.adam)
    with cast.see(cast.acme):
        connection.refresh_from_db()
    assert (connection.base_url, connection.auth) == ("https://desk.example/api", "bearer")
    assert browser.post(url, form_of(browser, url, new_secret="another", **changed)).status_code == 302


@pytest.mark.parametrize("base_url", ["https://desk.example:443/v2", "HTTPS://DESK.example/api"])
def test_a_kept_secret_stays_for_the_same_origin(cast: Cast, olga: Client, base_url: str) -> None:
    connection = _connection(cast)
    connection.base_url = base_url
    with cast.see(cast.acme):
        actions.save_connection(connection, actor=cast.olga)
        connection.refresh_from_db()
        assert seal.unseal(bytes(connection.secret or b"")) == SECRET


def test_a_connection_without_a_secret_goes_where_it_is_sent(cast: Cast, olga: Client) -> None:
    url = reverse("admin:tools_connection_change", args=[_connection(cast, secret=None, auth="none").pk])
    assert olga.post(url, form_of(olga, url, base_url="https://other.example")).status_code == 302


@pytest.fixture
def bounded() -> Iterator[None]:
    """A hub whose operator lets tenants reach some private hosts."""
    permitted = ["10.0.0.0/8", "tickets.internal", "192.168.1.1:8080", "fd00::/8"]
    with override_settings(ALLOWED_PRIVATE_HOSTS=permitted):
        yield


INSIDE = ["10.1.2.3", "10.1.2.3:80", "10.1.0.0/16", "tickets.internal", "tickets.internal:80", "192.168.1.1:8080"]
OUTSIDE = ["127.0.0.1", "192.168.1.1", "0.0.0.0/0", "8.0.0.0/5", "::/0", "x.tickets.internal", "localhost"]


@pytest.mark.usefixtures("bounded")
def test_a_tenants_admin_lists_only_private_hosts_that_the_hub_allows(cast: Cast, sign_in: SignIn) -> None:
    adam, staff = sign_in(cast.adam), sign_in(cast.staff)
    connection = _connection(cast)
    url = reverse("admin:tools_connection_change", args=[connection.pk])
    for host in OUTSIDE:
        page = adam.post(url, form_of(adam, url, allow_hosts=host))
        says = str(page.context["adminform"].form.errors["allow_hosts"])
        assert f"Not yours to list: {host}" in says
        assert "10.0.0.0/8, tickets.internal" in says
        connection.allow_hosts = [host]
        with cast.see(cast.acme), pytest.raises(ValidationError, match="Not yours to list"):
            actions.save_connection(connection, actor=cast.adam)
    for host in INSIDE:
        assert adam.post(url, form_of(adam, url, allow_hosts=host)).status_code == 302, host
    assert staff.post(url, form_of(staff, url, allow_hosts="127.0.0.1")).status_code == 302


@pytest.mark.usefixtures("bounded")
def test_what_platform_staff_listed_stays_when_an_admin_edits_the_rest(cast: Cast, sign_in: SignIn) -> None:
    adam, connection = sign_in(cast.adam), _connection(cast, allow_hosts=["127.0.0.1"])
    url = reverse("admin:tools_connection_change", args=[connection.pk])
    assert adam.post(url, form_of(adam, url, name="The desk", allow_hosts="127.0.0.1")).status_code == 302
    assert adam.post(url, form_of(adam, url, allow_hosts="127.0.0.1\r\n127.0.0.2")).status_code == 200


@pytest.mark.parametrize("number", [str(BEYOND), f"-{BEYOND}", "1e400", "1" * 5000], ids=lambda number: number[:6])
def test_numbers_that_no_host_can_be_sent_are_refused_beside_their_field(cast: Cast, olga: Client, number: str) -> None:
    tool = cast.draft(cast.acme, "echo")
    url = reverse("admin:tools_tool_change", args=[tool.pk])
    schema = f'{{"type": "object", "properties": {{"n": {{"maximum": {number}}}}}}}'
    page = olga.post(url, form_of(olga, url, input_schema=schema))
    assert set(page.context["adminform"].form.errors) == {"input_schema"}
    assert olga.get(url).status_code == 200


@pytest.mark.parametrize("number", [str(BEYOND), "1e400"])
def test_arguments_that_no_host_could_send_are_refused_beside_their_field(
    cast: Cast, olga: Client, number: str
) -> None:
    tool = cast.draft(cast.acme, "echo")
    given = {"member": cast.member(cast.acme, cast.olga).pk, "arguments": f'{{"text": {number}}}'}
    page = olga.post(reverse("admin:tools_tool_try", args=[tool.pk]), given)
    assert set(page.context["form"].errors) == {"arguments"}
    assert entries(cast, cast.acme, event__startswith="call.") == []


def test_a_draft_with_such_a_number_can_be_opened_and_mended_and_is_not_published(cast: Cast, olga: Client) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string", "maxLength": BEYOND}}}
    tool = cast.draft(cast.acme, "echo", input_schema=schema)
    for page in ("change", "publish", "versions", "delete"):
        assert olga.get(reverse(f"admin:tools_tool_{page}", args=[tool.pk])).status_code == 200, page
    assert olga.get(reverse("admin:tools_tool_changelist")).status_code == 200
    with cast.see(cast.acme), pytest.raises(ValidationError, match="Hosts cannot be sent this"):
        actions.publish(tool, actor=cast.olga)
    url = reverse("admin:tools_tool_change", args=[tool.pk])
    assert olga.post(url, form_of(olga, url, input_schema='{"type": "object"}')).status_code == 302
    other = cast.draft(cast.acme, "shout", input_schema={"maximum": BEYOND}, config={"n": BEYOND})
    assert olga.post(reverse("admin:tools_tool_delete", args=[other.pk]), {"post": "yes"}).status_code == 302


def test_a_config_with_such_a_number_is_refused(cast: Cast) -> None:
    tool = cast.draft(cast.acme, "echo", config={"function": "echo", "n": BEYOND})
    with cast.see(cast.acme), pytest.raises(ValidationError) as refused:
        actions.check(tool, cast.acme.pk)
    assert "Hosts cannot be sent this" in str(refused.value.message_dict["config"])


@pytest.mark.parametrize("description", ["5", '["one of a, b or c"]', '{"a": 1}', "null"])
def test_the_preview_shows_a_schema_whose_descriptions_are_no_text(cast: Cast, olga: Client, description: str) -> None:
    tool = cast.draft(cast.acme, "echo")
    schema = f'{{"type": "object", "properties": {{"a": {{"type": "string", "description": {description}}}}}}}'
    given = form_of(olga, reverse("admin:tools_tool_change", args=[tool.pk]), input_schema=schema)
    assert olga.post(reverse("admin:tools_tool_preview") + f"?tool={tool.pk}", given).status_code == 200


def _second(cast: Cast, role: Role) -> Member:
    return cast.join(cast.acme, f"second-{role}", role)


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
def test_an_admin_does_not_undo_what_an_owner_decided_about_owners_and_admins(
    cast: Cast, sign_in: SignIn, olga: Client, role: Role
) -> None:
    member, browser = _second(cast, role), sign_in(cast.adam)
    change, delete = (reverse(f"admin:tenants_member_{page}", args=[member.pk]) for page in ("change", "delete"))
    browser.post(change, {"role": role})
    assert cast.member(cast.acme, member.user).active
    assert browser.post(delete, {"post": "yes"}).status_code == 403
    olga.post(change, {"role": role})
    assert not cast.member(cast.acme, member.user).active
    browser.post(change, {"role": role, "active": "on"})
    assert not cast.member(cast.acme, member.user).active
    assert olga.post(delete, {"post": "yes"}).status_code == 302


def test_an_admin_still_looks_after_the_other_members(cast: Cast, sign_in: SignIn) -> None:
    browser, uma = sign_in(cast.adam), cast.member(cast.acme, cast.uma)
    browser.post(reverse("admin:tenants_member_change", args=[uma.pk]), {})
    assert not cast.member(cast.acme, cast.uma).active
    assert browser.post(reverse("admin:tenants_member_delete", args=[uma.pk]), {"post": "yes"}).status_code == 302


KEY = {"name": "host", "expires_at_0": "", "expires_at_1": ""}
FOR = {"olga": {"olga", "adam", "uma"}, "adam": {"adam", "uma"}, "staff": {"olga", "adam", "uma"}}


@pytest.mark.parametrize("person", FOR)
@pytest.mark.parametrize("acts_as", ["olga", "adam", "uma"])
def test_nobody_acts_as_a_member_above_them(cast: Cast, sign_in: SignIn, person: str, acts_as: str) -> None:
    browser, member = sign_in(getattr(cast, person)), cast.member(cast.acme, getattr(cast, acts_as))
    tool, may = cast.draft(cast.acme, "echo"), acts_as in FOR[person]
    page = browser.post(reverse("admin:access_apikey_add") + f"?tenant={cast.acme.pk}", KEY | {"member": member.pk})
    assert ("secret" in page.context) == may
    with cast.see(cast.acme):
        assert APIKey.objects.filter(member=member).exists() == may
    if may:
        assert entries(cast, cast.acme, reason="issued")[-1].actor == getattr(cast, person).username
    url = reverse("admin:tools_tool_try", args=[tool.pk])
    tried = browser.post(url, {"member": member.pk, "arguments": json.dumps({"text": "x"})})
    assert ("member" not in tried.context["form"].errors) == may
    assert [entry.actor for entry in entries(cast, cast.acme, event="call.started")] == [member.user.username] * may


def test_keys_and_trials_start_with_the_reader_as_member(cast: Cast, sign_in: SignIn) -> None:
    browser, mine = sign_in(cast.olga), cast.member(cast.acme, cast.olga)  # not the first by name
    key = browser.get(reverse("admin:access_apikey_add")).context["adminform"].form
    assert key["member"].value() == mine.pk
    tool = cast.draft(cast.acme, "echo")
    trial = browser.get(reverse("admin:tools_tool_try", args=[tool.pk])).context["form"]
    assert trial["member"].value() == mine.pk


def test_a_key_without_a_scope_is_not_made_by_forgetting_to_tick_one(cast: Cast, olga: Client) -> None:
    cast.scopes(cast.acme, {"a.read": "Read"})
    given = KEY | {"member": cast.member(cast.acme, cast.uma).pk}
    page = olga.post(reverse("admin:access_apikey_add"), given)
    assert "Tick what the key may do." in str(page.context["adminform"].form.errors["scopes"])


def test_the_last_of_the_platform_staff_stays(cast: Cast, sign_in: SignIn) -> None:
    browser, url = sign_in(cast.staff), reverse("admin:tenants_user_change", args=[cast.staff.pk])
    with transaction.atomic():
        User.objects.exclude(pk=cast.staff.pk).update(is_superuser=False)
        for changed in ({"is_superuser": ""}, {"is_active": ""}):
            page = browser.post(url, form_of(browser, url, **changed))
            assert page.status_code == 200
            assert "is the last active platform staff" in page.content.decode()
        cast.staff.is_superuser = False
        with pytest.raises(ValidationError, match="is the last active platform staff"):
            tenant_actions.change_user(cast.staff, actor="system")
        transaction.set_rollback(True)
    cast.staff.refresh_from_db()
    assert cast.staff.is_superuser


def test_one_of_several_platform_staff_may_go(cast: Cast, sign_in: SignIn) -> None:
    other = Cast().staff
    browser, url = sign_in(cast.staff), reverse("admin:tenants_user_change", args=[other.pk])
    assert browser.post(url, form_of(browser, url, is_superuser="")).status_code == 302
    other.refresh_from_db()
    assert not other.is_superuser


def test_a_password_that_somebody_changed_themselves_is_recorded(cast: Cast, olga: Client) -> None:
    new = "a-new-password-for-olga"
    given = {"oldpassword": cast.password, "password1": new, "password2": new}
    url = str(olga.get(reverse("admin:password_change"))["location"])
    assert olga.post(url, given | {"oldpassword": "wrong"}).status_code == 200
    assert olga.post(url, given).status_code == 302
    cast.olga.refresh_from_db()
    assert cast.olga.check_password(new)
    with db.tenant_scope([PLATFORM]):
        found = Entry.objects.filter(tenant_id=PLATFORM, actor=cast.olga.username)
        assert [entry.detail for entry in found] == [{"note": "set a new password"}]


def test_publishing_compares_with_the_draft_as_it_is_under_the_lock(cast: Cast) -> None:
    tool = cast.draft(cast.acme, "echo")
    with cast.see(cast.acme):
        reviewed = actions.digest(tool)
        Tool.objects.filter(pk=tool.pk).update(description="Slipped in between.")
        with pytest.raises(actions.DraftChanged):
            actions.publish(tool, actor=cast.olga, reviewed=reviewed)
        tool.refresh_from_db()
        assert tool.live is None
        assert actions.publish(tool, actor=cast.olga, reviewed=actions.digest(tool)).number == 1


def test_publishing_without_a_review_is_refused(cast: Cast, olga: Client) -> None:
    tool = cast.draft(cast.acme, "echo")
    page = olga.post(reverse("admin:tools_tool_publish", args=[tool.pk]))
    assert "The draft changed after this page was shown" in page.content.decode()


def test_an_admin_here_who_is_a_user_there_reads_neither_its_ledger_nor_its_tools(cast: Cast, sign_in: SignIn) -> None:
    with cast.see(cast.beta):
        Member.objects.create(tenant=cast.beta, user=cast.adam, role=Role.USER)
    theirs, mine = cast.tool(cast.beta, "shout"), cast.tool(cast.acme, "echo")
    with cast.see(cast.beta):
        entry = Entry.objects.filter(tenant_id=cast.beta.pk).latest("id")
    browser = sign_in(cast.adam)
    ledger, tools = reverse("admin:audit_entry_changelist"), reverse("admin:tools_tool_changelist")
    for query in ("", f"?tenant={cast.beta.pk}"):
        assert {row.tenant_id for row in browser.get(ledger + query).context["cl"].result_list} <= {cast.acme.pk}
        assert list(browser.get(tools + query).context["cl"].result_list) == [mine]
    assert browser.get(reverse("admin:audit_entry_change", args=[entry.pk])).status_code == 404
    for page in ("publish", "versions", "enabled", "try"):
        assert browser.get(reverse(f"admin:tools_tool_{page}", args=[theirs.pk])).status_code == 404


@pytest.mark.parametrize(("status", "kept"), [(200, "New"), (400, "New"), (500, "Acme"), (503, "Acme")])
def test_a_page_that_fails_leaves_nothing_behind(cast: Cast, status: int, kept: str) -> None:
    def page(request: HttpRequest) -> HttpResponse:
        Tenant.objects.filter(pk=cast.acme.pk).update(name="New")
        return HttpResponse(status=status)

    request = HttpRequest()
    request.user, request.path_info = cast.olga, reverse("admin:index")
    assert TenantScopeMiddleware(page)(request).status_code == status
    with cast.see(cast.acme):
        assert Tenant.objects.get(pk=cast.acme.pk).name == kept
