"""Writing rules: the draft, publishing it, and that the next call is judged by what was published."""

from dataclasses import replace as changed
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from audit.models import Entry
from policy import actions
from policy.models import Rule, Ruleset
from policy.rules import read, to_yaml
from policy.values import Refusal
from tenants.models import Tenant, User
from tests.calling import Enter, enter
from tests.cast import Cast
from tests.policy.judging import LOOK, REFUND, pinned_as, rule
from tools.values import Result


def row(cast: Cast, name: str = "No echo", effect: str = "deny", **fields: Any) -> Rule:
    return Rule(tenant=cast.acme, name=name, effect=effect, **fields)


def save(cast: Cast, *rules: Rule, actor: User | None = None) -> None:
    with cast.see(cast.acme):
        for one in rules:
            actions.save_rule(one, actor=actor or cast.adam)


def publish(cast: Cast, actor: User | None = None, **given: Any) -> Ruleset:
    with cast.see(cast.acme):
        return actions.publish(cast.acme, actor=actor or cast.olga, **{"tools": (), **given})


def replace(cast: Cast, text: str, actor: User | None = None) -> actions.Replaced:
    with cast.see(cast.acme):
        return actions.replace_draft(cast.acme, text, actor=actor or cast.adam)


def written(cast: Cast) -> str:
    with cast.see(cast.acme):
        return to_yaml(actions.draft_of(cast.acme))


def entries(cast: Cast, tenant: Tenant | None = None) -> list[tuple[str, str, Any]]:
    """Who did what to rules, and the names of what differs."""
    tenant = tenant or cast.acme
    with cast.see(tenant):
        found = Entry.objects.filter(tenant_id=tenant.pk, event="changed", subject__startswith="policy.").order_by("id")
        return [(one.actor.partition("-")[0], one.reason, (one.detail or {}).get("after", {})) for one in found]


@pytest.fixture
def judged(cast: Cast, request: pytest.FixtureRequest) -> Enter:
    """Uma, after the steps that the test names."""
    cast.tool(cast.acme)
    for step in request.param:
        before = enter(cast, cast.uma).version
        save(cast, row(cast)) if step == "write" else replace(cast, "") if step == "clear" else publish(cast)
        assert (enter(cast, cast.uma).version > before) is (step == "publish")  # which the next request sees
    return enter(cast, cast.uma)


@pytest.mark.parametrize(
    ("judged", "outcome"),
    [
        ((), "ran"),
        (("write",), "ran"),
        (("write", "publish"), "denied"),
        (("write", "publish", "clear"), "denied"),
        (("write", "publish", "clear", "publish"), "ran"),
    ],
    indirect=["judged"],
)
async def test_a_published_rule_is_obeyed_and_a_draft_is_not(running: None, judged: Enter, outcome: str) -> None:
    answer = await judged.call("echo", text="hello")
    assert ("ran" if isinstance(answer, Result) else answer.reason) == outcome
    if isinstance(answer, Refusal):
        assert "'No echo'" in answer.message
        assert answer.ask_at


def test_a_rule_is_saved_with_its_entry_and_removed_with_it(cast: Cast) -> None:
    saved = row(cast, spec={"what": {"tools": ["echo"]}, "if": "args.text == 'x'"})
    save(cast, saved)
    with cast.see(cast.acme):
        assert not actions.save_rule(saved, actor=cast.adam)
        saved.priority = 900
        assert actions.save_rule(saved, actor=cast.olga)
        actions.remove_rule(saved, actor=cast.olga)
    assert [(who, verb) for who, verb, _ in entries(cast)] == [
        ("adam", "created"),
        ("olga", "changed"),
        ("olga", "deleted"),
    ]
    assert entries(cast)[1][2] == {"priority": 900}
    assert written(cast) == "[]\n"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"spec": {"if": "nothing > 5"}}, "if: There is no 'nothing' to look at"),
        ({"effect": "no"}, "effect: It is not one of"),
        ({"priority": 2000}, "priority: It should be less than"),
        ({"spec": {"name": "another", "effect": "allow", "typo": 1}}, "typo: There is no such field here."),
        ({"name": "two\nlines"}, "name: It has to be a line of text."),
    ],
)
def test_a_wrong_rule_is_not_saved(cast: Cast, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace(".", "[.]")):
        save(cast, row(cast, **fields))
    assert entries(cast) == []


def test_a_draft_is_replaced_as_a_whole_and_what_changed_is_told(cast: Cast) -> None:
    save(cast, row(cast, "stays"), row(cast, "goes"), row(cast, "changes", priority=5))
    with cast.see(cast.acme):
        kept = Rule.objects.get(tenant=cast.acme, name="changes").pk
    text = "\n".join(
        f"- {one}"
        for one in ("{name: stays, effect: deny}", "{name: changes, effect: warn}", "{name: new, effect: allow}")
    )
    told = replace(cast, text)
    assert (told.added, told.changed, told.removed) == (("new",), ("changes",), ("goes",))
    with cast.see(cast.acme):
        assert Rule.objects.get(tenant=cast.acme, name="changes").pk == kept
    assert replace(cast, written(cast)) == actions.Replaced(added=(), changed=(), removed=())


def test_a_draft_with_one_wrong_rule_is_not_replaced_at_all(cast: Cast) -> None:
    save(cast, row(cast))
    before = written(cast), entries(cast)
    with pytest.raises(ValidationError, match="Line 2: effect: It is not one of"):
        replace(cast, "- {name: new, effect: allow}\n- {name: wrong, effect: no}")
    assert (written(cast), entries(cast)) == before


def test_versions_are_numbered_and_recorded_with_what_differs(cast: Cast) -> None:
    save(cast, row(cast, "first"))
    assert publish(cast, note="to begin with").number == 1
    save(cast, row(cast, "second", "warn"))
    assert publish(cast).number == 2
    told = entries(cast)[-1][2]
    assert (told["number"], "first" in told, told["second"]["effect"]) == (2, False, "warn")
    with cast.see(cast.acme):
        assert Ruleset.objects.get(tenant=cast.acme, number=1).note == "to begin with"


def test_a_draft_that_changed_after_it_was_looked_at_is_not_published(cast: Cast) -> None:
    save(cast, row(cast))
    with cast.see(cast.acme):
        seen = actions.digest(actions.draft_of(cast.acme))
    save(cast, row(cast, "later"))
    with pytest.raises(actions.DraftChanged):
        publish(cast, reviewed=seen)
    with cast.see(cast.acme):
        assert not Ruleset.objects.filter(tenant=cast.acme).exists()
        assert actions.publish(
            cast.acme, actor=cast.olga, tools=(), reviewed=actions.digest(actions.draft_of(cast.acme))
        )


def test_a_draft_with_a_wrong_rule_is_not_published_and_the_rule_named(cast: Cast) -> None:
    with cast.see(cast.acme):
        Rule.objects.create(tenant=cast.acme, name="from before", effect="deny", spec={"if": "gone(args.x)"})
    with pytest.raises(ValidationError, match="from before: if: There is no function 'gone'"):
        publish(cast)


def test_tools_are_pinned_that_a_loosening_rule_names_or_that_it_is_about_and_can_destroy(cast: Cast) -> None:
    live = pinned_as(refund_order="1", refund_all="2", look_up="3", other="4", denied="5")
    live += [
        changed(LOOK, name="tagged", tags=frozenset({"x"})),
        changed(REFUND, name="tagged_refund", tags=frozenset({"x"}), pin="6"),
        changed(REFUND, name="untagged_refund", pin="7"),
    ]
    text = to_yaml(
        [
            read(one)
            for one in (
                rule("a", "allow", what={"tools": ["refund_*"]}),
                rule("w", "warn", what={"tools": ["look_up", "not_live"]}),
                rule("d", "deny", what={"tools": ["denied"]}),
                rule("t", "allow", what={"tags": ["x"]}),
            )
        ]
    )
    replace(cast, text)
    assert publish(cast, tools=live).pins == {
        "refund_order": "1",
        "refund_all": "2",
        "look_up": "3",
        "tagged_refund": "6",
    }


def ask_for_a_second_person(cast: Cast) -> None:
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(second_publisher=True)


def test_who_wrote_at_a_draft_cannot_publish_it_where_a_second_person_has_to(cast: Cast) -> None:
    ask_for_a_second_person(cast)
    save(cast, row(cast), actor=cast.adam)
    save(cast, row(cast, "a comma"), actor=cast.anna)  # who touched it last is not the only one who wrote at it
    for writer in (cast.adam, cast.anna):
        with pytest.raises(ValidationError, match="asks for a second person"):
            publish(cast, writer)
    assert publish(cast, cast.olga).number == 1
    assert publish(cast, cast.adam).number == 2  # nothing was written since


def test_taking_a_rule_out_is_writing_too(cast: Cast) -> None:
    saved = row(cast)
    save(cast, saved, actor=cast.olga)
    publish(cast, cast.adam)
    ask_for_a_second_person(cast)
    with cast.see(cast.acme):
        actions.remove_rule(saved, actor=cast.adam)
    with pytest.raises(ValidationError, match="asks for a second person"):
        publish(cast, cast.adam)


def test_an_earlier_version_decides_again_under_a_new_number_with_its_pins(cast: Cast) -> None:
    save(cast, row(cast, "loose", "allow", spec={"what": {"tools": ["echo"]}}))
    first = publish(cast, tools=pinned_as(echo="1"))
    replace(cast, "")
    publish(cast, tools=pinned_as(echo="2"))
    with cast.see(cast.acme):
        again = actions.roll_back(cast.acme, 1, actor=cast.adam)
        assert (again.number, again.rules, again.pins) == (3, first.rules, {"echo": "1"})
        with pytest.raises(ValidationError, match="no rules v9"):
            actions.roll_back(cast.acme, 9, actor=cast.adam)
    assert written(cast) == "[]\n"
    assert entries(cast)[-1][:2] == ("adam", "rolled back")


def test_no_tenant_reads_or_writes_the_rules_of_another(cast: Cast) -> None:
    save(cast, row(cast))
    publish(cast)
    with cast.see(cast.beta):
        assert not Rule.objects.exists()
        assert not Ruleset.objects.exists()
        assert actions.draft_of(cast.acme) == []
        with pytest.raises(ValidationError, match="no rules v1"):
            actions.roll_back(cast.beta, 1, actor=cast.bob)
