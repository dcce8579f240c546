"""What a call is before it runs: ready to, waiting for somebody's yes, or of a tool that is not there."""

import datetime
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit import entries
from policy.rules import NO_RULES, Rules
from policy.take import NO_LIMITS, NOTHING_CHARGED, Charged, Limits
from policy.values import Agreed, Decision
from tenants.caller import Caller
from tools.catalog import LiveTool
from tools.values import Origin, Question

NOBODY = Agreed()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A call that was let through: valid arguments, decided, charged. Nothing of it is recorded yet.

    arguments: as they are run, which a rule may have changed. decision: why it may run; None where nothing was decided
    yet. charged: what it holds while it runs. agreed: what people said yes to. accepted_at: when the call came.
    attempt: which of a job this is, counted from 1. beforehand: it is what the tool's preflight does, not the tool.
    counted: it was counted among the very same calls.
    """

    id: uuid.UUID
    caller: Caller
    tool: LiveTool
    arguments: dict[str, Any]
    origin: Origin
    limits: Limits = NO_LIMITS
    rules: Rules = NO_RULES
    decision: Decision | None = None
    charged: Charged = NOTHING_CHARGED
    agreed: Agreed = NOBODY
    accepted_at: datetime.datetime | None = None
    attempt: int = 1
    beforehand: bool = False
    counted: bool = False

    @property
    def digest(self) -> str:
        """Of what a person says yes to: this version of the tool, and these arguments."""
        return entries.digest([self.tool.subject.pin, self.arguments])


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """A call that may run once a person has said yes: the caller's own (CONFIRM) or a second one (REVIEW). It was
    charged and nothing of it has run. `ready.arguments` are what would be run."""

    ready: Ready

    @property
    def decision(self) -> Decision:
        assert self.ready.decision is not None  # noqa: S101 - what waits for a yes was decided so
        return self.ready.decision


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a preflight asked; nothing of the tool itself has run."""

    questions: Mapping[str, Question]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stray:
    """A call of a tool that is not there for its caller. hidden: arguments that are secret by the schema of the one
    that is there for others."""

    id: uuid.UUID
    caller: Caller
    name: str
    arguments: dict[str, Any]
    origin: Origin
    hidden: frozenset[str] = frozenset()
