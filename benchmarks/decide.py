"""What deciding costs: one call judged by 200 rules, in this process and in memory.

A part of `make bench`; alone: `python -m benchmarks --only decide`. No database and no server takes part: the rules are
compiled, and `policy.decide.decide` is asked again and again about calls that differ.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.jobs import Figure
from benchmarks.load import percentile
from benchmarks.servers import BenchError

TARGET = 50.0
"""Microseconds at the median, with the 200 rules of a usual tenant."""
RULES = 200
_CALLS = 20_000
_QUICK_CALLS = 2_000
_WARMUP = 200
CALLED = "tool_7"
LOOKS: Final[Mapping[int, dict[str, Any]]] = {
    0: {"if": "args.amount > 1000000"},
    1: {"if": "args.to.endsWith('@elsewhere.example') && size(args.lines) > 3"},
    2: {"found": ["shell", "sql"]},
    3: {"before": {"more_than": 50, "seconds": 60}},
    4: {"when": {"days": ["sat", "sun"], "from": "09:00", "to": "17:00", "zone": "Europe/Berlin"}},
    5: {"where": ["192.0.2.0/24", "198.51.100.0/24"]},
}
"""What a rule looks at, by its number among ten; the rest asks what inspection found. None of it is so of the calls."""


def measure(*, quick: bool) -> list[Figure]:
    """In a process of its own, as it takes the hub's settings, and so that nothing else fills its memory."""
    with tempfile.TemporaryDirectory() as scratch:
        given = {"DJANGO_SETTINGS_MODULE": "mcphub.settings", "SECRET_KEY": secrets.token_hex(32), "DATA_DIR": scratch}
        calls = _QUICK_CALLS if quick else _CALLS
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.decide", str(calls)],
            cwd=Path(__file__).resolve().parent.parent,
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise BenchError(f"deciding could not be measured: {done.stderr[-500:]}")
    return [Figure(**figure) for figure in json.loads(done.stdout)]


def usual(rules: int = RULES, tool: str = CALLED, looks: Mapping[int, dict[str, Any]] = LOOKS) -> list[dict[str, Any]]:
    """So many rules of which ten are about the tool called: for each tool ten, two of them with a condition."""
    named = [tool, *(f"tool_{number}" for number in range(rules // 10) if f"tool_{number}" != tool)]
    return [
        _rule(f"{name}, rule {number}", 100 + number, tool=name, number=number, looks=looks)
        for name in named[: rules // 10]
        for number in range(10)
    ]


def worst() -> list[dict[str, Any]]:
    """200 rules that are all about the tool called, 40 of them with a condition; none matches, so all are asked."""
    return [_rule(f"rule {number}", number, tool="*", number=number % 10, looks=LOOKS) for number in range(RULES)]


def _rule(name: str, priority: int, *, tool: str, number: int, looks: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """A rule that does not match the calls asked about, for a reason that takes looking at the call."""
    effect = ("deny", "review", "confirm", "deny", "warn")[number % 5]
    what = {"tools": [tool]} if effect != "warn" else {"traits": ["open_world"]}
    return {
        "name": name,
        "priority": priority,
        "effect": effect,
        "what": what,
        **looks.get(number, {"found": ["prompt_injection"]}),
    }


def _figures(calls: int) -> list[Figure]:
    mixed, all_of_them = _timed(usual(), calls), _timed(worst(), max(calls // 5, 1))
    return [
        Figure(
            what=f"deciding by {RULES} rules, 10 of them about the tool, p50", value=mixed[0], unit="µs", target=TARGET
        ),
        Figure(what=f"deciding by {RULES} rules, 10 of them about the tool, p99", value=mixed[1], unit="µs"),
        Figure(what=f"deciding by {RULES} rules, all of them about the tool, p50", value=all_of_them[0], unit="µs"),
        Figure(what=f"deciding by {RULES} rules, all of them about the tool, p99", value=all_of_them[1], unit="µs"),
    ]


def _timed(written: Sequence[dict[str, Any]], calls: int) -> tuple[float, float]:
    """Microseconds of one decision: the median, and the 99th percentile."""
    import datetime

    from policy.decide import decide
    from policy.rules import compiled
    from policy.values import Facts, Subject
    from tenants.caller import Caller

    rules = compiled({"id": 1, "tenant_id": 1, "number": 1, "rules": written, "pins": {}})
    caller = Caller(
        tenant_id=1,
        tenant_slug="bench",
        member_id=1,
        user_id=1,
        username="bench",
        role="user",
        credential="key:1",
        client="bench",
        scopes=frozenset({"orders.read"}),
        reach=frozenset({"orders.read"}),
    )
    subject = Subject(
        name=CALLED,
        scopes=frozenset({"orders.read"}),
        tags=frozenset({"orders"}),
        kind="function",
        traits=frozenset({"idempotent"}),
        pin="0" * 64,
    )
    begun = datetime.datetime(2026, 11, 18, 10, tzinfo=datetime.UTC)
    took = []
    for number in range(_WARMUP + calls):
        facts = Facts(
            arguments={"amount": number, "to": f"customer{number}@acme.example", "lines": [{"sku": "A", "count": 2}]},
            at=begun + datetime.timedelta(milliseconds=number),
            address="203.0.113.9",
        )
        began = time.perf_counter()
        decision = decide(caller, subject, facts, rules)
        took.append((time.perf_counter() - began) * 1e6)
        assert decision.runs
    measured = sorted(took[_WARMUP:])
    return percentile(measured, 50), percentile(measured, 99)


def main() -> None:
    import django

    django.setup()
    print(json.dumps([asdict(figure) for figure in _figures(int(sys.argv[1]))]))


if __name__ == "__main__":
    main()
