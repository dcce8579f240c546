"""People in the admin: made, switched off, given a new password, helped when they lost a second factor."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from lib.html import when
from tenants import actions
from tenants.administration import HubAdmin, ask_then_act, standing
from tenants.models import User


class UserRowForm(UserChangeForm):
    """A user; the last of the platform staff stays that."""

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not self.errors and not (self.cleaned_data.get("is_active") and self.cleaned_data.get("is_superuser")):
            actions.keep_platform_staff(self.instance)
        return cleaned


@admin.register(User)
class UserAdmin(DjangoUserAdmin, HubAdmin):  # type: ignore[type-arg,misc]
    """People. Only for platform staff; the ledger of the platform records what changes."""

    form = UserRowForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "state", "staff_label", "seen")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("username", "email")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "email", "first_name", "last_name")}),
        ("May", {"fields": ("is_active", "is_superuser")}),
        ("Since", {"fields": ("date_joined", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "password1", "password2")}),)  # type: ignore[assignment]

    def governs(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing(request).staff

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # what they published keeps their name; an inactive user can do nothing

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            actions.change_user(obj, actor=request.user.get_username())
        else:
            super().save_model(request, obj, form, change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and response.status_code == 302:
            user = self.row(request, id)
            actions.save(user, actor=request.user.get_username(), note="set a new password")
        return response

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (("<path:object_id>/second-factors/", self.second_factors_view, "second_factors"),)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        has_any = object_id.isdigit() and Authenticator.objects.filter(user_id=int(object_id)).exists()
        url = reverse("admin:tenants_user_second_factors", args=[object_id]) if has_any else None
        return super().change_view(request, object_id, form_url, {"second_factors_url": url, **(extra_context or {})})

    def second_factors_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For somebody who lost the app or the key and the recovery codes."""
        user = self.row(request, object_id)
        return ask_then_act(
            self,
            request,
            button=f"Take the second factors off {user}",
            says="The authenticator app, passkeys and recovery codes of this account stop working; then it does not "
            "take a second step to sign in. Make sure that it is really they who ask. This cannot be undone.",
            act=partial(actions.remove_second_factors, user, actor=request.user.get_username()),
            done=f"{user} signs in with the password alone now.",
            back=reverse("admin:tenants_user_change", args=[user.pk]),
        )

    @display(description="state", label={"active": "success", "inactive": "danger"})
    def state(self, user: User) -> str:
        return "active" if user.is_active else "inactive"

    @display(description="platform staff", boolean=True, ordering="is_superuser")
    def staff_label(self, user: User) -> bool:
        return user.is_superuser

    @display(description="last signed in", ordering="last_login")
    def seen(self, user: User) -> SafeString:
        return when(user.last_login)


admin.site.unregister(Group)
