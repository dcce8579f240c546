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
