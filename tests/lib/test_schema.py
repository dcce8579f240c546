"""Compiling schemas: which are refused, what checking may cost, and that both checks agree on any JSON at all."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from lib.schema import SchemaError, Validator, compile_schema
from tests.lib.schemas import SHAPES, TICKETS, nested, only

# --- schemas that are not used ----------------------------------------------------------------------------------------

DOUBLING: dict[str, Any] = {"$ref": "#/$defs/d30", "$defs": {"d0": {"type": "string"}}}
for _n in range(1, 31):
    DOUBLING["$defs"][f"d{_n}"] = {"anyOf": [{"$ref": f"#/$defs/d{_n - 1}"}, {"$ref": f"#/$defs/d{_n - 1}"}]}


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        (3, "", "object, true or false, not 3"),
        ([], "", "not an array of 0 items"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "only JSON Schema 2020-12"),
        ({"$defs": {"a": {"$schema": "https://x.test/own"}}}, "/$defs/a/$schema", "only JSON Schema 2020-12"),
        ({"type": "strng"}, "/type", '"strng"'),
        ({"properties": {"a/b": {"minimum": "x"}}}, "/properties/a~1b/minimum", "must be a number"),
        ({"required": "a"}, "/required", "an array"),
        ({"minLength": -1}, "/minLength", "at least 0"),
        ({"$ref": "https://evil.test/a.json"}, "/$ref", "Nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, "/$ref", "Nothing is fetched"),
        ({"$ref": "other.json"}, "/$ref", "outside this schema"),
        ({"items": {"$dynamicRef": "https://evil.test/a#x"}}, "/items/$dynamicRef", "Nothing is fetched"),
        ({"$ref": "#/odd", "odd": {"$ref": "https://evil.test/"}}, "", "cannot be resolved"),
        ({"$ref": "#/$defs/none"}, "", "does not exist"),
        ({"$defs": {"a": {"$id": "https://x.test/a"}}}, "/$defs/a/$id", "use $defs"),
        ({"pattern": "("}, "/pattern", "regular expression"),
        ({"pattern": r"(a)\1"}, "/pattern", "look-around or back references"),
        ({"patternProperties": {"^(?!x)": True}}, "/patternProperties/^(?!x)", "look-around"),
        ({"pattern": "(?:a{1000}){1000}"}, "/pattern", "not too large"),
        ({"const": float("nan")}, "", "not JSON"),
        ({"const": object()}, "", "not JSON"),
        ({"const": "\ud800"}, "", "not JSON"),
        ({"description": "x" * 300_000}, "", "bytes"),
        ({"const": nested(70)}, "", "64 levels"),
        ({"const": nested(100_000)}, "", "64 levels"),
        (DOUBLING, "", "multiply"),
        (
            {"$ref": "#/$defs/0", "$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(5000)} | {"5000": {}}},
            "",
            "long a chain",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_a_reason_and_a_place(schema: Any, path: str, words: str) -> None:
    with pytest.raises(SchemaError) as refused:
        compile_schema(schema)
    assert words in refused.value.message
    assert refused.value.path == path
    assert len(str(refused.value)) < 400


def test_a_file_is_not_read_through_a_reference_in_a_place_only_the_engine_looks_at(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text('{"type": "string"}')
    with pytest.raises(SchemaError, match="cannot be resolved"):
        compile_schema({"$ref": "#/odd", "odd": {"$ref": outside.as_uri()}})


@pytest.mark.parametrize(
    "schema",
    [
        {"const": {"$ref": "https://data.test/", "$id": "data"}},
        {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}},
        {"examples": [{"$schema": "anything"}], "default": {"$ref": "x"}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema#"},
        {"$id": "https://own.test/tickets", "$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        {"x-vendor": {"anything": 1}, "unknownKeyword": True},
        True,
    ],
)
def test_data_that_looks_like_a_keyword_and_unknown_keywords_are_fine(schema: Any) -> None:
    compile_schema(schema)


def test_changing_the_schema_afterwards_changes_nothing() -> None:
    schema: dict[str, Any] = {"properties": {"a": {"type": "string"}}, "required": ["a"]}
    validator = compile_schema(schema)
    schema["properties"]["a"]["type"] = "integer"
    assert validator.problems({})[0].allowed == "a string"
    assert validator.is_valid({"a": "text"})


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#"}]}}}],
)
def test_a_schema_that_refers_to_itself_in_place_ends(schema: dict[str, Any]) -> None:
    assert compile_schema(schema).is_valid({"a": [1]})


def test_a_pattern_made_for_backtracking_is_matched_in_linear_time() -> None:
    validator = compile_schema({"pattern": "^(a+)+$"})
    began = time.thread_time()
    assert not validator.is_valid("a" * 100_000 + "b")
    assert time.thread_time() - began < 1


DEEP = """
import sys
from lib.schema import compile_schema
value = {} if sys.argv[1] == "object" else []
for _ in range(10_000):
    value = {"a": value} if sys.argv[1] == "object" else [value]
for schema in (
    True,
    {"type": "string"},
    {"items": {"$ref": "#"}},
    {"properties": {"a": {"$ref": "#"}}, "additionalProperties": False},
    {"anyOf": [{"type": "null"}, {"additionalProperties": {"$ref": "#"}}]},
    {"uniqueItems": True},
    {"const": [1]},
):
    validator = compile_schema(schema)
    assert not validator.is_valid(value)
    (problem,) = validator.problems(value)
    assert problem.allowed.startswith("nested at most"), problem
"""


@pytest.mark.parametrize("container", ["array", "object"])
def test_an_instance_nested_ten_thousand_deep_is_a_problem_and_not_a_crash(container: str) -> None:
    # In its own process, because the failure this guards against is a stack overflow of the engine.
    done = subprocess.run([sys.executable, "-c", DEEP, container], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_instance_as_deep_as_allowed_is_checked_to_the_bottom() -> None:
    validator = compile_schema({"items": {"$ref": "#"}, "type": "array"})
    assert validator.is_valid(nested(64))
    assert not validator.is_valid(nested(65))
    value = nested(63)
    bottom = value
    while bottom:
        bottom = bottom[0]
    bottom.append("wrong")
    assert validator.problems(value)[0].path == "[0]" * 63


BRANCHING = [
    {"oneOf": [{"type": "null"}, *[{"type": "array", "items": {"$ref": "#"}}] * 2]},
    {"anyOf": [{"properties": {"op": {"const": op}, "args": {"items": {"$ref": "#"}}}} for op in ("and", "or")]},
    {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["x"]}, {"additionalProperties": {"$ref": "#"}}]},
    {"allOf": [{"patternProperties": {"^a": {"$ref": "#"}}}], "properties": {"a": {"$ref": "#"}}},
]


@pytest.mark.parametrize("schema", BRANCHING)
def test_a_recursion_that_multiplies_is_bounded_in_depth(schema: dict[str, Any]) -> None:
    validator = compile_schema(schema)
    assert 6 <= validator.max_depth < 64
    value: Any = "leaf"
    for _ in range(validator.max_depth):
        value = {"a": value, "args": [], "op": "xor"}
    began = time.thread_time()
    validator.problems(value)
    validator.problems(nested(validator.max_depth))
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"type": "string"}, {"items": {"$ref": "#"}}, {"additionalProperties": {"$ref": "#"}}]},
        {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}, "additionalProperties": {"$ref": "#"}},
        {
            "anyOf": [
                {"properties": {"and": {"items": {"$ref": "#"}}}},
                {"properties": {"or": {"items": {"$ref": "#"}}}},
            ]
        },
        TICKETS,
    ],
)
def test_usual_recursive_schemas_keep_the_full_depth(schema: dict[str, Any]) -> None:
    assert compile_schema(schema).max_depth == 64


def test_the_fast_path_takes_microseconds() -> None:
    validator = compile_schema(TICKETS)
    instance = {"query": "printer", "limit": 10, "status": "open", "tags": ["a", "b"]}
    began = time.thread_time()
    for _ in range(10_000):
        validator.is_valid(instance)
    assert (time.thread_time() - began) / 10_000 < 50e-6  # it takes a few


# --- any JSON at all --------------------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=30)
)
NAMES = st.one_of(
    st.sampled_from(["", "0", "a", "query", "limit", "kind", "radius", "tags", "status"]), st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS | st.sampled_from(["open", "circle", "2026-01-31T09:30:00Z", 1, 2]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
FAMILY: list[Any] = [
    {key: value for key, value in TICKETS.items() if key != "$schema"} | {"format": "unasserted"},
    SHAPES,
    *BRANCHING,
    {"type": ["integer", "null"], "multipleOf": 2},
    {"type": "array", "contains": {"type": "integer"}, "maxContains": 2, "uniqueItems": True},
    {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "boolean"}},
    {"if": {"required": ["a"]}, "then": {"required": ["limit"]}, "else": {"maxProperties": 1}},
    {"allOf": [{"properties": {"a": True}}], "unevaluatedProperties": {"type": "integer"}},
    {"propertyNames": {"maxLength": 5}, "dependentRequired": {"a": ["limit"]}, "minProperties": 1},
    {"not": {"anyOf": [{"type": "string"}, {"const": {"a": 1}}]}},
    {
        "$ref": "#/$defs/tree",
        "$defs": {"tree": {"type": ["object", "integer"], "additionalProperties": {"$ref": "#/$defs/tree"}}},
    },
    {"enum": [1, "open", None, {"a": []}, []]},
    False,
]
COMPILED: list[tuple[Validator, Any]] = [(compile_schema(schema), Draft202012Validator(schema)) for schema in FAMILY]


@given(JSON, st.integers(0, len(FAMILY) - 1))
@settings(max_examples=600, deadline=None)
def test_both_checks_agree_with_each_other_and_with_the_reference(instance: Any, member: int) -> None:
    validator, reference = COMPILED[member]
    problems = validator.problems(instance)
    assert validator.is_valid(instance) == (problems == [])
    if not isinstance(instance, dict) or "since" not in instance:  # the reference does not assert formats
        assert validator.is_valid(instance) == reference.is_valid(instance)
    for problem in problems:
        assert len(problem.found) <= 80
        assert problem.message.isprintable()
        assert problem.message.endswith((".", "?"))


ODD = st.sampled_from(["\ud800", float("nan"), float("inf"), 10**400, object(), b"bytes", (1,), {1: 2}])
ANYTHING = st.recursive(
    SCALARS | ODD | st.builds(lambda: -(10**5000)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.just("\ud800"), inner, max_size=3),
    max_leaves=8,
)


@given(ANYTHING, st.integers(0, len(FAMILY) - 1))
@settings(max_examples=400, deadline=None)
def test_not_even_what_is_no_json_makes_a_check_raise(instance: Any, member: int) -> None:
    validator, _ = COMPILED[member]
    assert validator.is_valid(instance) == (validator.problems(instance) == [])


def test_text_the_engine_cannot_read_is_a_problem_with_its_place() -> None:
    instance = json.loads(r'{"query": "q", "limit": "\ud800"}')
    problem = only(TICKETS, instance)
    assert (problem.path, problem.allowed) == ("limit", "valid Unicode")
