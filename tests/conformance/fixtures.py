"""The tools the conformance suite expects of a server under test, as functions the hub registers and publishes.

The suite calls them by these names and looks at what comes back on the wire; `FIXTURES` is what a test inserts as the
published tools of the tenant it points the suite at. Only tools are here: resources, prompts, and tools that ask the
client in the middle of a request are named in `exceptions.py` until the hub offers them.
"""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from dataclasses import dataclass, field
from typing import Any, Final

from tests.postgres import as_owner
from tools.errors import ToolError
from tools.functions import Context, function
from tools.preflight import Preflight
from tools.values import Audio, Embedded, Image, Question, Result, Text

STEP: Final = 0.05
"""Seconds between two notifications: the pace the suite prescribes, so that they travel before the result does."""

RED_PIXEL: Final = (  # a PNG of 1x1, base64
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
)


def silent_wave() -> str:
    """A valid WAV of ten milliseconds of silence, base64."""
    held = io.BytesIO()
    with wave.open(held, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * 80)
    return base64.b64encode(held.getvalue()).decode("ascii")


@function(name="test_simple_text")
def simple_text() -> str:
    return "This is a simple text response for testing."


@function(name="test_image_content")
def image_content() -> Result:
    return Result(content=(Image(data=RED_PIXEL, mime_type="image/png"),))


@function(name="test_audio_content")
def audio_content() -> Result:
    return Result(content=(Audio(data=silent_wave(), mime_type="audio/wav"),))


@function(name="test_embedded_resource")
def embedded_resource() -> Result:
    text = "This is an embedded resource content."
    return Result(content=(Embedded(uri="test://embedded-resource", mime_type="text/plain", text=text),))


@function(name="test_multiple_content_types")
def multiple_content_types() -> Result:
    resource = Embedded(
        uri="test://mixed-content-resource", mime_type="application/json", text='{"test":"data","value":123}'
    )
    image = Image(data=RED_PIXEL, mime_type="image/png")
    return Result(content=(Text(text="Multiple content types test:"), image, resource))


@function(name="test_error_handling")
def error_handling() -> str:
    raise ToolError("This tool intentionally returns an error for testing")


@function(name="test_tool_with_progress")
async def tool_with_progress(ctx: Context) -> str:
    await ctx.progress(0, 100, "Started")
    await asyncio.sleep(STEP)
    await ctx.progress(50, 100, "Half way")
    await asyncio.sleep(STEP)
    await ctx.progress(100, 100, "Done")
    return "Reported progress three times."


@function(name="test_tool_with_logging")
async def tool_with_logging(ctx: Context) -> str:
    await ctx.log("info", "Tool execution started")
    await asyncio.sleep(STEP)
    await ctx.log("info", "Tool processing data")
    await asyncio.sleep(STEP)
    await ctx.log("info", "Tool execution completed")
    return "Sent three log messages."


@function(name="test_logging_tool")
async def logging_tool(ctx: Context) -> str:
    """Logs loudly at every level: a caller that set no log level must hear none of it."""
    for level in ("debug", "info", "error", "emergency"):
        await ctx.log(level, f"A message at level {level}")
    return "Sent log messages at four levels."


@function(name="test_header_parameter")
def header_parameter(region: str) -> str:
    return f"Region: {region}"


@function(name="json_schema_2020_12_tool")
def json_schema_2020_12_tool(
    name: str | None = None,
    address: dict[str, Any] | None = None,
    contactMethod: str | None = None,
    phone: str | None = None,
    email: str | None = None,
) -> dict[str, Any]:
    contact = {"contactMethod": contactMethod, "phone": phone, "email": email}
    given = {"name": name, "address": address, **contact}
    return {key: value for key, value in given.items() if value is not None}


@function(name="test_trigger_tool_change")
def trigger_tool_change(ctx: Context) -> str:
    """Take a tool out of the list, or put it back, while others listen."""
    with as_owner() as owner:
        owner.execute(
            "UPDATE tools_tool SET enabled = NOT enabled WHERE tenant_id = %s AND name = 'test_changing_tool'",
            [ctx.caller.tenant_id],
        )
    return "The list of tools has changed."


@function(name="test_changing_tool")
def changing_tool() -> str:
    return "I come and go."


@function()
def greet(name: str) -> str:
    return f"Hello, {name}!"


@function()
async def slow_compute(seconds: float, label: str = "") -> str:
    await asyncio.sleep(seconds)
    return f"Computed {label} in {seconds:g} s.".replace("  ", " ")


@function()
async def failing_job() -> str:
    await asyncio.sleep(1)
    raise ToolError("This job always fails, as a tool does.")


@function()
async def protocol_error_job() -> str:
    raise RuntimeError("this job fails inside the server")


@function()
async def confirm_delete(ctx: Context, filename: str = "the file") -> str:
    reply = await ctx.ask("confirm", f"Delete {filename}?", CONFIRMATION)
    return f"Deleted {filename}." if reply.accepted and reply.content.get("confirm") else f"Kept {filename}."


@function()
async def multi_input(ctx: Context) -> str:
    name, age = Question(message="Your name?", schema=NAME), Question(message="Really?", schema=CONFIRMATION)
    replies = await ctx.ask_all({"name": name, "sure": age})
    return f"Answered: {', '.join(f'{key} {reply.action}' for key, reply in sorted(replies.items()))}."


async def ask_for_the_name(arguments: dict[str, Any], asking: Preflight) -> dict[str, Any]:
    if "user_name" in arguments:
        return {}
    reply = await asking.ask("user_name", "Whom is it for?", NAME)
    return {"user_name": reply.content.get("name", "")}


@function(name="test_tool_with_task", preflight=ask_for_the_name)
async def tool_with_task(user_name: str = "nobody") -> str:
    return f"A task for {user_name}."


NAME: Final[dict[str, Any]] = {"type": "object", "properties": {"name": {"type": "string"}}}

CONFIRMATION: Final[dict[str, Any]] = {"type": "object", "properties": {"confirm": {"type": "boolean"}}}

NO_ARGUMENTS: Final[dict[str, Any]] = {"type": "object", "properties": {}, "additionalProperties": False}

ONE_HEADER: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "description": "Region that serves the request", "x-mcp-header": "Region"}
    },
    "required": ["region"],
    "additionalProperties": False,
}

KEYWORDS_2020_12: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FixtureTool:
    """What one fixture is published as: `function` is the name it is registered under."""

    name: str
    description: str
    function: str
    input_schema: dict[str, Any] = field(default_factory=lambda: dict(NO_ARGUMENTS))
    output_schema: dict[str, Any] | None = None
    annotations: dict[str, Any] = field(default_factory=lambda: {"readOnlyHint": True})
    lasting: dict[str, Any] = field(default_factory=dict)


def fixture(name: str, description: str, input_schema: dict[str, Any] = NO_ARGUMENTS, **lasting: Any) -> FixtureTool:
    return FixtureTool(name=name, description=description, function=name, input_schema=input_schema, lasting=lasting)


def arguments(required: tuple[str, ...] = (), **types: str) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in types.items()}
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


BACKGROUND: Final[dict[str, Any]] = {"runs": "background", "replay_seconds": 0}


FIXTURES: Final[list[FixtureTool]] = [
    fixture("test_simple_text", "Returns one fixed sentence."),
    fixture("test_image_content", "Returns a one-pixel PNG image."),
    fixture("test_audio_content", "Returns ten milliseconds of silence as WAV."),
    fixture("test_embedded_resource", "Returns a text resource embedded in the result."),
    fixture("test_multiple_content_types", "Returns text, an image and an embedded resource together."),
    fixture("test_error_handling", "Always fails, to show how a failed call looks."),
    fixture("test_tool_with_progress", "Reports progress 0, 50 and 100 of 100 while it runs."),
    fixture("test_tool_with_logging", "Logs three messages at level info while it runs."),
    fixture("test_logging_tool", "Logs messages at four levels, for callers that may not want them."),
    fixture("test_header_parameter", "Echoes a region that also travels as an HTTP header.", ONE_HEADER),
    fixture("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", KEYWORDS_2020_12),
    fixture("test_trigger_tool_change", "Changes the list of tools."),
    fixture("test_changing_tool", "Is in the list at times."),
    fixture("greet", "Greets somebody, at once.", arguments(("name",), name="string")),
    fixture(
        "slow_compute",
        "Takes as many seconds as it is told.",
        arguments(("seconds",), seconds="number", label="string"),
        **BACKGROUND | {"runs": "automatic", "wait": 10},
    ),
    fixture("failing_job", "Fails after a second, as a tool does.", **BACKGROUND, task_required=True),
    fixture("protocol_error_job", "Fails inside the server.", **BACKGROUND),
    fixture("confirm_delete", "Asks before it would delete a file.", arguments(filename="string"), **BACKGROUND),
    fixture("multi_input", "Asks two things at once.", **BACKGROUND),
    fixture(
        "test_tool_with_task", "Asks for a name, then takes its time.", arguments(user_name="string"), **BACKGROUND
    ),
]
