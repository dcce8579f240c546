"""Limits."""

from typing import Any

from django.contrib import admin
from unfold.decorators import display

from policy.models import Counts, Limit, Per
from policy.models.limits import SHARED, WINDOWED
from tenants.administration import TenantAdmin, TenantFilter, TenantForm, tenant_column


class LimitForm(TenantForm):
    """How much of what, shared by whom."""

    class Meta:
        model = Limit
        fields = ["counts", "per", "tool", "most", "seconds", "share"]
        labels = {
            "counts": "What it counts",
            "per": "Shared by",
            "tool": "Only calls of the tool",
            "most": "How many",
            "seconds": "In how many seconds",
            "share": "One member's share",
        }

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        given = self.cleaned_data
        counts, per = given.get("counts"), given.get("per")
        if counts == Counts.REPEATS and per is not None and per != Per.MEMBER:
            self.add_error("per", "The very same call is the same member's: choose “each member”.")
        elif given.get("share", 100) < 100 and per is not None and per not in SHARED:
            self.add_error(
                "share",
                "A share is for what several members draw on together: the whole tenant, an OAuth client or a tool. "
                "Leave it at 100 here.",
            )
        if counts is not None and counts not in WINDOWED:
            given["seconds"] = Limit._meta.get_field("seconds").get_default()
        return cleaned


@admin.register(Limit)
class LimitAdmin(TenantAdmin):
    """A call must fit every limit that applies to it."""

    form = LimitForm
    list_display = ("says", tenant_column, "only")
    list_filter = (TenantFilter, "counts", "per")
    list_filter_submit = True
    ordering = ("tenant__name", "per", "tool")
    empty_says = (
        "A limit says how much fits: calls, bytes, calls at once, units a day, repeats. Without any, nothing is "
        "limited. Add the first one."
    )
    delete_says = "Calls are no longer counted against it. This cannot be undone."

    shown = ("counts", "per", "tool", "most", "seconds", "share")

    @display(description="limit", ordering="most")
    def says(self, limit: Limit) -> str:
        return str(limit)

    @display(description="only calls of", ordering="tool")
    def only(self, limit: Limit) -> str:
        return limit.tool or "every tool"
