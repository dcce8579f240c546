"""Deciding: may this Caller use this tool? Pure, so it is tested with tables and replayed over the ledger."""

from dataclasses import dataclass

from tenants.caller import Caller


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A decision not to, and why.

    message: one sentence for the model: what was wrong, what is allowed, what to do.
    retryable: whether the same call may succeed later without anybody changing anything; then `retry_after` seconds.
    scopes: for `insufficient_scope`, everything the call needs at once.
    """

    reason: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is about to be used, as policy sees it."""

    name: str
    scopes: frozenset[str]


def visible(caller: Caller, subject: Subject) -> bool:
    """Whether the tool exists for this Caller: their role could hold every scope it requires."""
    return subject.scopes <= caller.reach


def decide(caller: Caller, subject: Subject) -> Refusal | None:
    """None to let the call go on, or the Refusal. The order is fixed: what exists, then what was granted."""
    if not visible(caller, subject):
        return Refusal(reason="unknown_tool", message=f"There is no tool named {subject.name!r} here.")
    missing = subject.scopes - caller.scopes
    if missing:
        return Refusal(
            reason="insufficient_scope",
            message=f"The tool {subject.name!r} needs the scope{'s' if len(missing) > 1 else ''} "
            f"{', '.join(sorted(missing))}, which this credential does not carry. "
            f"Connect again with a credential that has it, or ask an admin of {caller.tenant_slug}.",
            scopes=subject.scopes,
        )
    return None
