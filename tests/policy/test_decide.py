"""Deciding, as tables."""

from dataclasses import replace

import pytest

from policy.decide import Subject, decide, visible
from tenants.caller import Caller
from tenants.scopes import ScopeRule, expand, reachable
from tests.callers import UMA


def caller(scopes: str, reach: str) -> Caller:
    return replace(UMA, scopes=frozenset(scopes.split()), reach=frozenset(reach.split()))


TABLE = [
    # needed, held, within reach: seen, reason
    ("", "", "", True, None),
    ("", "a", "a", True, None),
    ("a", "a", "a", True, None),
    ("a b", "a b", "a b c", True, None),
    ("a", "", "a", True, "insufficient_scope"),
    ("a b", "a", "a b", True, "insufficient_scope"),
    ("a", "", "", False, "unknown_tool"),
    ("a b", "a", "a", False, "unknown_tool"),
    # More than the role may hold: the tool does not exist, whatever a credential claims.
    ("a", "a", "", False, "unknown_tool"),
]


@pytest.mark.parametrize(("needed", "held", "reach", "seen", "reason"), TABLE)
def test_what_exists_is_decided_before_what_was_granted(
    needed: str, held: str, reach: str, seen: bool, reason: str | None
) -> None:
    subject = Subject(name="restart", scopes=frozenset(needed.split()))
    refusal = decide(caller(held, reach), subject)
    assert visible(caller(held, reach), subject) is seen
    assert (refusal.reason if refusal else None) == reason


def test_a_missing_scope_is_named_with_all_the_call_needs_and_whom_to_ask() -> None:
    refusal = decide(caller("a", "a b c"), Subject(name="restart", scopes=frozenset("abc")))
    assert refusal is not None
    assert refusal.scopes == frozenset("abc")
    assert "b, c" in refusal.message
    assert "acme" in refusal.message
    assert not refusal.retryable


def test_a_tool_out_of_reach_is_refused_in_the_words_of_one_that_does_not_exist() -> None:
    refusal = decide(caller("", ""), Subject(name="restart", scopes=frozenset("a")))
    assert refusal is not None
    assert refusal.message == "There is no tool named 'restart' here."
    assert refusal.scopes == frozenset()


RULES = {
    "admin": ScopeRule(implies=frozenset({"write"}), roles=frozenset({"owner"})),
    "write": ScopeRule(implies=frozenset({"read", "gone"}), roles=frozenset({"owner", "admin"})),
    "read": ScopeRule(implies=frozenset({"write"}), roles=frozenset({"owner", "user"})),
    "other": ScopeRule(implies=frozenset(), roles=frozenset({"user"})),
}


@pytest.mark.parametrize(
    ("granted", "worth"),
    [
        ("", ""),
        ("other", "other"),
        ("gone", ""),
        ("admin", "admin write read"),
        ("read", "read write"),  # a loop does no harm
        ("other admin", "admin write read other"),
    ],
)
def test_a_scope_is_worth_what_it_implies_however_deep(granted: str, worth: str) -> None:
    assert expand(granted.split(), RULES) == frozenset(worth.split())


@pytest.mark.parametrize(
    ("role", "reach"),
    [("owner", "admin write read"), ("admin", "write read"), ("user", "read write other"), ("auditor", "")],
)
def test_a_role_reaches_what_its_scopes_imply(role: str, reach: str) -> None:
    assert reachable(role, RULES) == frozenset(reach.split())
