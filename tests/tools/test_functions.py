"""Python functions as tools: schemas from signatures, and what cannot be one is refused when it is registered."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from types import FunctionType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from policy.rules import NO_RULES
from policy.take import NO_LIMITS
from policy.values import Refusal
from tests.calling import Enter, enter
from tests.cast import Cast
from tools import calls, functions, threads
from tools.catalog import _live, catalog
from tools.functions import Context, describe
from tools.values import ABSENT, Origin, Result, Text


class Point(BaseModel):
    x: int
    y: int = 0


async def everything(
    text: Annotated[str, Field(min_length=1, description="Some text.")],
    many: list[Point],
    ctx: Context,
    mode: Literal["fast", "slow"] = "fast",
    limit: int | None = None,
) -> dict[str, int]:
    """Does everything."""
    return {text: len(many)}


def test_the_schema_is_that_of_the_signature_without_the_context() -> None:
    described = describe("everything", everything)
    schema = described.input_schema()
    assert list(schema["properties"]) == ["text", "many", "mode", "limit"]
    assert schema["required"] == ["text", "many"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["text"] == {
        "type": "string",
        "minLength": 1,
        "description": "Some text.",
        "title": "Text",
    }
    assert schema["properties"]["mode"]["enum"] == ["fast", "slow"]
    assert schema["properties"]["mode"]["default"] == "fast"
    assert described.output_schema() == {"additionalProperties": {"type": "integer"}, "type": "object"}
    assert described.description() == "Does everything."
    assert (described.is_async, described.context_parameter) == (True, "ctx")


@pytest.mark.parametrize("returned", [str, None, Result])
def test_text_and_whole_results_have_no_output_schema(returned: Any) -> None:
    def plain(): ...  # type: ignore[no-untyped-def]

    plain.__annotations__["return"] = returned
    assert describe("plain", plain).output_schema() is None


def untyped(text): ...  # type: ignore[no-untyped-def]
def starred(*texts: str) -> str: ...  # type: ignore[empty-body]
def named(**texts: str) -> str: ...  # type: ignore[empty-body]
def positional(text: str, /) -> str: ...  # type: ignore[empty-body]
def generating(text: str) -> Iterator[str]:
    yield text


async def agenerating(text: str) -> AsyncIterator[str]:
    yield text


@pytest.mark.parametrize("wrong", [untyped, starred, named, positional, generating, agenerating])
def test_what_cannot_be_called_with_named_arguments_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=wrong.__name__):
        describe(wrong.__name__, wrong)


def test_a_name_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_registry", {})

    def one(text: str) -> str:
        return text

    functions.function("same")(one)
    functions.function("same")(one)  # as when a module is imported anew
    elsewhere: Any = FunctionType(one.__code__, {}, "one")
    elsewhere.__module__, elsewhere.__qualname__ = "another.module", one.__qualname__
    elsewhere.__annotations__ = one.__annotations__
    with pytest.raises(ValueError, match="two functions are registered as 'same'"):
        functions.function("same")(elsewhere)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, cast: Cast) -> Any:
    """Publish a function of the test's own, and a way to call it."""

    def publish(call: Any) -> Enter:
        monkeypatch.setitem(functions._registry, "mine", describe("mine", call))
        cast.tool(cast.acme, "mine")
        return enter(cast, cast.uma)

    return publish


def said(ended: Result | Refusal) -> str:
    assert isinstance(ended, Result), ended
    (block,) = ended.content
    assert isinstance(block, Text)
    return block.text


@pytest.fixture
def mine(given: Any, request: pytest.FixtureRequest) -> Enter:
    return given(request.param)  # type: ignore[no-any-return]


def defaults(text: str, times: int = 2, extra: list[int] = []) -> str:  # noqa: B006 - what this is about
    extra.append(1)
    return text * times + str(len(extra))


@pytest.mark.parametrize("mine", [defaults], indirect=True)
async def test_defaults_are_filled_in_and_not_shared_between_calls(mine: Enter, running: None) -> None:
    assert said(await mine.call("mine", text="a")) == "aa1"
    assert said(await mine.call("mine", text="a", times=3)) == "aaa1"


def typed(point: Point) -> int:
    return point.x + point.y


@pytest.mark.parametrize("mine", [typed], indirect=True)
async def test_arguments_arrive_as_their_types(mine: Enter, running: None) -> None:
    ended = await mine.call("mine", point={"x": 3})
    assert isinstance(ended, Result)
    assert (said(ended), ended.structured) == ("3", 3)
    refused = await mine.call("mine", point={"x": "three"})
    assert isinstance(refused, Refusal)
    assert "point" in refused.message


def leaking(text: str) -> str:
    try:
        known: dict[str, str] = {}
        return known[text]
    except KeyError as problem:
        raise RuntimeError(f"cannot do {text}") from problem


@pytest.mark.parametrize("mine", [leaking], indirect=True)
async def test_what_an_exception_says_stays_out_of_the_log(
    mine: Enter, running: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert "failed inside the hub" in said(await mine.call("mine", text="hunter2"))
    assert "hunter2" not in caplog.text
    for kept in ("tool mine failed", "builtins.KeyError", "builtins.RuntimeError", "in leaking"):
        assert kept in caplog.text


def asleep(ctx: Context, path: str) -> str:
    while not ctx.cancelled:
        time.sleep(0.001)
    return path


@pytest.mark.parametrize("mine", [asleep], indirect=True)
async def test_a_tenant_with_no_thread_left_is_told_to_try_again(
    mine: Enter, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "PER_TENANT", 1)
    slow = asyncio.create_task(mine.call("mine", path="x"))
    try:
        while not threads.of_loop().tenants:  # noqa: ASYNC110 - the call makes it
            await asyncio.sleep(0.001)
        busy = await with_time(mine, 0.02)
    finally:
        slow.cancel()
        await asyncio.wait([slow])
    assert (busy.is_error, busy.reason) == (True, "busy")
    assert "was not run" in said(busy)
    assert "Try again" in said(busy)


async def with_time(mine: Enter, seconds: float) -> Result:
    """The call of a tool with so little time."""
    offered = await catalog(mine.caller.tenant_id, mine.version)
    tool = replace(offered.tools["mine"], timeout=seconds)
    ended = await calls.run_tool(
        mine.caller, tool, {"path": "x"}, limits=NO_LIMITS, rules=NO_RULES, origin=Origin(via="cli")
    )
    assert isinstance(ended, Result)
    return ended


def test_the_log_says_why_a_tool_is_not_offered_without_its_config(caplog: pytest.LogCaptureFixture) -> None:
    row = {
        "name": "t",
        "tenant_id": 1,
        "connection_id": None,
        "destination": "",
        "kind": "http",
        "config": {"path": "/x", "headers": {"X-Key": "hunter2"}, "method": "hunter2"},
    }
    assert _live([row], {}) == {}
    assert "tool t of tenant 1 cannot be offered: method: " in caplog.text
    assert "hunter2" not in caplog.text


def whose_thread(ctx: Context) -> str:
    return f"{threading.current_thread() is threading.main_thread()} {ctx.caller.role}"


@pytest.mark.parametrize("mine", [whose_thread], indirect=True)
async def test_a_sync_function_runs_in_a_thread_with_its_context(mine: Enter, running: None) -> None:
    assert said(await mine.call("mine")) == "False user"


def odd_text() -> str:
    return "file-\udcff.txt"


def odd_value() -> Result:
    return Result(content=(Text(text="x"),), structured={"a": {1, 2}})


def too_big() -> Result:
    return Result(content=(Text(text="x"),), structured={"a": "x" * 100_000})


def own_timeout() -> str:
    raise TimeoutError("the printer")


@pytest.mark.parametrize("mine", [odd_text], indirect=True)
async def test_text_that_is_no_unicode_is_mended(mine: Enter, running: None) -> None:
    assert said(await mine.call("mine")) == "file-?.txt"


@pytest.mark.parametrize("mine", [odd_value], indirect=True)
async def test_a_value_that_json_cannot_carry_is_a_tool_error(mine: Enter, running: None) -> None:
    ended = await mine.call("mine")
    assert isinstance(ended, Result)
    assert (ended.is_error, ended.reason, ended.structured) == (True, "invalid_output", ABSENT)


@pytest.mark.parametrize("mine", [too_big], indirect=True)
async def test_structured_content_counts_against_the_bound(mine: Enter, running: None) -> None:
    ended = await mine.call("mine")
    assert isinstance(ended, Result)
    assert (ended.reason, ended.structured) == ("result_too_large", ABSENT)


@pytest.mark.parametrize("mine", [own_timeout], indirect=True)
async def test_a_timeout_inside_the_function_is_not_taken_for_the_tools(mine: Enter, running: None) -> None:
    ended = await mine.call("mine")
    assert isinstance(ended, Result)
    assert ended.reason == "internal_error"
    assert "printer" not in said(ended)
