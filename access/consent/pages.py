"""The consent page and the pages beside it, as what templates draw."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from access import unlocks
from access.consent import answers
from access.consent.hosts import Host
from access.consent.offer import Line, Offer
from access.models import Consent
from access.oauth import authorization
from access.unlocks import Difference, Unlocked
from tenants.models import Member, Tenant
from tenants.pins import Sort

_TOOLS_SHOWN = 6
_SPANS = {"hour": "An hour", "day": "A day", "month": "30 days", "forever": "Until I revoke it"}
_MARKS: dict[Sort, str] = {"reads": "", "writes": "changes things", "destructive": "can delete or overwrite"}
_NOTHING: Mapping[str, Sequence[Difference]] = {}
_WORST_FIRST: tuple[Sort, ...] = ("destructive", "writes", "reads")


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """A tool under a scope."""

    name: str
    title: str
    mark: str
    sort: Sort
    asks: str
    gained: str
    together: str
    differences: Sequence[Difference] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A scope as a box to tick."""

    scope: str
    says: str
    ticked: bool
    needed: bool
    new: bool
    mark: str
    sort: Sort
    part_of: str
    first: tuple[Use, ...]
    more: tuple[Use, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """One look at the page: who is asked what, by whom."""

    request: HttpRequest
    asked: authorization.Asked
    tenant: Tenant
    member: Member
    host: Host
    old: Consent | None
    offer: Offer


def consent(
    visit: Visit,
    *,
    ticked: Collection[str] | None = None,
    span: str = "",
    problem: str = "",
    changed: bool = False,
    status: int = 200,
) -> HttpResponse:
    """The question. ticked and span: what the person had chosen when the page is shown again.

    problem: what to mend in it, `scopes` or `span`. changed: the question is not the one they were answering.
    """
    offer, old = visit.offer, visit.old
    differ = _differences(visit)
    context = {
        "host": visit.host,
        "tenant": visit.tenant,
        "member": visit.member,
        "offer": offer,
        "fresh": rows(offer, offer.fresh, ticked, differ),
        "familiar": rows(offer, offer.familiar, ticked),
        "always": [
            _use(tool, gained=offer.always_gained.get(tool.tool, ""), differences=differ.get(tool.tool, ()))
            for tool in offer.always
        ],
        "again": old,
        "spans": _spans(span or _usual_span(old)),
        "problem": problem,
        "changed": changed,
        "path": visit.request.get_full_path(),
    }
    return render(visit.request, "access/consent.html", context, status=status)


def closed(visit: Visit, *, why: str, status: int = 403) -> HttpResponse:
    """The page for a client that cannot have this member's yes. why: may_ask, asked, refused, blocked or nothing."""
    context = {
        "why": why,
        "host": visit.host,
        "tenant": visit.tenant,
        "member": visit.member,
        "offer": visit.offer,
        "back": _back(visit.asked),
        "path": visit.request.get_full_path(),
    }
    return render(visit.request, "access/closed.html", context, status=status)


def not_a_member(request: HttpRequest, asked: authorization.Asked, tenant: Tenant, host: Host) -> HttpResponse:
    """For somebody whom the tenant does not know; the way back tells the client `access_denied`."""
    context = {"tenant": tenant, "host": host, "back": _back(asked), "path": request.get_full_path()}
    return render(request, "access/not_a_member.html", context, status=403)


def unanswerable(request: HttpRequest, says: str, detail: str = "") -> HttpResponse:
    """For a request that must not be sent back anywhere, as nobody trusted would receive it."""
    return render(request, "access/unanswerable.html", {"says": says, "detail": detail}, status=400)


def _differences(visit: Visit) -> dict[str, list[Difference]]:
    """What became other in the tools that gained something since the person agreed to them."""
    offer, agreed = visit.offer, visit.old.pins if visit.old is not None else {}
    gained = {name for line in offer.lines for name in line.gained} | set(offer.always_gained)
    return {name: unlocks.since(visit.tenant.pk, name, agreed[name]["hash"]) for name in gained if name in agreed}


def rows(
    offer: Offer,
    lines: Iterable[Line],
    ticked: Collection[str] | None,
    differ: Mapping[str, Sequence[Difference]] = _NOTHING,
) -> list[Row]:
    """The lines as boxes; ticked: what the person chose, None for what is proposed. differ: what became other in the
    tools that gained something."""
    says = {line.scope: line.says for line in offer.lines}
    return [_row(line, says, line.ticked if ticked is None else line.scope in ticked, differ) for line in lines]


def _row(line: Line, says: dict[str, str], ticked: bool, differ: Mapping[str, Sequence[Difference]]) -> Row:
    alike = all(tool.sort == line.sort for tool in line.tools)  # then the mark beside the scope says it
    uses = tuple(
        _use(
            tool,
            marked=not alike,
            gained=line.gained.get(tool.tool, ""),
            together=(says[scope] for scope in line.together(tool)),
            differences=differ.get(tool.tool, ()),
        )
        for tool in sorted(line.tools, key=partial(_foremost, line))  # what has to be read is not folded away
    )
    return Row(
        scope=line.scope,
        says=line.says,
        ticked=ticked or line.needed,
        needed=line.needed,
        new=line.new,
        mark=_MARKS[line.sort],
        sort=line.sort,
        part_of=_listed(says[other] for other in line.part_of),
        first=uses[:_TOOLS_SHOWN],
        more=uses[_TOOLS_SHOWN:],
    )


def _foremost(line: Line, tool: Unlocked) -> tuple[bool, int]:
    """What gained something first, then the worst."""
    return tool.tool not in line.gained, _WORST_FIRST.index(tool.sort)


def _use(
    tool: Unlocked,
    *,
    gained: str,
    marked: bool = True,
    together: Iterable[str] = (),
    differences: Sequence[Difference] = (),
) -> Use:
    return Use(
        name=tool.tool,
        title=tool.title,
        mark=_MARKS[tool.sort] if marked else "",
        sort=tool.sort,
        asks=tool.asks,
        gained=gained,
        together=_listed(together),
        differences=differences,
    )


def _listed(words: Iterable[str]) -> str:
    return " and ".join(f"“{one}”" for one in words)


def _spans(chosen: str) -> list[tuple[str, str, bool]]:
    return [(name, says, name == chosen) for name, says in _SPANS.items()]


def _usual_span(old: Consent | None) -> str:
    if old is None or not old.live:
        return answers.USUAL
    return answers.span_of(old.until - old.given_at if old.until else None)


def _back(asked: authorization.Asked) -> str:
    refused = authorization.refuse(asked, "access_denied", "The person could not let this program in.")
    return str(refused["Location"])
