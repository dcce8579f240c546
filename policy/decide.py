"""Deciding: may this Caller use this tool? Pure, so it is tested with tables and replayed over the ledger."""

from policy.rules import NO_RULES, Rules
from policy.values import Decision, Effect, Facts, Refusal, Subject
from tenants.caller import Caller


def visible(caller: Caller, subject: Subject, rules: Rules = NO_RULES) -> bool:
    """Whether the tool exists for this Caller: their role could hold every scope it requires, and no rule hides it."""
    return subject.scopes <= caller.reach and not rules.hides(caller, subject)


def decide(caller: Caller, subject: Subject, facts: Facts, rules: Rules = NO_RULES) -> Decision:
    """What is to be done with a call. The order is fixed: what exists, what was granted, what the rules say.

    Of rules, the first match by priority decides; of equal ones the strictest. Where none matches, what is destructive
    is confirmed and everything else allowed.
    """
    if not visible(caller, subject, rules):
        return _denied(facts, Refusal(reason="unknown_tool", message=f"There is no tool named {subject.name!r} here."))
    if refusal := lacks(caller, subject):
        return _denied(facts, refusal)
    return rules.judge(caller, subject, facts)


def lacks(caller: Caller, subject: Subject) -> Refusal | None:
    """The Refusal of a caller whose credential does not carry every scope that the tool requires."""
    missing = subject.scopes - caller.scopes
    if not missing:
        return None
    return Refusal(
        reason="insufficient_scope",
        message=f"The tool {subject.name!r} needs the scope{'s' if len(missing) > 1 else ''} "
        f"{', '.join(sorted(missing))}, which this credential does not carry. "
        f"Connect again with a credential that has it, or ask an admin of {caller.tenant_slug}.",
        scopes=subject.scopes,
    )


def _denied(facts: Facts, refusal: Refusal) -> Decision:
    return Decision(effect=Effect.DENY, arguments=facts.arguments, refusal=refusal)
