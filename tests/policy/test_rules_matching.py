"""What a rule matches: who, what, when, where from, what went before and what inspection found."""

import datetime
from dataclasses import replace
from typing import Any

import pytest

from policy.rules import Rules
from policy.values import Effect, Subject
from tenants.caller import Caller
from tests.callers import UMA
from tests.policy.judging import LOOK, REFUND, facts, judged, rule, rules

ADAM = replace(UMA, username="adam", role="admin", credential="app:7", client="Claude Desktop", member_id=2)


def matches(parts: dict[str, Any], caller: Caller = UMA, subject: Subject = REFUND, **given: Any) -> bool:
    """Whether a rule with these parts decides. It warns, which nothing else here does."""
    return judged(rules(rule("r", "warn", **parts)), caller=caller, subject=subject, given=facts(**given)).rule == "r"


WHO: list[tuple[dict[str, Any], bool, bool]] = [
    # who: uma (user, key:1, host), adam (admin, app:7, Claude Desktop)
    ({}, True, True),
    ({"users": ["uma"]}, True, False),
    ({"users": ["UMA", "bob"]}, True, False),
    ({"roles": ["admin", "owner"]}, False, True),
    ({"ways": ["app"]}, False, True),
    ({"ways": ["key", "cli"]}, True, False),
    ({"clients": ["Claude*"]}, False, True),
    ({"clients": ["claude*"]}, False, False),
    ({"clients": ["Claude Desk[st]op", "h?st"]}, True, True),
    ({"clients": ["app:7"]}, False, True),
    ({"clients": ["key:1"]}, True, False),
    ({"users": ["uma"], "roles": ["admin"]}, False, False),
    ({"users": ["adam"], "roles": ["admin"]}, False, True),
]


@pytest.mark.parametrize(("who", "uma", "adam"), WHO)
def test_a_rule_matches_who_it_names(who: dict[str, Any], uma: bool, adam: bool) -> None:
    assert matches({"who": who}) is uma
    assert matches({"who": who}, ADAM) is adam


def test_a_client_cannot_take_the_place_of_a_credential_by_its_name() -> None:
    assert not matches({"who": {"clients": ["app:7"]}}, replace(UMA, client="app:7"))
    assert matches({"who": {"clients": ["app:*"]}}, replace(UMA, client="app:7"))


WHAT: list[tuple[dict[str, Any], bool, bool]] = [
    # what: refund_order (http, destructive, open_world, tags orders and money), look_up (sql, read_only, idempotent)
    ({}, True, True),
    ({"tools": ["refund_order"]}, True, False),
    ({"tools": ["refund_*", "*_up"]}, True, True),
    ({"tools": ["Refund_*"]}, False, False),
    ({"tags": ["money", "other"]}, True, False),
    ({"kinds": ["sql", "function"]}, False, True),
    ({"scopes": ["orders.write"]}, False, False),
    ({"traits": ["destructive"]}, True, False),
    ({"traits": ["destructive", "idempotent"]}, False, False),
    ({"traits": ["not read_only"]}, True, False),
    ({"traits": ["not destructive", "idempotent"]}, False, True),
    ({"tools": ["*"], "tags": ["money"], "kinds": ["sql"]}, False, False),
]


@pytest.mark.parametrize(("what", "refund", "look"), WHAT)
def test_a_rule_matches_what_it_names(what: dict[str, Any], refund: bool, look: bool) -> None:
    assert matches({"what": what}) is refund
    assert matches({"what": what}, subject=LOOK) is look


def test_a_rule_matches_any_of_the_scopes_a_tool_requires() -> None:
    held = replace(UMA, scopes=frozenset({"a", "b"}), reach=frozenset({"a", "b"}))
    assert matches({"what": {"scopes": ["b", "c"]}}, held, replace(LOOK, scopes=frozenset({"a", "b"})))


@pytest.mark.parametrize("effect", ["allow", "warn"])
@pytest.mark.parametrize(
    ("tools", "pins", "holds"),
    [
        (["look_up"], {"look_up": "v1"}, True),
        (["look_*"], {"look_up": "v1"}, True),
        (["look_up"], {"look_up": "v0"}, False),
        (["look_*"], {"look_up": "v0"}, False),
        (["look_*"], {}, False),
        ([], {}, True),
        ([], {"look_up": "v0"}, True),
    ],
)
def test_a_rule_that_loosens_holds_for_the_tools_as_they_were_published(
    effect: str, tools: list[str], pins: dict[str, str], holds: bool
) -> None:
    live = rules(rule("r", effect, what={"tools": tools}), pins=pins or {"other": "v1"})
    assert (judged(live).rule == "r") is holds


@pytest.mark.parametrize("effect", ["allow", "warn"])
@pytest.mark.parametrize("what", [{}, {"tags": ["money"]}, {"traits": ["destructive"]}, {"kinds": ["http"]}])
def test_a_rule_that_loosens_for_a_sort_of_tools_lets_none_destroy_that_is_not_as_it_was(
    effect: str, what: dict[str, Any]
) -> None:
    written = rule("r", effect, what=what)
    asked = [
        judged(rules(written, pins=pins), subject=REFUND).effect
        for pins in ({"refund_order": "v1"}, {"refund_order": "v0"}, {"look_up": "v1"})
    ]
    assert asked == [Effect(effect), Effect.CONFIRM, Effect.CONFIRM]
    harmless = replace(REFUND, traits=frozenset())
    assert what.get("traits") or judged(rules(written, pins={"refund_order": "v0"}), subject=harmless).rule == "r"


@pytest.mark.parametrize("effect", ["deny", "review", "confirm", "transform"])
def test_a_rule_that_tightens_holds_for_every_version(effect: str) -> None:
    live = rules(rule("r", effect, what={"tools": ["look_up"]}), pins={"look_up": "v0"})
    decision = judged(live, note="x")
    assert "r" in (decision.rule, *decision.changed)


BERLIN = "Europe/Berlin"
WHEN: list[tuple[dict[str, Any], str, bool]] = [
    # when, the moment in UTC: whether it holds. 2026-11-18 is a Wednesday; Berlin is an hour ahead.
    ({"days": ["wed"]}, "2026-11-18T12:00", True),
    ({"days": ["thu"]}, "2026-11-18T12:00", False),
    ({"days": ["thu"], "zone": BERLIN}, "2026-11-18T23:30", True),
    ({"from": "09:00", "to": "17:00"}, "2026-11-18T09:00", True),
    ({"from": "09:00", "to": "17:00"}, "2026-11-18T17:00", False),
    ({"from": "09:00", "to": "17:00", "zone": BERLIN}, "2026-11-18T08:00", True),
    ({"from": "09:00", "to": "17:00", "zone": BERLIN}, "2026-07-01T07:00", True),
    ({"from": "09:00", "to": "17:00", "zone": BERLIN}, "2026-07-01T15:00", False),
    # Over midnight, the morning after belongs to the day on which it began.
    ({"from": "22:00", "to": "06:00"}, "2026-11-18T23:00", True),
    ({"from": "22:00", "to": "06:00"}, "2026-11-18T05:59", True),
    ({"from": "22:00", "to": "06:00"}, "2026-11-18T06:00", False),
    ({"days": ["wed"], "from": "22:00", "to": "06:00"}, "2026-11-19T05:00", True),
    ({"days": ["wed"], "from": "22:00", "to": "06:00"}, "2026-11-18T05:00", False),
    ({"days": ["sun"], "from": "22:00", "to": "06:00"}, "2026-11-16T05:00", True),
    ({"since": "2026-11-18T12:00:00Z"}, "2026-11-18T12:00", True),
    ({"since": "2026-11-18T12:00:01Z"}, "2026-11-18T12:00", False),
    ({"until": "2026-11-18T12:00:00Z"}, "2026-11-18T12:00", False),
    ({"until": "2026-11-18T13:00:01+01:00"}, "2026-11-18T12:00", True),
]


@pytest.mark.parametrize(("when", "at", "holds"), WHEN)
def test_a_rule_holds_at_its_times_in_its_zone(when: dict[str, Any], at: str, holds: bool) -> None:
    moment = datetime.datetime.fromisoformat(at).replace(tzinfo=datetime.UTC)
    assert matches({"when": when}, at=moment) is holds


@pytest.mark.parametrize(
    ("day", "wait"),
    [("2026-03-28", 24 - 9), ("2026-03-29", 23 - 9), ("2026-10-25", 25 - 9)],
    ids=["usual", "summer time begins", "it ends"],
)
def test_until_when_is_told_in_hours_that_pass(day: str, wait: int) -> None:
    """From midnight, so that the clock is changed in between."""
    at = datetime.datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=datetime.UTC) - datetime.timedelta(hours=1)
    at += datetime.timedelta(hours=-1 if day == "2026-10-25" else 0)
    closed = rules(rule("r", "deny", when={"from": "18:00", "to": "15:00", "zone": BERLIN}))
    refusal = judged(closed, given=facts(at=at)).refusal
    assert refusal is not None
    assert refusal.retry_after == wait * 3600


WHERE: list[tuple[dict[str, Any], str, bool | None]] = [
    # parts, address: whether it matches, None where that cannot be told
    ({"where": ["192.0.2.0/24"]}, "192.0.2.9", True),
    ({"where": ["192.0.2.0/24"]}, "::ffff:192.0.2.9", True),
    ({"where": ["192.0.2.0/24", "2001:db8::/32"]}, "2001:db8::1", True),
    ({"where": ["192.0.2.9"]}, "192.0.2.8", False),
    ({"not_where": ["192.0.2.0/24"]}, "192.0.2.9", False),
    ({"not_where": ["192.0.2.0/24"]}, "198.51.100.1", True),
    ({"where": ["192.0.2.0/24"], "not_where": ["192.0.2.9"]}, "192.0.2.9", False),
    ({"where": ["192.0.2.0/24"]}, "", None),
    ({"not_where": ["192.0.2.0/24"]}, "", None),
    ({"where": ["192.0.2.0/24"]}, "somewhere", None),
]


@pytest.mark.parametrize(("parts", "address", "holds"), WHERE)
def test_a_rule_matches_where_a_call_comes_from(parts: dict[str, Any], address: str, holds: bool | None) -> None:
    assert matches(parts, address=address) is bool(holds)
    tightening = judged(rules(rule("r", "deny", **parts)), given=facts(address=address))
    assert (tightening.effect is Effect.DENY) is (holds is not False)


@pytest.mark.parametrize(("effect", "matching"), [("deny", True), ("review", True), ("confirm", True)])
def test_what_cannot_be_told_tightens(effect: str, matching: bool) -> None:
    assert (judged(rules(rule("r", effect, if_="args.missing > 5"))).rule == "r") is matching


def test_what_cannot_be_told_is_transformed() -> None:
    written = rule("r", "transform", if_="args.missing > 5", transform=[{"remove": "note"}])
    decision = judged(rules(written), note="x")
    assert (decision.changed, decision.arguments) == (("r",), {})


@pytest.mark.parametrize("effect", ["allow", "warn"])
def test_what_cannot_be_told_does_not_loosen(effect: str) -> None:
    assert judged(rules(rule("r", effect, if_="args.missing > 5")), note="x").rule == ""


def test_what_is_told_not_to_match_does_not_whatever_else_cannot_be_told() -> None:
    assert judged(rules(rule("r", "deny", if_="args.missing > 5", found=["sql"]))).runs


FOUND = [
    (["sql"], {"sql", "shell"}, True),
    (["sql"], {"shell"}, False),
    (["any"], {"shell"}, True),
    (["any"], set(), False),
]


@pytest.mark.parametrize(("named", "found", "holds"), FOUND)
def test_a_rule_matches_what_inspection_found(named: list[str], found: set[str], holds: bool) -> None:
    assert matches({"found": named}, found=frozenset(found)) is holds


@pytest.mark.parametrize(
    ("earlier", "holds"), [({}, False), ({"r": 3}, False), ({"r": 4}, True), ({"other": 9}, False)]
)
def test_a_rule_matches_once_more_calls_than_it_says_went_before(earlier: dict[str, int], holds: bool) -> None:
    assert matches({"before": {"more_than": 3, "seconds": 60}}, before=earlier) is holds


def counted(live: Rules, caller: Caller = UMA, subject: Subject = REFUND) -> list[str]:
    return [window.bucket for window in live.windows(caller, subject)]


def one(**parts: Any) -> Rules:
    return rules(rule("r", "deny", before={"more_than": 3, "seconds": 60, **parts}))


def test_only_rules_that_may_match_are_counted_for() -> None:
    live = rules(
        rule("r", "deny", before={"more_than": 3, "seconds": 60}, what={"tools": ["refund_*"]}),
        rule("none", "deny"),
    )
    (window,) = live.windows(UMA, REFUND)
    assert (window.rule, window.seconds) == ("r", 60)
    assert counted(live, subject=LOOK) == []


def test_what_is_counted_together_is_what_the_rule_says() -> None:
    other_tool, other_key = replace(REFUND, name="other"), replace(UMA, credential="key:2")
    other_member, other_tenant = replace(UMA, member_id=2, credential="key:3"), replace(UMA, tenant_id=2)
    same = counted(one())
    assert counted(one(), other_key) == same
    assert counted(one(), subject=other_tool) != same
    assert counted(one(of="any"), subject=other_tool) == counted(one(of="any"))
    assert counted(one(), other_member) != same
    assert counted(one(shared_by="credential"), other_key) != counted(one(shared_by="credential"))
    assert counted(one(shared_by="tenant"), other_member) == counted(one(shared_by="tenant"))
    assert counted(one(shared_by="tenant"), other_tenant) != counted(one(shared_by="tenant"))


def test_no_name_makes_one_bucket_of_two() -> None:
    before = {"more_than": 1, "seconds": 1}
    names = ["a", "a/m1", "a/m1/refund_order", "a/", "/", "r1", "A"]
    buckets = [bucket for name in names for bucket in counted(rules(rule(name, "deny", before=before)))]
    assert len(set(buckets)) == len(names)


def test_what_is_kept_for_many_callers_stays_bounded_and_right() -> None:
    live = rules(rule("r", "deny", who={"users": ["user 2500"]}))
    for number in range(2_600):
        decision = judged(live, caller=replace(UMA, username=f"user {number}"))
        assert (decision.effect is Effect.DENY) is (number == 2_500)
