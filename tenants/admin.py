"""Tenants, members, scopes, and the ledger of the tenants one may read. Users and invitations are elsewhere."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from audit.admin import LedgerAdmin
from audit.models import Entry
from lib import db
from lib.html import copyable, when
from tenants import actions
from tenants.administration import (
    HubAdmin,
    ReadOnly,
    TenantAdmin,
    TenantFilter,
    TenantForm,
    is_offered,
    person,
    standing,
    tenant_column,
    tenant_names,
)
from tenants.fields import ChecksField, ListField
from tenants.group_admin import GroupAdmin
from tenants.invitation_admin import InvitationAdmin
from tenants.models import Member, Role, Scope, Tenant, User
from tenants.queries import PRIVILEGED
from tenants.user_admin import UserAdmin

__all__ = [
    "EntryAdmin",
    "GroupAdmin",
    "InvitationAdmin",
    "MemberAdmin",
    "ScopeAdmin",
    "TenantsAdmin",
    "UserAdmin",
    "user_named",
]


_HOST: Final = re.compile(r"(\*\.)?[^\s/:*?#@.]+(\.[^\s/:*?#@.]+)*")
_GUARDS = ("second_publisher", "scan_stops", "link_hosts")
"""How it guards its tools."""


class TenantRowForm(forms.ModelForm):  # type: ignore[type-arg]
    """The tenant itself; a new one gets its first owner with it."""

    owner = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="User name of its first owner. You can also add members later.",
    )

    link_hosts = ListField(
        required=False,
        lines=True,
        label="Hosts that results may link to",
        help_text="One per line: acme.example, or *.acme.example for all below it. Links to others are then marked, "
        "unless a tool says otherwise. Empty marks none.",
    )

    class Meta:
        model = Tenant
        help_texts: ClassVar = {
            "second_publisher": "Who wrote, moved or proposed a tool or the rules cannot publish them; somebody else "
            "has to. Once it is on, only an owner takes it off again, which the ledger says by itself.",
        }
        fields = ["name", "slug", "instructions", "admits", *_GUARDS, "enabled"]
        widgets: ClassVar = {
            "instructions": UnfoldAdminTextareaWidget({"rows": 6}),
            "admits": UnfoldAdminSelectWidget,
            "scan_stops": UnfoldAdminSelectWidget,
        }

    def clean_link_hosts(self) -> list[str]:
        hosts: list[str] = [host.lower() for host in self.cleaned_data["link_hosts"]]
        if wrong := [host for host in hosts if not _HOST.fullmatch(host)]:
            raise ValidationError(f"Write hosts like acme.example or *.acme.example, not {', '.join(wrong)}.")
        return hosts

    def clean_owner(self) -> User | None:
        return user_named(name) if (name := self.cleaned_data["owner"].strip()) else None


def user_named(name: str) -> User:
    """The active user of exactly this name; raises ValidationError with the next step."""
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise ValidationError(f"There is no active user {name!r}. Ask platform staff to create it under Users.")
    return user


@admin.register(Tenant)
class TenantsAdmin(HubAdmin):
    """A team with its endpoint."""

    form = TenantRowForm
    list_display = ("name", "slug", "state", "members_count", "created")
    ordering = ("name",)
    describe_catalog: ClassVar[Callable[[int], str]] = str
    """The size of a tenant's catalog in words, by its id; set by the floor that knows tools (see tools.admin)."""
    empty_says = "A tenant is a team with its own MCP endpoint. Add the first one."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).filter(pk__in=self.tenants(request))
        counted: QuerySet[Any] = rows.annotate(member_count=Count("members"))
        return counted

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing(request).staff

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its published versions and its ledger must stay; disabling makes it unknown to everybody

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return ["name", "slug", "instructions", "admits", *_GUARDS, "owner"]
        return ["endpoint", "catalog", "name", "slug", "instructions", "admits", *_GUARDS, "enabled"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return []
        guarded = [] if actions.may_relax(obj, person(request)) else ["second_publisher"]
        return ["endpoint", "catalog", "slug", *guarded, *([] if standing(request).staff else ["enabled"])]

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        actor = request.user.get_username()
        if change:
            actions.change_tenant(obj, actor=person(request))
            return
        actions.set_up_tenant(obj, actor=actor)
        if form.cleaned_data["owner"]:
            actions.add_member(obj, form.cleaned_data["owner"], role=Role.OWNER, actor=actor)

    @display(description="MCP URL")
    def endpoint(self, tenant: Tenant) -> SafeString:
        return copyable(f"{settings.BASE_URL}/t/{tenant.slug}/mcp")

    @display(description="What a model reads when it lists the tools")
    def catalog(self, tenant: Tenant) -> str:
        return type(self).describe_catalog(tenant.pk)

    @display(description="state", label={"enabled": "success", "disabled": "danger"})
    def state(self, tenant: Tenant) -> str:
        return "enabled" if tenant.enabled else "disabled"

    @display(description="members", ordering="member_count")
    def members_count(self, tenant: Any) -> int:
        return int(tenant.member_count)

    @display(description="created", ordering="created_at")
    def created(self, tenant: Tenant) -> SafeString:
        return when(tenant.created_at)


class MemberForm(TenantForm):
    """Who is in the tenant, as what. Only an owner decides who is an owner or admin, and changes roles."""

    username = forms.CharField(
        label="User name",
        widget=UnfoldAdminTextInputWidget,
        help_text="Of a user that exists already. Platform staff creates users.",
    )

    class Meta:
        model = Member
        fields = ["role", "active"]

    def clean_username(self) -> str:
        self.instance.user = user_named(self.cleaned_data["username"].strip())
        if Member.objects.filter(tenant=self.tenant, user=self.instance.user).exists():
            raise ValidationError(f"{self.instance.user} is a member of {self.tenant.name} already.")
        return str(self.instance.user.username)

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.instance.pk is None and self.cleaned_data.get("role") in PRIVILEGED and not self._by_owner():
            self.add_error("role", "Only an owner can add an owner or an admin.")
        if self.instance.pk and not self.errors:
            self._check_last_owner()
        return cleaned

    def _by_owner(self) -> bool:
        return self.standing.owns(self.tenant.pk)

    def _check_last_owner(self) -> None:
        role = self.cleaned_data.get("role", self.instance.role)
        if role != Role.OWNER or not self.cleaned_data.get("active", self.instance.active):
            actions.keep_an_owner(self.instance)


@admin.register(Member)
class MemberAdmin(TenantAdmin):
    """Who is in a tenant."""

    form = MemberForm
    list_display = ("user", tenant_column, "role_label", "state", "since")
    list_filter = (TenantFilter, "role")
    list_filter_submit = True
    search_fields = ("user__username",)
    search_help_text = "Search by user name"
    ordering = ("tenant__name", "user__username")
    empty_says = "Members call tools, and some of them look after the tenant. Add the first one."
    delete_says = (
        "They and all that acts for them (API keys, connected apps, machines) are refused from the next request on. "
        "This cannot be undone."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("tenant", "user")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["tenant", "username", "role"] if obj is None else ["tenant", "user", "role", "active"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return ["tenant"]
        owner = standing(request).owns(obj.tenant_id)
        below = [] if owner else ["role", *(["active"] if obj.role in PRIVILEGED else [])]
        return ["tenant", "user", *below]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if obj is not None:
            form.base_fields.pop("username", None)
            form.declared_fields.pop("username", None)
        return form

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and obj.role in PRIVILEGED and not standing(request).owns(obj.tenant_id):
            return False
        return super().has_delete_permission(request, obj)

    def why_not_deleted(self, rows: Any) -> list[str]:
        return [sentence for row in rows for sentence in _refused(actions.keep_an_owner, row)]

    def save_model(self, request: HttpRequest, obj: Member, form: Any, change: bool) -> None:
        actor = request.user.get_username()
        if change:
            actions.change_member(obj, actor=actor)
        else:
            actions.save(obj, actor=actor)

    def delete_model(self, request: HttpRequest, obj: Member) -> None:
        actions.remove_member(obj, actor=request.user.get_username())

    @display(description="role", ordering="role", label={"owner": "primary", "admin": "info"})
    def role_label(self, member: Member) -> str:
        return member.role

    @display(description="state", label={"active": "success", "inactive": "danger"})
    def state(self, member: Member) -> str:
        return "active" if member.active and member.user.is_active else "inactive"

    @display(description="member since", ordering="created_at")
    def since(self, member: Member) -> SafeString:
        return when(member.created_at)


def _refused(rule: Any, row: Any) -> list[str]:
    try:
        rule(row)
    except ValidationError as problem:
        return list(problem.messages)
    return []


class ScopeForm(TenantForm):
    """A permission of the tenant."""

    class Meta:
        model = Scope
        fields = ["name", "description", "implies", "roles", "needed"]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        others = Scope.objects.filter(tenant=self.tenant).exclude(pk=self.instance.pk)
        self.fields["implies"] = ChecksField(
            [(scope.name, f"{scope.name}: {scope.description}") for scope in others],
            help_text="Who has this scope has these too.",
        )
        self.fields["roles"] = ChecksField(
            [(str(value), str(label)) for value, label in Role.choices],
            label="Roles that may hold it",
            initial=list(Role.values),
        )


@admin.register(Scope)
class ScopeAdmin(TenantAdmin):
    """What tools require and keys carry."""

    form = ScopeForm
    list_display = ("name", tenant_column, "description", "implied", "holders")
    list_filter = (TenantFilter,)
    list_filter_submit = True
    ordering = ("tenant__name", "name")
    empty_says = "A scope is a permission such as tickets.read: tools require it, API keys carry it. Add the first one."
    delete_says = (
        "Keys lose it at once, and tools that require it vanish until they are changed. This cannot be undone."
    )

    shown = ("name", "description", "implies", "roles", "needed")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["tenant", "name"] if obj else ["tenant"]  # tools and keys know a scope by its name

    def why_not_deleted(self, rows: Any) -> list[str]:
        return [sentence for row in rows for sentence in _refused(actions.check_scope_unused, row)]

    def delete_model(self, request: HttpRequest, obj: Scope) -> None:
        actions.remove_scope(obj, actor=request.user.get_username())

    @display(description="implies")
    def implied(self, scope: Scope) -> str:
        return ", ".join(scope.implies) or "-"

    @display(description="roles that may hold it")
    def holders(self, scope: Scope) -> str:
        return "all" if set(scope.roles) == set(Role.values) else ", ".join(scope.roles) or "none"


@admin.register(Entry)
class EntryAdmin(ReadOnly, LedgerAdmin):  # type: ignore[misc]
    """The ledger of the tenants one may read; platform staff also reads what concerns the platform itself."""

    def readable(self, request: HttpRequest) -> dict[int, str]:
        found = tenant_names(standing(request).read)
        if standing(request).staff:
            db.widen_scope(actions.PLATFORM)
            found[actions.PLATFORM] = "The platform"
        return found

    def may_read(self, request: HttpRequest) -> bool:
        return standing(request).enters

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return is_offered(self.list_filter, lookup, value)
