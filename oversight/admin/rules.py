"""Rules in the admin: the draft as a list, a form and YAML; publishing it, and its versions. Below them hang the pages
that explain rules: replay and effective access."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse

from lib.html import when
from oversight import drafts, rule_form, rule_versions
from oversight.admin.effective import EffectivePages
from oversight.admin.replay import ReplayPages
from oversight.requests import answering
from oversight.rule_form import RuleForm
from policy import actions
from policy.models import Rule, Ruleset
from policy.rules import read, to_yaml
from policy.rules.pins import pinned
from tenants.administration import TenantAdmin, ask_then_act, named_in, person, standing, tell
from tenants.models import Tenant
from tools import queries as tool_queries


@admin.register(Rule)
class RuleAdmin(TenantAdmin):
    """What a tenant allows. Auditors read it; admins and owners write it."""

    form = RuleForm
    change_form_template = "admin/policy/rule/change_form.html"
    delete_says = "It goes out of the draft. What is live stays until the draft is published."

    class Media:
        css = {"all": ("mcphub/rules.css",)}
        js = ("mcphub/rules.js",)

    def tenants(self, request: HttpRequest) -> frozenset[int]:
        return standing(request).read

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(standing(request).managed)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        managed = standing(request).managed
        return obj.tenant_id in managed if obj is not None else bool(managed)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # The form names its model fields itself; the other fieldsets are parts of what `spec` holds.
        return super().get_form(request, obj, change, **{**kwargs, "fields": None})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        parts = {part: [f"{part}_{name}" for name in names] for part, names in rule_form.PARTS.items()}
        return [
            (None, {"fields": ["tenant", "name", "priority", "enabled"]}),
            ("What happens", {"fields": ["effect", "message", "secret"], "classes": ["mh-happens"]}),
            ("What is changed", {"fields": ["transform"], "classes": ["mh-effect", "mh-effect-transform"]}),
            ("Who says yes", {"fields": parts["reviewers"], "classes": ["mh-effect", "mh-effect-review"]}),
            ("Who", {"fields": parts["who"]}),
            ("What", {"fields": parts["what"]}),
            ("With what", {"fields": ["condition"], "classes": ["mh-condition"]}),
            ("When", {"fields": parts["when"], "classes": _folded(obj, "when")}),
            ("From where", {"fields": ["where", "not_where"], "classes": _folded(obj, "where", "not_where")}),
            ("What went before", {"fields": parts["before"], "classes": _folded(obj, "before")}),
            ("What inspection found", {"fields": ["found"], "classes": _folded(obj, "found")}),
        ]

    def get_urls(self) -> list[URLPattern]:
        return [*ReplayPages(self).urls(), *EffectivePages(self).urls(), *super().get_urls()]

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (
            ("yaml/", self.yaml_view, "yaml"),
            ("yaml/download/", self.download_view, "download"),
            ("publish/", self.publish_view, "publish"),
            ("throw-away/", self.throw_away_view, "throw_away"),
            ("versions/", self.versions_view, "versions"),
            ("versions/<int:number>/", self.version_view, "version"),
            ("versions/<int:number>/roll-back/", self.roll_back_view, "roll_back"),
        )

    def chosen(self, request: HttpRequest) -> Tenant | None:
        """The tenant of a new rule; one that the reader may write rules for."""
        tenant = self._named(request)
        if tenant is not None:
            self._manages(request, tenant)
        return tenant

    # The draft

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        tenant = self._named(request)
        if tenant is None:
            choices = Tenant.objects.filter(pk__in=self.tenants(request)).order_by("name")
            return self.page(request, "admin/choose_tenant.html", title="Rules: of which tenant?", choices=choices)
        state = drafts.state_of(tenant)
        loose = drafts.loose(state.live, tool_queries.published(tenant.pk))
        title = f"Rules of {tenant.name}"
        return self._page(request, "list", tenant, title=title, state=state, loose=loose)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        rule = self.get_object(request, object_id) if object_id else None
        if rule is not None and self.has_view_permission(request, rule):
            if not self.has_change_permission(request, rule):
                if request.method != "GET":
                    raise PermissionDenied
                return self._read_only(request, rule)
            extra_context = {"back": _page("changelist", rule.tenant), **(extra_context or {})}
        context = {"examples": rule_form.EXAMPLES, "names": rule_form.NAMES.items(), **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    def _read_only(self, request: HttpRequest, rule: Rule) -> HttpResponse:
        state = drafts.state_of(rule.tenant)
        line = next(line for line in state.lines if line.row.pk == rule.pk)
        written = to_yaml([line.spec]) if line.spec is not None else ""
        return self._page(request, "rule", rule.tenant, title=rule.name, line=line, written=written)

    def save_model(self, request: HttpRequest, obj: Rule, form: Any, change: bool) -> None:
        actions.save_rule(obj, actor=person(request))

    def delete_model(self, request: HttpRequest, obj: Rule) -> None:
        actions.remove_rule(obj, actor=person(request))

    def response_add(self, request: HttpRequest, obj: Rule, post_url_continue: Any = None) -> HttpResponse:
        return self.response_change(request, obj)

    def response_change(self, request: HttpRequest, obj: Rule) -> HttpResponse:
        messages.success(request, f"“{obj.name}” is in the draft. It decides nothing until the draft is published.")
        return HttpResponseRedirect(_page("changelist", obj.tenant))

    def throw_away_view(self, request: HttpRequest) -> HttpResponse:
        tenant = self._managed(request)
        live = drafts.live_rules(tenant)
        says = f"The draft becomes what is live, rules v{live.number}." if live else "The draft becomes empty."
        try:
            written = to_yaml(read(rule) for rule in live.rules) if live else ""
        except ValidationError as problem:
            tell(request, problem)
            return HttpResponseRedirect(_page("changelist", tenant))
        return ask_then_act(
            self,
            request,
            button="Throw the draft away",
            says=f"{says} What was written since is in the ledger only.",
            act=lambda: bool(actions.replace_draft(tenant, written, actor=person(request))),
            done="The draft is what is live.",
            back=_page("changelist", tenant),
        )

    # As YAML

    def yaml_view(self, request: HttpRequest) -> HttpResponse:
        """The whole draft in one box. What cannot be read is said above it, and stays in it."""
        tenant = self._read(request)
        state, problems = drafts.state_of(tenant), []
        written = to_yaml(state.specs)
        base = actions.digest(state.specs)
        if request.method == "POST":
            self._manages(request, tenant)
            written = request.POST.get("yaml", "").replace("\r\n", "\n")
            if request.POST.get("base") != base:
                problems = [
                    "Somebody changed the draft meanwhile. What you wrote is below; saving it now replaces theirs."
                ]
            else:
                try:
                    done = actions.replace_draft(tenant, written, actor=person(request))
                except ValidationError as problem:
                    problems = problem.messages
                else:
                    messages.success(request, _told(done))
                    return HttpResponseRedirect(_page("changelist", tenant))
        context = {"written": written, "problems": problems, "base": base, "state": state}
        return self._page(request, "yaml", tenant, title=f"Rules of {tenant.name} as YAML", **context)

    def download_view(self, request: HttpRequest) -> HttpResponse:
        tenant = self._read(request)
        file = HttpResponse(to_yaml(drafts.state_of(tenant).specs), content_type="application/yaml; charset=utf-8")
        file["Content-Disposition"] = f'attachment; filename="rules-{tenant.slug}.yaml"'
        return file

    # Publishing

    def publish_view(self, request: HttpRequest) -> HttpResponse:
        """Shows what publishing would change, and for which tools; publishes exactly what was shown."""
        tenant = self._read(request)
        if request.method == "POST":
            self._manages(request, tenant)
            published = self._published(request, tenant)
            if published is not None:
                messages.success(request, f"Rules v{published.number} decide from the next call on.")
                return HttpResponseRedirect(_page("changelist", tenant))
        review = drafts.review(tenant, person(request))
        number = review.state.live.number + 1 if review.state.live else 1
        title = f"Publish the rules of {tenant.name}"
        return self._page(request, "publish", tenant, title=title, review=review, number=number)

    def _published(self, request: HttpRequest, tenant: Tenant) -> Ruleset | None:
        """What was published; None when it was not, and the reader is told why."""
        tools = tool_queries.subjects(tenant.pk)
        try:
            bound = pinned(actions.draft_of(tenant), tools)
            if request.POST.get("tools") != drafts.digest_of_pins(bound):
                raise actions.DraftChanged(
                    "A tool changed after this page was shown. Look again at what will be published."
                )
            note, reviewed = request.POST.get("note", "").strip(), request.POST.get("digest", "")
            return answering.publish(tenant, actor=person(request), note=note, tools=tools, reviewed=reviewed)
        except ValidationError as problem:
            tell(request, problem)
            return None

    # Versions

    def versions_view(self, request: HttpRequest) -> HttpResponse:
        tenant = self._read(request)
        versions = [
            (one, when(one.published_at), len(one.rules))
            for one in Ruleset.objects.filter(tenant=tenant).select_related("published_by")
        ]
        title = f"Versions of the rules of {tenant.name}"
        return self._page(request, "versions", tenant, title=title, versions=versions)

    def version_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """What is in one version, and what differs from another; from the live one when none is named."""
        tenant = self._read(request)
        version = self._version(tenant, number)
        live = drafts.live_rules(tenant)
        numbers = list(Ruleset.objects.filter(tenant=tenant).values_list("number", flat=True))
        against = named_in(request.GET.get("against"), numbers) or (live.number if live else number)
        other = self._version(tenant, against)
        context = {
            "version": version,
            "moment": when(version.published_at),
            "live": live,
            "other": other,
            "others": [one for one in numbers if one != number],
            "differs": rule_versions.between(other, version),
            "rules": rule_versions.rules_of(version),
        }
        return self._page(request, "version", tenant, title=f"Rules v{number} of {tenant.name}", **context)

    def roll_back_view(self, request: HttpRequest, number: int) -> HttpResponse:
        tenant = self._managed(request)
        version = self._version(tenant, number)
        return ask_then_act(
            self,
            request,
            button=f"Make rules v{number} decide again",
            says=f"Its {len(version.rules)} rules decide from the next call on, under a new number, for the tools as "
            "they were then. The draft stays as it is.",
            act=lambda: bool(actions.roll_back(tenant, number, actor=person(request))),
            done=f"Rules v{number} decide again, from the next call on.",
            back=_page("versions", tenant),
        )

    @staticmethod
    def _version(tenant: Tenant, number: int) -> Ruleset:
        found = Ruleset.objects.filter(tenant=tenant, number=number).select_related("published_by").first()
        if found is None:
            raise Http404("There is no such version.")
        return found

    # Whose

    def _named(self, request: HttpRequest) -> Tenant | None:
        """The tenant whose rules an address is about; None where there are several and none is named."""
        ids = self.tenants(request)
        wanted = request.GET.get("tenant") or (str(next(iter(ids))) if len(ids) == 1 else "")
        found = named_in(wanted, ids)
        if found is None and wanted:
            raise Http404("There is no such tenant here.")
        return Tenant.objects.get(pk=found) if found is not None else None

    def _read(self, request: HttpRequest) -> Tenant:
        """The tenant of a page that auditors may read."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        tenant = self._named(request)
        if tenant is None:
            raise Http404("Say of which tenant.")
        return tenant

    def _managed(self, request: HttpRequest) -> Tenant:
        """The tenant of a page that changes something."""
        tenant = self._read(request)
        self._manages(request, tenant)
        return tenant

    @staticmethod
    def _manages(request: HttpRequest, tenant: Tenant) -> None:
        if tenant.pk not in standing(request).managed:
            raise PermissionDenied

    def _page(self, request: HttpRequest, name: str, tenant: Tenant, *, title: str, **context: Any) -> HttpResponse:
        shared: dict[str, Any] = {
            "tenant": tenant,
            "of": urlencode({"tenant": tenant.pk}),
            "manages": tenant.pk in standing(request).managed,
        }
        return self.page(request, f"admin/policy/rule/{name}.html", title=title, **shared, **context)


def _folded(rule: Rule | None, *parts: str) -> list[str]:
    """The classes of a part of the form that is seldom used: folded while the rule says nothing of it."""
    return [] if rule is not None and any(rule.spec.get(part) for part in parts) else ["collapse"]


def _told(done: actions.Replaced) -> str:
    counts = {"added": done.added, "changed": done.changed, "removed": done.removed}
    told = [f"{len(names)} {verb}" for verb, names in counts.items() if names]
    return f"The draft is saved: {', '.join(told)}." if told else "The draft is as it was."


def _page(name: str, tenant: Tenant) -> str:
    return f"{reverse(f'admin:policy_rule_{name}')}?{urlencode({'tenant': tenant.pk})}"
