"""Judging without a database: rules as they are written, a tool, and a call."""

import datetime
from collections.abc import Mapping
from typing import Any

from policy.decide import decide
from policy.rules import Rules, read
from policy.values import Agreed, Decision, Facts, Subject
from tenants.caller import Caller
from tests.callers import UMA

NOON = datetime.datetime(2026, 11, 18, 12, tzinfo=datetime.UTC)
"""A Wednesday."""

REFUND = Subject(
    name="refund_order",
    scopes=frozenset(),
    tags=frozenset({"orders", "money"}),
    kind="http",
    traits=frozenset({"destructive", "open_world"}),
    pin="v1",
)
LOOK = Subject(name="look_up", scopes=frozenset(), kind="sql", traits=frozenset({"read_only", "idempotent"}), pin="v1")


def pinned_as(**pins: str) -> list[Subject]:
    """Tools by name, as they are with these hashes."""
    return [Subject(name=name, scopes=frozenset(), pin=pin) for name, pin in pins.items()]


def rule(name: str, effect: str, /, **parts: Any) -> dict[str, Any]:
    """A rule as it is written; `if_` stands for `if`."""
    named = {part.rstrip("_"): value for part, value in parts.items()}
    if effect == "transform":
        named.setdefault("transform", [{"mask": "note"}])
    return {"name": name, "effect": effect, **named}


def rules(*written: Mapping[str, Any], number: int = 1, pins: Mapping[str, str] | None = None) -> Rules:
    return Rules([read(one) for one in written], number=number, pins=pins or {REFUND.name: "v1", LOOK.name: "v1"})


def facts(arguments: Mapping[str, Any] | None = None, **fields: Any) -> Facts:
    return Facts(**{"arguments": arguments or {}, "at": NOON, "address": "192.0.2.7", **fields})


def judged(
    live: Rules, *, caller: Caller = UMA, subject: Subject = LOOK, given: Facts | None = None, **arguments: Any
) -> Decision:
    return decide(caller, subject, given or facts(arguments), live)


CONFIRMED = Agreed(confirmed=True)
APPROVED = Agreed(approved=True)
