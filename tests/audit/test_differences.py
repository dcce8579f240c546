"""What an entry of a change keeps: every difference shows, nothing grows without bound, no secret gets in."""

from typing import Any

import orjson
import pytest

from audit.differences import sides
from lib.redact import HIDDEN


def test_every_field_that_differs_is_kept_however_many() -> None:
    old = {f"field_{number:03}": number for number in range(100)}
    before, after = sides(old, {**dict.fromkeys(old, -1), "field_007": 7})
    assert len(before) == len(after) == 99
    assert (before["field_099"], after["field_099"]) == (99, -1)


def test_what_is_the_same_is_left_out() -> None:
    assert sides({"a": 1, "b": [1], "c": None}, {"a": 1, "b": [2]}) == ({"b": [1]}, {"b": [2]})
    assert sides({}, {"a": "x", "b": None}) == ({}, {"a": "x"})


def test_of_a_long_list_what_was_taken_out_and_put_in_is_kept() -> None:
    old = [f"scope.{number}" for number in range(50)]
    before, after = sides({"scopes": old}, {"scopes": [*old[:40], *old[41:], "scope.new"]})
    assert (before["scopes"]["removed"], after["scopes"]["added"]) == (["scope.40"], ["scope.new"])
    assert (before["scopes"]["items"], after["scopes"]["items"]) == (50, 50)


def test_what_was_taken_out_of_a_list_is_bounded_with_a_count() -> None:
    before, after = sides({"scopes": [str(number) for number in range(500)]}, {"scopes": []})
    assert len(before["scopes"]["removed"]) == 21
    assert before["scopes"]["removed"][-1] == "… 480 more"
    assert after["scopes"]["added"] == []


def test_of_long_text_the_part_around_the_difference_is_kept() -> None:
    same = "the same words " * 200
    before, after = sides({"text": f"{same}old end {same}"}, {"text": f"{same}new end {same}"})
    assert "old end" in before["text"]["shown"]
    assert "new end" in after["text"]["shown"]
    assert max(len(side["text"]["shown"]) for side in (before, after)) < 210


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x" * 1000, "x" * 1001),
        ("x" * 1000, "x" * 999 + "y"),
        ([1] * 30, [1] * 31),
        (list(range(30)), list(range(29, -1, -1))),
        ([["x" * 300 + "a"]], [["x" * 300 + "b"]]),
        ({"deep": {"deeper": ["x" * 300 + "a"]}}, {"deep": {"deeper": ["x" * 300 + "b"]}}),
        ({str(key): 1 for key in range(99)}, {str(key): 2 if key > 30 else 1 for key in range(99)}),
        ("Bearer aaaaaaaaaaaa", "Bearer bbbbbbbbbbbb"),
        (1, True),
        ([1], None),
        ("x" * 300, None),
        ({"a": None}, {}),
    ],
)
def test_no_change_looks_like_none(old: Any, new: Any) -> None:
    before, after = sides({"value": old}, {"value": new})
    assert orjson.dumps(before) != orjson.dumps(after)
    assert len(orjson.dumps([before, after])) < 4000


def test_json_of_any_depth_is_taken() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(200):
        old, new = {"a": old}, {"a": new}
    before, after = sides({"value": old}, {"value": new})
    assert before != after


def test_secrets_stay_out_by_name_and_by_shape_also_where_a_part_would_begin_inside_one() -> None:
    secret = "-----BEGIN PRIVATE KEY-----" + "hunter2" * 100
    for field in ("text", "password"):
        before, after = sides({field: f"see {secret}a"}, {field: f"see {secret}b"})
        assert "hunter2" not in str([before, after])
    nested = sides({"headers": {"x-token": "hunter2"}}, {"headers": {"x-token": "hunter2-2"}})
    assert nested == ({"headers": {"x-token": HIDDEN}}, {"headers": {"x-token": HIDDEN}})
