"""The admin's site: who may enter, and what the first page shows."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite


class LoginForm(AuthenticationForm):
    """Lets in those for whom the admin has something, and tells the others where they belong."""

    def confirm_login_allowed(self, user: Any) -> None:
        from tenants.standing import standing_of  # models are not loaded yet when the site is made

        if not user.is_active or not standing_of(user).enters:
            raise ValidationError(
                "The admin is for owners, admins and auditors of a tenant, and you are none of these. "
                "To use tools you need no admin: ask an owner of your tenant for an API key.",
                code="no_admin",
            )


class HubAdminSite(UnfoldAdminSite):
    """Access follows memberships, not Django's staff flag or permission tables."""

    login_form = LoginForm
    index_title = "What would you like to look after?"

    def has_permission(self, request: HttpRequest) -> bool:
        from tenants.administration import standing

        return request.user.is_active and standing(request).enters

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        from tenants import actions
        from tenants.models import User

        response = super().password_change(request, extra_context)
        if request.method == "POST" and response.status_code == 302:
            user = User.objects.get(username=request.user.get_username())
            actions.save(user, actor=user.username, note="set a new password")
        return response
