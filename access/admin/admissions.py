"""Admissions in the admin: which clients of the whole hub a tenant lets in."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from access.actions import clients as actions
from access.admin.clients import known_by
from access.models import Admission, Client
from lib.html import when
from tenants.administration import TenantAdmin, TenantFilter, TenantForm, ask_then_act, tenant_column


class AdmissionForm(TenantForm):
    """A decision about a client of the whole hub, which is named by its id."""

    client_id_text = forms.CharField(
        label="Client id",
        max_length=255,
        widget=UnfoldAdminTextInputWidget,
        help_text="The URL of its metadata document, or the id it got when it registered itself.",
    )
    decision = forms.ChoiceField(
        choices=[("admitted", "Admit it"), ("blocked", "Block it")], widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = Admission
        fields: ClassVar[list[str]] = []

    def clean_client_id_text(self) -> Client:
        client = Client.objects.filter(tenant=None, client_id=self.cleaned_data["client_id_text"]).first()
        if client is None:
            raise ValidationError(
                "No program of this id was here yet. Let somebody try to connect with it once; it is known after that."
            )
        return client


@admin.register(Admission)
class AdmissionAdmin(TenantAdmin):
    """What a tenant has decided about clients of the whole hub, and what it is asked to decide."""

    form = AdmissionForm
    list_display = ("client", "known_by", tenant_column, "state_label", "asked", "since")
    list_filter = (TenantFilter, "state")
    list_filter_submit = True
    search_fields = ("client__name", "client__client_id")
    search_help_text = "Search by name or client id"
    ordering = ("-created_at",)
    empty_says = (
        "Clients that somebody asked for, and those you admitted or blocked, are here. "
        "On the tenant's page you say whether others may come."
    )
    shown = ("client_id_text", "decision")
    facts: ClassVar = ["tenant", "client", "client_id", "known_by", "state_label", "asked", "since"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("tenant", "client", "asked_by__user")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # decided by the buttons, which say what they do

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"client_id_text": request.GET.get("client", "")[:255]}

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return list(self.facts) if obj else ["tenant", *self.shown]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return list(self.facts) if obj else ["tenant"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:  # the form's fields are none of the model's, which Django would look for
            return self.bound(AdmissionForm, request, self.chosen(request))
        return super().get_form(request, obj, change, **kwargs)

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (
            ("<path:object_id>/admit/", self.admit_view, "admit"),
            ("<path:object_id>/block/", self.block_view, "block"),
        )

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        context = {"admission": self.get_object(request, object_id), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Admission, form: Any, change: bool) -> None:
        client: Client = form.cleaned_data["client_id_text"]
        decide = actions.admit_client if form.cleaned_data["decision"] == "admitted" else actions.block_client
        decide(obj.tenant, client, actor=request.user.get_username())
        obj.pk = Admission.objects.values_list("pk", flat=True).get(tenant=obj.tenant, client=client)
        obj.client = client

    def admit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        admission: Admission = self.row(request, object_id)
        return ask_then_act(
            self,
            request,
            button=f"Admit {admission.client}",
            says=f"Members of {admission.tenant.name} may then let it act for them, each for themselves.",
            act=partial(actions.admit_client, admission.tenant, admission.client, actor=request.user.get_username()),
            done=f"{admission.client} is admitted.",
            back=reverse("admin:access_admission_changelist"),
        )

    def block_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        admission: Admission = self.row(request, object_id)
        return ask_then_act(
            self,
            request,
            button=f"Block {admission.client}",
            says=f"Everything members of {admission.tenant.name} let it do is revoked, and nobody there can let it in. "
            "Admitting it later does not bring that back.",
            act=partial(actions.block_client, admission.tenant, admission.client, actor=request.user.get_username()),
            done=f"{admission.client} is blocked.",
            back=reverse("admin:access_admission_changelist"),
        )

    @display(description="client id")
    def client_id(self, admission: Admission) -> str:
        return admission.client.client_id

    @display(description="known by")
    def known_by(self, admission: Admission) -> str:
        return known_by(admission.client)

    @display(description="state", label={"admitted": "success", "blocked": "danger", "asked": "warning"})
    def state_label(self, admission: Admission) -> str:
        return admission.state

    @display(description="asked for by")
    def asked(self, admission: Admission) -> str:
        return admission.asked_by.user.username if admission.asked_by else ""

    @display(description="since", ordering="created_at")
    def since(self, admission: Admission) -> SafeString:
        return when(admission.created_at)
