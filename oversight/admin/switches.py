"""Kill switches in the admin: what is switched off, how far that is, and the way back."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from lib.html import when
from oversight import stopping, switches, things
from oversight.models import Switch
from oversight.things import Thing
from tenants.administration import HubAdmin, ReadOnly, named_in, person, standing, tell
from tenants.models import Tenant

_LOOK_AGAIN = 1
"""Seconds between looks of a page at what is still stopping."""
_LISTED = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A switch as pages show it. thrown, lifted: moments in words. state: how far it is. threads: functions that were
    given up and may run on."""

    switch: Switch
    thrown: SafeString
    lifted: SafeString | None
    state: str
    stopping: bool
    threads: int
    may: bool


@admin.register(Switch)
class SwitchAdmin(ReadOnly, HubAdmin):  # type: ignore[misc]
    """All switches that were thrown, and the pages on which they are thrown and lifted."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related("tenant", "thrown_by", "lifted_by")
        if standing(request).staff:
            return rows
        return rows.filter(Q(tenant_id__in=self.tenants(request)) | Q(sort=Switch.Sort.EVERYTHING))

    def governs(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing(request).staff or bool(self.tenants(request))  # get_queryset says which ones

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (
            ("throw/", self.throw_view, "throw"),
            ("live/", self.live_view, "live"),
            ("<path:object_id>/live/", self.one_live_view, "one_live"),
            ("<path:object_id>/reason/", self.reason_view, "reason"),
            ("<path:object_id>/lift/", self.lift_view, "lift"),
        )

    # What is switched off

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self.page(request, "admin/oversight/switches.html", title="Kill switches", **self._list(request))

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """The part of the list that changes by itself."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return TemplateResponse(request, "admin/oversight/switches_part.html", self._list(request))

    def _list(self, request: HttpRequest) -> dict[str, Any]:
        rows = self.get_queryset(request)
        off = [_shown(request, switch) for switch in rows.filter(lifted_at=None).order_by("-thrown_at")]
        before = [_shown(request, one) for one in rows.exclude(lifted_at=None).order_by("-lifted_at")[:_LISTED]]
        staff = standing(request).staff
        return {
            "off": off,
            "before": before,
            "seconds": _LOOK_AGAIN,
            "stopping": any(one.stopping for one in off),
            "may_stop_all": staff and not any(one.switch.sort == Switch.Sort.EVERYTHING for one in off),
        }

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One switch, live. There is no form to change it."""
        if request.method != "GET" or object_id is None:
            raise PermissionDenied
        switch = self.row(request, object_id)
        context: dict[str, Any] = {"one": _shown(request, switch), "seconds": _LOOK_AGAIN}
        return self.page(request, "admin/oversight/switch.html", title=f"Stopped: {switch.label}", **context)

    def one_live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        context = {"one": _shown(request, self.row(request, object_id)), "seconds": _LOOK_AGAIN}
        return TemplateResponse(request, "admin/oversight/switch_part.html", context)

    # Off and on

    def throw_view(self, request: HttpRequest) -> HttpResponse:
        """Throws it at once. Asked without pressing a button, it says what that would do."""
        thing = _asked_for(request)
        if request.method == "POST":
            try:
                switch = switches.throw(thing, actor=person(request), reason=request.POST.get("reason", "").strip())
            except ValidationError as problem:
                tell(request, problem)
            else:
                return HttpResponseRedirect(_page("change", switch))
        does, lost = things.what_it_does(thing)
        context: dict[str, Any] = {
            "thing": thing,
            "does": does,
            "lost": lost,
            "oneself": thing.row == request.user,
            "back": reverse("admin:oversight_switch_changelist"),
        }
        return self.page(request, "admin/oversight/throw.html", title=f"Stop {thing.label}", **context)

    def reason_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        switch, _ = self._held(request, object_id)
        if request.method == "POST" and (reason := request.POST.get("reason", "").strip()):
            switches.explain(switch, reason, actor=person(request))
            messages.success(request, "The reason is kept.")
        return HttpResponseRedirect(_page("change", switch))

    def lift_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        switch, thing = self._held(request, object_id)
        if request.method == "POST":
            try:
                if switches.lift(switch, actor=person(request)):
                    messages.success(request, f"{thing.label} is on again.")
                else:
                    messages.info(request, f"{thing.label} was switched on before.")
            except ValidationError as problem:
                tell(request, problem)
        return HttpResponseRedirect(_page("change", switch))

    def _held(self, request: HttpRequest, object_id: str) -> tuple[Switch, Thing]:
        """A switch that the reader may move, and what it is of; 403 and 404 for any other."""
        switch = self.row(request, object_id)
        thing = switches.thing_of(switch)
        if thing is None:
            raise Http404(f"{switch.label} is gone; there is nothing to switch on.")
        if not switches.may_throw(standing(request), thing):
            raise PermissionDenied
        return switch, thing


def _asked_for(request: HttpRequest) -> Thing:
    """The thing an address names, which the reader may switch off; 404 and 403 for any other."""
    reader = standing(request)
    tenant_id = named_in(request.GET.get("tenant"), reader.managed)
    if tenant_id is None and request.GET.get("tenant"):
        raise Http404("There is no such tenant here.")
    tenant = Tenant.objects.get(pk=tenant_id) if tenant_id is not None else None
    thing = things.find(request.GET.get("sort", ""), request.GET.get("target", ""), tenant)
    if thing is None:
        raise Http404("There is nothing of this kind here.")
    if not switches.may_throw(reader, thing):
        raise PermissionDenied
    return thing


def _shown(request: HttpRequest, switch: Switch) -> Shown:
    off = switch.lifted_at is None
    thing = switches.thing_of(switch) if off else None
    far = stopping.progress(switch) if off else None
    return Shown(
        switch=switch,
        thrown=when(switch.thrown_at),
        lifted=when(switch.lifted_at) if switch.lifted_at else None,
        state=far.told(switch.thrown_at) if far is not None else "on again",
        stopping=far is not None and far.stopped_at is None,
        threads=far.threads if far is not None else 0,
        may=thing is not None and switches.may_throw(standing(request), thing),
    )


def _page(name: str, switch: Switch) -> str:
    return reverse(f"admin:oversight_switch_{name}", args=[switch.pk])
