"""From ledger entries back to what rules look at: the caller, the tool, the arguments as far as they were kept."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from access.models import APIKey, Client, Consent
from audit.models import Event
from oversight.rejudging import EVERY, Recorded, changed_by, lost_in
from policy.models import Ruleset
from policy.rules import read
from policy.take import OVER_LIMIT
from policy.values import Facts, Subject
from tenants import queries as tenant_queries
from tenants.caller import Caller
from tenants.models import Member, Tenant
from tenants.scopes import reachable
from tools.catalog import subject_of
from tools.models import Tool, Version

COLUMNS: Final = (
    *("id", "at", "event", "actor", "credential", "client", "address", "tool", "version", "reason", "digest"),
    *("preview", "detail"),
)
MOOT: Final = dict.fromkeys(OVER_LIMIT, "limit")
"""Reasons of calls that were counted by rules, and refused whatever these say; by why."""
_BY_RULES = frozenset({"", "denied", "rule_misfit", "unknown_tool", *OVER_LIMIT})
_NO_SCOPES: frozenset[str] = frozenset()


class Row(NamedTuple):
    """An entry, as COLUMNS."""

    id: int
    at: datetime.datetime
    event: str
    actor: str
    credential: str
    client: str
    address: str
    tool: str
    version: int | None
    reason: str
    digest: str
    preview: Any
    detail: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unjudged:
    """A call that rules are not asked about; why: one of `WHY`."""

    why: str


WHY: Final = {
    "answered": "came again after a person had said yes, and count once",
    "limit": "were over a limit, whatever rules say",
    "before": "were refused before rules were asked, for their arguments, scopes or an answer",
    "tool": "were of a tool that rules have no say about: the hub's own, a draft that was tried, or none",
    "member": "were made by somebody who is no member any more",
}


class Witnesses:
    """What a tenant knows of its callers and tools, read when it is first needed. Runs in a scope of the tenant."""

    def __init__(self, tenant_id: int) -> None:
        self._tenant_id = tenant_id
        self._subjects: dict[tuple[str, int | None], Subject | None] = {}
        self._callers: dict[tuple[str, str, str], Caller | None] = {}
        self._changing: dict[int, dict[str, frozenset[str]]] = {}

    def recorded(self, row: Row) -> Recorded | Unjudged:
        """The call that an entry speaks of."""
        if row.event == Event.REFUSED and row.reason not in _BY_RULES:
            return Unjudged(why="before")
        subject = self._subject(row.tool, row.version)
        if subject is None:
            return Unjudged(why="tool")
        caller = self._caller(row)
        if caller is None:
            return Unjudged(why="member")
        detail = row.detail or {}
        arguments = row.preview if isinstance(row.preview, Mapping) else {}
        facts = Facts(
            arguments=arguments,
            at=row.at,
            address=row.address,
            found=frozenset(detail.get("found", ())),
            gained="It could do more than when its person consented." if _had_gained(detail, subject) else "",
        )
        return Recorded(caller=caller, subject=subject, facts=facts, lost=lost_in(row.preview) | self._spoilt(detail))

    def _subject(self, name: str, number: int | None) -> Subject | None:
        """The version that was called. A call that found no tool is held against the live one of that name."""
        if (name, number) not in self._subjects:
            versions = Version.objects.filter(tenant_id=self._tenant_id, name=name)
            if number is None:
                live = Tool.objects.filter(tenant_id=self._tenant_id, name=name, enabled=True).values("live_id")
                row = versions.filter(pk__in=live).values().first()
            else:
                row = versions.filter(number=number).values().first()
            self._subjects[name, number] = subject_of(row) if row is not None else None
        return self._subjects[name, number]

    def _caller(self, row: Row) -> Caller | None:
        asked = (row.actor, row.credential, row.client)
        if asked not in self._callers:
            self._callers[asked] = self._made(row)
        return self._callers[asked]

    def _made(self, row: Row) -> Caller | None:
        member = self._members.get(row.actor)
        if member is None:
            return None
        reach = reachable(member.role, self._scopes)
        return Caller(
            tenant_id=self._tenant_id,
            tenant_slug=self._slug,
            member_id=member.pk,
            user_id=member.user_id,
            username=row.actor,
            role=member.role,
            credential=row.credential,
            client=self._client(row),
            scopes=reach,
            reach=reach,
        )

    def _client(self, row: Row) -> str:
        """What rules know the client by. The entry has what a host calls itself, which is not it."""
        sort, _, number = row.credential.partition(":")
        name = self._clients.get((sort, int(number))) if number.isascii() and number.isdigit() else None
        return row.client if name is None else name

    def _spoilt(self, detail: Mapping[str, Any]) -> frozenset[str]:
        """The arguments that rules had changed before the entry was made."""
        names = detail.get("changed", ())
        if not names:
            return _NO_SCOPES
        number = int(detail.get("rules", 0))
        if number not in self._changing:
            found = Ruleset.objects.filter(tenant_id=self._tenant_id, number=number).first()
            self._changing[number] = {rule["name"]: changed_by(read(rule)) for rule in (found.rules if found else [])}
        return _NO_SCOPES.union(*(self._changing[number].get(name, EVERY) for name in names))

    @cached_property
    def _members(self) -> dict[str, Member]:
        found = Member.objects.filter(tenant_id=self._tenant_id).select_related("user")
        return {member.user.username: member for member in found}

    @cached_property
    def _scopes(self) -> Any:
        return tenant_queries.scope_rules(self._tenant_id)

    @cached_property
    def _slug(self) -> str:
        return str(Tenant.objects.values_list("slug", flat=True).get(pk=self._tenant_id))

    @cached_property
    def _clients(self) -> dict[tuple[str, int], str]:
        keys = APIKey.objects.filter(tenant_id=self._tenant_id).values_list("pk", "name")
        apps = Consent.objects.filter(tenant_id=self._tenant_id).values_list("pk", "client__name")
        machines = Client.objects.filter(tenant_id=self._tenant_id).values_list("pk", "name")
        named = {("key", key): name for key, name in keys} | {("app", key): name for key, name in apps}
        return named | {("client", key): name for key, name in machines}


def _had_gained(detail: Mapping[str, Any], subject: Subject) -> bool:
    """Whether it was asked about because its consent no longer covered it, and for nothing else."""
    asked = detail.get("effect") == "confirm" or bool(detail.get("agreed"))
    return asked and not detail.get("rule") and "destructive" not in subject.traits
