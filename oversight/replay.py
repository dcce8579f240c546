"""Replaying rules over the ledger: what they would have made of the calls that came, beside what the live ones make.

Every recorded call is decided twice, by the live rules and by the ones in question, with what its entry holds and with
its member's role as it is now. It goes in steps of some seconds, so that no request is held; between them the state
lies in the cache.
"""

import datetime
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.models import Entry, Event
from oversight.drafts import live_rules
from oversight.earlier import Earlier
from oversight.rejudging import Judge, Recorded, Verdict
from oversight.witnesses import COLUMNS, MOOT, Row, Unjudged, Witnesses
from policy.actions import draft_of
from policy.models import Ruleset
from policy.rules import Spec, read
from policy.rules.pins import pinned
from policy.values import Effect
from tenants.models import Tenant
from tools import queries as tool_queries

SPANS: Final = {"day": 1, "week": 7, "month": 31}
"""Days."""
MOST = 100_000
"""Calls that one replay goes through, the newest."""
LISTED = 5000
"""Changed calls that are kept one by one; the others are only counted."""
STEP_SECONDS = 2.0
KEPT_SECONDS = 3600
_BATCH = 500
_ASKS = (Effect.CONFIRM, Effect.REVIEW)
_MOST_QUESTIONS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A call that would go another way. way: one of WAYS. was: by the live rules, will: by the ones in question."""

    entry: int
    at: datetime.datetime
    actor: str
    tool: str
    way: str
    was: str
    will: str
    rule: str


WAYS: Final = {
    "refused": "refused",
    "asked": "asked about first",
    "freed": "let through",
    "marked": "marked in another way",
    "reshaped": "run with other arguments",
    "untold": "could not be told",
}
"""What changes for a call, and how a page says so."""


@dataclass(kw_only=True)
class Replay:
    """A replay and how far it is.

    rules, pins: in question; live, live_pins: beside them. begins: of the span, which is later than was asked for when
    there are too many calls (`cut`). total: calls in it. at, last: where it stands. matrix: calls by effect, (live, in
    question). groups: changed calls by (way, rule, tool). unjudged: calls that rules could not or need not be asked
    about, by why.
    """

    tenant_id: int
    span: str
    number: int | None
    live_number: int
    rules: list[dict[str, Any]]
    pins: dict[str, str]
    live: list[dict[str, Any]]
    live_pins: dict[str, str]
    asked_for: datetime.datetime
    begins: datetime.datetime
    ends: datetime.datetime
    cut: bool
    total: int
    at: datetime.datetime
    last: int = 0
    seen: int = 0
    judged: int = 0
    matrix: Counter[tuple[str, str]] = field(default_factory=Counter)
    groups: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)
    unjudged: Counter[str] = field(default_factory=Counter)
    earlier: Earlier = field(default_factory=Earlier)
    questions: set[tuple[str, str, str]] = field(default_factory=set)
    done: bool = False

    @property
    def title(self) -> str:
        return "The draft" if self.number is None else f"Rules v{self.number}"

    @property
    def ways(self) -> Counter[str]:
        """Changed calls by way."""
        found: Counter[str] = Counter()
        for (way, _, _), calls in self.groups.items():
            found[way] += calls
        return found


def begin(tenant: Tenant, span: str, number: int | None = None) -> Replay:
    """A replay of the draft, or of the published version `number`, over the last `span`. Raises ValidationError when a
    rule cannot be read or there is no such version."""
    live = live_rules(tenant)
    if number is None:
        rules = draft_of(tenant)
        pins = pinned(rules, tool_queries.subjects(tenant.pk))
    else:
        named = Ruleset.objects.filter(tenant=tenant, number=number).first()
        if named is None:
            raise ValidationError(f"{tenant.name} has no rules v{number}.")
        rules, pins = [read(rule) for rule in named.rules], named.pins
    judges = [Judge(rules, {}, number=0), Judge(_specs(live.rules if live else []), {}, number=0)]
    ends = timezone.now()
    asked_for = ends - datetime.timedelta(days=SPANS[span])
    begins, cut = _beginning(tenant, asked_for, ends)
    longest = max(judge.longest for judge in judges)
    return Replay(
        tenant_id=tenant.pk,
        span=span,
        number=number,
        live_number=live.number if live else 0,
        rules=[rule.written() for rule in rules],
        pins=dict(pins),
        live=list(live.rules) if live else [],
        live_pins=dict(live.pins) if live else {},
        asked_for=asked_for,
        begins=begins,
        ends=ends,
        cut=cut,
        total=_calls(tenant.pk, begins, ends).count(),
        at=begins - datetime.timedelta(seconds=longest),  # what went before is counted from there on
    )


def step(replay: Replay, *, seconds: float = STEP_SECONDS) -> None:
    """Go on for some seconds, or to the end. Runs in a scope of the tenant."""
    end = time.monotonic() + seconds
    judges = (
        Judge(_specs(replay.live), replay.live_pins, number=replay.live_number),
        Judge(_specs(replay.rules), replay.pins, number=replay.number or 0),
    )
    witnesses = Witnesses(replay.tenant_id)
    for row in _rows(replay):
        _replay_one(replay, row, witnesses, judges)
        replay.at, replay.last = row.at, row.id
        if time.monotonic() > end:
            return
    replay.done = True


def keep(replay: Replay, token: str = "") -> str:
    """Put it away until the next step; the token finds it again."""
    token = token or secrets.token_urlsafe(16)
    cache.set(_key(token), replay, KEPT_SECONDS)
    return token


def find(token: str) -> Replay | None:
    """None for one that is unknown, or was left for too long."""
    found = cache.get(_key(token))
    return found if isinstance(found, Replay) else None


def _key(token: str) -> str:
    return f"oversight.replay.{token[:64]}"


def _specs(written: list[dict[str, Any]]) -> list[Spec]:
    return [read(rule) for rule in written]


def _calls(tenant_id: int, begins: datetime.datetime, ends: datetime.datetime) -> QuerySet[Entry]:
    """The entries with which calls begin, one for each; attempts at a job and what a preflight does are none."""
    found = Entry.objects.filter(tenant_id=tenant_id, at__gte=begins, at__lte=ends).exclude(tool="")
    fresh = Q(event=Event.STARTED, subject="") | Q(event=Event.REFUSED) & ~Q(subject__startswith="job ")
    return found.filter(fresh | Q(event__in=[Event.ASKED, Event.JOB_ACCEPTED]))


def _beginning(tenant: Tenant, begins: datetime.datetime, ends: datetime.datetime) -> tuple[datetime.datetime, bool]:
    """Where the newest MOST calls begin, and whether there are more."""
    newest = _calls(tenant.pk, begins, ends).order_by("-at", "-id").values_list("at", flat=True)
    found = list(newest[MOST - 1 : MOST + 1])
    return (found[0], True) if len(found) > 1 else (begins, False)


def _rows(replay: Replay) -> Iterator[Row]:
    """What is left, the oldest first, by a cursor of the server's."""
    left = _calls(replay.tenant_id, replay.at, replay.ends).exclude(at=replay.at, id__lte=replay.last)
    for values in left.order_by("at", "id").values_list(*COLUMNS).iterator(chunk_size=_BATCH):
        yield Row(*values)


def _replay_one(replay: Replay, row: Row, witnesses: Witnesses, judges: tuple[Judge, Judge]) -> None:
    counts = row.at >= replay.begins
    replay.seen += counts
    if _answered(replay, row):
        replay.unjudged["answered"] += counts
        return
    call = witnesses.recorded(row)
    if isinstance(call, Unjudged):
        replay.unjudged[call.why] += counts
        return
    before = _before(replay, row, judges, call)
    if row.reason in MOOT:
        replay.unjudged[MOOT[row.reason]] += counts
        return
    if not counts:
        return
    was, will = (judge.judge(call, counted) for judge, counted in zip(judges, before, strict=True))
    replay.judged += 1
    replay.matrix[_named(was), _named(will)] += 1
    way = _way(was, will)
    if way:
        _changed(replay, row, way, was, will)


def _before(replay: Replay, row: Row, judges: tuple[Judge, Judge], call: Recorded) -> list[dict[str, int]]:
    """What came before the call, by rule, for each of the two. A rule that both have counts once."""
    asked = [judge.windows(call) for judge in judges]
    noted = {
        (window.bucket, window.seconds): replay.earlier.note(
            f"{window.seconds}/{window.bucket}", window.seconds, row.at
        )
        for window in {*asked[0], *asked[1]}
    }
    return [{window.rule: noted[window.bucket, window.seconds] for window in windows} for windows in asked]


def _answered(replay: Replay, row: Row) -> bool:
    """Whether it is a call that comes again because a person said yes to it."""
    question = (row.actor, row.tool, row.digest)
    if row.event == Event.ASKED:
        if question in replay.questions:
            return True
        if len(replay.questions) < _MOST_QUESTIONS:
            replay.questions.add(question)
        return False
    if row.detail and row.detail.get("agreed") and question in replay.questions:
        replay.questions.discard(question)
        return True
    return False


def _changed(replay: Replay, row: Row, way: str, was: Verdict, will: Verdict) -> None:
    rule = will.rule or (was.rule and f"no longer {was.rule}") or "by default"
    if way == "reshaped":
        rule = ", ".join(will.changed) or f"no longer {', '.join(was.changed)}"
    replay.groups[way, rule, row.tool] += 1
    replay.changes.append(
        Change(
            entry=row.id,
            at=row.at,
            actor=row.actor,
            tool=row.tool,
            way=way,
            was=_named(was),
            will=_named(will),
            rule=rule,
        )
    )
    if len(replay.changes) > LISTED:
        del replay.changes[0]  # the newest are kept


def _named(verdict: Verdict) -> str:
    return verdict.effect.value if verdict.effect is not None else "untold"


def _way(was: Verdict, will: Verdict) -> str:
    """What changes; empty for nothing."""
    if was.effect is None or will.effect is None:
        return "" if was == will else "untold"
    if was.effect is not will.effect:
        if will.effect is Effect.DENY:
            return "refused"
        if will.effect in _ASKS:
            return "asked"
        return "marked" if was.effect not in (Effect.DENY, *_ASKS) else "freed"
    return "reshaped" if was.changed != will.changed and will.effect is not Effect.DENY else ""
