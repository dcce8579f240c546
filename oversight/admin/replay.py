"""Replaying the draft, or a published version, over the ledger, page by page."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from lib.html import when
from oversight import replay
from oversight.replay import WAYS, Replay
from oversight.witnesses import WHY
from policy.models import Ruleset
from policy.values import Effect
from tenants.administration import HubAdmin, named_in, standing, tell
from tenants.models import Tenant

_SPANS = {"day": "the last day", "week": "the last week", "month": "the last month"}
_PAGE = 50
_VERSIONS = 50
_EFFECTS = {
    "allow": "run",
    "warn": "run, marked",
    "confirm": "ask the person",
    "review": "wait for a second person",
    "deny": "refused",
    "untold": "cannot be told",
}


_DOES = {
    "refused": "refuse",
    "asked": "ask about",
    "freed": "let through",
    "marked": "mark otherwise",
    "reshaped": "change the arguments of",
}
"""What rules would do, by the way in which a call changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Calls that change in one way, by one rule, of one tool. says: what they would be, in words."""

    key: str
    way: str
    says: str
    rule: str
    tool: str
    calls: int


class ReplayPages:
    """The pages, hung below one model's in the admin's frame."""

    def __init__(self, model_admin: HubAdmin) -> None:
        self._admin = model_admin

    def urls(self) -> list[URLPattern]:
        site = self._admin.admin_site
        return [
            path("replay/", site.admin_view(self.begin_view), name="oversight_replay"),
            path("replay/<str:token>/", site.admin_view(self.one_view), name="oversight_replay_one"),
            path("replay/<str:token>/step/", site.admin_view(self.step_view), name="oversight_replay_step"),
            path("replay/<str:token>/calls/", site.admin_view(self.calls_view), name="oversight_replay_calls"),
        ]

    def begin_view(self, request: HttpRequest) -> HttpResponse:
        """Which rules, over which calls; the button begins."""
        tenant, choices = chosen_tenant(request)
        if tenant is None:
            title, here = "Replay rules: for which tenant?", reverse("admin:oversight_replay")
            return self._admin.page(request, "admin/oversight/replay_for.html", title=title, choices=choices, here=here)
        if request.method == "POST":
            return self._begun(request, tenant)
        context: dict[str, Any] = {
            "tenant": tenant,
            "spans": _SPANS,
            "versions": Ruleset.objects.filter(tenant=tenant).order_by("-number")[:_VERSIONS],
            "number": request.GET.get("rules", ""),
            "most": replay.MOST,
        }
        return self._admin.page(request, "admin/oversight/replay.html", title="Replay rules", **context)

    def _begun(self, request: HttpRequest, tenant: Tenant) -> HttpResponse:
        span, number = request.POST.get("span", ""), request.POST.get("rules", "")
        try:
            begun = replay.begin(tenant, span if span in _SPANS else "week", _version(tenant, number))
        except ValidationError as problem:
            tell(request, problem)
            return HttpResponseRedirect(f"{reverse('admin:oversight_replay')}?tenant={tenant.pk}")
        return HttpResponseRedirect(reverse("admin:oversight_replay_one", args=[replay.keep(begun)]))

    def one_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """How far it is, and what came of it so far. It can be left, and goes on when it is opened again."""
        found = _kept(request, token)
        return self._admin.page(request, "admin/oversight/replay_one.html", title="Replay", **_context(found, token))

    def step_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """Go on for some seconds, and show the part that changed."""
        found = _kept(request, token)
        if not found.done:
            replay.step(found)
            replay.keep(found, token)
        return TemplateResponse(request, "admin/oversight/replay_part.html", _context(found, token))

    def calls_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """The calls of one group, the newest first."""
        found = _kept(request, token)
        group = next((one for one in _groups(found) if one.key == request.GET.get("group")), None)
        if group is None:
            raise Http404("There is no such group in this replay.")
        wanted = (group.way, group.rule, group.tool)
        calls = [one for one in reversed(found.changes) if (one.way, one.rule, one.tool) == wanted]
        page = Paginator(calls, _PAGE).get_page(request.GET.get("page"))
        context: dict[str, Any] = {
            "group": group,
            "token": token,
            "page": page,
            "calls": [(one, when(one.at), _EFFECTS[one.was], _EFFECTS[one.will]) for one in page],
            "missing": group.calls - len(calls),
        }
        title = f"{group.tool}: {WAYS[group.way]}"
        return self._admin.page(request, "admin/oversight/replay_calls.html", title=title, **context)


def chosen_tenant(request: HttpRequest) -> tuple[Tenant | None, Any]:
    """The tenant that the address names, or the only one whose ledger the reader may see; else those to choose from."""
    ids = standing(request).read
    if not ids:
        raise PermissionDenied
    wanted = request.GET.get("tenant") or (str(next(iter(ids))) if len(ids) == 1 else "")
    choices = Tenant.objects.filter(pk__in=ids).order_by("name")
    if not wanted:
        return None, choices
    named = named_in(wanted, ids)
    if named is None:
        raise Http404("There is no such tenant here.")
    return choices.get(pk=named), choices


def _version(tenant: Tenant, number: str) -> int | None:
    """The version that a form names; None for the draft."""
    numbers = Ruleset.objects.filter(tenant=tenant).values_list("number", flat=True)
    return named_in(number, numbers) if number else None


def _kept(request: HttpRequest, token: str) -> Replay:
    found = replay.find(token)
    if found is None or found.tenant_id not in standing(request).read:
        raise Http404("This replay is not kept any more. Begin it again.")
    return found


def _context(found: Replay, token: str) -> dict[str, Any]:
    ways = found.ways
    return {
        "one": found,
        "token": token,
        "tenant": Tenant.objects.get(pk=found.tenant_id),
        "span": _SPANS[found.span],
        "since": when(found.begins),
        "percent": min(100, found.seen * 100 // found.total) if found.total else 100,
        "sums": [(_DOES[way], ways[way]) for way in _DOES if ways[way]],
        "untold": ways["untold"],
        "same": found.judged - sum(ways.values()),
        "groups": _groups(found),
        "matrix": _matrix(found),
        "unjudged": [(WHY[why], calls) for why, calls in sorted(found.unjudged.items()) if calls],
    }


def _groups(found: Replay) -> list[Group]:
    """By way, then the most calls first. The key stays the same from step to step."""
    order = list(WAYS)
    groups = [
        Group(key="\x1f".join(key), way=key[0], says=WAYS[key[0]], rule=key[1], tool=key[2], calls=calls)
        for key, calls in found.groups.items()
    ]
    return sorted(groups, key=lambda one: (order.index(one.way), -one.calls, one.rule, one.tool))


def _matrix(found: Replay) -> dict[str, Any]:
    """Rows by what the live rules do, columns by what the ones in question would."""
    named = [effect.value for effect in Effect if effect is not Effect.TRANSFORM] + ["untold"]
    used = {effect for pair in found.matrix for effect in pair}
    shown = [one for one in named if one in used]
    rows = [
        (_EFFECTS[was], [(_EFFECTS[will], found.matrix[was, will], was == will) for will in shown]) for was in shown
    ]
    return {"heads": [_EFFECTS[one] for one in shown], "rows": rows}
