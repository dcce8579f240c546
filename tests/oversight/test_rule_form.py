"""A rule in its form: everything that a rule can say, what is wrong with it, and what the ledger keeps."""

from typing import Any

import pytest
from django.test import Client

from policy.rules import Spec, from_yaml, read, to_yaml
from policy.rules.spec import Before, Change, ReviewedBy, What, When, Who
from tests.admin.conftest import SignIn, entries, olga, sign_in
from tests.cast import Cast
from tests.oversight.drawn import Drawn, drawn, filled
from tests.oversight.ruling import WHOLE, draft, page, publish, row, text_of, write

__all__ = ["olga", "sign_in"]


@pytest.mark.parametrize("name", [spec.name for spec in from_yaml(WHOLE)])
def test_a_form_that_is_saved_untouched_changes_nothing(cast: Cast, olga: Client, name: str) -> None:
    write(cast, WHOLE)
    before, url = to_yaml(draft(cast)), page("change", row(cast, name).pk)
    answer = olga.post(url, filled(olga, url))
    assert (answer.status_code, answer["location"]) == (302, f"{page('changelist')}?tenant={cast.acme.pk}")
    assert to_yaml(draft(cast)) == before
    assert [one.reason for one in entries(cast, cast.acme, subject__startswith="policy.Rule:")] == ["created"] * 4


@pytest.mark.parametrize("name", [spec.name for spec in from_yaml(WHOLE)])
def test_a_form_typed_in_makes_the_same_rule_as_the_yaml(cast: Cast, olga: Client, name: str) -> None:
    write(cast, WHOLE)
    typed = drawn(olga, page("change", row(cast, name).pk)).data
    wanted = next(spec for spec in draft(cast) if spec.name == name)
    write(cast, "")
    answer = olga.post(page("add"), typed)
    assert answer.status_code == 302, answer.context["errors"]
    (made,) = draft(cast)
    assert made == sorted_as(wanted.model_copy(update={"name": name.strip()}), made)


def sorted_as(wanted: Spec, made: Spec) -> Spec:
    """Boxes come in the order of the page and lines without the space around them, so that neither counts."""

    def same(one: Any, other: Any) -> Any:
        if isinstance(one, dict):
            return {name: same(value, other.get(name)) for name, value in one.items()}
        words = isinstance(one, list) and isinstance(other, list) and all(isinstance(word, str) for word in one)
        return other if words and sorted(word.strip() for word in one) == sorted(other) else one

    return read(same(wanted.written(), made.written()))


def test_the_rules_of_these_tests_use_every_field_there_is() -> None:
    used: set[tuple[str, str]] = set()
    for spec in from_yaml(WHOLE):
        parts = [spec, spec.who, spec.what, spec.when, spec.before, spec.reviewers, *spec.transform]
        for part in parts:
            if part is not None:
                used |= {(type(part).__name__, name) for name in part.model_fields_set}
    there = {
        (part.__name__, name)
        for part in (Spec, Who, What, When, Before, Change, ReviewedBy)
        for name in part.model_fields
    }
    assert used == there


def test_what_does_not_apply_to_the_effect_is_left_out_whatever_the_browser_sends(cast: Cast, olga: Client) -> None:
    given = {
        "name": "Nobody writes",
        "effect": "confirm",
        "secret": "on",
        "transform-0-verb": "mask",
        "transform-0-path": "to",
        "reviewers_roles": ["owner"],
        "reviewers_minutes": "5",
        "before_of": "any",
    }
    answer = olga.post(page("add"), filled(olga, page("add"), **given))
    assert answer.status_code == 302, answer.context["errors"]
    (made,) = draft(cast)
    assert made == read({"name": "Nobody writes", "effect": "confirm"})


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"condition": "args.amount >"}, "condition", "It cannot be read at character"),
        ({"condition": "amount > 5"}, "condition", "There is no 'amount' to look at; there are args,"),
        ({"where_more": "10.0.0.1/8"}, "where", "is neither an address nor a range"),
        ({"when_from": "9"}, "when_from", "'9' is no time of day. Write it like 09:30."),
        ({"when_from": "09:00"}, "when_from", "Give both from and to, or neither."),
        ({"when_zone": "Mars/Base"}, "when_zone", "'Mars/Base' is no time zone."),
        ({"before_more_than": "5"}, "before_seconds", "It is missing."),
        ({"priority": "1001"}, "priority", "less than or equal to 1000"),
        ({"name": "Comments are confirmed"}, "__all__", "already exists"),
        ({"effect": "transform"}, "transform", "transform and the effect transform go together"),
        (
            {"effect": "transform", "transform-1-verb": "set", "transform-1-path": "to", "transform-1-to": "EUR"},
            "transform",
            "Text goes between double quotes.",
        ),
        (
            {"effect": "transform", "transform-0-verb": "mask", "transform-0-path": "a..b"},
            "transform",
            "Change 1: 'a..b' is not a path.",
        ),
        (
            {"effect": "transform", "transform-0-verb": "clamp", "transform-0-path": "a"},
            "transform",
            "Change 1: clamp goes with least, most, or both.",
        ),
        ({"secret": "on", "condition": "true"}, "secret", "A tool exists or does not"),
        ({"name": " "}, "name", "required"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_lost(
    cast: Cast, olga: Client, typed: dict[str, str], field: str, said: str
) -> None:
    write(cast, "- {name: Comments are confirmed, effect: confirm}")
    given = filled(olga, page("add"), **({"name": "New", "what_tools_more": "refund_*"} | typed))
    answer = olga.post(page("add"), given)
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert said in " ".join(errors[field]), errors
    assert kept(Drawn(answer.content.decode(), "rule_form").data) == kept(given)
    assert [spec.name for spec in draft(cast)] == ["Comments are confirmed"]


def kept(data: dict[str, Any]) -> dict[str, Any]:
    """What was typed, without what is drawn anew: rows of changes move up to the first that is empty."""
    found = {name: value for name, value in data.items() if not name.startswith(("csrf", "transform-"))}
    changes = sorted(value for name, value in data.items() if name.startswith("transform-") and value != [""])
    return {**found, "changes": changes}


def test_the_form_offers_what_the_tenant_has_and_nothing_of_another(cast: Cast, sign_in: SignIn) -> None:
    """Also to platform staff, who may see all tenants."""
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    cast.tool(cast.acme, "echo", tags=["talk"], scopes=["tickets.read"])
    cast.tool(cast.beta, "shout", tags=["loud"])
    key, _ = cast.key(cast.uma)
    offered = drawn(sign_in(cast.staff), f"{page('add')}?tenant={cast.acme.pk}").offered
    assert offered["what_tools"] == ["echo"]
    assert offered["what_tags"] == ["talk"]
    assert offered["what_scopes"] == ["tickets.read"]
    assert offered["who_clients"] == [f"key:{key.pk}"]
    assert cast.uma.username in offered["who_users"]
    assert cast.bob.username not in offered["who_users"]
    assert offered["found"][:2] == ["any", "shell"]


def test_saving_says_that_nothing_decides_yet_and_leaves_an_entry(cast: Cast, olga: Client) -> None:
    answer = olga.post(page("add"), filled(olga, page("add"), name="Nobody writes"), follow=True)
    assert "“Nobody writes” is in the draft. It decides nothing until the draft is published." in (
        answer.content.decode()
    )
    (entry,) = entries(cast, cast.acme, subject__startswith="policy.Rule:")
    assert (entry.reason, entry.actor) == ("created", cast.olga.username)


def test_a_rule_is_taken_out_of_the_draft_and_stays_live(cast: Cast, olga: Client) -> None:
    publish(cast, "- {name: Nobody writes, effect: deny}")
    olga.post(page("delete", row(cast, "Nobody writes").pk), {"post": "yes"})
    shown = text_of(olga, page("changelist"))
    assert draft(cast) == []
    assert "Live, and no longer in the draft" in shown
    assert "1 change is not published." in " ".join(shown.split())
