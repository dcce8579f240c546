"""API keys: issued once, shown once, revoked for good."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSplitDateTimeWidget

from access import actions
from access.models import APIKey
from lib.html import when
from tenants.administration import TenantAdmin, TenantFilter, TenantForm, ask_then_act, tenant_column
from tenants.fields import ChecksField
from tenants.models import Member, Scope


class APIKeyForm(TenantForm):
    """A new key. Saving it is `issue_key`, which also checks the scopes against the member's role."""

    expires_at = forms.SplitDateTimeField(
        required=False,
        label="Expires",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="In UTC. Leave empty for a key that works until it is revoked.",
    )

    class Meta:
        model = APIKey
        fields = ["member", "name", "scopes", "expires_at"]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        roles = self.standing.may_act_as(self.tenant.pk)
        members = Member.objects.filter(tenant=self.tenant, active=True, role__in=roles).select_related("user")
        self.fields["member"] = forms.ModelChoiceField(
            members,
            widget=UnfoldAdminSelectWidget,
            help_text="Whoever uses the key acts as this member. Only owners make keys for owners.",
        )
        scopes = Scope.objects.filter(tenant=self.tenant)
        self.fields["scopes"] = ChecksField(
            [(scope.name, f"{scope.name}: {scope.description}") for scope in scopes],
            required=bool(scopes),  # a key without any is refused by nearly every tool, so it was made by mistake
            error_messages={"required": "Tick what the key may do."},
            help_text="What the key may do. Grant no more than what uses it needs.",
        )

    def clean_expires_at(self) -> Any:
        expires = self.cleaned_data["expires_at"]
        if expires and expires <= timezone.now():
            raise ValidationError("This time is past. Choose a later one, or none.")
        return expires

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                actions.check_scopes(cleaned["member"], cleaned["scopes"])
            except ValidationError as problem:
                self.add_error("scopes", problem.message_dict["scopes"])
        return cleaned


@admin.register(APIKey)
class APIKeyAdmin(TenantAdmin):
    """Keys of a tenant's members. Their secrets are known to nobody but who was shown them."""

    form = APIKeyForm
    list_display = ("name", "prefix_text", tenant_column, "owner", "state_label", "used", "expiry", "created")
    list_filter = (TenantFilter,)
    list_filter_submit = True
    search_fields = ("name", "prefix", "member__user__username")
    search_help_text = "Search by name, prefix or user name"
    ordering = ("-created_at",)
    empty_says = "An API key lets a host such as Claude Code call tools as a member. Make the first one."
    shown = ("member", "name", "scopes", "expires_at")
    facts: ClassVar = ["tenant", "member", "name", "prefix_text", "state_label", "scope_list"]
    times: ClassVar = ["created", "used", "expiry", "revoked"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("tenant", "member__user")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # what a key may do is fixed when it is shown; make another and revoke this one

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a revoked key stays, so that its ledger entries can be read

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.facts, *self.times] if obj else ["tenant", *self.shown]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.facts, *self.times] if obj else ["tenant"]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        reader = request.user.get_username()
        mine = Member.objects.filter(tenant=self.chosen(request), user__username=reader, active=True).first()
        return {"member": mine.pk} if mine else {}

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (("<path:object_id>/revoke/", self.revoke_view, "revoke"),)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        key = self.get_object(request, object_id)
        url = reverse("admin:access_apikey_revoke", args=[key.pk]) if key is not None and not key.revoked_at else None
        return super().change_view(request, object_id, form_url, {"revoke_url": url, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: APIKey, form: Any, change: bool) -> None:
        given = form.cleaned_data
        key, secret = actions.issue_key(
            given["member"],
            name=given["name"],
            actor=request.user.get_username(),
            scopes=given["scopes"],
            expires_at=given["expires_at"],
        )
        obj.pk, obj.prefix = key.pk, key.prefix
        request.new_secret = secret  # type: ignore[attr-defined] # lives as long as this request

    def response_add(self, request: HttpRequest, obj: APIKey, post_url_continue: Any = None) -> HttpResponse:
        """The one page that shows the secret. It is not kept anywhere, so going back does not show it again."""
        secret: str = request.new_secret  # type: ignore[attr-defined]
        endpoint = f"{settings.BASE_URL}/t/{obj.tenant.slug}/mcp"
        response = self.page(
            request,
            "admin/access/new_key.html",
            title=f"{obj.name}: the new key",
            key=obj,
            secret=secret,
            endpoint=endpoint,
        )
        response["Cache-Control"] = "no-store"
        return response

    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.row(request, object_id)
        return ask_then_act(
            self,
            request,
            button=f"Revoke {key.name}",
            says=f"Whatever uses {key} as {key.member.user} is refused from its next request on. "
            "This cannot be undone; a new key can be made.",
            act=partial(actions.revoke_key, key, actor=request.user.get_username()),
            done=f"{key} is revoked.",
            already=f"{key} was revoked before.",
            back=reverse("admin:access_apikey_changelist"),
        )

    @display(description="key")
    def prefix_text(self, key: APIKey) -> str:
        return f"{key.prefix}…"

    @display(description="acts as", ordering="member__user__username")
    def owner(self, key: APIKey) -> str:
        return key.member.user.username

    @display(description="state", label={"active": "success", "revoked": "danger", "expired": "warning"})
    def state_label(self, key: APIKey) -> str:
        return key.state

    @display(description="scopes")
    def scope_list(self, key: APIKey) -> str:
        return ", ".join(key.scopes) or "none"

    @display(description="last used", ordering="last_used_at")
    def used(self, key: APIKey) -> SafeString:
        return when(key.last_used_at)

    @display(description="expires", ordering="expires_at")
    def expiry(self, key: APIKey) -> SafeString:
        return when(key.expires_at)

    @display(description="made", ordering="created_at")
    def created(self, key: APIKey) -> SafeString:
        return when(key.created_at)

    @display(description="revoked", ordering="revoked_at")
    def revoked(self, key: APIKey) -> SafeString:
        return when(key.revoked_at)
