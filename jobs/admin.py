"""Jobs in the admin: a tenant's jobs, what it may have at once, and who is told when one ends."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

import uuid
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, TextFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextInputWidget

from jobs import actions, readers
from jobs.models import Allowance, Delivery, Hook, Job, State
from jobs.pages import page_context
from lib.html import when
from tenants.administration import (
    ReadOnly,
    TenantAdmin,
    TenantFilter,
    TenantForm,
    confirm,
    person,
    standing,
    tenant_column,
)

_NOT_LISTED = ("arguments", "answers", "result", "preview", "inputs", "error", "upstream")
_TONES = {
    "Waiting for a worker": "info",
    "Running": "info",
    "Stopping": "warning",
    "Waiting for an answer": "warning",
    "Waiting for approval": "warning",
    "Succeeded": "success",
    "Failed": "danger",
    "Cancelled": "warning",
    "Interrupted": "danger",
    "Expired": "danger",
}


class ToolFilter(TextFilter):
    """By the exact name of the tool."""

    title = "tool"
    parameter_name = "tool"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = (self.value() or "").strip()
        return queryset.filter(tool=value) if value else queryset


@admin.register(Job)
class JobAdmin(ReadOnly, TenantAdmin):  # type: ignore[misc]
    """The jobs of the tenants one may read. Nothing is edited here; a job's page stops it and runs it again."""

    list_display = ("tool", tenant_column, "state_label", "how_far", "username", "asked", "ended")
    list_display_links = ("tool",)
    list_filter = (TenantFilter, ("state", ChoicesDropdownFilter), ToolFilter)
    list_filter_submit = True
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = InfinitePaginator
    ordering = ("-created_at",)
    sortable_by = ()
    empty_says = (
        "Tools that take long run as jobs, and each job is listed here with how far it is. Let a tool run as a job "
        "under “How it runs” in its editor."
    )

    def tenants(self, request: HttpRequest) -> frozenset[int]:
        return standing(request).read

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer(*_NOT_LISTED)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One job, live. There is no form to change it."""
        if request.method != "GET" or object_id is None:
            raise PermissionDenied
        seen = readers.find(person(request), _id(object_id), content=True)
        if seen is None or seen.tenant.pk not in self.tenants(request):
            raise Http404("There is no such job in a tenant whose jobs you may read.")
        context = page_context(request, seen)
        return self.page(request, "admin/jobs/job/job.html", title=f"{seen.view.tool}, a job", **context)

    @display(description="state", label=_TONES)
    def state_label(self, job: Job) -> str:
        stopping = job.cancel_at is not None and job.ended_at is None
        return "Stopping" if stopping else str(State(job.state).label)

    @display(description="how far")
    def how_far(self, job: Job) -> str:
        if job.ended_at is not None:
            return job.reason
        if job.progress is None:
            return job.message
        return f"{job.progress / job.total:.0%}" if job.total else f"{job.progress:g}"

    @display(description="asked")
    def asked(self, job: Job) -> SafeString:
        return when(job.created_at)

    @display(description="ended")
    def ended(self, job: Job) -> SafeString:
        return when(job.ended_at, never="not yet")


class AllowanceForm(TenantForm):
    """What a tenant may have at once."""

    class Meta:
        model = Allowance
        fields = ["running", "queued"]
        labels: ClassVar = {"running": "Running at once", "queued": "Waiting at once"}
        help_texts: ClassVar = {
            "running": "More of its jobs wait, however many workers are free.",
            "queued": "Further calls are refused, and told when to try again.",
        }

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.instance._state.adding:
            self.initial = {"running": settings.JOBS_RUNNING, "queued": settings.JOBS_QUEUED, **self.initial}


@admin.register(Allowance)
class AllowanceAdmin(TenantAdmin):
    """Where a tenant differs from the hub's usual numbers. Platform staff decides: workers are everybody's."""

    form = AllowanceForm
    list_display = ("name", "running", "queued")
    ordering = ("tenant__name",)
    delete_says = "The tenant then has what every tenant has."
    shown = ("running", "queued")

    @property
    def empty_says(self) -> str:
        return (
            f"Every tenant may have {settings.JOBS_RUNNING} jobs running and {settings.JOBS_QUEUED} waiting. "
            "Where one needs more, or should have fewer, platform staff gives it an allowance of its own."
        )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing(request).staff

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing(request).staff

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing(request).staff

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        tenant = self.chosen(request) if self.has_add_permission(request) else None
        if tenant is not None and Allowance.objects.filter(tenant=tenant).exists():
            return HttpResponseRedirect(reverse("admin:jobs_allowance_change", args=[tenant.pk]))
        return super().add_view(request, form_url, extra_context)

    @display(description="tenant", ordering="tenant__name")
    def name(self, allowance: Allowance) -> str:
        return allowance.tenant.name


class HookForm(TenantForm):
    """Where to."""

    url = forms.CharField(
        max_length=500,
        label="URL",
        widget=UnfoldAdminTextInputWidget,
        help_text="Gets a POST when a job of the tenant ends: which one and how, but not its result; when a call waits "
        "for approval; and when somebody asks for access. https only.",
    )

    class Meta:
        model = Hook
        fields = ["url", "enabled"]

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            actions.check_url(url)
        except ValidationError as problem:
            raise ValidationError(problem.messages) from None
        return url

    def clean(self) -> dict[str, Any]:
        if self.instance.pk is None and Hook.objects.filter(tenant=self.tenant).count() >= actions.MOST_HOOKS:
            self.add_error(None, f"A tenant has at most {actions.MOST_HOOKS} hooks; delete one that is not needed.")
        return super().clean() or self.cleaned_data


@admin.register(Hook)
class HookAdmin(TenantAdmin):
    """Who is told when jobs end or wait for somebody. A secret is shown once, when it is made."""

    form = HookForm
    list_display = ("url", tenant_column, "state_label", "made")
    list_filter = (TenantFilter,)
    list_filter_submit = True
    ordering = ("tenant__name", "url")
    empty_says = (
        "A hook tells a program of yours when a job ends, a call waits for approval or somebody asks for access, in a "
        "signed message. Add the first one."
    )
    delete_says = "Nothing is sent there any more, and the log of what was sent is gone. This cannot be undone."

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["tenant", "url", "enabled", "state_label", "made", "by"] if obj else ["tenant", "url"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["tenant", "state_label", "made", "by"] if obj else ["tenant"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("created_by")

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (("<path:object_id>/secret/", self.renew_view, "renew"),)

    def save_model(self, request: HttpRequest, obj: Hook, form: Any, change: bool) -> None:
        if change:
            actions.change_hook(obj, url=obj.url, enabled=obj.enabled, actor=person(request))
            return
        hook, secret = actions.add_hook(obj.tenant, obj.url, actor=person(request))
        obj.pk = hook.pk
        request.new_secret = secret  # type: ignore[attr-defined] # lives as long as this request

    def delete_model(self, request: HttpRequest, obj: Hook) -> None:
        actions.remove_hook(obj, actor=person(request))

    def response_add(self, request: HttpRequest, obj: Hook, post_url_continue: Any = None) -> HttpResponse:
        return self._secret_page(request, obj, request.new_secret)  # type: ignore[attr-defined]

    def renew_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        hook = self.row(request, object_id)
        if request.method == "POST":
            return self._secret_page(request, hook, actions.renew_hook_secret(hook, actor=person(request)))
        return confirm(
            self,
            request,
            title="Renew the secret",
            says=f"What is sent to {hook.url} is signed with the new secret from now on, and whoever checks it with "
            "the old one refuses it until they have the new one. This cannot be undone.",
            button="Renew the secret",
            back=reverse("admin:jobs_hook_change", args=[hook.pk]),
        )

    def _secret_page(self, request: HttpRequest, hook: Hook, secret: str) -> HttpResponse:
        """The one page that shows it. It is sealed from now on, so going back does not show it again."""
        title = "The secret of the hook"
        response = self.page(request, "admin/jobs/hook/secret.html", title=title, hook=hook, secret=secret)
        response["Cache-Control"] = "no-store"
        return response

    @display(description="state", label={"on": "success", "off": "warning", "failing": "danger"})
    def state_label(self, hook: Hook) -> str:
        if not hook.enabled:
            return "off"
        return "failing" if hook.failing_since else "on"

    @display(description="made")
    def made(self, hook: Hook) -> SafeString:
        return when(hook.created_at)

    @display(description="by")
    def by(self, hook: Hook) -> str:
        return hook.created_by.username if hook.created_by else "somebody who is gone"


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, TenantAdmin):  # type: ignore[misc]
    """What was sent to hooks and what came back."""

    list_display = ("about_link", tenant_column, "hook_link", "state_label", "attempts", "answer", "tried", "next_try")
    list_filter = (TenantFilter, ("state", ChoicesDropdownFilter))
    list_filter_submit = True
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = InfinitePaginator
    ordering = ("-created_at",)
    sortable_by = ()
    list_display_links = None
    empty_says = "Every message to a hook is listed here with what its receiver answered. None was due yet."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        unread = (f"job__{one}" for one in _NOT_LISTED)
        return super().get_queryset(request).select_related("hook", "job", "request").defer(*unread)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        raise Http404("A delivery has no page of its own.")

    @display(description="about")
    def about_link(self, delivery: Delivery) -> SafeString:
        if delivery.request is not None:
            page = reverse("admin:policy_accessrequest_change", args=[delivery.request_id])
            return _link(page, f"Access to {delivery.request.tool}")
        return _link(
            reverse("admin:jobs_job_change", args=[delivery.job_id]), delivery.job.tool if delivery.job else ""
        )

    @display(description="hook")
    def hook_link(self, delivery: Delivery) -> SafeString:
        return _link(reverse("admin:jobs_hook_change", args=[delivery.hook_id]), delivery.hook.url)

    @display(description="state", label={"Waiting": "info", "Delivered": "success", "Given up": "danger"})
    def state_label(self, delivery: Delivery) -> str:
        return str(delivery.get_state_display())

    @display(description="answer")
    def answer(self, delivery: Delivery) -> str:
        return " ".join(str(part) for part in (delivery.status, delivery.said) if part)

    @display(description="tried")
    def tried(self, delivery: Delivery) -> SafeString:
        return when(delivery.tried_at, never="not yet")

    @display(description="next try")
    def next_try(self, delivery: Delivery) -> SafeString | str:
        return when(delivery.due_at) if delivery.state == Delivery.State.WAITING else ""


def _link(url: str, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(unquote(text))
    except ValueError:
        raise Http404("There is no such job.") from None
