"""Kind `http` refuses a config that cannot work when it is saved, and says why."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tools.kinds import http


@pytest.mark.parametrize(
    ("config", "taught"),
    [
        ({"path": "tickets"}, "starts with /"),
        ({"path": "https://evil.example/"}, "starts with /"),
        ({"path": "//evil.example/"}, "must not hold //"),
        ({"path": "/a/../b"}, "segments"),
        ({"path": "/a/%2e%2E/b"}, "segments"),
        ({"path": "/a/%252e%252e%252fb"}, "segments"),
        ({"path": "/a%0d%0ab"}, "control characters"),
        ({"path": "/a?b=c"}, "percent-encode it"),
        ({"path": "/a#b"}, "percent-encode it"),
        ({"path": "/a\\b"}, "percent-encode it"),
        ({"path": "/a b"}, "percent-encode it"),
        ({"path": "/{+a}"}, "RFC 6570 level 1"),
        ({"path": "/{?a}"}, "RFC 6570 level 1"),
        ({"path": "/{a*}"}, "RFC 6570 level 1"),
        ({"path": "/{a:3}"}, "RFC 6570 level 1"),
        ({"path": "/{a,b}"}, "RFC 6570 level 1"),
        ({"path": "/{}"}, "RFC 6570 level 1"),
        ({"path": "/{a"}, "percent-encode it"),
        ({"path": "/{a}/{a}"}, "twice"),
        ({"path": "/t", "surprise": 1}, "Extra inputs"),
        ({"path": "/t", "method": "TRACE"}, "Input should be"),
        ({"path": "/t", "retries": 4}, "less than or equal to 3"),
        ({"path": "/t", "body": {"a": 1}}, "GET has no body"),
        ({"path": "/t", "parameters": {"a": {"in": "body"}}}, "GET has none"),
        ({"path": "/t", "parameters": {"a": {"in": "cookie"}}}, "Input should be"),
        ({"path": "/t", "parameters": {"a": {"in": "path"}}}, "has no {a}"),
        ({"path": "/{a}", "parameters": {"a": {"in": "query"}}}, "nothing fills {a}"),
        ({"path": "/t", "query": {"a": "1"}, "parameters": {"a": {"in": "query"}}}, "already taken"),
        (
            {"path": "/t", "headers": {"X-A": "1"}, "parameters": {"a": {"in": "header", "name": "x-a"}}},
            "already taken",
        ),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "Authorization"}}}, "carries credentials"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "cookie"}}}, "carries credentials"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "Host"}}}, "the hub sets it"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "Transfer-Encoding"}}}, "the hub sets it"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "X-HTTP-Method-Override"}}}, "the hub sets it"),
        ({"path": "/t", "parameters": {"a": {"in": "header", "name": "X A"}}}, "not a header's name"),
        ({"path": "/t", "headers": {"Connection": "close"}}, "the hub sets it"),
        ({"path": "/t", "headers": {"Authorization": "Bearer x"}}, "carries credentials"),
        ({"path": "/t", "headers": {"X-A": "a\r\nb"}}, "printable ASCII"),
        ({"path": "/t", "statuses": {"4040": "ok"}}, "not a status"),
        ({"path": "/t", "statuses": {"404": "fine"}}, "statuses"),
        ({"path": "/t", "response": "tickets[?"}, "not a JMESPath expression"),
        ({"path": "/t", "response": "a[].nosuch(@)"}, "no function nosuch"),
        ({"path": "/t", "response": "a[].length(@, @)"}, "takes 1 arguments, not 2"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_the_reason(config: dict[str, Any], taught: str) -> None:
    with pytest.raises(ValidationError) as problem:
        http.Config.model_validate(config)
    assert taught in str(problem.value)


def test_every_field_of_the_form_explains_itself_in_a_sentence() -> None:
    schema = http.Config.model_json_schema()
    models = [schema, *(model for model in schema["$defs"].values() if "properties" in model)]
    descriptions = [field["description"] for model in models for field in model["properties"].values()]
    assert len(descriptions) == 11 + 3 + 1 + 12 + 2 + 2
    assert all(description.endswith(".") for description in descriptions)


def test_a_config_survives_being_stored() -> None:
    given = {
        "method": "POST",
        "path": "/t/{id}",
        "parameters": {"ticket": {"in": "path", "name": "id"}},
        "response": "tickets[].id",
        "statuses": {"404": {"error": "No such ticket."}, "4xx": "empty"},
    }
    config = http.Config.model_validate(given)
    assert http.Config.model_validate(config.model_dump(mode="json", by_alias=True)) == config


REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "kinds.md"


def test_the_reference_names_every_field_and_its_examples_are_valid() -> None:
    section = REFERENCE.read_text().partition("\n## http\n")[2].partition("\n## function\n")[0]
    fields = {*http.Config.model_fields, *http.Asynchronous.model_fields, "in", "name", "slashes"}
    assert fields == set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    examples = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        http.Config.model_validate_json(example)
