"""What followers of a job get. Frozen, and free of any protocol."""

import datetime
import uuid
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.models import ENDED, State
from policy.values import Refusal
from tenants.caller import Caller
from tenants.queries import MANAGERS, READERS
from tools.values import Result


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A job as its followers may see it.

    progress, total, message: what the tool said last. place: how many jobs of its tenant go before it, None unless it
    waits. asked: the open questions by their keys, each an elicitation's `message` and `requestedSchema`. cancelling:
    somebody asked it to stop. number: the tool's version. preview: redacted arguments. expires_at: when the result is
    dropped, known once it has ended; keep: seconds from its end until then.
    forgotten: what was kept of it has been dropped, its result too. needed: the scopes that its tool requires.
    result, error: only where the content was asked for and the job has ended. error: {"code", "message"}.
    """

    id: uuid.UUID
    tenant_id: int
    member_id: int
    username: str
    tool: str
    number: int
    state: State
    reason: str
    created_at: datetime.datetime
    changed_at: datetime.datetime
    started_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    expires_at: datetime.datetime | None
    keep: float
    attempts: int
    most_attempts: int
    idempotent: bool
    progress: float | None
    total: float | None
    message: str
    cancelling: bool
    forgotten: bool
    preview: Any
    asked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    place: int | None = None
    result: Result | None = None
    error: Mapping[str, Any] | None = None
    needed: frozenset[str] = frozenset()

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def poll_ms(self) -> int:
        """How long to wait before looking again: a second for the first minute, up to ten later on, and while a person
        has to decide."""
        if self.state == State.APPROVAL:
            return 10_000
        age = (self.changed_at - self.created_at).total_seconds()
        return 1000 if age < 60 else min(10_000, int(age / 60) * 1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Handle:
    """What a host gets instead of a result: the job as it is now. joined: it was running already for the same call."""

    view: View
    joined: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Follow:
    """What the asking host can do with a job.

    declared: it follows tasks by itself, so it gets a Handle at once, whatever the tool waits for others. keep: seconds
    it wishes the result to be kept, None when it did not say.
    """

    declared: bool = False
    keep: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A job's row is durable. joined: the row was there for the same call already. bell: a worker should be called."""

    view: View
    joined: bool
    bell: bool = False


def may_see(caller: Caller, job: View) -> bool:
    """Whose call it was, and who reads what their tenant does. A credential that was narrowed opens no more than it
    covers: the member's own must carry what the tool requires, a reader's all of it that their role may hold.

    `jobs.queries.visible` and `jobs.rows.listing` say the same to Postgres; a test holds the three equal.
    """
    return _is_own(caller, job) or _oversees(caller, job, READERS)


def may_stop(caller: Caller, job: View) -> bool:
    """Whose call it was, and who manages their tenant."""
    return _is_own(caller, job) or _oversees(caller, job, MANAGERS)


def may_answer(caller: Caller, job: View) -> bool:
    """Whose call it was: a question goes to the person whom the tool works for."""
    return _is_own(caller, job)


def _is_own(caller: Caller, job: View) -> bool:
    return (caller.tenant_id, caller.member_id) == (job.tenant_id, job.member_id) and job.needed <= caller.scopes


def _oversees(caller: Caller, job: View, roles: Container[str]) -> bool:
    return caller.tenant_id == job.tenant_id and caller.role in roles and not lacking(caller) & job.needed


def lacking(caller: Caller) -> frozenset[str]:
    """What the caller's role may hold and their credential does not carry."""
    return caller.reach - caller.scopes


NOT_FOLLOWED = Follow()

Answer = Result | Refusal | Handle
"""What `jobs.calls.run` answers."""
