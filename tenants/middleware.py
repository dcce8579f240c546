"""Every page of a signed-in person runs in a transaction that sees that person's tenants and no others."""

from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from lib import db
from tenants import queries


def own_transactions(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Mark a view that opens its own tenant scope, because it waits for a network and must not hold a transaction."""
    view.own_transactions = True  # type: ignore[attr-defined]
    return view


class TenantScopeMiddleware:
    """One transaction per page, rolled back when the page fails, in which only the reader's tenants are in sight."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._opts_out(request) or not request.user.is_authenticated:
            return self.get_response(request)
        with db.tenant_scope(queries.tenants_reached_by(request.user.pk)):
            response = self.get_response(request)
            if response.status_code >= 500:
                transaction.set_rollback(True)
            return response

    @staticmethod
    def _opts_out(request: HttpRequest) -> bool:
        try:
            return hasattr(resolve(request.path_info).func, "own_transactions")
        except Resolver404:
            return True
