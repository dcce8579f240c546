"""Limits."""

from django.contrib import admin
from unfold.decorators import display

from policy.models import Limit
from tenants.administration import TenantAdmin, TenantFilter, TenantForm, tenant_column


class LimitForm(TenantForm):
    """How many calls in how many seconds, shared by whom."""

    class Meta:
        model = Limit
        fields = ["per", "tool", "calls", "seconds"]
        labels = {"per": "Shared by", "tool": "Only calls of the tool"}


@admin.register(Limit)
class LimitAdmin(TenantAdmin):
    """A call must fit every limit that applies to it."""

    form = LimitForm
    list_display = ("says", tenant_column, "only")
    list_filter = (TenantFilter, "per")
    list_filter_submit = True
    ordering = ("tenant__name", "per", "tool")
    empty_says = (
        "A limit says how many calls fit in how many seconds. Without any, nothing is limited. Add the first one."
    )
    delete_says = "Calls are no longer counted against it. This cannot be undone."

    shown = ("per", "tool", "calls", "seconds")

    @display(description="limit", ordering="calls")
    def says(self, limit: Limit) -> str:
        return str(limit)

    @display(description="only calls of", ordering="tool")
    def only(self, limit: Limit) -> str:
        return limit.tool or "every tool"
