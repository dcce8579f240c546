"""The admin's site: who may enter, and what the first page shows."""

# Django promises template responses where these methods lead elsewhere.
# mypy: disable-error-code="override"

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.sites import UnfoldAdminSite


class HubAdminSite(UnfoldAdminSite):
    """Access follows memberships, not Django's staff flag or permission tables. Signing in is the portal's."""

    index_title = "What would you like to look after?"

    def has_permission(self, request: HttpRequest) -> bool:
        from tenants.administration import standing  # models are not loaded yet when the site is made

        return request.user.is_active and standing(request).enters

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With how a tenant of the reader's does; for platform staff also how the hub's jobs do."""
        from jobs.health import health  # models are not loaded yet when the site is made
        from oversight import overview
        from tenants.administration import standing

        shown = {"health": health()} if standing(request).staff else {}
        return super().index(request, {**shown, **overview.shown(request), **(extra_context or {})})

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """No form here: it would pass by second factors and the limits on guessing."""
        wanted = request.GET.get("next", "")
        if not url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
            wanted = reverse("admin:index")
        if not request.user.is_authenticated:
            return redirect_to_login(wanted)
        if self.has_permission(request):
            return redirect(wanted)
        return render(request, "admin/nothing_here.html", status=403)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from allauth.account.views import logout

        return logout(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return redirect("account_change_password")
