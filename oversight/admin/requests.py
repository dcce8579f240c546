"""Requests for access in the admin: who asks for what, and the answer."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

import datetime
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from lib.html import when
from oversight.requests import answering
from oversight.requests.asking import State
from oversight.requests.case import Case, case_of
from policy.actions import two_publish
from policy.models import AccessRequest
from policy.values import Effect
from tenants.administration import TenantAdmin, TenantFilter, person, tell, tenant_column

_EFFECTS = [
    (Effect.ALLOW.value, "Let calls run"),
    (Effect.CONFIRM.value, "Let calls run once the person has said yes to each"),
    (Effect.REVIEW.value, "Let calls run once a second person has approved each"),
]
_COLOURS = {
    "Waiting for an admin": "warning",
    "Waiting for a second person": "warning",
    "Granted": "success",
    "Denied": "danger",
}

_GRANTED: dict[str, str] = {
    State.GRANTED: "{who} may use {tool} from the next call on. The rule that says so was published, and "
    "stands in the draft too; what else was written at the draft was not published.",
    State.PROPOSED: "The rule is in the draft. {who} may use {tool} once somebody else has published it.",
}


class GrantForm(forms.Form):
    """Until when, how far, and a word to the person. seen: the number of the rules that the page was worked out by."""

    seen = forms.IntegerField(widget=forms.HiddenInput)
    until = forms.DateField(
        label="Until the end of",
        widget=forms.DateInput(attrs={"type": "date", "class": "mh-code"}),
        help_text="In UTC.",
    )
    effect = forms.ChoiceField(
        label="What is granted", choices=_EFFECTS, widget=forms.Select(attrs={"class": "mh-code mh-wide"})
    )
    answer = forms.CharField(
        label="A word to them",
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"class": "mh-code mh-wide"}),
    )

    @property
    def end(self) -> datetime.datetime:
        day: datetime.date = self.cleaned_data["until"]
        return datetime.datetime.combine(day, datetime.time(23, 59, 59), datetime.UTC)


@admin.register(AccessRequest)
class AccessRequestAdmin(TenantAdmin):
    """The list, and one request with its two answers."""

    list_display = ("what", "who", tenant_column, "state_label", "rule", "asked")
    list_display_links = ("what",)
    list_filter = (TenantFilter, ("state", ChoicesDropdownFilter))
    ordering = ("-created_at",)
    empty_says = (
        "When a rule refuses somebody a tool, the refusal leads them to a page where they can ask for it. "
        "What they ask for is answered here. Nobody has asked yet."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("member__user", "decided_by")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def own_urls(self) -> tuple[tuple[str, Callable[..., HttpResponse], str], ...]:
        return (
            ("<path:object_id>/grant/", self.grant_view, "grant"),
            ("<path:object_id>/deny/", self.deny_view, "deny"),
        )

    @display(description="tool", ordering="tool")
    def what(self, row: AccessRequest) -> str:
        return row.tool

    @display(description="who", ordering="member__user__username")
    def who(self, row: AccessRequest) -> str:
        return row.member.user.username

    @display(description="state", label=_COLOURS)
    def state_label(self, row: AccessRequest) -> str:
        return str(row.get_state_display())

    @display(description="asked", ordering="created_at")
    def asked(self, row: AccessRequest) -> SafeString:
        return when(row.created_at)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One request. It is never edited: it is granted or denied."""
        if request.method != "GET" or object_id is None:
            raise PermissionDenied
        row = self.row(request, object_id)
        case = _case(row)
        week = timezone.now().date() + datetime.timedelta(days=answering.USUAL_DAYS)
        usual = {"seen": case.number, "until": week, "effect": case.proposed.value} if case is not None else {}
        return self._shown(request, row, case, GrantForm(initial=usual, label_suffix=""))

    def _shown(self, request: HttpRequest, row: AccessRequest, case: Case | None, form: GrantForm) -> HttpResponse:
        context: dict[str, Any] = {
            "row": row,
            "form": form,
            "case": case,
            "asked": when(row.created_at),
            "decided": when(row.decided_at) if row.decided_at else None,
            "until": when(row.until) if row.until else None,
            "mine": row.member.user_id == request.user.pk,
            "forward": row.state == State.PROPOSED,
            "two": two_publish(row.tenant),
        }
        title = f"{row.member.user.username} asks for {row.tool}"
        return self.page(request, "admin/oversight/request.html", title=title, **context)

    def grant_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row(request, object_id)
        form = GrantForm(request.POST or None, label_suffix="")
        if request.method != "POST":
            return HttpResponseRedirect(_page(row))
        if not form.is_valid():
            return self._shown(request, row, _case(row), form)
        given = form.cleaned_data
        try:
            done = answering.grant(
                row,
                actor=person(request),
                until=form.end,
                effect=Effect(given["effect"]),
                answer=given["answer"],
                seen=given["seen"],
            )
        except ValidationError as problem:
            tell(request, problem)
        else:
            messages.success(request, _GRANTED[done.state].format(who=row.member.user.username, tool=row.tool))
        return HttpResponseRedirect(_page(row))

    def deny_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row(request, object_id)
        if request.method == "POST":
            try:
                answering.deny(row, actor=person(request), answer=request.POST.get("answer", ""))
            except ValidationError as problem:
                tell(request, problem)
            else:
                messages.success(request, f"{row.member.user.username} was told no.")
        return HttpResponseRedirect(_page(row))


def _case(row: AccessRequest) -> Case | None:
    """What stands around a request that waits for an admin."""
    return case_of(row) if row.state == State.OPEN else None


def _page(row: AccessRequest) -> str:
    return reverse("admin:policy_accessrequest_change", args=[row.pk])
