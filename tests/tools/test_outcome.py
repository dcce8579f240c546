"""What goes in and what comes out, as tables."""

from typing import Any

import pytest

from audit.models import Outcome
from tests.tools.plain import tool
from tests.tools.upstream import make_tool
from tools import outcome
from tools.catalog import LiveTool, secret_names
from tools.values import ABSENT, Audio, Block, Embedded, Image, ResourceLink, Result, Text


def text_of(result: Result) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, Text))


def settle(made: LiveTool, result: Result) -> Result:
    settled, _ = outcome.settle(made, result)
    return settled


def test_arguments_that_fit_are_let_through() -> None:
    assert outcome.check_arguments(tool(), {"anything": 1}) is None


def test_a_refusal_lists_every_problem_with_its_place() -> None:
    takes = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
        "required": ["c"],
        "additionalProperties": False,
    }
    refused = outcome.check_arguments(tool(takes=takes), {"a": "one", "b": "z", "d": 1})
    assert refused is not None
    assert refused.reason == "invalid_arguments"
    assert refused.message.startswith("t was not run: its arguments do not fit.\n- ")
    assert refused.message.endswith("Mend them and call again.")
    for word in ("a", "integer", "x", "y", "c", "d"):
        assert word in refused.message


GIVES = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("gives", "result", "is_error", "reason"),
    [
        (None, Result.of_text("x"), False, ""),
        (None, Result.of_data({"anything": 1}), False, ""),
        (GIVES, Result.of_data({"n": 1}), False, ""),
        (GIVES, Result.of_data({"n": "one"}), True, "invalid_output"),
        (GIVES, Result.of_text("x"), True, "invalid_output"),
        (GIVES, Result.of_error("no", "upstream_error"), True, "upstream_error"),
        ({"type": "null"}, Result.of_data(None), False, ""),
        (None, Result(structured={1, 2}), True, "invalid_output"),
        (None, Result(structured=2**70), True, "invalid_output"),
        (GIVES, Result(structured=object()), True, "invalid_output"),
        (None, Result.of_data(2**70), True, "invalid_output"),
        (None, Result.of_data({"a": "\ud800"}), True, "invalid_output"),
    ],
)
def test_a_result_keeps_its_schema_or_becomes_an_error(gives: Any, result: Result, is_error: bool, reason: str) -> None:
    settled = settle(tool(gives=gives), result)
    assert (settled.is_error, settled.reason) == (is_error, reason)
    assert (settled.structured is ABSENT) is (is_error or result.structured is ABSENT)


def test_data_is_repeated_as_text_unless_there_is_a_text_of_its_own() -> None:
    assert text_of(settle(tool(), Result.of_data({"n": [1, None]}))) == '{"n":[1,null]}'
    assert text_of(settle(tool(), Result.of_data(None))) == "null"
    given = Result(content=(Text(text="one"),), structured={"n": 1})
    assert text_of(settle(tool(), given)) == "one"


def test_a_number_that_json_cannot_carry_is_told_in_a_sentence() -> None:
    told = text_of(settle(tool(), Result.of_data({"n": 2**70})))
    assert told.startswith("t gave a value that JSON cannot carry: Integer exceeds 64-bit range.")


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ((Text(text="x" * 10),), ["x" * 10]),
        ((Text(text="x" * 11),), ["x" * 10]),
        ((Text(text="ü" * 6),), ["ü" * 5]),
        ((Text(text="aü" * 4),), ["aüaüaü" + "a"]),
        ((Text(text="xxx"), Text(text="y" * 20)), ["xxx", "y" * 7]),
        ((Text(text="xxx"), Image(data="y" * 20, mime_type="image/png"), Text(text="z")), ["xxx"]),
        ((Image(data="y" * 20, mime_type="image/png"),), []),
    ],
)
def test_a_result_over_the_bound_is_cut_to_whole_characters(content: tuple[Block, ...], kept: list[str]) -> None:
    settled = settle(tool(max_result=10), Result(content=content))
    texts = [block.text for block in settled.content if isinstance(block, Text)]
    if len(content) == 1 and isinstance(content[0], Text) and len(content[0].text.encode()) <= 10:
        assert texts == kept
        return
    assert texts[:-1] == kept
    assert texts[-1].startswith("[Cut: the result has ")
    assert "t may give 10" in texts[-1]
    assert settled.reason == "result_too_large"
    assert not settled.is_error


def test_where_structured_content_is_promised_too_much_is_an_error() -> None:
    settled = settle(tool(gives={"type": "string"}, max_result=300), Result.of_data("x" * 500))
    assert (settled.is_error, settled.structured is ABSENT, settled.reason) == (True, True, "result_too_large")


def test_structured_content_alone_counts_too() -> None:
    settled = settle(tool(max_result=300), Result(content=(Text(text="short"),), structured="x" * 500))
    assert settled.structured is ABSENT
    assert "502 bytes" in text_of(settled)


@pytest.mark.parametrize(
    "block",
    [
        Image(data="y" * 2000, mime_type="image/png"),
        Audio(data="y" * 2000, mime_type="audio/wav"),
        Embedded(uri="x:y", mime_type="text/plain", text="y" * 2000),
        Embedded(uri="x:y", mime_type="image/png", blob="y" * 2000),
        ResourceLink(uri="x:" + "y" * 2000, name="y"),
    ],
)
def test_every_sort_of_content_counts(block: Block) -> None:
    assert settle(tool(), Result(content=(block,))).reason == "result_too_large"


@pytest.mark.parametrize(
    ("result", "size"),
    [
        (Result.of_text("xü"), 3),
        (Result.of_data({"a": "ü"}), 2 * len('{"a":"ü"}'.encode())),
        (Result(content=(Text(text="one"),), structured={"n": 1}), 3 + len('{"n":1}')),
        (Result(content=(Text(text="one"), Text(text="a note", by_hub=True))), 3),
        (Result.of_text("x" * 2000), 1000),
        (Result(content=(Text(text="x" * 1000),), structured="x" * 998), 2000),
        (Result(content=(Text(text="one"),), structured="x" * 2000), 3),
    ],
)
def test_the_bytes_of_a_result_are_those_of_its_content_and_of_its_structure(result: Result, size: int) -> None:
    assert outcome.settle(tool(max_result=1000), result)[1] == size


def test_what_is_reserved_is_no_less_than_what_may_be_counted() -> None:
    made = make_tool(None, {"function": "echo"}, kind="function", max_result=1000)
    most = Result(content=(Text(text="x" * 1000),), structured="x" * 998)
    assert outcome.settle(made, most)[1] == made.subject.most_bytes


@pytest.mark.parametrize(
    ("result", "named"),
    [
        (Result.of_text("x"), Outcome.OK),
        (Result.of_error("x"), Outcome.ERROR),
        (Result.of_error("x", "timeout"), Outcome.TIMEOUT),
        (Result.of_error("x", "upstream_timeout"), Outcome.TIMEOUT),
    ],
)
def test_the_ledger_names_the_end(result: Result, named: Outcome) -> None:
    assert outcome.of(result) is named


SECRET = {"type": "string", "writeOnly": True}


@pytest.mark.parametrize(
    ("properties", "hidden"),
    [
        ({"a": {"type": "string"}}, set()),
        ({"a": SECRET, "b": {}}, {"a"}),
        ({"a": {"format": "password"}}, {"a"}),
        ({"a": {"anyOf": [SECRET, {"type": "null"}]}}, {"a"}),
        ({"a": {"type": "array", "items": SECRET}}, {"a"}),
        ({"a": {"$ref": "#/$defs/s"}}, {"a"}),
        ({"a": {"allOf": [{"$ref": "#/$defs/loop"}]}}, set()),
        ({"a": {"type": "object", "properties": {"b": SECRET}}}, {"b"}),
        ({"a": {"$ref": "#/$defs/o"}}, {"b"}),
        ({"a": {"default": {"format": "password"}}}, set()),
        ({"a": True, "b": {"$ref": "https://example.com/x"}, "c": {"$ref": "#/nowhere/at~1all"}}, set()),
    ],
)
def test_what_a_schema_marks_as_secret_is_found(properties: Any, hidden: set[str]) -> None:
    definitions = {
        "s": SECRET,
        "o": {"type": "object", "properties": {"b": SECRET}},
        "loop": {"items": {"$ref": "#/$defs/loop"}},
    }
    assert secret_names({"type": "object", "properties": properties, "$defs": definitions}) - {"b"} == hidden - {"b"}
    found = secret_names({"type": "object", "properties": properties})
    assert ("b" in found) is ("b" in hidden and "$ref" not in str(properties))
