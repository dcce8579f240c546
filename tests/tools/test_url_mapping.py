"""Whatever the arguments, a request stays where its tool says: property tests over the mapping to URLs."""

import re
import uuid
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from lib.fetch import Outbound
from tests.callers import UMA
from tests.tools.upstream import make_tool
from tools.catalog import LiveConnection
from tools.errors import ToolError
from tools.kinds.http_request import build
from tools.values import Call, Origin

BASE = "https://api.example.com/v1"
CONNECTION = LiveConnection(
    id=1,
    name="Help desk",
    base_url=BASE + "/",
    auth="none",
    auth_name="",
    username="",
    secret="",
    allow_hosts=frozenset(),
)

# Text that is likely to hurt, mixed with text of any other kind.
nasty = st.lists(
    st.sampled_from(
        [".", "..", "/", "\\", "%2e", "%2F", "%5c", "%25", "?", "#", ";", "@", ":", "\r\n", "\x00", "{b}", "é"]
    )
    | st.text(max_size=3),
    max_size=6,
).map("".join)
scalars = nasty | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


def mapped(config: dict[str, Any], arguments: dict[str, Any]) -> Outbound:
    tool = make_tool(CONNECTION, config)
    call = Call(id=uuid.UUID(int=0), caller=UMA, tool=tool, arguments=arguments, origin=Origin(via="mcp"))
    return build(call, CONNECTION, timeout=5)


def layers(path: str) -> list[str]:
    """The path as every reader of it may see it: as sent, and after each round of decoding."""
    seen = [path]
    while (decoded := unquote(seen[-1])) != seen[-1]:
        seen.append(decoded)
    return seen


@given(a=scalars, b=scalars)
@example(a="..", b="x")
@example(a="../../admin", b="x")
@example(a="%2e%2e", b="x")
@example(a="%252e%252e%252fadmin", b="x")
@example(a="..;", b="x")
@example(a="https://evil.example/", b="x")
@example(a="//evil.example", b="x")
@example(a="x?admin=1", b="x#y")
@example(a="x\r\nHost: evil.example", b="x")
@example(a="{b}", b="x")
def test_no_path_value_leaves_its_segment(a: Any, b: Any) -> None:
    try:
        sent = mapped({"path": "/tickets/{a}/parts/{b}.json"}, {"a": a, "b": b}).url
    except ToolError:
        return
    assert re.fullmatch(rf"{re.escape(BASE)}/tickets/[^/?#\\\s]+/parts/[^/?#\\\s]+\.json", sent)
    url = URL(sent)  # as the outbound client reads it
    assert url.origin() == URL("https://api.example.com")
    assert (url.raw_query_string, url.raw_fragment) == ("", "")
    assert re.fullmatch(r"/v1/tickets/[^/]+/parts/[^/]+\.json", url.raw_path)
    for seen in layers(url.raw_path):
        assert seen.count("/") == 5
        assert not {".", ".."} & {segment.partition(";")[0] for segment in seen.split("/")}
        assert not re.search(r"[\x00-\x1f\x7f\\]", seen)


@given(a=scalars)
@example(a="a/../../admin")
@example(a="a\\..\\..\\admin")
@example(a="group/project")
def test_a_value_that_may_hold_slashes_still_does_not_climb(a: Any) -> None:
    config = {"path": "/files/{a}", "parameters": {"a": {"in": "path", "slashes": True}}}
    try:
        url = URL(mapped(config, {"a": a}).url)
    except ToolError:
        return
    assert re.fullmatch(r"/v1/files/[^/]+", url.raw_path)
    for seen in layers(url.raw_path):
        assert not {".", ".."} & {segment.partition(";")[0] for segment in re.split(r"[/\\]", seen)}


@given(a=st.text(alphabet=".%2eE5x", min_size=1, max_size=6), b=st.text(alphabet=".%2eE5x", min_size=1, max_size=6))
@example(a=".", b=".")
@example(a="%2", b="e.")
def test_neighbouring_values_do_not_make_dots_together(a: str, b: str) -> None:
    try:
        url = URL(mapped({"path": "/x/{a}{b}/y"}, {"a": a, "b": b}).url)
    except ToolError:
        return
    assert all(not {".", ".."} & set(seen.split("/")) for seen in layers(url.raw_path))
    assert url.raw_path.startswith("/v1/x/")


@given(arguments=st.dictionaries(nasty.filter(lambda name: name != "fixed"), scalars | st.lists(scalars, max_size=3)))
def test_query_arguments_arrive_as_they_were_and_change_nothing_else(arguments: dict[str, Any]) -> None:
    url = URL(mapped({"path": "/tickets", "query": {"fixed": "yes"}}, arguments).url)
    assert url.with_query(None) == URL(f"{BASE}/tickets")
    assert url.raw_fragment == ""
    assert url.query.getall("fixed") == ["yes"]
    for name, value in arguments.items():
        items = value if isinstance(value, list) else [value]
        texts = [item for item in items if isinstance(item, str)]
        arrived = url.query.getall(name, [])
        assert len(arrived) == len(items)
        assert [text for text, item in zip(arrived, items, strict=True) if isinstance(item, str)] == texts


@given(value=st.text())
def test_a_header_value_is_one_printable_line_or_refused(value: str) -> None:
    config = {"path": "/t", "parameters": {"a": {"in": "header", "name": "X-A"}}}
    try:
        headers = mapped(config, {"a": value}).headers
    except ToolError:
        return
    assert headers["X-A"] == value.strip()
    assert re.fullmatch(r"[\t\x20-\x7e]*", headers["X-A"])
    assert set(headers) == {"X-A", "User-Agent", "Accept"}


@given(value=st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30))
def test_a_usual_value_comes_through_the_path_unchanged(value: str) -> None:
    try:
        url = URL(mapped({"path": "/tickets/{a}"}, {"a": value}).url)
    except ToolError as problem:
        assert re.search(r"[/\\%.]", value), problem  # noqa: PT017 - the reason matters
        return
    assert url.raw_path.count("/") == 3
    assert unquote(url.raw_path.removeprefix("/v1/tickets/")) == value


@pytest.mark.parametrize(
    ("value", "taught"),
    [
        ("", "must not be empty"),
        (".", "made of . or"),
        ("..", "made of . or"),
        ("a/b", "must not hold /"),
        ("a%2fb", "must not hold /"),
        ("a\\b", "must not hold /"),
        ("a\x00", "control characters"),
        ("x" * 2001, "longer than 2000"),
        (None, "one text, number or boolean"),
        ([1], "one text, number or boolean"),
        ({}, "one text, number or boolean"),
    ],
)
def test_a_path_value_that_cannot_be_sent_teaches(value: Any, taught: str) -> None:
    with pytest.raises(ToolError) as problem:
        mapped({"path": "/tickets/{ticket_id}"}, {"ticket_id": value})
    assert taught in str(problem.value)
    assert "ticket_id" in str(problem.value)
    assert problem.value.reason == "invalid_arguments"


def test_a_missing_path_argument_teaches() -> None:
    with pytest.raises(ToolError, match=r"fills \{ticket_id\} in the path is missing"):
        mapped({"path": "/tickets/{ticket_id}"}, {})


@pytest.mark.parametrize(("value", "sent"), [(7, "7"), (7.0, "7"), (1.5, "1.5"), (True, "true"), ("a b", "a%20b")])
def test_path_values_are_written_as_json_writes_them(value: Any, sent: str) -> None:
    assert mapped({"path": "/t/{a}"}, {"a": value}).url == f"{BASE}/t/{sent}"
