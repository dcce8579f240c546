"""Effective access in the admin: what a member sees by one of their hosts, why not more, and one call explained."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse

from lib.html import json_block
from oversight import effective
from oversight.admin.replay import chosen_tenant
from oversight.effective import Access
from policy.models import Ruleset
from tenants.administration import HubAdmin, named_in
from tenants.models import Member, Tenant

_MOST_ARGUMENTS = 65536


class EffectivePages:
    """The pages, hung below one model's in the admin's frame."""

    def __init__(self, model_admin: HubAdmin) -> None:
        self._admin = model_admin

    def urls(self) -> list[URLPattern]:
        view = self._admin.admin_site.admin_view
        return [
            path("effective/", view(self.access_view), name="oversight_access"),
            path("effective/tool/", view(self.tool_view), name="oversight_access_tool"),
        ]

    def access_view(self, request: HttpRequest) -> HttpResponse:
        """What tools/list shows, and why each other tool is absent."""
        tenant, choices = chosen_tenant(request)
        if tenant is None:
            title, here = "Effective access: in which tenant?", reverse("admin:oversight_access")
            return self._admin.page(request, "admin/oversight/replay_for.html", title=title, choices=choices, here=here)
        context = _chosen(request, tenant)
        if context["member"] is not None:
            found = _access(context["member"], context["way"].credential)
            lines = effective.lines(found)
            context |= {
                "found": found,
                "listed": [line for line in lines if line.listed],
                "absent": [line for line in lines if not line.listed],
            }
        return self._admin.page(request, "admin/oversight/effective.html", title="Effective access", **context)

    def tool_view(self, request: HttpRequest) -> HttpResponse:
        """One tool, rule by rule, for arguments that the reader may give."""
        tenant, _ = chosen_tenant(request)
        if tenant is None:
            raise Http404
        context = _chosen(request, tenant)
        if context["member"] is None:
            raise Http404
        found = _access(context["member"], context["way"].credential)
        tool = found.live.tools.get(request.GET.get("tool", ""))
        if tool is None or found.caller is None:
            raise Http404("There is no such tool to explain.")
        given = request.GET.get("arguments", "").strip() or "{}"
        context |= {"tool": tool, "given": given, "address": request.GET.get("address", "")[:64]}
        try:
            arguments = _arguments(given)
        except ValidationError as problem:
            context["problem"] = " ".join(problem.messages)
        else:
            facts = effective.facts(found, tool, arguments, address=context["address"])
            decision = effective.decided(found, tool, facts)
            context |= {
                "decision": decision,
                "steps": effective.explained(found, tool, facts),
                "hiding": "" if effective.shows(found, tool) else effective.hiding(found, found.caller, tool),
                "sent": json_block(decision.arguments) if decision.changed else None,
            }
        title = f"{tool.name} for {context['member'].user.username}"
        return self._admin.page(request, "admin/oversight/effective_tool.html", title=title, **context)


def _chosen(request: HttpRequest, tenant: Tenant) -> dict[str, Any]:
    """The member and the way that the address names; the first way where it names none."""
    members = Member.objects.filter(tenant=tenant).select_related("user", "tenant").order_by("user__username")
    wanted = request.GET.get("member", "")
    key = named_in(wanted, [one.pk for one in members])
    if wanted and key is None:
        raise Http404("There is no such member here.")
    member = next((one for one in members if one.pk == key), None)
    ways = effective.ways(member) if member is not None else []
    asked = request.GET.get("way", "")
    way = next((one for one in ways if one.credential == asked), ways[0] if ways else None)
    return {"tenant": tenant, "members": members, "member": member, "ways": ways, "way": way}


def _access(member: Member, credential: str) -> Access:
    live = Ruleset.objects.filter(tenant_id=member.tenant_id).order_by("-number").values().first()
    return effective.access(member, credential, live)


def _arguments(given: str) -> dict[str, Any]:
    if len(given) > _MOST_ARGUMENTS:
        raise ValidationError("They are too long to look at here.")
    try:
        found = json.loads(given)
    except (ValueError, RecursionError):
        raise ValidationError('This is not JSON. Write the arguments like {"id": 42}.') from None
    if not isinstance(found, dict):
        raise ValidationError('The arguments are an object. Write them like {"id": 42}.')
    return found
