"""Every change in the admin leaves an entry with who, before and after, and no secret anywhere."""

from django.test import Client
from django.urls import reverse

from access.models import APIKey, digest_of
from audit.models import Entry
from lib import db, seal
from policy.models import Limit
from tenants.actions import PLATFORM
from tenants.models import Member, Scope, Tenant
from tests import tokens
from tests.admin.conftest import SignIn, entries, form_of
from tests.cast import Cast
from tools.models import Connection, Tool

SECRET = "s3cr3t-upstream-value"


def _last(cast: Cast, **found: object) -> tuple[str, str, dict[str, object]]:
    entry = entries(cast, cast.acme, event="changed", **found)[-1]
    return entry.actor, entry.reason, entry.detail or {}


def test_changing_a_tenant_keeps_before_and_after(cast: Cast, olga: Client) -> None:
    url = reverse("admin:tenants_tenant_change", args=[cast.acme.pk])
    assert olga.post(url, form_of(olga, url, name="Acme Corp")).status_code == 302
    actor, verb, detail = _last(cast)
    assert (actor, verb) == (cast.olga.username, "changed")
    assert detail == {"before": {"name": "Acme"}, "after": {"name": "Acme Corp"}}


def test_an_owner_can_neither_disable_a_tenant_nor_change_its_slug(cast: Cast, olga: Client) -> None:
    url = reverse("admin:tenants_tenant_change", args=[cast.acme.pk])
    olga.post(url, {"name": "Acme", "slug": "other", "instructions": ""})
    with cast.see(cast.acme):
        tenant = Tenant.objects.get(pk=cast.acme.pk)
    assert (tenant.slug, tenant.enabled) == (cast.acme.slug, True)


def test_staff_creates_a_tenant_with_its_first_owner(cast: Cast, sign_in: SignIn) -> None:
    slug = f"new-{cast.acme.slug}"[:48].rstrip("-")
    given = {"name": "New", "slug": slug, "admits": "open", "scan_stops": "danger", "owner": cast.olga.username}
    assert sign_in(cast.staff).post(reverse("admin:tenants_tenant_add"), given).status_code == 302
    assert len(cast.reached_by(cast.olga)) == 2


def test_scopes_are_created_changed_and_deleted_with_entries(cast: Cast, olga: Client) -> None:
    given = {"name": "tickets.read", "description": "Read tickets", "roles": ["owner", "user"]}
    assert olga.post(reverse("admin:tenants_scope_add"), given).status_code == 302
    assert _last(cast)[1] == "created"
    with cast.see(cast.acme):
        scope = Scope.objects.get(tenant=cast.acme)
    url = reverse("admin:tenants_scope_change", args=[scope.pk])
    olga.post(url, form_of(olga, url, description="Read all tickets"))
    assert _last(cast)[2]["after"] == {"description": "Read all tickets"}
    olga.post(reverse("admin:tenants_scope_delete", args=[scope.pk]), {"post": "yes"})
    actor, verb, detail = _last(cast)
    assert (actor, verb) == (cast.olga.username, "deleted")
    assert isinstance(detail["before"], dict)
    assert detail["before"]["name"] == "tickets.read"


def test_a_scope_that_another_implies_is_not_deleted(cast: Cast, olga: Client) -> None:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write"}, a_write=["a.read"])
    with cast.see(cast.acme):
        scope = Scope.objects.get(tenant=cast.acme, name="a.read")
    page = olga.post(reverse("admin:tenants_scope_delete", args=[scope.pk]), {"post": "yes"})
    assert "is implied by a.write" in page.content.decode()
    with cast.see(cast.acme):
        assert Scope.objects.filter(pk=scope.pk).exists()


def test_a_second_scope_of_the_same_name_is_an_error_beside_the_field(cast: Cast, olga: Client) -> None:
    cast.scopes(cast.acme, {"a.read": "Read"})
    page = olga.post(reverse("admin:tenants_scope_add"), {"name": "a.read", "description": "x", "roles": ["user"]})
    assert page.status_code == 200
    assert page.context["errors"]


def test_limits_leave_entries(cast: Cast, olga: Client) -> None:
    given = {"counts": "calls", "per": "member", "tool": "", "most": 10, "seconds": 60, "share": 100}
    olga.post(reverse("admin:policy_limit_add"), given)
    assert _last(cast)[1] == "created"
    with cast.see(cast.acme):
        limit = Limit.objects.get(tenant=cast.acme)
    olga.post(reverse("admin:policy_limit_delete", args=[limit.pk]), {"post": "yes"})
    assert _last(cast)[1] == "deleted"


def test_removing_a_member_names_what_went_with_them(cast: Cast, olga: Client) -> None:
    cast.key(cast.uma)
    tokens.granted(cast, cast.uma)
    tokens.machine(cast, cast.uma)
    member = cast.member(cast.acme, cast.uma)
    assert olga.post(reverse("admin:tenants_member_delete", args=[member.pk]), {"post": "yes"}).status_code == 302
    assert _last(cast)[2]["note"] == "1 API key, 1 machine, 1 connected app went with them"
    with cast.see(cast.acme):
        assert not Member.objects.filter(pk=member.pk).exists()


def test_a_connections_secret_is_sealed_and_never_shown_again(cast: Cast, olga: Client) -> None:
    given = {"name": "Help desk", "base_url": "https://desk.example/api", "auth": "bearer", "new_secret": SECRET}
    assert olga.post(reverse("admin:tools_connection_add"), given).status_code == 302
    with cast.see(cast.acme):
        connection = Connection.objects.get(tenant=cast.acme)
    assert connection.secret is not None
    assert seal.unseal(bytes(connection.secret)) == SECRET
    url = reverse("admin:tools_connection_change", args=[connection.pk])
    sealed = bytes(connection.secret).decode()
    for page in (url, reverse("admin:tools_connection_changelist"), reverse("admin:audit_entry_changelist")):
        text = olga.get(page).content.decode()
        assert SECRET not in text
        assert sealed not in text
    assert SECRET not in str([entry.detail for entry in entries(cast, cast.acme)])


def test_an_invalid_form_does_not_give_the_secret_back(cast: Cast, olga: Client) -> None:
    given = {"name": "", "base_url": "https://desk.example", "auth": "bearer", "new_secret": SECRET}
    assert SECRET not in olga.post(reverse("admin:tools_connection_add"), given).content.decode()


def test_leaving_the_secret_empty_keeps_it_and_removing_it_is_a_page_of_its_own(cast: Cast, olga: Client) -> None:
    with cast.see(cast.acme):
        connection = Connection.objects.create(
            tenant=cast.acme, name="Desk", base_url="https://desk.example", auth="bearer", secret=seal.seal(SECRET)
        )
    url = reverse("admin:tools_connection_change", args=[connection.pk])
    olga.post(url, form_of(olga, url, name="The desk"))
    with cast.see(cast.acme):
        connection.refresh_from_db()
        assert seal.unseal(bytes(connection.secret or b"")) == SECRET
    olga.post(reverse("admin:tools_connection_remove_secret", args=[connection.pk]))
    with cast.see(cast.acme):
        connection.refresh_from_db()
    assert connection.secret is None
    assert _last(cast)[1] == "removed the secret of"


def test_base_urls_and_hosts_that_cannot_work_are_refused(cast: Cast, olga: Client) -> None:
    url = reverse("admin:tools_connection_add")
    wrong = {
        "base_url": ["ftp://x.example", "https://u:p@x.example", "https://x.example/?a=1"],
        "allow_hosts": ["http://10.0.0.1/", "not a host"],
    }
    good = {"name": "Desk", "base_url": "https://x.example", "auth": "none"}
    for field, values in wrong.items():
        for value in values:
            page = olga.post(url, good | {field: value})
            assert page.status_code == 200, value
            assert field in page.context["adminform"].form.errors, value


def test_a_new_keys_secret_is_shown_once_and_opens_the_door(cast: Cast, olga: Client) -> None:
    cast.scopes(cast.acme, {"a.read": "Read"})
    member = cast.member(cast.acme, cast.uma)
    given = {"member": member.pk, "name": "Claude Code", "scopes": ["a.read"], "expires_at_0": "", "expires_at_1": ""}
    page = olga.post(reverse("admin:access_apikey_add"), given)
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    secret = page.context["secret"]
    assert secret in page.content.decode()
    with cast.see(cast.acme):
        key = APIKey.objects.get(tenant=cast.acme)
    assert (key.digest, key.scopes, key.member_id) == (digest_of(secret), ["a.read"], member.pk)
    for url in (reverse("admin:access_apikey_change", args=[key.pk]), reverse("admin:access_apikey_changelist")):
        text = olga.get(url).content.decode()
        assert key.prefix in text
        assert secret not in text
        assert key.digest not in text
    assert secret not in str([entry.detail for entry in entries(cast, cast.acme)])


def test_a_key_cannot_carry_more_than_its_member_may(cast: Cast, olga: Client) -> None:
    cast.scopes(cast.acme, {"a.admin": "Administer"})
    with cast.see(cast.acme):
        Scope.objects.filter(tenant=cast.acme).update(roles=["owner"])
    member = cast.member(cast.acme, cast.uma)
    page = olga.post(reverse("admin:access_apikey_add"), {"member": member.pk, "name": "x", "scopes": ["a.admin"]})
    assert "cannot have a.admin" in page.content.decode()


def test_revoking_a_key_asks_first_and_leaves_an_entry(cast: Cast, olga: Client) -> None:
    key, _ = cast.key(cast.uma)
    url = reverse("admin:access_apikey_revoke", args=[key.pk])
    assert "This cannot be undone" in olga.get(url).content.decode()
    with cast.see(cast.acme):
        assert APIKey.objects.get(pk=key.pk).state == "active"
    olga.post(url)
    with cast.see(cast.acme):
        assert APIKey.objects.get(pk=key.pk).state == "revoked"
    assert _last(cast)[:2] == (cast.olga.username, "revoked")


def test_a_key_is_neither_edited_nor_deleted(cast: Cast, olga: Client) -> None:
    key, _ = cast.key(cast.uma)
    assert olga.post(reverse("admin:access_apikey_change", args=[key.pk]), {"name": "other"}).status_code == 403
    assert olga.post(reverse("admin:access_apikey_delete", args=[key.pk]), {"post": "yes"}).status_code == 403


def test_a_published_tool_is_not_deleted_but_a_draft_is(cast: Cast, olga: Client) -> None:
    published, draft = cast.tool(cast.acme, "echo"), cast.draft(cast.acme, "shout")
    page = olga.post(reverse("admin:tools_tool_delete", args=[published.pk]), {"post": "yes"})
    assert "was published; disable it instead" in page.content.decode()
    olga.post(reverse("admin:tools_tool_delete", args=[draft.pk]), {"post": "yes"})
    with cast.see(cast.acme):
        assert set(Tool.objects.filter(tenant=cast.acme).values_list("name", flat=True)) == {"echo"}
    assert _last(cast)[1] == "deleted"


def test_a_connection_that_tools_use_is_not_deleted(cast: Cast, olga: Client) -> None:
    with cast.see(cast.acme):
        connection = Connection.objects.create(tenant=cast.acme, name="Desk", base_url="https://desk.example")
    cast.draft(cast.acme, "echo", connection=connection)
    page = olga.post(reverse("admin:tools_connection_delete", args=[connection.pk]), {"post": "yes"})
    assert "Desk cannot be deleted" in page.content.decode()
    with cast.see(cast.acme):
        assert Connection.objects.filter(pk=connection.pk).exists()


def test_a_password_set_by_staff_is_recorded_without_it(cast: Cast, sign_in: SignIn) -> None:
    browser, new = sign_in(cast.staff), "a-new-password-for-uma"
    given = {"password1": new, "password2": new, "usable_password": "true"}
    assert browser.post(f"/admin/tenants/user/{cast.uma.pk}/password/", given).status_code == 302
    cast.uma.refresh_from_db()
    assert cast.uma.check_password(new)
    with db.tenant_scope([PLATFORM]):
        entry = Entry.objects.filter(tenant_id=PLATFORM, subject__contains=cast.uma.username).latest("id")
    assert (entry.actor, entry.detail) == (cast.staff.username, {"note": "set a new password"})


def test_history_pages_are_gone_because_the_ledger_is_the_history(cast: Cast, olga: Client) -> None:
    tool = cast.tool(cast.acme, "echo")
    assert olga.get(reverse("admin:tools_tool_history", args=[tool.pk])).status_code == 404
