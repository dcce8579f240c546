"""The values a decision is made of. Frozen, keyword-only, free of rows and requests."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Effect(StrEnum):
    """What a rule does with a call that it matches. TRANSFORM changes arguments and lets the rules below decide."""

    ALLOW = "allow"
    DENY = "deny"
    WARN = "warn"
    TRANSFORM = "transform"
    CONFIRM = "confirm"
    REVIEW = "review"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS: Final = {
    Effect.ALLOW: "Allow",
    Effect.DENY: "Deny",
    Effect.WARN: "Warn: run it, and mark it",
    Effect.TRANSFORM: "Transform: change arguments, then go on",
    Effect.CONFIRM: "Confirm: the caller's own person says yes",
    Effect.REVIEW: "Review: a second person says yes",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A decision not to, and why.

    message: one sentence for the model: what was wrong, what is allowed, what to do.
    retryable: whether the same call may succeed later without anybody changing anything; then `retry_after` seconds.
    scopes: for `insufficient_scope`, everything the call needs at once.
    ask_at: where a person can ask for access; empty where nobody could give it.
    """

    reason: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    scopes: frozenset[str] = frozenset()
    ask_at: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is about to be used, as policy sees it.

    traits: which of `read_only`, `destructive`, `idempotent`, `open_world` it has. pin: the hash of its manifest,
    scopes and destination. units: what one call spends. most_bytes: what a result has at the most.
    """

    name: str
    scopes: frozenset[str]
    tags: frozenset[str] = frozenset()
    kind: str = ""
    traits: frozenset[str] = frozenset()
    pin: str = ""
    units: int = 1
    most_bytes: int = 65536

    def __hash__(self) -> int:
        """By what tells the tools of a tenant apart, as every call looks up several things by its subject."""
        return hash((self.name, self.pin))


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What a rule that looks at what went before counts: calls in this bucket within so many seconds."""

    rule: str
    bucket: str
    seconds: int


USUAL_REVIEWERS: Final = frozenset({"approver", "owner", "admin"})
"""The roles that decide where a rule names nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reviewers:
    """Who may release a held call, and for how many minutes it is held."""

    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    minutes: int = 60

    @property
    def people(self) -> tuple[frozenset[str], frozenset[str]]:
        """The roles and the groups of those who decide."""
        return (self.roles if self.roles or self.groups else USUAL_REVIEWERS), self.groups


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """What people have said yes to so far, to exactly this call: this version, these arguments, this caller.

    reviewers: whose approval it was; None for one that counts whoever is asked, as an owner's who broke the glass.
    """

    confirmed: bool = False
    approved: bool = False
    reviewers: Reviewers | None = None

    def releases(self, asked: Reviewers) -> bool:
        """Whether that is the yes of those who are asked."""
        return self.approved and (self.reviewers is None or self.reviewers.people == asked.people)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of one call beside who and what.

    at: when it came, in UTC. before: by the name of each rule that looks at what went before, how many calls that it
    counts came earlier in its window. found: what input inspection found. gained: why a consent no longer covers it, as
    a sentence; empty while it does.
    """

    arguments: Mapping[str, Any]
    at: datetime.datetime
    address: str = ""
    before: Mapping[str, int] = field(default_factory=dict)
    found: frozenset[str] = frozenset()
    gained: str = ""
    agreed: Agreed = Agreed()


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What is to be done with a call, and why.

    effect: never TRANSFORM; CONFIRM and REVIEW only while nobody has said yes. rule: the name of what decided, empty
    for the default. ruleset: the version of the rules. arguments: as they are to be run. changed: the rules that
    changed them. message: what the deciding rule says to the model or the person. found: what input inspection found.
    refusal: with DENY.
    """

    effect: Effect
    arguments: Mapping[str, Any]
    found: frozenset[str] = frozenset()
    rule: str = ""
    ruleset: int = 0
    changed: tuple[str, ...] = ()
    message: str = ""
    reviewers: Reviewers | None = None
    refusal: Refusal | None = None

    @property
    def runs(self) -> bool:
        """Whether the call goes on now: nobody has to say yes first, and nothing speaks against it."""
        return self.effect in (Effect.ALLOW, Effect.WARN)
