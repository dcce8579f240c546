"""What all admin pages share: whose rows they show, who may change them, and that every change leaves an entry.

Row-level security binds a page to the tenants a person is in; these classes narrow that to the tenants the person
manages, and say so in every query.
"""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter

from tenants import actions
from tenants.models import Tenant, User
from tenants.standing import NOBODY, Standing, standing_of


def standing(request: HttpRequest) -> Standing:
    """The reader's standing, worked out once per request."""
    if not hasattr(request, "standing"):
        user = request.user
        request.standing = standing_of(user) if isinstance(user, User) else NOBODY  # type: ignore[attr-defined]
    return request.standing  # type: ignore[attr-defined,no-any-return]


def person(request: HttpRequest) -> User:
    """Who is signed in."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def may_manage(request: HttpRequest) -> bool:
    """For navigation: whether there is a tenant whose objects the reader may change."""
    return standing(request).staff or bool(standing(request).managed)


def may_read_ledger(request: HttpRequest) -> bool:
    """For navigation: whether there is a tenant whose ledger the reader may see."""
    return standing(request).enters


def is_staff(request: HttpRequest) -> bool:
    """For navigation: platform staff."""
    return standing(request).staff


class ReadOnly:
    """Beside the class of an admin: nobody adds, changes or deletes its rows by its pages."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TenantFilter(DropdownFilter):
    """Filter by one of the reader's own tenants; absent when there is only one."""

    title = "tenant"
    parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(key), name) for key, name in tenant_names(model_admin.tenants(request)).items()]

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = named_in(self.value(), dict(self.lookup_choices))
        return queryset if wanted is None else queryset.filter(tenant_id=wanted)


def named_in(text: str | None, ids: Iterable[int | str]) -> int | None:
    """The one of these ids that a text from the address spells; None for any other text, however long."""
    return next((int(one) for one in ids if str(one) == text), None)


def tenant_names(tenant_ids: Iterable[int]) -> dict[int, str]:
    """Names of these tenants by id, in order of the names."""
    return dict(Tenant.objects.filter(pk__in=list(tenant_ids)).order_by("name").values_list("pk", "name"))


LONGEST_PARAMETER = 200


def is_offered(filters: Iterable[Any], lookup: str, value: str) -> bool:
    """Whether an address asks what one of these entries of `list_filter` asks; anything else gets a 400.

    Django lets an address filter by any field with any lookup. Sealed secrets and digests could be guessed so letter
    by letter, and a regular expression can keep a database busy.
    """
    offered = {name for one in filters for name in _parameters(one)}
    return lookup in offered and len(value) <= LONGEST_PARAMETER and "\x00" not in value


def _parameters(offered: Any) -> Iterator[str]:
    """The names in an address of one entry of `list_filter`."""
    if isinstance(offered, type):
        yield str(getattr(offered, "parameter_name", ""))
        return
    field, shown_as = offered if isinstance(offered, tuple) else (offered, object)
    if issubclass(shown_as, RangeDateTimeFilter):
        yield from (f"{field}_{side}_{part}" for side in ("from", "to") for part in (0, 1))
    else:
        yield from (field, f"{field}__exact", f"{field}__isnull")


class HubAdmin(ModelAdmin):
    """An admin whose permissions come from the reader's standing, and whose only log is the ledger."""

    warn_unsaved_form = True
    actions = None
    empty_says: ClassVar[str] = ""
    """What an empty list will hold, and the next step."""
    delete_says: ClassVar[str] = "This cannot be undone."

    def tenants(self, request: HttpRequest) -> frozenset[int]:
        """The tenants whose rows these pages show."""
        return standing(request).managed

    def governs(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader may see and change this row, or any row when none is given."""
        if obj is None:
            return bool(self.tenants(request))
        return actions.tenant_of(obj) in self.tenants(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.governs(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.governs(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.governs(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.governs(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.governs(request, obj)

    # Django's own log would be a second record without tenants; the ledger is the one.
    def log_addition(self, *_: Any) -> None:
        return None

    def log_change(self, *_: Any) -> None:
        return None

    def log_deletions(self, *_: Any) -> None:
        return None

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        raise Http404("Changes are in the ledger.")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return is_offered(self.list_filter, lookup, value)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        actions.save(obj, actor=request.user.get_username())

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        actions.remove(obj, actor=request.user.get_username())

    def why_not_deleted(self, rows: Iterable[Any]) -> list[str]:
        """Sentences that say why these rows cannot be deleted; shown instead of the button."""
        return []

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        listed, counts, _, protected = super().get_deleted_objects(objs, request)
        refused = [str(row) for row in objs if not self.has_delete_permission(request, row)]
        return listed, counts, set(refused), [*protected, *self.why_not_deleted(objs)]

    def row(self, request: HttpRequest, object_id: str) -> Any:
        """The row of a page of ours below `<id>/`; 404 for one that is absent or another tenant's."""
        found = self.get_object(request, unquote(object_id))
        if found is None or not self.has_view_permission(request, found):
            raise Http404("There is no such object here.")
        return found

    def page(
        self, request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any
    ) -> HttpResponse:
        """One of our own pages below this model, in the admin's frame."""
        shared = self.admin_site.each_context(request)
        context = {
            **shared,
            "opts": self.model._meta,
            "title": title,
            "model_admin": self,
            "media": self.media,
            **context,
        }
        return TemplateResponse(request, template, context, status=status)

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        """Further pages: (path, view, name)."""
        return ()

    def get_urls(self) -> list[URLPattern]:
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path(route, self.admin_site.admin_view(view), name=f"{prefix}_{name}")
            for route, view, name in self.own_urls()
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"empty_says": self.empty_says, **(extra_context or {})})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if "_saveasnew" in request.POST:
            raise PermissionDenied  # Django would make a second row of this one's form; no page of ours offers that
        context = {"show_save_and_add_another": False, "show_save_and_continue": False, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return super().delete_view(request, object_id, {"delete_says": self.delete_says, **(extra_context or {})})


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form for a row of one tenant, which is known before the form is drawn and cannot be changed by it."""

    tenant: ClassVar[Tenant]
    standing: ClassVar[Standing]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            self.instance.tenant = self.tenant

    def _get_validation_exclusions(self) -> set[str]:
        # The tenant is part of every unique constraint, so leaving it out would leave them unchecked.
        return super()._get_validation_exclusions() - {"tenant"}  # type: ignore[misc,no-any-return]


class TenantAdmin(HubAdmin):
    """Rows with a `tenant`. Adding one starts with the tenant, so that every choice on the form is the tenant's own."""

    form = TenantForm
    shown: ClassVar[tuple[str, ...]] = ()
    """The fields of the form, below the tenant."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[str]:
        return ["tenant", *self.shown]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[str]:
        return ["tenant"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.filter(tenant_id__in=self.tenants(request)).select_related("tenant")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        return self.bound(form, request, obj.tenant if obj else self.chosen(request))

    @staticmethod
    def bound(form: type[forms.ModelForm], request: HttpRequest, tenant: Tenant | None) -> type[forms.ModelForm]:  # type: ignore[type-arg]
        """The form class for one tenant and one reader."""
        return type(form.__name__, (form,), {"tenant": tenant, "standing": standing(request)})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    def chosen(self, request: HttpRequest) -> Tenant | None:
        """The tenant of a new row: the only one, or the one named in the address; None when it is to be chosen yet."""
        ids = self.tenants(request)
        wanted = request.GET.get("tenant", "")
        if len(ids) == 1:
            wanted = str(next(iter(ids)))
        if not wanted:
            return None
        found = named_in(wanted, ids)
        if found is None:
            raise PermissionDenied
        return Tenant.objects.get(pk=found)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        tenant = self.chosen(request)
        if tenant is None:
            choices = Tenant.objects.filter(pk__in=self.tenants(request)).order_by("name")
            title = f"Add {self.opts.verbose_name}: for which tenant?"
            return self.page(request, "admin/choose_tenant.html", title=title, choices=choices)
        return super().add_view(request, form_url, extra_context)


def confirm(
    model_admin: HubAdmin,
    request: HttpRequest,
    *,
    title: str,
    says: str,
    button: str,
    hidden: Sequence[tuple[str, str]] = (),
    back: str,
) -> HttpResponse:
    """A page that says what a button will do before it does it; posts back to the same address."""
    context: dict[str, Any] = {"says": says, "button": button, "hidden": hidden, "back": back}
    return model_admin.page(request, "admin/confirm.html", title=title, **context)


def ask_then_act(
    model_admin: HubAdmin,
    request: HttpRequest,
    *,
    button: str,
    says: str,
    act: Callable[[], bool | None],
    done: str,
    already: str = "",
    back: str,
) -> HttpResponse:
    """The whole of a page with one button: it asks as `confirm` does; the button acts, says so and leads back.

    done: what is said once it is so. already: said instead when `act` answers False, as it was so before.
    """
    if request.method != "POST":
        return confirm(model_admin, request, title=button, says=says, button=button, back=back)
    if act() is False and already:
        messages.info(request, already)
    else:
        messages.success(request, done)
    return HttpResponseRedirect(back)


def tell(request: HttpRequest, problem: ValidationError) -> None:
    """Show why an action was refused."""
    for sentence in problem.messages:
        messages.error(request, sentence)


@admin.display(description="tenant", ordering="tenant__name")
def tenant_column(row: models.Model) -> str:
    """The tenant's name, as a list column."""
    return str(row.tenant)  # type: ignore[attr-defined]
