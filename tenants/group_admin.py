"""Groups in the admin: members who belong together, such as those who review refunds."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from tenants import actions
from tenants.administration import TenantAdmin, TenantFilter, TenantForm, tenant_column
from tenants.fields import ChecksField
from tenants.models import Group, Member


class GroupForm(TenantForm):
    """Its name, and who is in it."""

    class Meta:
        model = Group
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        members = Member.objects.filter(tenant=self.tenant).select_related("user").order_by("user__username")
        self.fields["people"] = ChecksField(
            [(str(one.pk), f"{one.user.username}, {one.role}{'' if one.active else ', inactive'}") for one in members],
            label="Members",
            help_text="Rules name a group by its name, as those who decide on held calls.",
        )
        if self.instance.pk is not None:
            self.initial["people"] = [str(pk) for pk in self.instance.members.values_list("pk", flat=True)]

    def clean_name(self) -> str:
        name = " ".join(str(self.cleaned_data["name"]).split())
        if not name.isprintable():
            raise ValidationError("It has to be a line of text.")
        return name


@admin.register(Group)
class GroupAdmin(TenantAdmin):
    """Who belongs together."""

    form = GroupForm
    list_display = ("name", tenant_column, "how_many")
    list_filter = (TenantFilter,)
    list_filter_submit = True
    ordering = ("tenant__name", "name")
    empty_says = (
        "A group is some of your members, such as those who review refunds. A rule that holds calls can name "
        "it. Add the first one."
    )
    delete_says = "Rules that name it find nobody by that name from then on. This cannot be undone."

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["tenant", "name", "people"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        counted: QuerySet[Any] = super().get_queryset(request).annotate(member_count=Count("members"))
        return counted

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # `people` is made with the form, for the tenant's own members, so Django must not look for a column of it.
        return super().get_form(request, obj, change, **{**kwargs, "fields": ["name"]})

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        people = [int(pk) for pk in form.cleaned_data["people"]]
        actions.save_group(obj, people, actor=request.user.get_username())

    @display(description="members")
    def how_many(self, group: Any) -> int:
        return int(group.member_count)
