"""Functions that tests publish as tools."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import psycopg
from pydantic import BaseModel

from tools.errors import ToolError
from tools.functions import Context, function
from tools.preflight import Preflight
from tools.values import Result


class Echoed(BaseModel):
    text: str


@function()
async def echo(text: str) -> Echoed:
    """Repeat a text."""
    return Echoed(text=text)


@function()
async def shout(text: str) -> str:
    """Repeat a text loudly, as plain text."""
    return text.upper()


@function()
async def count_slowly(ctx: Context, steps: int = 3, seconds: float = 0.3) -> str:
    """Count to `steps` within `seconds`, telling how far it is."""
    for step in range(1, steps + 1):
        await asyncio.sleep(seconds / steps)
        await ctx.progress(step, steps, f"step {step}")
    return f"counted to {steps}"


@function()
def block(ctx: Context, seconds: float = 5.0) -> str:
    """Wait in a thread until told to stop, reporting progress from there."""
    began = time.monotonic()
    ctx.progress_sync(1, 2, "waiting")
    while time.monotonic() < began + seconds and not ctx.cancelled:
        time.sleep(0.01)
    return "stopped" if ctx.cancelled else "done"


@function()
async def fail(how: str) -> str:
    """Fail on purpose."""
    if how == "politely":
        raise ToolError("The printer is out of paper. Add paper and call again.")
    raise RuntimeError("a secret detail: password=hunter2")


@function()
async def long_text(length: int) -> str:
    """A text of that many characters."""
    return "x" * length


@function()
async def broken_promise() -> Any:
    """Give something that is not what the output schema says."""
    return {"unexpected": True}


@function()
async def who_am_i(ctx: Context) -> Result:
    """Who is calling."""
    return Result.of_data({"user": ctx.caller.username, "tenant": ctx.caller.tenant_slug})


@function()
async def sign_in(user: str, password: str) -> str:
    """Take a secret argument."""
    return f"signed in {user}"


@function()
async def linger(path: str) -> str:
    """Wait until cancelled, and note that in a file; it is empty from when the waiting has begun."""
    note = Path(path)
    note.write_text("")  # noqa: ASYNC240 - a handful of bytes, in a test
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note.write_text("cancelled")  # noqa: ASYNC240
        raise
    return "nobody came"


@function()
def linger_in_a_thread(ctx: Context, path: str) -> str:
    """The same from a thread, which has to look for itself."""
    note = Path(path)
    note.write_text("")
    deadline = time.monotonic() + 60
    while not ctx.cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    note.write_text("cancelled" if ctx.cancelled else "nobody came")
    return "gone"


@function()
async def wait_for_file(path: str) -> str:
    """Wait until there is a file."""
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.01)
    return "found"


@function()
async def give_back(value: Any) -> Result:
    """Exactly what was given."""
    return Result.of_data({"value": value})


@function()
async def note(path: str, text: str, seconds: float = 0.0) -> str:
    """Add a line to a file, once for every time it is run, and take some time over it."""
    with Path(path).open("a") as notes:  # noqa: ASYNC230 - a handful of bytes, in a test
        notes.write(f"{text}\n")
    await asyncio.sleep(seconds)
    return f"noted {text}"


@function()
async def greet_by_name(ctx: Context) -> str:
    """Ask for a name and greet it."""
    reply = await ctx.ask("name", "What is your name?", NAME)
    return f"Hello, {reply.content['name']}!" if reply.accepted else f"no name: {reply.action}"


NAME = {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}, "required": ["name"]}


@function()
def read_ledger() -> int:
    """How many of its own tenant's calls have started, as a connection of its own sees it."""
    return _under_way("read_ledger")


async def look_ahead(arguments: dict[str, Any], asking: Preflight) -> Any:
    """Note that it runs, and how many calls have begun and not ended by then; then fail as told, or ask for a name."""
    with Path(arguments["path"]).open("a") as notes:  # noqa: ASYNC230
        notes.write(f"{_under_way('greet_politely')}\n")
    match arguments.get("how"):
        case "politely":
            raise ToolError("The door is closed. Come back tomorrow.")
        case "loudly":
            raise RuntimeError(f"a secret detail: {arguments}")
        case "by leaving":
            raise SystemExit(3)
        case "by hanging":
            await asyncio.sleep(60)
        case "in shape":
            return None
        case "in value":
            return {"name": 5}
        case "in schema":
            await asking.ask("name", "What is your name?", {"type": "nothing"})
    reply = await asking.ask("name", "What is your name?", NAME)
    return {"name": reply.content.get("name", "nobody")}


@function(preflight=look_ahead)
async def greet_politely(path: str, name: str, how: str = "", number: int = 0) -> str:
    """Greet somebody, whose name is asked for."""
    return f"Good day, {name}."


def _under_way(tool: str) -> int:
    """How many calls of a tool have begun and not ended, in every tenant, as a connection of its own sees it."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as conn:
        row = conn.execute(
            "SELECT count(*) FROM audit_entry WHERE event = 'call.started' AND tool = %s"
            " AND NOT EXISTS (SELECT FROM audit_entry f WHERE f.call_id = audit_entry.call_id"
            " AND f.event <> 'call.started')",
            [tool],
        ).fetchone()
    return int(row[0]) if row else 0


@function()
def cut_the_hub_off() -> str:
    """End the hub's database sessions in the middle of a call."""
    from tests.postgres import end_sessions_of_the_hub

    return f"ended {end_sessions_of_the_hub() > 0}"
