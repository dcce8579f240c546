"""Tools in the admin: the editor, publishing, rolling back, and “Try it”."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import display

from access.oauth.answers import address_of
from lib import db
from lib.html import coloured, pretty, when
from tenants import queries
from tenants.admin import TenantsAdmin
from tenants.administration import TenantAdmin, TenantFilter, confirm, person, standing, tell, tenant_column
from tenants.middleware import own_transactions
from tenants.models import Member
from tools import actions, editor, proposals, trial
from tools.config_form import config_fields, read_config
from tools.connection_admin import ConnectionAdmin
from tools.differences import differences
from tools.example import example
from tools.forms import JOB_FIELDS, SAFETY_FIELDS, ToolForm, TrialForm
from tools.kinds import KINDS, derived
from tools.manifest import estimated_tokens, is_led_elsewhere
from tools.models import Tool, Version
from tools.trial import Broken, Trial
from tools.values import ABSENT, Text

__all__ = ["ConnectionAdmin", "ToolAdmin", "describe_catalog"]

_ELSEWHERE = "not offered: its connection leads elsewhere since; publish it anew"
_MODEL_FIELDS = frozenset({"name", "title", "description", "input_schema", "output_schema", "icon"})


@admin.register(Tool)
class ToolAdmin(TenantAdmin):
    """A tool's draft, what a model sees of it, and its published versions."""

    form = ToolForm
    list_display = ("name", tenant_column, "state", "version", "kind", "scope_list", "changed")
    list_filter = (TenantFilter, "enabled", "kind")
    list_filter_submit = True
    search_fields = ("name", "title")
    search_help_text = "Search by name or title"
    ordering = ("tenant__name", "name")
    change_form_template = "admin/tools/tool/change_form.html"
    empty_says = "A tool is what a model can call. Describe the first one, try it, and publish it."
    delete_says = "Only drafts that were never published can be deleted. This cannot be undone."

    class Media:
        js = ("mcphub/tool.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return (
            super()
            .get_queryset(request)
            .select_related("tenant", "live", "live__connection", "connection", "proposed_by")
        )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # The form names its model fields itself; the rest of the fieldsets is drawn from the kinds' configs.
        return super().get_form(request, obj, change, **{**kwargs, "fields": None})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = {kind: list(config_fields(kind, {})) for kind in KINDS}
        return [
            (None, {"fields": ["tenant", "name", "title", "description"]}),
            ("Arguments and result", {"fields": ["input_schema", "output_schema"]}),
            ("How it runs", {"fields": ["kind", "connection", "runs", "timeout"]}),
            *[
                (f"Kind {kind}", {"fields": names, "classes": ["mh-kind", f"mh-kind-{kind}"]})
                for kind, names in fields.items()
            ],
            ("As a job", {"fields": JOB_FIELDS[1:], "classes": ["mh-job"]}),
            ("What it may do", {"fields": ["read_only", "destructive", "idempotent", "open_world"]}),
            ("Who may use it", {"fields": ["scopes"]}),
            ("Safety", {"fields": SAFETY_FIELDS}),
            ("Bounds and looks", {"fields": ["max_result", "tags", "icon"]}),
        ]

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (
            ("preview/", self.preview_view, "preview"),
            ("schema/", self.schema_view, "schema"),
            ("<path:object_id>/publish/", self.publish_view, "publish"),
            ("<path:object_id>/versions/", self.versions_view, "versions"),
            ("<path:object_id>/versions/<int:number>/", self.roll_back_view, "roll_back"),
            ("<path:object_id>/enabled/", self.enabled_view, "enabled"),
            ("<path:object_id>/try/", self.try_view, "try"),
        )

    def why_not_deleted(self, rows: Any) -> list[str]:
        return [f"{tool.name} was published; disable it instead." for tool in rows if tool.versions.exists()]

    def save_model(self, request: HttpRequest, obj: Tool, form: Any, change: bool) -> None:
        actions.save_tool(obj, actor=person(request))

    def delete_model(self, request: HttpRequest, obj: Tool) -> None:
        actions.remove_draft(obj, actor=person(request))

    # The editor

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        tool = self.get_object(request, object_id) if object_id else None
        context: dict[str, Any] = {
            "preview_url": reverse("admin:tools_tool_preview"),
            "schema_url": reverse("admin:tools_tool_schema"),
        }
        if tool is not None and self.has_view_permission(request, tool):
            look = editor.look(tool)
            context |= {"tool": tool, "look": look, "of": f"tool={tool.pk}"}
            context |= _proposal(tool, look.digest, request, tool.writers)
        elif object_id is None and (tenant := self.chosen(request)):
            context |= {"of": f"tenant={tenant.pk}", "empty_look": True}
        return super().changeform_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def _edited(self, request: HttpRequest) -> ToolForm:
        """The form as it stands in the browser, for a tool that is there or one to be."""
        if request.method != "POST":
            raise PermissionDenied
        tool = self.row(request, request.GET["tool"]) if request.GET.get("tool") else None
        if tool is None and self.chosen(request) is None:
            raise PermissionDenied
        form: ToolForm = self.get_form(request, tool, change=tool is not None)(request.POST, instance=tool)
        return form

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """What a model would see of the form as it stands. Nothing is stored."""
        form = self._edited(request)
        form.is_valid()
        stale = sorted(_MODEL_FIELDS & form.errors.keys())
        context = {"look": editor.look(form.instance), "tool": form.instance, "stale": stale}
        return TemplateResponse(request, "admin/tools/tool/look.html", context)

    def schema_view(self, request: HttpRequest) -> HttpResponse:
        """The schemas that the chosen kind knows by itself, for the form's button."""
        form = self._edited(request)
        form.is_valid()
        kind = form.cleaned_data.get("kind", "")
        known = derived(kind, read_config(kind, form.cleaned_data)) if kind in KINDS else None
        if known is None:
            return JsonResponse({"problem": "Choose a function first."}, status=422)
        output = pretty(known.output_schema) if known.output_schema is not None else ""
        return JsonResponse(
            {"input_schema": pretty(known.input_schema), "output_schema": output, "description": known.description}
        )

    def response_add(self, request: HttpRequest, obj: Tool, post_url_continue: Any = None) -> HttpResponse:
        return self._onward(request, obj) or super().response_add(
            request, obj, post_url_continue or _page("change", obj)
        )

    def response_change(self, request: HttpRequest, obj: Tool) -> HttpResponse:
        return self._onward(request, obj) or super().response_change(request, obj)

    @staticmethod
    def _onward(request: HttpRequest, tool: Tool) -> HttpResponse | None:
        for button, page in (("_review", "publish"), ("_try", "try"), ("_save", "change")):
            if button in request.POST:
                messages.success(request, f"The draft of {tool.name} is saved. Hosts see it when it is published.")
                return HttpResponseRedirect(_page(page, tool))
        return None

    # Versions

    def publish_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Shows what publishing would change; publishes, or proposes, exactly the draft that was shown."""
        tool = self.row(request, object_id)
        if request.method == "POST":
            try:
                told = _publish(tool, request)
            except actions.DraftChanged as problem:
                messages.warning(request, problem.message)
            except ValidationError as problem:
                tell(request, problem)
            else:
                messages.success(request, told)
                return HttpResponseRedirect(_page("change", tool))
            tool = self.row(request, object_id)
        look = editor.look(tool)
        context = {
            "tool": tool,
            "look": look,
            "problems": editor.why_not(tool),
            "next_number": _next_number(tool),
            **_proposal(tool, look.digest, request, tool.writers),
        }
        return self.page(
            request, "admin/tools/tool/publish.html", original=tool, title=f"Publish {tool.name}", **context
        )

    def versions_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        tool = self.row(request, object_id)
        versions = Version.objects.filter(tool=tool, tenant_id=tool.tenant_id).select_related("published_by")
        for version in versions:
            version.moment = when(version.published_at)  # type: ignore[attr-defined]
        title = f"Versions of {tool.name}"
        return self.page(
            request, "admin/tools/tool/versions.html", title=title, original=tool, tool=tool, versions=versions
        )

    def roll_back_view(self, request: HttpRequest, object_id: str, number: int) -> HttpResponse:
        tool = self.row(request, object_id)
        version = Version.objects.filter(tool=tool, tenant_id=tool.tenant_id, number=number).first()
        if version is None:
            return HttpResponseRedirect(_page("versions", tool))
        if request.method == "POST":
            try:
                told = _roll_back(tool, version, request)
            except ValidationError as problem:
                tell(request, problem)
            else:
                messages.success(request, told)
            return HttpResponseRedirect(_page("versions", tool))
        found = differences(actions.values(tool.live) if tool.live else None, actions.values(version))
        context = {
            "tool": tool,
            "version": version,
            "differences": found,
            "shown": coloured(version.manifest),
            **_proposal(tool, actions.digest(version), request),
        }
        return self.page(request, "admin/tools/tool/version.html", title=str(version), original=tool, **context)

    def enabled_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        tool = self.row(request, object_id)
        if request.method == "POST":
            actions.set_enabled(tool, request.POST.get("enabled") == "yes", actor=person(request))
            messages.success(request, f"{tool.name} is {'enabled' if tool.enabled else 'disabled'}.")
            return HttpResponseRedirect(_page("change", tool))
        verb = "Disable" if tool.enabled else "Enable"
        says = (
            f"{tool.name} vanishes from every host of {tool.tenant.name} at once, and calls of it are refused. "
            "Nothing is lost: you can enable it again."
            if tool.enabled
            else f"Hosts of {tool.tenant.name} see and can call the live version of {tool.name} again."
        )
        hidden = [("enabled", "no" if tool.enabled else "yes")]
        button = f"{verb} {tool.name}"
        return confirm(self, request, title=button, says=says, button=button, hidden=hidden, back=_page("change", tool))

    # Try it

    @own_transactions
    def try_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Runs the saved draft. Reads in a scope of its own, and holds no transaction while the call waits."""
        user = person(request)
        with db.tenant_scope(queries.tenants_reached_by(user.pk)):
            tool = self.row(request, object_id)
            offered = _offered_members(tool, standing(request).may_act_as(tool.tenant_id))
            form, members = _trial_form(request, tool, offered), list(offered)
            ready: trial.Prepared | None = None
            problem = ""
            if form.is_bound and form.is_valid():
                try:
                    ready = trial.prepare(tool, form.cleaned_data["member"], username=user.username)
                except Broken as found:
                    problem = str(found)
            form_html, versions = form.as_div(), tool.live.number if tool.live else None
        context: dict[str, Any] = {"tool": tool, "form_html": form_html, "members": members, "live_number": versions}
        if ready is not None:
            try:
                context |= _shown(trial.run(ready, form.cleaned_data["arguments"], address=address_of(request)))
            except Broken as found:
                problem = str(found)
        title = f"Try the draft of {tool.name}"
        return self.page(
            request, "admin/tools/tool/try.html", title=title, original=tool, problem=problem, form=form, **context
        )

    # The list

    @display(
        description="state",
        label={"live": "success", "live, draft differs": "info", "draft": "warning", "disabled": "danger"}
        | {_ELSEWHERE: "danger", "proposed": "warning"},
    )
    def state(self, tool: Tool) -> str:
        if not tool.enabled:
            return "disabled"
        if tool.proposed_digest:
            return "proposed"
        if tool.live is None:
            return "draft"
        if is_led_elsewhere(tool.live):
            return _ELSEWHERE
        return "live" if actions.values(tool.live) == actions.values(tool) else "live, draft differs"

    @display(description="live version", ordering="live__number")
    def version(self, tool: Tool) -> str:
        return f"v{tool.live.number}" if tool.live else "-"

    @display(description="scopes")
    def scope_list(self, tool: Tool) -> str:
        return ", ".join(tool.scopes) or "none"

    @display(description="changed", ordering="updated_at")
    def changed(self, tool: Tool) -> SafeString:
        return when(tool.updated_at)


def describe_catalog(tenant_id: int) -> str:
    """How much a model reads when it lists the tools of a tenant."""
    listed = editor.live_manifests(tenant_id)
    if not listed:
        return "No tool is live yet."
    return f"{len(listed)} tool{'' if len(listed) == 1 else 's'}, about {estimated_tokens(listed):,} tokens"


TenantsAdmin.describe_catalog = staticmethod(describe_catalog)


def _page(name: str, tool: Tool) -> str:
    return reverse(f"admin:tools_tool_{name}", args=[tool.pk])


def _proposal(tool: Tool, digest: str, request: HttpRequest, writers: Sequence[int] = ()) -> dict[str, Any]:
    """How far the draft, or an earlier version, is on its way; for the templates."""
    found = proposals.proposal(tool, digest, person(request), writers=writers)
    return {"proposal": found, "moment": when(found.at) if found is not None and found.at else ""}


def _publish(tool: Tool, request: HttpRequest) -> str:
    """What the pressed button did, as a sentence."""
    seen = request.POST.get("digest", "")
    if "propose" in request.POST:
        actions.propose(tool, actor=person(request), reviewed=seen)
        return f"The draft of {tool.name} is proposed. Somebody else has to publish it."
    version = actions.publish(tool, actor=person(request), reviewed=seen)
    return f"{version} is live. Hosts see it from their next request on."


def _roll_back(tool: Tool, version: Version, request: HttpRequest) -> str:
    if "propose" in request.POST:
        actions.propose_roll_back(tool, version, actor=person(request))
        return f"{version} is proposed. Somebody else has to make it live again."
    actions.roll_back(tool, version, actor=person(request))
    return f"{version} is live again. The draft stays as it is."


def _next_number(tool: Tool) -> int:
    newest = Version.objects.filter(tool=tool).order_by("-number").values_list("number", flat=True).first()
    return (newest or 0) + 1


def _offered_members(tool: Tool, roles: Sequence[str]) -> QuerySet[Member]:
    members = Member.objects.filter(tenant_id=tool.tenant_id, active=True, user__is_active=True, role__in=roles)
    return members.select_related("user", "tenant").order_by("user__username")


def _trial_form(request: HttpRequest, tool: Tool, members: QuerySet[Member]) -> TrialForm:
    mine = next((member for member in members if member.user_id == request.user.pk), None)
    initial = {"member": mine or members.first(), "arguments": example(tool.input_schema)}
    form = TrialForm(request.POST if request.method == "POST" else None, initial=initial)
    field = form.fields["member"]
    if isinstance(field, forms.ModelChoiceField):
        field.queryset = members
        field.empty_label = None
    return form


def _shown(tried: Trial) -> dict[str, Any]:
    """A trial as the page shows it."""
    shown: dict[str, Any] = {"tried": tried, "took": f"{tried.milliseconds:.0f} ms"}
    if tried.result is not None:
        shown["blocks"] = [_block(block) for block in tried.result.content]
        shown["structured"] = coloured(tried.result.structured) if tried.result.structured is not ABSENT else None
        shown["has_structured"] = tried.result.structured is not ABSENT
    return shown


def _block(block: Any) -> tuple[str, Any]:
    """A block's kind and how it is shown; text that is JSON is coloured."""
    if not isinstance(block, Text):
        return type(block).__name__, getattr(block, "uri", "") or f"{getattr(block, 'mime_type', '')}"
    try:
        parsed = orjson.loads(block.text)
    except orjson.JSONDecodeError:
        return "Text", block.text
    return "JSON", coloured(parsed) if isinstance(parsed, dict | list) else block.text
