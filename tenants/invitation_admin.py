"""Invitations in the admin: made once, shown once, taken back."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import display

from lib.html import when
from tenants import invitations
from tenants.administration import TenantAdmin, TenantFilter, TenantForm, ask_then_act, tenant_column
from tenants.models import Invitation
from tenants.queries import PRIVILEGED


class InvitationForm(TenantForm):
    """Whom to invite as what. Saving it is `invitations.invite`, which checks the role once more."""

    class Meta:
        model = Invitation
        fields = ["role", "email"]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if "email" in self.fields:  # it is not when an invitation is only looked at
            mail = "The hub mails the link there." if settings.SENDS_MAIL else "Only a note: this hub sends no mail."
            self.fields["email"].help_text = f"{mail} The link is shown to you in any case."

    def clean_role(self) -> str:
        role = str(self.cleaned_data["role"])
        if role in PRIVILEGED and not self.standing.owns(self.tenant.pk):
            self.add_error("role", "Only an owner can invite an owner or an admin.")
        return role


@admin.register(Invitation)
class InvitationAdmin(TenantAdmin):
    """Links that make whoever follows them a member."""

    form = InvitationForm
    list_display = ("whom", tenant_column, "role", "state_label", "inviter", "made", "expiry", "accepter")
    list_filter = (TenantFilter,)
    list_filter_submit = True
    ordering = ("-created_at",)
    empty_says = "An invitation is a link that makes whoever follows it a member. Make the first one."
    shown = ("role", "email")
    facts: ClassVar = ["tenant", "whom", "role", "state_label", "inviter", "made", "expiry", "accepter"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("tenant", "invited_by", "accepted_by")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # what it offers is fixed when it is shown; make another and revoke this one

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # it stays, so that its ledger entries can be read

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.facts if obj else ["tenant", *self.shown]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.facts if obj else ["tenant"]

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (("<path:object_id>/revoke/", self.revoke_view, "revoke"),)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        row = self.get_object(request, object_id)
        url = reverse("admin:tenants_invitation_revoke", args=[row.pk]) if row and row.state == "open" else None
        return super().change_view(request, object_id, form_url, {"revoke_url": url, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        made, link = invitations.invite(obj.tenant, role=obj.role, email=obj.email, actor=request.user)  # type: ignore[arg-type]
        obj.pk, obj.expires_at = made.pk, made.expires_at
        request.new_link = link  # type: ignore[attr-defined] # lives as long as this request

    def response_add(self, request: HttpRequest, obj: Invitation, post_url_continue: Any = None) -> HttpResponse:
        """The one page that shows the link. It is not kept anywhere, so going back does not show it again."""
        context: dict[str, Any] = {"invitation": obj, "link": request.new_link}  # type: ignore[attr-defined]
        context["mailed"] = bool(obj.email and settings.SENDS_MAIL)
        title = f"Invitation to {obj.tenant.name}"
        response = self.page(request, "admin/tenants/new_invitation.html", title=title, **context)
        response["Cache-Control"] = "no-store"
        return response

    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row(request, object_id)
        return ask_then_act(
            self,
            request,
            button="Revoke this invitation",
            says=f"The link to {row.tenant.name} opens nothing any more. This cannot be undone; a new one can be made.",
            act=partial(invitations.revoke, row, actor=request.user.get_username()),
            done="The invitation is revoked.",
            already="The invitation was accepted or revoked before.",
            back=reverse("admin:tenants_invitation_changelist"),
        )

    @display(description="for")
    def whom(self, row: Invitation) -> str:
        return row.email or "whoever has the link"

    @display(
        description="state", label={"open": "info", "accepted": "success", "revoked": "danger", "expired": "warning"}
    )
    def state_label(self, row: Invitation) -> str:
        return row.state

    @display(description="made by")
    def inviter(self, row: Invitation) -> str:
        return row.invited_by.username if row.invited_by else "-"

    @display(description="accepted by")
    def accepter(self, row: Invitation) -> str:
        return row.accepted_by.username if row.accepted_by else "-"

    @display(description="made", ordering="created_at")
    def made(self, row: Invitation) -> SafeString:
        return when(row.created_at)

    @display(description="expires", ordering="expires_at")
    def expiry(self, row: Invitation) -> SafeString:
        return when(row.expires_at)
