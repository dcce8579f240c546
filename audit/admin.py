"""The ledger, for reading. Whose ledger a person may read is known one floor up; see tenants.admin."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

import datetime
import re
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter, TextFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from audit.models import Entry, Event, Outcome
from lib.html import json_block, when

CLOSING = (Event.FINISHED, Event.INTERRUPTED, Event.REFUSED)
_COLOURS = {
    "OK": "success",
    "Running": "info",
    "Error": "danger",
    "Timed out": "danger",
    "Interrupted": "danger",
    "Cancelled": "warning",
    "Refused": "warning",
}


class LedgerChangeList(ChangeList):
    """A page of entries with, for every started call, how it ended: one query for all of them."""

    model_admin: "LedgerAdmin"

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        names = self.model_admin.readable(request)
        endings = closing_entries([row for row in self.result_list if row.event == Event.STARTED])
        for row in self.result_list:
            row.tenant_name = names.get(row.tenant_id, "")
            row.ending = endings.get(row.call_id)


def closing_entries(started: Sequence[Entry]) -> dict[Any, Entry]:
    """The entries that close these calls, by call id."""
    if not started:
        return {}
    found = Entry.objects.filter(
        tenant_id__in={row.tenant_id for row in started},
        call_id__in=[row.call_id for row in started],
        event__in=CLOSING,
        at__gte=min(row.at for row in started),
    )
    return {row.call_id: row for row in found}


class WindowFilter(DropdownFilter):
    """How far back the list looks. The last week unless asked, so that opening the ledger never reads all of it."""

    title = "age"
    parameter_name = "age"
    all_option = None  # type: ignore[assignment]
    windows = {"hour": 1 / 24, "day": 1, "week": 7, "month": 31, "all": 0}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("hour", "Last hour"),
            ("day", "Last 24 hours"),
            ("week", "Last 7 days"),
            ("month", "Last 31 days"),
            ("all", "Everything"),
        ]

    def value(self) -> str:
        given = super().value()
        return given if given in self.windows else "week"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        ranged = any(name.startswith("at_") and text for name, text in request.GET.items())
        days = self.windows[self.value()]
        if ranged or not days:
            return queryset
        return queryset.filter(at__gte=timezone.now() - datetime.timedelta(days=days))


class RangeFilter(RangeDateTimeFilter):
    """From and to, in UTC. What is no time is ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "time (UTC)"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        for side, lookup in (("from", "at__gte"), ("to", "at__lte")):
            day, hour = (self.used_parameters.get(f"at_{side}_{part}") or "" for part in (0, 1))
            if moment := _moment(f"{day} {hour or '00:00'}"):
                queryset = queryset.filter(**{lookup: moment})
        return queryset


def _moment(text: str) -> datetime.datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC) if moment else None


def _is_id(text: str) -> bool:
    """Whether a text from outside can be the id of a row; Python itself refuses to read numbers of 4,300 digits."""
    return text.isdecimal() and len(text) < 19


class LedgerTenantFilter(DropdownFilter):
    title = "tenant"
    parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(key), name) for key, name in model_admin.readable(request).items()]

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        value = self.value() or ""
        return queryset.filter(tenant_id=value) if _is_id(value) else queryset


class _Exactly(TextFilter):
    """Filter by the exact text of a field."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        value = (self.value() or "").strip()
        return queryset.filter(**{str(self.parameter_name): value}) if value else queryset


class ToolFilter(_Exactly):
    title = "tool"
    parameter_name = "tool"


class ActorFilter(_Exactly):
    title = "user"
    parameter_name = "actor"


class LedgerAdmin(ModelAdmin):
    """A list and a page for each entry. Whose they are, and that nobody changes any, is said one floor up."""

    list_display = ("time", "tenant", "who", "client_name", "what", "event_label", "outcome_label", "why", "took")
    list_display_links = ("time",)
    list_filter = (
        LedgerTenantFilter,
        ToolFilter,
        ActorFilter,
        ("outcome", ChoicesDropdownFilter),
        ("event", ChoicesDropdownFilter),
        WindowFilter,
        ("at", RangeFilter),
    )
    list_filter_submit = True
    list_fullwidth = True
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = InfinitePaginator  # never counts the table; a full page has a next one
    ordering = ("-at", "-id")
    sortable_by = ()
    actions = None
    empty_says = (
        "Every call of a tool and every change in the admin leaves an entry here. "
        "None fits in this age and these filters."
    )

    def __init__(self, model: type[Entry], admin_site: admin.AdminSite):
        super().__init__(model, admin_site)
        self.opts.verbose_name_plural = "ledger"  # what unfold puts at the head of every page below it

    def readable(self, request: HttpRequest) -> dict[int, str]:
        """Names by id of the tenants whose entries the reader may see."""
        raise NotImplementedError

    def may_read(self, request: HttpRequest) -> bool:
        """Whether there are any."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        rows: QuerySet[Entry] = super().get_queryset(request)
        return rows.filter(tenant_id__in=list(self.readable(request)))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LedgerChangeList

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may_read(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_read(request) and (obj is None or obj.tenant_id in self.readable(request))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if any("\x00" in text for text in request.GET.values()):
            return HttpResponseRedirect(request.path)  # no column holds a NUL, and asking for one is an error
        return super().changelist_view(
            request, {"empty_says": self.empty_says, "title": "Ledger", **(extra_context or {})}
        )

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        raise Http404("An entry never changes.")

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One entry, with the others of the same call. There is no form."""
        if request.method != "GET" or object_id is None or not self.may_read(request):
            raise PermissionDenied
        entry = self.get_queryset(request).filter(pk=object_id).first() if _is_id(object_id) else None
        if entry is None:
            raise Http404("There is no such entry in a ledger you may read.")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{entry.get_event_display()}: {entry.tool or subject_in_words(entry.subject)}",
            "subtitle": None,
            "fields": self._fields(entry, self.readable(request)),
            "preview": json_block(entry.preview) if entry.preview is not None else None,
            "changed": _changed(entry.detail or {}),
            "note": (entry.detail or {}).get("note", ""),
            "timeline": self._timeline(request, entry),
            "entry": entry,
            "kept": self.get_preserved_filters(request),
            "back": _list_as_left(request),
        }
        return TemplateResponse(request, "admin/audit/entry.html", context)

    def _timeline(self, request: HttpRequest, entry: Entry) -> list[Entry]:
        if entry.call_id is None:
            return []
        rows = list(self.get_queryset(request).filter(call_id=entry.call_id).order_by("at", "id"))
        for row in rows:
            row.moment = when(row.at)  # type: ignore[attr-defined]
        return rows

    @staticmethod
    def _fields(entry: Entry, names: dict[int, str]) -> list[tuple[str, Any]]:
        shown = [
            ("Time", when(entry.at)),
            ("Tenant", names.get(entry.tenant_id, entry.tenant_id)),
            ("Event", entry.get_event_display()),
            ("User", entry.actor),
            ("Tool", f"{entry.tool} {_version(entry)}".strip()),
            ("Subject", subject_in_words(entry.subject)),
            ("Outcome", entry.get_outcome_display()),
            ("Reason" if entry.event != Event.CHANGED else "What was done", entry.reason),
            ("Duration", _milliseconds(entry.duration_ms)),
            ("Client", entry.client),
            ("Credential", entry.credential),
            ("Came in by", entry.via),
            ("Address", entry.address),
            ("Call", entry.call_id),
            ("Process", entry.instance_id),
            ("Trace", entry.trace),
            ("Digest of the arguments", entry.digest),
        ]
        return [(label, value) for label, value in shown if value not in ("", None)]

    @display(description="time")
    def time(self, entry: Entry) -> SafeString:
        return when(entry.at)

    @display(description="tenant")
    def tenant(self, entry: Any) -> str:
        return str(entry.tenant_name)

    @display(description="who")
    def who(self, entry: Entry) -> str:
        return entry.actor

    @display(description="client")
    def client_name(self, entry: Entry) -> str:
        return entry.client or entry.via

    @display(description="tool or subject")
    def what(self, entry: Entry) -> str:
        return f"{entry.tool} {_version(entry)}" if entry.tool else subject_in_words(entry.subject)

    @display(description="event")
    def event_label(self, entry: Entry) -> str:
        return entry.get_event_display()

    @display(description="outcome", label=_COLOURS)
    def outcome_label(self, entry: Any) -> str | None:
        if entry.event == Event.STARTED:
            return str(Outcome(entry.ending.outcome).label) if entry.ending else "Running"
        return str(Outcome(entry.outcome).label) if entry.outcome else None

    @display(description="reason")
    def why(self, entry: Any) -> str:
        return str(_ended(entry).reason)

    @display(description="took")
    def took(self, entry: Any) -> str:
        return _milliseconds(_ended(entry).duration_ms)


def _ended(entry: Any) -> Any:
    """The entry that knows how the call ended: for a started one its closing entry, when it has one."""
    return getattr(entry, "ending", None) or entry


_SUBJECT = re.compile(r"(?P<model>\w+\.\w+):\S+ (?P<name>.*)", re.DOTALL)


def subject_in_words(subject: str) -> str:
    """`tools.Connection:2 Help desk`, as audit.changes writes it, in words: `connection Help desk`."""
    found = _SUBJECT.fullmatch(subject)
    if found is None:
        return subject
    try:
        kind = str(apps.get_model(found["model"])._meta.verbose_name)
    except LookupError:  # an entry outlives the model it names
        kind = found["model"].partition(".")[2].lower()
    return f"{kind} {found['name']}"


def _list_as_left(request: HttpRequest) -> str:
    """The list with the filters that the reader came with."""
    filters = QueryDict(request.GET.get("_changelist_filters", "")).urlencode()
    return reverse("admin:audit_entry_changelist") + (f"?{filters}" if filters else "")


def _version(entry: Entry) -> str:
    if entry.version is None:
        return ""
    return f"v{entry.version}" if entry.version else "draft"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def _changed(detail: dict[str, Any]) -> list[tuple[str, SafeString, SafeString]]:
    """Field, before and after, for a change."""
    before, after = detail.get("before") or {}, detail.get("after") or {}
    nothing = format_html('<span class="mh-quiet">{}</span>', "nothing")

    def shown(side: dict[str, Any], name: str) -> SafeString:
        return json_block(side[name]) if name in side else nothing

    return [(name, shown(before, name), shown(after, name)) for name in sorted({*before, *after})]
