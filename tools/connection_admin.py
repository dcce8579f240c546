"""Connections in the admin: where tools find their upstream."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import display

from tenants.administration import TenantAdmin, TenantFilter, ask_then_act, person, tenant_column
from tools import actions, editor
from tools.forms import ConnectionForm
from tools.models import Connection


@admin.register(Connection)
class ConnectionAdmin(TenantAdmin):
    """Where tools find their upstream, and the sealed credentials for it."""

    form = ConnectionForm
    list_display = ("name", tenant_column, "base_url", "auth", "secret_state")
    list_filter = (TenantFilter, "auth")
    list_filter_submit = True
    ordering = ("tenant__name", "name")
    empty_says = "A connection is the base URL and credentials of a service that tools call. Add the first one."
    delete_says = "Its sealed secret is gone for good. Tools and versions that use it keep it from being deleted."

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        top = ["tenant", "name", "base_url"]
        secret = [*(["secret_state"] if obj else []), "new_secret"]
        return [
            (None, {"fields": top}),
            ("How it proves itself", {"fields": ["auth", "auth_name", "username", *secret]}),
            ("What it may reach", {"fields": ["allow_hosts"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["tenant", *(["secret_state"] if obj else [])]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        connection = self.get_object(request, object_id) if object_id else None
        names = editor.live_through(connection) if connection is not None else []
        return super().changeform_view(request, object_id, form_url, {"live_tools": names, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        secret = form.cleaned_data["new_secret"]
        actions.save_connection(obj, actor=person(request), new_secret=secret)

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (("<path:object_id>/remove-secret/", self.remove_secret_view, "remove_secret"),)

    def remove_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        connection = self.row(request, object_id)
        return ask_then_act(
            self,
            request,
            button=f"Remove the secret of {connection.name}",
            says="Its tools reach the service without credentials from the next call on. This cannot be undone.",
            act=partial(actions.set_secret, connection, "", actor=person(request)),
            done=f"The secret of {connection.name} is removed.",
            back=reverse("admin:tools_connection_change", args=[connection.pk]),
        )

    @display(description="secret")
    def secret_state(self, connection: Connection) -> str:
        return "set" if connection.secret else "not set"
