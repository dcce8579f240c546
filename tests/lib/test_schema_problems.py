"""The sentences a model mends its arguments with, and what they do not show."""

import time
from typing import Any

import pytest

from lib.schema import compile_schema
from tests.lib.schemas import SHAPES, TICKETS, only

# --- what a model reads -----------------------------------------------------------------------------------------------


def test_a_valid_instance_has_no_problems() -> None:
    validator = compile_schema(TICKETS)
    instance = {"query": "printer", "limit": 10, "status": "open", "tags": ["a"], "since": "2026-01-31T09:30:00Z"}
    assert validator.is_valid(instance)
    assert validator.problems(instance) == []


@pytest.mark.parametrize(
    ("change", "path", "found", "allowed"),
    [
        ({"limit": "ten"}, "limit", '"ten"', "an integer"),
        ({"limit": 0}, "limit", "0", "at least 1"),
        ({"limit": 51}, "limit", "51", "at most 50"),
        ({"query": ""}, "query", '"" (0 characters)', "at least 1 character long"),
        ({"query": "x" * 21}, "query", f'"{"x" * 21}" (21 characters)', "at most 20 characters long"),
        ({"tags": ["a", 1]}, "tags[1]", "1", "a string"),
        ({"tags": ["a", "a"]}, "tags", "an array of 2 items", "an array in which no item is repeated"),
        ({"tags": list("abcd")}, "tags", "an array of 4 items", "an array of at most 3 items"),
        ({"code": "abc"}, "code", '"abc"', 'a string that matches the pattern "^[A-Z]{3}-[0-9]+$"'),
        ({"since": "now"}, "since", '"now"', "an RFC 3339 date and time with its offset, such as 2026-01-31T09:30:00Z"),
        ({"status": 3}, "status", "3", 'one of "open", "closed", "pending"'),
    ],
)
def test_a_problem_says_where_what_was_found_and_what_is_allowed(
    change: dict[str, Any], path: str, found: str, allowed: str
) -> None:
    problem = only(TICKETS, {"query": "q", **change})
    assert (problem.path, problem.found, problem.allowed) == (path, found, allowed)
    assert problem.message == f"{path} is {found}, but must be {allowed}."


def test_a_missing_property_is_named_with_what_it_has_to_be() -> None:
    assert only(TICKETS, {}).message == "query is missing, but must be a string."


def test_an_unexpected_property_is_named_with_the_allowed_ones_and_the_likely_one() -> None:
    problem = only(TICKETS, {"query": "q", "limits": "hunter2"})
    assert problem.path == "limits"
    assert '"limit", "query"' in problem.allowed
    assert problem.message.endswith('Did you mean "limit"?')
    assert "hunter2" not in problem.message


def test_a_nearly_right_choice_is_suggested() -> None:
    assert only(TICKETS, {"query": "q", "status": "opne"}).message.endswith('Did you mean "open"?')


def test_a_long_list_of_choices_is_cut() -> None:
    problem = only({"enum": [f"choice-{n}" for n in range(500)]}, "none")
    assert problem.allowed.endswith("and 480 more")
    assert len(problem.message) < 600


def test_a_nullable_value_of_the_wrong_type_is_told_all_types() -> None:
    nullable = {"anyOf": [{"type": "integer", "maximum": 5}, {"type": "null"}]}
    assert only(nullable, "x").allowed == "an integer or null"
    assert only(nullable, 9).allowed == "at most 5"


def test_of_alternatives_the_one_that_was_meant_is_explained() -> None:
    assert only(SHAPES, {"kind": "square"}).message == "side is missing, but must be a number."


def test_a_discriminator_that_fits_no_alternative_is_told_its_values() -> None:
    assert only(SHAPES, {"kind": "cube"}).message == 'kind is "cube", but must be one of "circle", "square".'


def test_alternatives_that_cannot_be_told_apart_are_listed() -> None:
    schema = {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert only(schema, {}).allowed == "one of 2 alternatives, which want: (1) a: given; (2) b: given"


@pytest.mark.parametrize(
    ("schema", "instance", "path", "allowed"),
    [
        ({"const": 1}, 2, "", "exactly 1"),
        ({"multipleOf": 5}, 7, "", "a multiple of 5"),
        ({"exclusiveMinimum": 5}, 5, "", "greater than 5"),
        ({"exclusiveMaximum": 5}, 5, "", "less than 5"),
        ({"minItems": 2}, [1], "", "an array of at least 2 items"),
        ({"minProperties": 2}, {}, "", "an object with at least 2 properties"),
        ({"maxProperties": 0}, {"a": 1}, "", "an object with at most 0 properties"),
        ({"not": {"type": "string"}}, "x", "", "anything but a string"),
        ({"properties": {"a": False}}, {"a": 1}, "a", "left out: no value is allowed here"),
        ({"propertyNames": {"maxLength": 2}}, {"abc": 1}, "abc", "a property whose name is at most 2 characters long"),
        (
            {"contains": {"type": "string"}, "minContains": 2},
            [1],
            "",
            "an array in which at least 2 of the items match: a string",
        ),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "b", "given"),
        ({"unevaluatedProperties": False}, {"a": 1}, "a", "left out: no property is allowed here"),
        (
            {"prefixItems": [True], "unevaluatedItems": False},
            [1, 2],
            "",
            "an array without the items beyond those described",
        ),
        ({"prefixItems": [True], "items": False}, [1, 2], "[1]", "left out: no value is allowed here"),
        (
            {"oneOf": [{"type": "integer"}, {"minimum": 1}]},
            3,
            "",
            "valid for exactly one of the alternatives, and is valid for several",
        ),
        ({"items": {"items": {"type": "null"}}}, [[], [None, 1]], "[1][1]", "null"),
        (
            {"properties": {"a b": {"properties": {"c.d": {"type": "null"}}}}},
            {"a b": {"c.d": 1}},
            '["a b"]["c.d"]',
            "null",
        ),
        (False, 1, "", "left out: no value is allowed here"),
        ({"properties": {"0": {"properties": {"007": {"type": "null"}}}}}, {"0": {"007": 1}}, '["0"]["007"]', "null"),
        ({"properties": {"": {"properties": {"a": {"type": "null"}}}}}, {"": {"a": 1}}, '[""].a', "null"),
    ],
)
def test_every_keyword_has_its_words(schema: Any, instance: Any, path: str, allowed: str) -> None:
    problem = only(schema, instance)
    assert (problem.path, problem.allowed) == (path, allowed)


def test_the_number_of_problems_is_bounded() -> None:
    validator = compile_schema({"items": {"type": "string"}})
    assert len(validator.problems(list(range(50)))) == 10
    assert len(validator.problems(list(range(50)), limit=3)) == 3


def test_a_huge_wrong_instance_is_answered_quickly() -> None:
    validator = compile_schema({"items": {"type": "string"}})
    began = time.thread_time()
    assert validator.problems(list(range(200_000)))
    assert time.thread_time() - began < 0.5


# --- what is not shown ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instance",
    ["x" * 100_000, "\x00" * 1000, "\u202e" * 1000, "é" * 79, pytest.param(10**5000, id="huge"), {"a" * 9999: 1}],
)
def test_long_values_are_cut_and_unprintable_ones_escaped(instance: Any) -> None:
    problem = only({"type": "null"}, instance)
    assert len(problem.found) <= 80
    assert len(problem.message) < 200
    assert problem.message.isprintable()


def test_a_huge_integer_is_told_by_its_size() -> None:
    assert only({"type": "null"}, 10**5000).found == "an integer of 16610 bits"


def test_a_long_property_name_is_cut() -> None:
    problem = only({"additionalProperties": {"type": "null"}}, {"a" * 10_000: 1})
    assert len(problem.path) < 100


SECRETS = [
    {"properties": {"pw": {"writeOnly": True, "type": "string", "minLength": 50}}},
    {"properties": {"pw": {"format": "password", "enum": ["a", "b"]}}},
    {"properties": {"pw": {"$ref": "#/$defs/secret"}}, "$defs": {"secret": {"writeOnly": True, "const": "x"}}},
    {"properties": {"pw": {"allOf": [{"format": "password"}], "pattern": "^x$"}}},
    {"properties": {"pw": {"anyOf": [{"writeOnly": True, "type": "null"}, {"type": "integer"}]}}},
    {"properties": {"pw": {"oneOf": [{"writeOnly": True, "maxLength": 1}, {"minLength": 99}]}}},
    {"additionalProperties": {"writeOnly": True, "type": "integer"}},
    {"patternProperties": {"^p": {"writeOnly": True, "type": "integer"}}},
    {"writeOnly": True, "properties": {"pw": {"type": "integer"}}},
    {"properties": {"pw": {"$ref": "#s"}}, "$defs": {"s": {"$anchor": "s", "writeOnly": True, "type": "null"}}},
    {"if": {"required": ["pw"]}, "then": {"properties": {"pw": {"writeOnly": True, "type": "null"}}}},
    {"properties": {"pw": {"not": {"type": "string"}, "writeOnly": True}}},
    {"properties": {"pw": {"type": "null"}}, "dependentSchemas": {"pw": {"properties": {"pw": {"writeOnly": True}}}}},
]


@pytest.mark.parametrize("schema", SECRETS)
def test_a_secret_is_not_shown(schema: dict[str, Any]) -> None:
    problems = compile_schema(schema).problems({"pw": "hunter2"})
    assert problems
    assert "hunter2" not in repr(problems)


def test_what_an_object_or_array_holds_is_not_shown() -> None:
    assert "hunter2" not in repr(compile_schema({"type": "string"}).problems({"pw": "hunter2"}))
    assert "hunter2" not in repr(compile_schema({"maxItems": 0}).problems(["hunter2"]))
