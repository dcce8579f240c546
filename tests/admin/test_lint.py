"""The description lint, rule by rule: what it finds, what it leaves alone; differences and examples."""

from typing import Any

import pytest

from lib.schema import compile_schema
from tools.differences import LABELS, differences
from tools.example import example
from tools.lint import FEWEST, MOST, Level, lint

ANNOTATIONS = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
WRITES = {**ANNOTATIONS, "readOnlyHint": False}
DELETES = {**WRITES, "destructiveHint": True}
QUERY = {"type": "string", "maxLength": 200, "description": "Words to look for."}
GOOD: dict[str, Any] = {
    "name": "search_tickets",
    "description": "Search tickets by words. Use it when you have no number; never for one ticket. Changes nothing.",
    "inputSchema": {"type": "object", "properties": {"query": QUERY}, "additionalProperties": False},
    "annotations": ANNOTATIONS,
}
SISTERS = [
    {"name": name, "description": description, "inputSchema": {"type": "object"}, "annotations": ANNOTATIONS}
    for name, description in {
        "get_weather": "Forecast for a city and a day.",
        "send_invoice": "Bill an account by post.",
        "list_rooms": "Meeting places in the building.",
        "rotate_logs": "Compress yesterday's files.",
    }.items()
]


def _with(**changed: Any) -> dict[str, Any]:
    return GOOD | changed


def _takes(**properties: Any) -> dict[str, Any]:
    return _with(inputSchema={"type": "object", "properties": properties, "additionalProperties": False})


def test_a_well_described_tool_has_no_findings() -> None:
    assert lint(GOOD, SISTERS) == []


HITS: dict[str, tuple[dict[str, Any], str, Level]] = {
    "one word": (_with(name="tickets"), "name", Level.WARNING),
    "noun first": (_with(name="tickets_search"), "name", Level.HINT),
    "short": (_with(description="Use it when asked, never else."), "short", Level.WARNING),
    "no when": (
        _with(description="Tickets by words, but not for a single one of them. Changes nothing."),
        "when",
        Level.WARNING,
    ),
    "no when not": (
        _with(description="Search tickets by words. Use it when asked for tickets. Changes nothing."),
        "when-not",
        Level.WARNING,
    ),
    "silent reader": (_with(description=GOOD["description"].replace(" Changes nothing.", "")), "effects", Level.HINT),
    "reader that deletes": (_with(name="delete_tickets"), "effects", Level.PROBLEM),
    "writer that says it reads": (_with(name="add_note", annotations=WRITES), "effects", Level.PROBLEM),
    "silent writer": (
        _with(
            name="add_note",
            annotations=WRITES,
            description="For notes. Use it when asked, never for anything else at all.",
        ),
        "effects",
        Level.WARNING,
    ),
    "silent loss": (
        _with(
            name="apply_plan",
            annotations=DELETES,
            description="Writes a plan. Use it when asked, never for anything else.",
        ),
        "effects",
        Level.WARNING,
    ),
    "delete without the mark": (
        _with(
            name="delete_note",
            annotations=WRITES,
            description="Deletes a note. Use it when asked, never unasked. Cannot be undone.",
        ),
        "effects",
        Level.PROBLEM,
    ),
    "parameter without a description": (_takes(query={"type": "string", "maxLength": 9}), "parameters", Level.WARNING),
    "nested parameter": (
        _takes(a={"type": "object", "description": "A.", "properties": {"b": {"type": "boolean"}}}),
        "parameters",
        Level.WARNING,
    ),
    "unbounded text": (_takes(query={"type": "string", "description": "Words."}), "bounds", Level.HINT),
    "unbounded number": (_takes(n={"type": "integer", "minimum": 1, "description": "Count."}), "bounds", Level.HINT),
    "unbounded list": (_takes(n={"type": "array", "description": "Names."}), "bounds", Level.HINT),
    "choices in prose": (
        _takes(s={"type": "string", "maxLength": 9, "description": "One of open, pending or closed."}),
        "enumerations",
        Level.WARNING,
    ),
    "open object": (_with(inputSchema={"type": "object", "properties": {"query": QUERY}}), "additional", Level.HINT),
    "long": (_with(description=GOOD["description"] * 80), "size", Level.WARNING),
}


@pytest.mark.parametrize("case", HITS)
def test_the_lint_finds(case: str) -> None:
    manifest, rule, level = HITS[case]
    found = [finding for finding in lint(manifest, SISTERS) if finding.rule == rule]
    assert [finding.level for finding in found] == [level]
    assert all(finding.message and finding.remedy for finding in found)


MISSES: dict[str, tuple[dict[str, Any], str]] = {
    "camel case": (_with(name="searchTickets"), "name"),
    "kebab case": (_with(name="search-tickets"), "name"),
    "another tool is the better one": (
        _with(description="Search tickets by words. Use it when asked; use get_ticket for one. Changes nothing."),
        "when-not",
    ),
    "writer that says so": (
        _with(
            name="add_note",
            annotations=WRITES,
            description="Adds a note. Use it when asked, never unasked. Twice adds two.",
        ),
        "effects",
    ),
    "deleter that says so": (
        _with(
            name="delete_note",
            annotations=DELETES,
            description="Deletes a note. Use it when asked, never unasked. Permanent.",
        ),
        "effects",
    ),
    "enumeration": (
        _takes(s={"enum": ["a", "b"], "type": "string", "description": "Either a, b or c."}),
        "enumerations",
    ),
    "format": (_takes(s={"type": "string", "format": "date", "description": "Day."}), "bounds"),
    "both bounds": (_takes(n={"type": "number", "exclusiveMinimum": 0, "maximum": 9, "description": "N."}), "bounds"),
    "no parameters": (_with(inputSchema={"type": "object"}), "additional"),
}


@pytest.mark.parametrize("case", MISSES)
def test_the_lint_leaves_alone(case: str) -> None:
    manifest, rule = MISSES[case]
    assert [finding for finding in lint(manifest, SISTERS) if finding.rule == rule] == []


def test_a_sister_that_reads_alike_is_an_overlap_unless_the_description_names_it() -> None:
    sister = GOOD | {"name": "find_tickets", "description": GOOD["description"].replace("Search", "Find")}
    assert "overlap" in {finding.rule for finding in lint(GOOD, [*SISTERS, sister])}
    told = _with(description=f"{GOOD['description']} For closed ones use find_tickets.")
    assert "overlap" not in {finding.rule for finding in lint(told, [*SISTERS, sister])}


@pytest.mark.parametrize(
    ("count", "level"),
    [(1, Level.HINT), (FEWEST - 1, Level.HINT), (FEWEST, None), (MOST, None), (MOST + 1, Level.WARNING)],
)
def test_the_number_of_tools_is_judged_at_its_bounds(count: int, level: Level | None) -> None:
    sisters = [{"name": f"get_{chr(97 + n) * 3}", "description": f"{chr(97 + n) * 5}"} for n in range(count - 1)]
    assert [finding.level for finding in lint(GOOD, sisters) if finding.rule == "count"] == ([level] if level else [])


def test_a_list_that_crowds_out_the_conversation_is_said() -> None:
    sisters = [{"name": f"get_{chr(97 + n) * 3}", "description": chr(97 + n) * 8000} for n in range(6)]
    assert "list-size" in {finding.rule for finding in lint(GOOD, sisters)}


def test_the_weightiest_findings_come_first() -> None:
    found = lint(_with(name="delete_tickets", inputSchema={"type": "object", "properties": {"a": {}}}), [])
    levels = [finding.level for finding in found]
    assert levels == sorted(levels, key=list(Level).index)
    assert levels[0] is Level.PROBLEM


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": []},
        {"properties": {"a": True}},
        {"properties": {"a": {"properties": 5, "items": []}}},
        {"$defs": 7},
    ],
)
def test_a_schema_of_any_shape_is_no_error(schema: Any) -> None:
    assert isinstance(lint(_with(inputSchema=schema), []), list)


def test_differences_are_by_field_and_line() -> None:
    before = dict.fromkeys(LABELS, "") | {"config": {"a": 1, "b": 2}, "read_only": True}
    after = before | {"config": {"b": 3, "a": 1}, "read_only": False, "title": "New"}
    found = {one.field: one.lines for one in differences(before, after)}
    assert set(found) == {"config", "read_only", "title"}
    assert ("-", '  "b": 2') in found["config"]
    assert ("+", '  "b": 3') in found["config"]
    assert (" ", '  "a": 1,') in found["config"]
    assert list(found["read_only"]) == [("-", "yes"), ("+", "no")]
    assert list(found["title"]) == [("+", "New")]


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object"},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "minLength": 12, "maxLength": 20}}},
    {"type": "object", "required": ["a"], "properties": {"a": {"enum": ["x", "y"]}}},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "format": "date-time"}}},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "exclusiveMinimum": 3}}},
    {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "array", "minItems": 1, "items": {"type": "boolean"}}},
    },
    {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"const": 5}}},
    {"type": "object", "required": ["a"], "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_an_example_fits_its_schema(schema: dict[str, Any]) -> None:
    assert compile_schema(schema).is_valid(example(schema))


def test_a_schema_that_refers_to_itself_gives_a_bounded_example() -> None:
    schema = {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}}
    assert len(str(example(schema))) < 1000
